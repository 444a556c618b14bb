"""What 8 bits cost a network: pixels and defects on validation frames, beside the network in floating point.

Mean IoU alone would hide it: a tenth of a rare class's defects weighs next to nothing there, and each is
an escape. A package that loses more than it may is refused; what it loses within that, and what
these frames cannot tell, is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from inspector.config import ModelConfig
from inspector.counting import counted
from inspector.engine.graph import CompileOptions
from inspector.engine.open import choose_plan
from inspector.engine.openvino import OpenVinoEngine
from inspector.engine.parity import Parity
from inspector.engine.quantised import LEAST_GOLDEN_PX, MOST_LOST, AccuracyLoss, DefectCount
from inspector.errors import Refused
from inspector.package import ModelPackage, Threshold
from trainer.dataset import Sample
from trainer.escapes import FEW_DEFECTS, may_escape
from trainer.evaluate import Reading, Segmenter, evaluate
from trainer.metrics.parting import partings_of
from trainer.validate import Tell, told

MOST_VALIDATION_PX = 60_000_000
"""Of the frames with masks on which the loss is measured: f32 takes half a second for a million."""
MOST_DEFECTS_LOST = 0.02
"""Share of a class's defects, and of all together, that int8 may lose; one defect always, unless it is the
last that was found of its class."""
ENOUGH_FRAMES = 30
"""On fewer validation frames a single one can move the mean by more than int8 may cost, both ways."""
_REMEDY = "serve it as it is, in bf16 or f32, or fit int8 on more frames or with more --tiles"


def accuracy_loss(
    package: ModelPackage,
    in_8_bits: ModelPackage,
    samples: Sequence[Sample],
    held_out: bool,
    tell: Tell = lambda *_: None,
) -> tuple[AccuracyLoss, dict[str, Any]]:
    """IoU and defects of f32 and of int8 with the truth of the same frames; and `metrics.validation`.

    held_out: whether the frames gave no calibration tile. tell: called with each frame: all take minutes.
    """
    some = _first(samples, MOST_VALIDATION_PX)
    before, after = (
        _figures(each, told(some, len(some), f"validation frames in {precision}", tell), precision)
        for each, precision in ((package, "f32"), (in_8_bits, "int8"))
    )
    found = [figures["per_defect"]["classes"] for figures in (before, after)]
    loss = AccuracyLoss(
        frames=len(some),
        held_out=held_out,
        iou_f32={name: row["iou"] for name, row in before["per_class"].items()},
        iou_int8={name: row["iou"] for name, row in after["per_class"].items()},
        miou_f32=before["miou"],
        miou_int8=after["miou"],
        defects={
            name: DefectCount(total=f32["total"], f32=f32["found"], int8=found[1][name]["found"])
            for name, f32 in found[0].items()
        },
    )
    partings = partings_of(package.classes, package.manifest.metrics)
    classes = {
        name: {"iou": after["per_class"][name]["iou"], **asdict(parting)}
        for name, parting in zip(package.classes, partings, strict=True)
    }
    return loss, {"frames": len(some), "classes": classes, "per_defect": after["per_defect"]}


def refuse_lost(package: ModelPackage, loss: AccuracyLoss, golden: Parity) -> None:
    """Raises Refused, naming both values, where int8 costs more than it may, or nothing shows its cost.

    golden: int8 against the golden probabilities of the package in floating point, its defects counted from
    LEAST_GOLDEN_PX on. None of these may be lost. Smaller ones may: they are what that network marks and not
    the truth, mostly single pixels at a threshold; one that is a defect all the same counts on the
    validation frames, where the truth says so.
    """
    frames = _frames(loss)
    if not any(one.total for one in loss.defects.values()):
        raise Refused(
            f"None of the {frames} shows a defect, so nothing tells what int8 costs {package.path}; give data"
            " with labelled defects."
        )
    if loss.too_much:
        raise Refused(
            f"{package.path} loses {-100 * (loss.miou_change or 0):.2f} points of mean IoU in int8 on"
            f" {frames}, {100 * MOST_LOST:g} are allowed; {_remedy(loss)}."
        )
    if worst := tuple(_too_many(loss)):
        raise Refused(
            f"{package.path} loses defects in int8: on {frames} it finds {', '.join(worst)}; {_remedy(loss)}."
        )
    if golden.lost:
        raise Refused(
            f"{package.path} loses golden defects in int8: of {golden.defects} with at least"
            f" {LEAST_GOLDEN_PX} px it finds {golden.defects - golden.lost}, and none may be lost; {_REMEDY}."
        )


def _frames(loss: AccuracyLoss) -> str:
    return counted(loss.frames, "validation frame" if loss.held_out else "frame") + (
        "" if loss.held_out else " that it was fitted on as well"
    )


def _remedy(loss: AccuracyLoss) -> str:
    """What to do, and on few frames that they may be why."""
    if loss.frames >= ENOUGH_FRAMES:
        return _REMEDY
    return f"on so few it may be chance, {ENOUGH_FRAMES} are enough to tell: label more, or {_REMEDY}"


def _too_many(loss: AccuracyLoss) -> Iterator[str]:
    """In words, what lost more defects than it may: classes, else all together."""
    whole = True
    for name, one in loss.defects.items():
        most = _may_lose(one.total)
        if one.lost > most or (one.f32 and not one.int8):
            whole = False
            yield f"{one.int8} of {one.total} {name} where f32 finds {one.f32} ({most} may be lost)"
    total, lost = sum(one.total for one in loss.defects.values()), sum(loss.lost.values())
    if whole and lost > _may_lose(total):
        classes = ", ".join(f"{count} {name}" for name, count in loss.lost.items())
        yield f"{lost} of {total} fewer than f32: {classes} ({_may_lose(total)} may be lost)"


def _may_lose(total: int) -> int:
    return max(1, may_escape(MOST_DEFECTS_LOST, total))


def kept_thresholds(package: ModelPackage, loss: AccuracyLoss) -> dict[str, Threshold]:
    """The package's thresholds, each with its escape target only where int8 was seen to keep it."""
    return {
        name: threshold
        if (target := threshold.escape_target) is None or _why_not_kept(target, loss.defects[name]) is None
        else threshold.model_copy(update={"escape_target": None})
        for name, threshold in package.manifest.thresholds.items()
    }


