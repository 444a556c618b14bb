"""What a reader must know before quoting a figure, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer.doubts import NOT_ENDED, hopeless_words
from trainer.report.words import many
from trainer.watch import LEAST_IOU

PARTS_TO_COMPARE = 10
"""With fewer parts an interval by part is wide, and rough itself."""


def seen_words(seen: Mapping[str, int] | None, frames: int) -> Iterator[str]:
    """What to say of test frames that the model has seen; nothing where it did not keep which it saw.

    seen: how many of the `frames` trained it and how many validated it, as `SeenPictures.among` counts.
    """
    remedy = "Measure it on frames that it has not seen, or mend split.json and fit again."
    trained, validated = (seen or {}).get("trained", 0), (seen or {}).get("validated", 0)
    if trained:
        yield (
            f"{trained:,} of these {many(frames, 'test frame')} trained this model, so the figures say how"
            f" well it remembers them, not how well it will do. {remedy}"
        )
    if validated:
        yield (
            f"{validated:,} of these {many(frames, 'test frame')} chose this model's thresholds, so the"
            f" figures flatter it. {remedy}"
        )


def notices(figures: dict[str, Any]) -> Iterator[str]:
    """Sentences; none where the figures are those of the served model on enough unseen parts."""
    if figures.get("split") != "test":
        yield (
            f"These are the frames of the split '{figures.get('split')}'. The model may have been trained on"
            " some of them, so the figures say how well it remembers, not how well it will do."
        )
    else:
        yield from seen_words(figures.get("seen"), figures["frames"])
    if figures.get("ended") is False:
        yield NOT_ENDED
    yield from _hopeless(figures)
    if figures.get("average"):
        yield (
            f"Probabilities are averaged over {figures['average']} of each frame. The line does not run"
            " this: these are not the figures of the served model."
        )
    if figures["parts"] == 1:
        yield "The frames show one part alone, so nothing tells how far other parts may differ from it."
    elif figures["parts"] < PARTS_TO_COMPARE:
        yield (
            f"The frames show only {many(figures['parts'], 'part')}. Intervals by part are wide, and rough,"
            f" with fewer than {PARTS_TO_COMPARE}: so few do not tell how far parts differ."
        )
    unseen = [name for name, row in figures["per_defect"]["classes"].items() if not row["total"]]
    if unseen:
        yield f"No frame shows a defect of class {', '.join(unseen)}: nothing is known about it."


def _hopeless(figures: dict[str, Any]) -> Iterator[str]:
    """That the network meets hardly a defect of these frames, and the classes that it never marks."""
    iou = figures["miou_defects"]
    # IoU counts what is invented where no defect is shown as well; that says nothing of what is met.
    shown = any(row["total"] for row in figures["per_defect"]["classes"].values())
    if shown and iou is not None and iou < LEAST_IOU:
        yield hopeless_words(f"IoU {iou:.3f} on these frames")
    never = [
        name
        for name, row in figures["per_defect"]["classes"].items()
        if row["total"] and not figures["per_class"][name]["predicted_px"]
    ]
    if never:
        yield f"This network marks no pixel as {', '.join(never)}, though these frames show such defects."
