"""A package's own validation figures in words, and a warning where they say that it finds nothing.

They come from the manifest, which `trainer export` filled; a package of another origin may lack any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inspector.counting import counted

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
    validation = metrics.get("validation")
    if not validation:
        return "the package records none; measure it with trainer evaluate"
    every = _together(validation)
    parts = ["no IoU" if every.iou is None else f"IoU {every.iou:.2f} (mean of classes)"]
    figures = validation.get("per_defect", {})
    if figures.get("total") and every.found is not None:
        interval = figures.get("recall_95")
        within = f", 95 %: {interval[0]:.1%} to {interval[1]:.1%}" if interval else ""
        defects = counted(figures["total"], "true defect")
        parts.append(f"recall {every.found / figures['total']:.1%} ({every.found} of {defects}{within})")
    if figures.get("false_alarms") is not None and figures.get("frames"):
        alarms = counted(figures["false_alarms"], "false alarm")
        parts.append(f"{alarms} in {counted(figures['frames'], 'frame')}")
    return ", ".join(parts)


def class_texts(metrics: Mapping[str, Any]) -> list[str]:
    """One line a class, in the order of the package."""
    return [figures.words() for figures in _by_class(metrics.get("validation") or {})]


def validation_warning(metrics: Mapping[str, Any]) -> str | None:
    """One sentence where validation shows a network, or a class of it, that as good as finds nothing."""
    validation = metrics.get("validation") or {}
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


def _by_class(validation: Mapping[str, Any]) -> list[ClassFigures]:
    counts = validation.get("per_defect", {}).get("classes", {})
    found = []
    for name, figures in validation.get("classes", {}).items():
        of = counts.get(name, {})
        iou = figures.get("iou") if figures.get("defects") != 0 else None  # of a class that was not there
        found.append(ClassFigures(name, iou, of.get("found"), of.get("total")))
    return found


def _together(validation: Mapping[str, Any]) -> ClassFigures:
    ious = [figures.iou for figures in _by_class(validation) if figures.iou is not None]
    every = validation.get("per_defect", {})
    mean = sum(ious) / len(ious) if ious else None
    return ClassFigures("every class", mean, every.get("found"), every.get("total"))
