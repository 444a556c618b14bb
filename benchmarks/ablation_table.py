"""The page of the ablation, made from the committed rows.

    python -m benchmarks.ablation_table > benchmarks/ABLATION.md

Of each training the newest row counts, whatever it says. What has no row says NOT RUN.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from benchmarks.ablation import ARMS, MINUTES, NAME, REFERENCE, SEEDS, SETS, arm
from benchmarks.accuracy import MODERN
from benchmarks.accuracy_table import NOT_RUN, provenance, where
from benchmarks.trials import BASE, DEPTH, Row, finished, rows


class Figure(NamedTuple):
    """A column of a set's table."""

    head: str
    of: Callable[[Row], float]
    digits: int = 3


CLASS = "class_1"
IOU = Figure("IoU", lambda row: float(row["per_class"][CLASS]["iou"] or 0))
BORDER = Figure("IoU near the frame's border", lambda row: float(row["border"]["iou"][CLASS] or 0))
STEPS = Figure("steps", lambda row: float(row["steps"]), 0)
FIGURES: dict[str, tuple[Figure, ...]] = {
    "masonry_crack": (
        IOU,
        BORDER,
        Figure("F1", lambda row: float(row["per_class"][CLASS]["dice"] or 0)),
        Figure("defects found", lambda row: float(row["per_defect"]["recall"] or 0)),
        Figure("false alarms a frame", lambda row: float(row["per_defect"]["false_alarms_per_frame"]), 2),
        STEPS,
    ),
    "dsb2018_nuclei": (
        Figure("AP at IoU 0.5", lambda row: float(row["ap50"] or 0)),
        Figure("SEG", lambda row: float(row["seg"] or 0)),
        Figure("merges", lambda row: float(row["instances"]["merges"]), 0),
        Figure("splits", lambda row: float(row["instances"]["splits"]), 0),
        IOU,
        BORDER,
        STEPS,
    ),
}
"""Set -> its columns, the first of which decides what an idea is worth."""
EXPLAINED = f"""
The modern recipe at base {BASE}, depth {DEPTH}, for {MINUTES:g} minutes on the train split, with one idea of
the paper changed at a time; figures on the test split, the mean over {len(SEEDS)} seeds with the lower and
the higher one. Worth: how much better the recipe as it is does than the arm, by the first column, beside the
larger spread of the seeds of the two; less than that says nothing. Every arm has the same minutes, not the
same steps: valid convolutions pay for their halo in steps. Near the border: within 44 pixels, the halo of
depth 4. With padded convolutions (benchmarks/altered.py) a frame cut into tiles would not give what the
whole frame gives; here every frame is one tile for them.
"""


def page(found: Sequence[Row]) -> str:
    """The whole page in Markdown."""
    lines = [
        "# What each idea of the paper is worth",
        "",
        f"Made by `python -m benchmarks.ablation_table` from `benchmarks/results/{NAME}.jsonl`, which"
        " `python -m benchmarks.ablation` fills.",
        "",
        where(found),
        EXPLAINED.rstrip(),
    ]
    for data in SETS:
        lines += ["", f"## {data}", "", f"As it is: `{' '.join(MODERN[data])}`.", "", *_set(found, data)]
    return "\n".join([*lines, *provenance(found)])


def _set(found: Sequence[Row], data: str) -> Iterator[str]:
    columns = FIGURES[data]
    yield f"| arm | what is changed | seeds | {' | '.join(column.head for column in columns)} | worth |"
    yield "|" + "---|" * (4 + len(columns))
    reference = _rows(found, REFERENCE, data)
    for name, words in ARMS.items():
        if arm(name, data, SEEDS[0]) is None:
            continue
        mine = _rows(found, name, data)
        if not mine:
            yield f"| {name} | {words} | {NOT_RUN} |" + " |" * (1 + len(columns))
            continue
        cells = [_over_seeds(mine, column) for column in columns]
        worth = "" if name == REFERENCE else _worth(reference, mine, columns[0])
        yield f"| {name} | {words} | {len(mine)} | {' | '.join(cells)} | {worth} |"


def _rows(found: Sequence[Row], name: str, data: str) -> list[Row]:
    """The newest row of each seed of an arm."""
    newest = []
    for seed in SEEDS:
        trial = arm(name, data, seed)
        newest += [row for row in found if trial is not None and finished(trial, [row])][-1:]
    return newest


def _over_seeds(some: Sequence[Row], column: Figure) -> str:
    values = [column.of(row) for row in some]
    mean = f"{statistics.mean(values):,.{column.digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):,.{column.digits}f} to {max(values):,.{column.digits}f})"


def _worth(reference: Sequence[Row], mine: Sequence[Row], column: Figure) -> str:
    if not reference:
        return NOT_RUN
    values = [[column.of(row) for row in some] for some in (reference, mine)]
    ahead = statistics.mean(values[0]) - statistics.mean(values[1])
    if min(map(len, values)) < 2:
        return f"{ahead:+.{column.digits}f}, spread not known"
    spread = max(max(some) - min(some) for some in values)
    said = "over" if abs(ahead) > spread else "within"
    return f"{ahead:+.{column.digits}f}, {said} the spread of {spread:.3f}"


def main() -> None:
    """Print the page."""
    print(page(rows(NAME)))


if __name__ == "__main__":
    main()
