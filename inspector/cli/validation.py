"""A package's own validation figures in words, and a warning where they say that it finds nothing.

They come from the manifest, which `trainer export` filled; a package of another origin may lack any, or
have something else in their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from inspector.counting import counted

_Number = TypeVar("_Number", int, float)
LEAST_RECALL, LEAST_IOU = 0.1, 0.05
"""Below these a network as good as finds nothing, or marks other places than the defects."""


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """What a network does with the validation pictures of one class, or of all. None: not recorded."""

    name: str
    iou: float | None
    found: int | None
    total: int | None

    @property
    def finds_nothing(self) -> bool:
        """By its defects where they were counted, else by its pixels: hairlines with a low IoU are found."""
        if self.found is not None and self.total:
            return self.found < LEAST_RECALL * self.total
        return self.iou is not None and self.iou < LEAST_IOU

    def words(self) -> str:
        """`pit IoU 0.85, 81 of 82 found`."""
        iou = "" if self.iou is None else f"IoU {self.iou:.2f}"
        found = f"{self.found} of {self.total} found" if self.total else ""
        return f"{self.name} {', '.join(part for part in (iou, found) if part) or 'not in these pictures'}"


def validation_text(metrics: Mapping[str, Any]) -> str:
    """The validation figures with counts and interval in one line; says so where there are none."""
    validation = _part(metrics, "validation")
    if not validation:
        return "the package records none; measure it with trainer evaluate"
    every = _together(validation)
    parts = ["no IoU" if every.iou is None else f"IoU {every.iou:.2f} (mean of classes)"]
    if every.total and every.found is not None:
        defects = f"{every.found} of {counted(every.total, 'true defect')}"
        parts.append(f"recall {every.found / every.total:.1%} ({defects}{_within(validation)})")
    figures = _part(validation, "per_defect")
    alarms, frames = _number(figures, "false_alarms", int), _number(figures, "frames", int)
    if alarms is not None and frames:
        parts.append(f"{counted(alarms, 'false alarm')} in {counted(frames, 'frame')}")
    return ", ".join(parts)


def class_texts(metrics: Mapping[str, Any]) -> list[str]:
    """One line a class, in the order of the package."""
    return [figures.words() for figures in _by_class(_part(metrics, "validation"))]


def validation_warning(metrics: Mapping[str, Any]) -> str | None:
    """One sentence where validation shows a network, or a class of it, that as good as finds nothing."""
    validation = _part(metrics, "validation")
    every = _together(validation)
    remedy = "train it longer, or look at its data with trainer lint"
    if every.finds_nothing:
        found = "next to nothing in its validation, so parts with defects will pass"
        return f"This network found {found}; {remedy}."
    if every.iou is not None and every.iou < LEAST_IOU:
        return f"What this network marked in its validation hardly lay on the true defects; {remedy}."
    blind = [figures.name for figures in _by_class(validation) if figures.finds_nothing]
    if blind:
        classes = f"next to none of the true defects of {', '.join(blind)} in its validation"
        return f"This network found {classes}, so parts with them will pass; {remedy}."
    return None


def _within(validation: Mapping[str, Any]) -> str:
    interval = _part(validation, "per_defect").get("recall_95")
    match interval:
        case [float() | int() as low, float() | int() as high]:
            return f", 95 %: {low:.1%} to {high:.1%}"
    return ""


def _by_class(validation: Mapping[str, Any]) -> list[ClassFigures]:
    counts = _part(_part(validation, "per_defect"), "classes")
    classes = _part(validation, "classes")
    found = []
    for name in classes:
        figures, of = _part(classes, name), _part(counts, name)
        # The IoU of a class that was not in these pictures says nothing.
        iou = _number(figures, "iou", float) if figures.get("defects") != 0 else None
        found.append(ClassFigures(name, iou, _number(of, "found", int), _number(of, "total", int)))
    return found


def _together(validation: Mapping[str, Any]) -> ClassFigures:
    ious = [figures.iou for figures in _by_class(validation) if figures.iou is not None]
    every = _part(validation, "per_defect")
    mean = sum(ious) / len(ious) if ious else None
    return ClassFigures("every class", mean, _number(every, "found", int), _number(every, "total", int))


def _part(figures: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """What lies under this key; nothing where it is missing or is no object."""
    found = figures.get(key)
    return found if isinstance(found, Mapping) else {}


def _number(figures: Mapping[str, Any], key: str, kind: type[_Number]) -> _Number | None:
    """The figure under this key; None where it is missing or is no number of this kind."""
    found = figures.get(key)
    if kind is float and type(found) is int:
        found = float(found)
    return found if isinstance(found, kind) else None
