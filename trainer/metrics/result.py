"""Everything that one evaluation counted, and the object that `trainer evaluate --json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from inspector.defects import MatchCounts, match_defects
from trainer.metrics.curves import DefectCurves, PixelCurves
from trainer.metrics.frames import FrameList
from trainer.metrics.instances import InstanceFigures
from trainer.metrics.judged import Figure, Judged, null_for_nan
from trainer.metrics.matches import PartMatches, defect_figures
from trainer.metrics.pixels import Confusion, bootstrap_iou, pixel_intervals
from trainer.metrics.segments import RandError
from trainer.metrics.warping import WarpingError
from trainer.metrics.widths import WidthRecall

Also = Literal["pixel_error", "rand_error", "warping_error", "seg", "ap50", "widths", "curves", "frames"]
"""Figures that are computed only when asked for; `frames` keeps every frame's outcome."""
ASKED = get_args(Also)
BACKGROUND = "background"
_SHARES = ("dice", "precision", "recall")


@dataclass(slots=True)
class EvaluationResult:
    """Everything that was counted over the frames of one evaluation."""

    classes: tuple[str, ...]
    """Defect classes."""
    border_px: int
    also: tuple[Also, ...] = ()
    pixels: Confusion = field(init=False)
    border: Confusion = field(init=False)
    """The same, over the pixels within one halo of the frame's edge."""
    matches: dict[str, MatchCounts] = field(init=False)
    frames: int = 0
    parts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Confusion matrix of each physical part."""
    by_part: PartMatches = field(default_factory=PartMatches)
    figures: dict[str, Figure] = field(init=False)
    """What `also` asked for, by the name that asked first."""

    def __post_init__(self) -> None:
        count = len(self.classes) + 1
        self.pixels, self.border = Confusion(count), Confusion(count)
        self.matches = {name: MatchCounts() for name in self.classes}
        self.figures = _figures(self.classes, self.also)

    def add(self, judged: Judged) -> None:
        """Count one frame."""
        truth, predicted, part = judged.truth, judged.predicted, judged.part
        of_frame = Confusion(len(self.classes) + 1)
        of_frame.update(truth, predicted)
        self.pixels.matrix += of_frame.matrix
        self.parts[part] = self.parts.get(part, 0) + of_frame.matrix
        self.border.update(truth, predicted, _near_edge(truth.shape, self.border_px))
        found = match_defects(truth, judged.instances, predicted, self.classes)
        for name, counts in found.items():
            self.matches[name] += counts
        self.by_part.update(part, found)
        for figure in self.figures.values():
            figure.update(judged)
        self.frames += 1

    def json(self) -> dict[str, Any]:
        """The figures of `trainer evaluate --json`; a figure that nothing stands behind is null."""
        names = (BACKGROUND, *self.classes)
        parts = list(self.parts.values())
        ious = bootstrap_iou(parts) if parts else np.full((len(names) + 1, 2), np.nan)
        shares = pixel_intervals(parts) if parts else {}
        rows: dict[str, dict[str, Any]] = {}
        for k, name in enumerate(names):
            bounds = {f"{share}_95": list(shares[share][k]) for share in _SHARES if shares}
            rows[name] = {**self.pixels.of_class(k), "iou_95": list(ious[k]), **bounds}
        found: dict[str, Any] = {
            "miou": self.pixels.miou(),
            "miou_95": list(ious[-1]),
            "per_class": rows,
            "per_defect": defect_figures(self.matches, self.frames, self.by_part),
            "border": {
                "px": self.border_px,
                "miou": self.border.miou(),
                "iou": dict(zip(names, self.border.iou().tolist(), strict=True)),
            },
            "confusion": {"classes": list(names), "px": self.pixels.matrix.tolist()},
            "frames": self.frames,
            "parts": len(self.parts),
        }
        if "pixel_error" in self.also:
            found["pixel_error"] = self.pixels.pixel_error()
            found["pixel_error_95"] = list(shares["pixel_error"][0]) if shares else None
        for figure in self.figures.values():
            found |= figure.json()
        cleaned: dict[str, Any] = null_for_nan(found)
        return cleaned


def _figures(classes: Sequence[str], also: Sequence[str]) -> dict[str, Figure]:
    """The counters behind the names; one object may stand behind two."""
    found: dict[str, Figure] = {}
    if "rand_error" in also:
        found["rand_error"] = RandError()
    if "warping_error" in also:
        found["warping_error"] = WarpingError()
    if "seg" in also or "ap50" in also:
        found["instances"] = InstanceFigures(classes, also)
    if "widths" in also:
        found["widths"] = WidthRecall(classes)
    if "curves" in also:
        found["pixel_curves"] = PixelCurves(classes)
        found["defect_curves"] = DefectCurves(classes)
    if "frames" in also:
        found["frames"] = FrameList(classes)
    return found


def _near_edge(shape: tuple[int, ...], width: int) -> NDArray[np.bool_]:
    near = np.ones(shape, bool)
    near[width : shape[0] - width, width : shape[1] - width] = False
    return near
