"""What to know of a trained network before it serves: what it misses, and which thresholds nothing chose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.checkpoint import TrainedNetwork
from trainer.escapes import FEW_DEFECTS, may_escape
from trainer.watch import LEAST_IOU

NOT_ENDED = (
    "The run has not ended: its probabilities are not calibrated and no threshold was chosen for an"
    " escape target. Go on with --resume."
)
REMEDY = "Train longer, let trainer lint check the masks, and see what it finds with trainer evaluate."


def doubts(trained: TrainedNetwork) -> tuple[str, ...]:
    """Sentences for the user, each with its remedy, from what validation counted; most serious first.

    Empty for a finished network that finds something of each class and keeps its escape target.
    """
    validation = trained.metrics.get("validation")
    if validation is None:
        return ()
    said = []
    if not has_ended(trained):
        said.append(NOT_ENDED)
    if (words := blind(validation)) is not None:
        said.append(words)
    if trained.escape_target is not None:
        said += _unkept(validation, trained.escape_target)
    return tuple(said)


def has_ended(trained: TrainedNetwork) -> bool:
    """Whether the run came to its end, where defects are counted; True as well where nothing tells."""
    return "per_defect" in trained.metrics.get("validation", {"per_defect": None})


def unfit(trained: TrainedNetwork) -> str | None:
    """Why nobody should serve this network, with the remedy; None where a warning is enough."""
    if not has_ended(trained):
        return NOT_ENDED
    validation = trained.metrics.get("validation")
    return None if validation is None else _aimless(validation)


def blind(validation: dict[str, Any]) -> str | None:
    """Why the network is useless for a line as it is; None where it finds something of each class.

    A low IoU comes from marking nothing and from marking everything alike.
    """
    if not any(choice["pixels"] for choice in validation["classes"].values()):
        return (
            "No validation frame shows a defect, so nothing tells whether this network finds any. Label more"
            " parts with defects and fit again."
        )
    if (words := _aimless(validation)) is not None:
        return words
    counts = validation.get("per_defect", {}).get("classes", {})
    unseen = [f"{c['total']} {name}" for name, c in counts.items() if c["total"] and not c["found"]]
    if not unseen:
        return None
    return f"This network finds none of {' and none of '.join(unseen)} ({_iou(validation)}). {REMEDY}"


def _aimless(validation: dict[str, Any]) -> str | None:
    """What to say where there are defects, and what the network marks has little to do with them."""
    shown = any(choice["pixels"] for choice in validation["classes"].values())
    if not shown or validation["score"] >= LEAST_IOU:  # False for NaN
        return None
    return hopeless_words(_iou(validation))


def hopeless_words(iou: str) -> str:
    """What to say of a network whose mean IoU of the defect classes is below `LEAST_IOU`; iou: in words."""
    return f"What this network marks hardly meets a defect ({iou}); its verdicts mean nothing. {REMEDY}"


def _iou(validation: dict[str, Any]) -> str:
    return f"IoU {validation['score']:.3f} on validation"


def _unkept(validation: dict[str, Any], target: float) -> Iterator[str]:
    """Of each class whose validation defects could not choose by the target, or do not keep it."""
    fallen, missing = [], []
    for name, choice in validation["classes"].items():
        counts = validation["per_defect"]["classes"][name]
        total, missed = counts["total"], counts["total"] - counts["found"]
        if choice["escape_target"] is None:
            fallen.append(f"{name} ({_why_not(total)})")
        elif missed > may_escape(target, total):
            missing.append(f"{missed} of {total} {name}")
    if fallen:
        yield (
            f"The escape target {target:g} chose no threshold for {', '.join(fallen)}: the threshold of the"
            " best outline (IoU) serves there. Label more such defects, or train longer."
        )
    if missing:
        yield (
            f"The escape target {target:g} is not kept: on validation {', '.join(missing)} are missed."
            " Train longer, or label more such defects."
        )


def _why_not(total: int) -> str:
    if total == 0:
        return "validation shows none"
    if total < FEW_DEFECTS:
        return f"only {total} on validation, {FEW_DEFECTS} needed"
    return f"none of {total} found at any level"
