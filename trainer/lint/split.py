"""A split.json that nobody has to write by hand: whole parts, each class on both sides where it can be."""

from __future__ import annotations

from collections.abc import Set

from inspector.errors import DatasetError
from trainer.held_out import held_out
from trainer.lint.findings import Report

SHARE = 0.2
"""Share of the frames that is kept for the exam where today's split keeps none."""
CUTS = 200
"""Cuts that are compared, each with a seed of its own: none is chosen by what a network makes of it."""


def proposed_split(report: Report) -> dict[str, list[str]]:
    """Stems under `train` and `test`, as split.json has them, the same for the same folder.

    Parts are those of `proposed_parts`, so that copies of one picture stay together, cut as validation is
    (`held_out`), with today's share of test frames. Of many such cuts the one that leaves fewest classes
    on one side alone, and among these the one nearest to that share. Raises DatasetError where all
    frames show one part.
    """
    part_of = report.proposed_parts()
    shown: dict[str, set[int]] = {}
    for stem, part in part_of.items():
        shown.setdefault(part, set()).update(report.shown.get(stem, ()))
    if len(shown) < 2:
        raise DatasetError(
            f"All frames of {report.folder} show one part, which no split may cut; bring frames of another."
        )
    share = report.frames.get("test", 0) / len(part_of) or SHARE
    # The smaller side is what is held out, so that the other one is left with something of each kind.
    cuts = [held_out(shown, min(share, 1 - share), seed) for seed in range(CUTS)]
    tests = cuts if share <= 0.5 else [set(shown) - cut for cut in cuts]

    def badness(test: Set[str]) -> tuple[int, float]:
        frames = sum(part in test for part in part_of.values())
        return one_sided(shown, test), abs(frames / len(part_of) - share)

    test = min(tests, key=badness)
    return {
        "train": sorted(stem for stem, part in part_of.items() if part not in test),
        "test": sorted(stem for stem, part in part_of.items() if part in test),
    }


def one_sided(shown: dict[str, set[int]], test: Set[str]) -> int:
    """How many classes all parts of one side lack. shown: the class ids of each part."""
    sides = [set[int]().union(*(ids for part, ids in shown.items() if (part in test) == on)) for on in (0, 1)]
    return len(sides[0] ^ sides[1])
