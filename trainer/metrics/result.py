"""Everything that one evaluation counted, and the object that `trainer evaluate --json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from inspector.defects import match_defects
from trainer.metrics.challenge import ChallengeErrors
from trainer.metrics.curves import DefectCurves, PixelCurves
from trainer.metrics.frames import FrameList
from trainer.metrics.instances import InstanceFigures
from trainer.metrics.judged import Figure, Judged, null_for_nan
from trainer.metrics.marked import MarkedFrames
from trainer.metrics.matches import PartMatches, as_any_class, defect_figures
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
    border_parts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """`border` of each physical part."""
    frames: int = 0
    parts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Confusion matrix of each physical part."""
    matches: PartMatches = field(default_factory=PartMatches)
    as_any: PartMatches = field(default_factory=PartMatches)
    """`matches` with the true class wherever any is marked."""
    marked: MarkedFrames = field(default_factory=MarkedFrames)
    figures: dict[str, Figure] = field(init=False)
    """What `also` asked for, by the name that asked first."""

    def __post_init__(self) -> None:
        count = len(self.classes) + 1
        self.pixels, self.border = Confusion(count), Confusion(count)
        self.figures = _figures(self.classes, self.also)

    def add(self, judged: Judged) -> None:
        """Count one frame."""
        truth, predicted, part = judged.truth, judged.predicted, judged.part
        of_frame = Confusion(len(self.classes) + 1)
        of_frame.update(truth, predicted)
        self.pixels.matrix += of_frame.matrix
        self.parts[part] = self.parts.get(part, 0) + of_frame.matrix
        at_edge = Confusion(len(self.classes) + 1)
        at_edge.update(truth, predicted, _near_edge(truth.shape, self.border_px))
        self.border.matrix += at_edge.matrix
        self.border_parts[part] = self.border_parts.get(part, 0) + at_edge.matrix
        self.matches.update(part, match_defects(truth, judged.instances, predicted, self.classes))
        any_class = as_any_class(truth, predicted)
        self.as_any.update(part, match_defects(truth, judged.instances, any_class, self.classes))
        self.marked.update(judged)
        for figure in self.figures.values():
            figure.update(judged)
        self.frames += 1

    def json(self) -> dict[str, Any]:
        """The figures of `trainer evaluate --json`; a figure that nothing stands behind is null."""
        names = (BACKGROUND, *self.classes)
        parts = list(self.parts.values())
        ious = _iou_intervals(parts, len(names))
        shares = pixel_intervals(parts) if parts else {}
        rows: dict[str, dict[str, Any]] = {}
        for k, name in enumerate(names):
            bounds = {f"{share}_95": list(shares[share][k]) for share in _SHARES if shares}
            rows[name] = {**self.pixels.of_class(k), "iou_95": list(ious[k]), **bounds}
        found: dict[str, Any] = {
            "miou": self.pixels.miou(),
            "miou_95": list(ious[len(names)]),
            "miou_defects": self.pixels.miou_defects(),
            "miou_defects_95": list(ious[-1]),
            "per_class": rows,
            "per_defect": defect_figures(self.matches, self.classes, self.as_any),
            **self.marked.json(),
            "border": self._border(names),
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

    def _border(self, names: Sequence[str]) -> dict[str, Any]:
        """IoU near the frame's edge, with the pixels that stand behind it."""
        intervals = _iou_intervals(list(self.border_parts.values()), len(names)).tolist()
        return {
            "px": self.border_px,
            "miou": self.border.miou(),
            "miou_95": intervals[len(names)],
            "iou": dict(zip(names, self.border.iou().tolist(), strict=True)),
            "iou_95": dict(zip(names, intervals[: len(names)], strict=True)),
            "true_px": dict(zip(names, self.border.matrix.sum(1).tolist(), strict=True)),
        }


def _iou_intervals(parts: Sequence[NDArray[np.int64]], classes: int) -> NDArray[np.float64]:
    """`bootstrap_iou`, NaN where no frame was counted. classes: with the background."""
    return bootstrap_iou(parts) if parts else np.full((classes + 2, 2), np.nan)


def _figures(classes: Sequence[str], also: Sequence[str]) -> dict[str, Figure]:
    """The counters behind the names; one object may stand behind two."""
    found: dict[str, Figure] = {}
    if "rand_error" in also:
        found["rand_error"] = RandError()
        found["challenge"] = ChallengeErrors()
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
