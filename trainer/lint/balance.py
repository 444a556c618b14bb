"""How much of each class there is, on either side of the split, and what is too little to learn or prove."""

from __future__ import annotations

import math

from trainer.folder import IGNORE
from trainer.lint.findings import ClassRow, Report, counted
from trainer.lint.frames import FrameFacts
from trainer.metrics.intervals import wilson

FEW_TO_LEARN = 10
FEW_TO_PROVE = 20
RARE_EMPTY = 0.05
"""Where fewer frames than this share are empty, these are more likely forgotten than good."""


def balance(facts: list[FrameFacts], side: dict[str, str], names: dict[int, str], report: Report) -> None:
    """Fill the report's class table, and note classes that are missing or few."""
    usable = [frame for frame in facts if frame.pixels]
    sides = sorted({side[frame.stem] for frame in facts}, reverse=True)
    for name in sides:
        own = [frame for frame in usable if side[frame.stem] == name]
        report.frames[name] = sum(side[frame.stem] == name for frame in facts)
        report.good[name] = sum(not frame.defects and IGNORE not in frame.pixels for frame in own)
        valid = sum(count for frame in own for value, count in frame.pixels.items() if value != IGNORE)
        for class_id, class_name in names.items():
            pixels = sum(frame.pixels.get(class_id, 0) for frame in own)
            report.classes.setdefault(class_name, {})[name] = ClassRow(
                pixels,
                pixels / valid if valid else 0.0,
                sum(frame.defects.get(class_id, 0) for frame in own),
                sum(class_id in frame.defects for frame in own),
            )
    if not any(report.shown.values()):
        _no_defect(usable, report)
    else:
        _missing(report)
        _few(report)
    _empty(usable, report)


def least_recall(found: int) -> float:
    """What recall lies above, by 95 %, when all of so many defects are found; two decimals, rounded down."""
    return math.floor(100 * wilson(found, found)[0]) / 100


def _no_defect(usable: list[FrameFacts], report: Report) -> None:
    """Drawing defects in white is the commonest cause; frames flagged as false rejects have none by right."""
    white = tuple(f"masks/{frame.stem}.png" for frame in usable if IGNORE in frame.pixels)
    remedy = "Draw the defects as class ids: 1 is the first class, 2 the second ..."
    if white:
        words = (
            f"All drawn pixels are 255, which means ignore, in {counted(len(white), 'mask')}: none shows a"
        )
        report.add("error", "no-defect", f"{words} defect.", remedy, white)
    elif not report.addition:
        report.add("error", "no-defect", "No mask shows a defect.", remedy)


def _missing(report: Report) -> None:
    for one, other, cost in (("train", "test", "cannot be learned"), ("test", "train", "is in no exam")):
        if one not in report.frames or other not in report.frames:
            continue
        gone = tuple(
            name for name, rows in report.classes.items() if not rows[one].defects and rows[other].defects
        )
        if gone:
            report.add(
                "warning",
                f"not-in-{one}",
                f"{counted(len(gone), 'class', 'classes')} without a defect in {one}: what is not there"
                f" {cost}.",
                "Split anew by part, so that both sides show each class; --write-split proposes it.",
                gone,
            )
    unused = tuple(
        name for name, rows in report.classes.items() if not any(row.pixels for row in rows.values())
    )
    if unused and not report.addition:
        report.add(
            "warning",
            "unused-class",
            f"{counted(len(unused), 'class', 'classes')} in no mask at all.",
            "Take the name out of classes.json, or bring frames that show it.",
            unused,
        )


def _few(report: Report) -> None:
    if report.addition:
        return
    for side, least, why in (
        ("train", FEW_TO_LEARN, "is little to learn from"),
        (
            "test",
            FEW_TO_PROVE,
            f"proves little: with {FEW_TO_PROVE} of {FEW_TO_PROVE} found, recall is known to be above"
            f" {least_recall(FEW_TO_PROVE):.2f} only",
        ),
    ):
        few = tuple(
            f"{name}: {rows[side].defects}"
            for name, rows in report.classes.items()
            if side in rows and 0 < rows[side].defects < least
        )
        if few:
            report.add(
                "warning",
                f"few-{side}",
                f"Fewer than {least} defects of a class in {side} {why}.",
                "Collect and label more of it.",
                few,
            )


def _empty(usable: list[FrameFacts], report: Report) -> None:
    empty = [frame.stem for frame in usable if set(frame.pixels) == {0}]
    if 0 < len(empty) < RARE_EMPTY * len(usable):
        report.add(
            "warning",
            "empty-mask",
            f"{counted(len(empty), 'mask is', 'masks are')} empty where nearly all frames have a defect.",
            "Look at them: a forgotten mask teaches that its defect is good.",
            tuple(f"masks/{stem}.png" for stem in empty),
        )