def loss_doubts(package: ModelPackage, loss: AccuracyLoss) -> Iterator[str]:
    """Sentences for the user, each with its remedy: what int8 loses within its limits, most serious first."""
    if lost := loss.lost:
        rows = ((name, loss.defects[name]) for name in lost)
        words = (f"{one.int8} of {one.total} {name} where f32 finds {one.f32}" for name, one in rows)
        yield f"int8 loses defects: it finds {', '.join(words)}. More --tiles may keep them."
    if loss.frames < ENOUGH_FRAMES:
        yield (
            f"What int8 costs was measured on only {_frames(loss)}: on so few it may be chance,"
            f" {ENOUGH_FRAMES} are enough to tell. Label more."
        )
    unkept = [
        f"{name} ({target:g}: {why})"
        for name, threshold in package.manifest.thresholds.items()
        if (target := threshold.escape_target) is not None
        and (why := _why_not_kept(target, loss.defects[name])) is not None
    ]
    if unkept:
        yield (
            f"int8 was not seen to keep the escape target of {', '.join(unkept)}: the package names none"
            " there. Give data with more such defects, or serve bf16 or f32."
        )
    if unseen := [name for name, one in loss.defects.items() if not one.total]:
        yield (
            f"The validation frames show no {' and no '.join(unseen)}: what int8 costs there was not"
            " measured. Give data with such defects."
        )


def _why_not_kept(target: float, counts: DefectCount) -> str | None:
    """What keeps these counts from showing that int8 keeps an escape target; None where they show it."""
    if counts.total < FEW_DEFECTS:
        return f"only {counts.total} on validation, {FEW_DEFECTS} needed"
    if (missed := counts.total - counts.int8) > may_escape(target, counts.total):
        return f"misses {missed} of {counts.total}, f32 {counts.total - counts.f32}"
    return None


def _figures(package: ModelPackage, samples: Iterable[Sample], precision: str) -> dict[str, Any]:
    segmenter = Segmenter(
        package.geometry,
        lambda frame: choose_plan(package, frame, ModelConfig()),
        lambda plan: OpenVinoEngine(package, plan.input, CompileOptions(precision)),
    )
    try:
        halo = package.geometry.halo
        return evaluate(samples, segmenter, Reading.of(package), halo=halo).json()
    finally:
        segmenter.close()


def _first(samples: Sequence[Sample], most_px: int) -> list[Sample]:
    """At least one, and no more than have so many pixels together."""
    some: list[Sample] = []
    for sample in samples:
        image = sample.image()
        most_px -= image.shape[0] * image.shape[1]
        if some and most_px < 0:
            break
        some.append(sample)
    return some
