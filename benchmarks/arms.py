"""A table of arms: the recipe with one thing changed in each, over seeds, beside the recipe as it is."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.accuracy_bars import NOT_RUN
from benchmarks.trials import Row, Trial, finished

REFERENCE = "as it is"


class Figure(NamedTuple):
    """A column of a set's table."""

    head: str
    of: Callable[[Row], float]
    digits: int = 3


@dataclass(frozen=True, slots=True)
class Arms:
    """What is compared on a set."""

    words: Mapping[str, str]
    """Arm -> what is changed, the reference among them."""
    trial: Callable[[str, str, int], Trial | None]
    """Of an arm, a set and a seed; None where the set has no such arm."""
    seeds: Sequence[int]

    def table(self, found: Sequence[Row], data: str, columns: Sequence[Figure]) -> Iterator[str]:
        """Lines of Markdown; the first column decides what a change is worth."""
        heads = " | ".join(column.head for column in columns)
        yield f"| arm | what is changed | seeds | {heads} | worth |"
        yield "|" + "---|" * (4 + len(columns))
        reference = self._rows(found, REFERENCE, data)
        for name, words in self.words.items():
            if self.trial(name, data, self.seeds[0]) is None:
                continue
            mine = self._rows(found, name, data)
            if not mine:
                yield f"| {name} | {words} | {NOT_RUN} |" + " |" * (1 + len(columns))
                continue
            cells = [_over_seeds(mine, column) for column in columns]
            worth = "" if name == REFERENCE else _worth(reference, mine, columns[0])
            yield f"| {name} | {words} | {len(mine)} | {' | '.join(cells)} | {worth} |"

    def _rows(self, found: Sequence[Row], name: str, data: str) -> list[Row]:
        """The newest row of each seed of an arm."""
        newest = []
        for seed in self.seeds:
            trial = self.trial(name, data, seed)
            newest += [row for row in found if trial is not None and finished(trial, [row])][-1:]
        return newest


def arm_options(
    parser: argparse.ArgumentParser, sets: Sequence[str], arms: Iterable[str], seeds: Sequence[int]
) -> None:
    """Options that name some of the trials alone; see `asked`."""
    parser.add_argument("--data", action="append", choices=sets, help="only this set; repeatable")
    parser.add_argument("--arm", action="append", choices=tuple(arms), help="only this one; repeatable")
    parser.add_argument("--seed", action="append", type=int, choices=seeds, help="only this seed; repeatable")


def asked(given: argparse.Namespace, plan: Iterable[tuple[str, Trial]]) -> list[Trial]:
    """The trials of the plan, as (arm, trial), that the options name; all where they name none."""
    return [
        trial
        for name, trial in plan
        if trial.data in (given.data or (trial.data,))
        and name in (given.arm or (name,))
        and trial.seed in (given.seed or (trial.seed,))
    ]


def _over_seeds(some: Sequence[Row], column: Figure) -> str:
    values = [column.of(row) for row in some]
    mean = f"{statistics.mean(values):,.{column.digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):,.{column.digits}f} to {max(values):,.{column.digits}f})"


def _worth(reference: Sequence[Row], mine: Sequence[Row], column: Figure) -> str:
    """How much better the reference is, on the seeds that both have."""
    both = {row["seed"] for row in reference} & {row["seed"] for row in mine}
    if not both:
        return NOT_RUN
    values = [[column.of(row) for row in some if row["seed"] in both] for some in (reference, mine)]
    ahead = statistics.mean(values[0]) - statistics.mean(values[1])
    if len(both) < 2:
        return f"{ahead:+.{column.digits}f}, spread not known"
    spread = max(max(some) - min(some) for some in values)
    said = "over" if abs(ahead) > spread else "within"
    return f"{ahead:+.{column.digits}f}, {said} the spread of {spread:.3f}"
