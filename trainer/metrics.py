"""Figures that say how good a network is, as small objects: update with a frame, then ask.

Each figure comes with its counts, and rates with a 95 % interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from skimage.metrics import adapted_rand_error

from inspector.defects import MatchCounts
from inspector.types import Mask
from trainer.weights import IGNORE

Z95 = 1.959963984540054
RESAMPLES = 2000


class Confusion:
    """Pixels by true and predicted class, background first."""

    def __init__(self, classes: int) -> None:
        """classes: with the background."""
        self.matrix = np.zeros((classes, classes), np.int64)
        """(true, predicted)."""

    def update(self, truth: Mask, predicted: Mask, where: NDArray[np.bool_] | None = None) -> None:
        """Count one frame. Pixels that the truth ignores (255) or `where` leaves out are not counted."""
        count = len(self.matrix)
        counted = truth != IGNORE if where is None else where & (truth != IGNORE)
        pairs = truth[counted].astype(np.int64) * count + predicted[counted]
        self.matrix += np.bincount(pairs, minlength=count * count).reshape(count, count)

    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each class; NaN for a class in neither truth nor prediction."""
        return iou_of(self.matrix)

    def miou(self) -> float:
        """Mean IoU over background and defect classes, absent ones left out; NaN without a pixel."""
        return float(_mean(self.iou()))

    def pixel_error(self) -> float:
        """Share of pixels with a wrong class; NaN without a pixel."""
        total = self.matrix.sum()
        return float(1 - np.trace(self.matrix) / total) if total else math.nan

    def of_class(self, class_id: int) -> dict[str, float | int]:
        """iou, dice, precision and recall of one class with its pixel counts; NaN where nothing counts."""
        hits = int(self.matrix[class_id, class_id])
        true, said = int(self.matrix[class_id].sum()), int(self.matrix[:, class_id].sum())
        return {
            "iou": ratio(hits, true + said - hits),
            "dice": ratio(2 * hits, true + said),
            "precision": ratio(hits, said),
            "recall": ratio(hits, true),
            "true_px": true,
            "predicted_px": said,
        }


@dataclass(frozen=True, slots=True)
class DefectFigures:
    """Recall and false alarms of one class, or of all, over a number of frames."""

    counts: MatchCounts
    frames: int

    def json(self) -> dict[str, Any]:
        """recall (Wilson interval), false alarms a frame (Poisson interval), and the counts."""
        counts = self.counts
        return {
            "recall": ratio(counts.found, counts.total),
            "recall_95": wilson(counts.found, counts.total),
            "found": counts.found,
            "total": counts.total,
            "false_alarms_per_frame": ratio(counts.false_alarms, self.frames),
            "false_alarms_per_frame_95": poisson_rate(counts.false_alarms, self.frames),
            "false_alarms": counts.false_alarms,
            "predicted": counts.predicted,
            "frames": self.frames,
        }


def defect_figures(matches: Mapping[str, MatchCounts], frames: int) -> dict[str, Any]:
    """DefectFigures of all classes together and, under `classes`, of each by name.

    A figure that nothing stands behind is None, so that the whole is JSON.
    """
    every = sum(matches.values(), MatchCounts())
    of_class = {name: DefectFigures(counts, frames).json() for name, counts in matches.items()}
    figures: dict[str, Any] = null_for_nan({**DefectFigures(every, frames).json(), "classes": of_class})
    return figures


class RandError:
    """Mean adapted Rand error over frames: 1 - F of the Rand precision and recall of segments.

    Source: Arganda-Carreras et al. 2015 (as SNEMI3D and scikit-image compute it).
    """

    def __init__(self) -> None:
        self._errors: list[float] = []

    def update(self, truth: Mask, predicted: Mask, instances: NDArray[np.integer] | None) -> None:
        """Count one frame.

        Segments are the true instances and the predicted 8-connected components where the frame has
        an instance mask; else the 4-connected good regions, as in electron microscopy, where the
        class is the membrane between cells. A frame without a true segment of two pixels is left out.
        """
        if instances is None:
            segments, said = _components(truth == 0, 4), _components(predicted == 0, 4)
        else:
            segments, said = instances.astype(np.int64), _components(predicted > 0, 8)
        segments = np.where(truth == IGNORE, 0, segments)
        if np.bincount(segments.ravel())[1:].max(initial=0) < 2:
            return  # the figure counts pairs of pixels
        with np.errstate(invalid="ignore"):
            error = float(adapted_rand_error(segments, said)[0])  # type: ignore[no-untyped-call]
        # No pair was predicted at all: scikit-image divides 0 by 0.
        self._errors.append(1.0 if math.isnan(error) else error)

    def compute(self) -> float:
        """0 to 1, 0 is best; NaN when no frame has a segment."""
        return float(np.mean(self._errors)) if self._errors else math.nan


def ratio(part: int, whole: int) -> float:
    """part / whole, NaN when there is nothing to divide by."""
    return part / whole if whole else math.nan


def wilson(hits: int, total: int) -> tuple[float, float]:
    """95 % interval of a rate; (0, 1) without a trial. Source: Wilson 1927."""
    if not total:
        return 0.0, 1.0
    rate, spread = hits / total, Z95 * Z95 / total
    middle = (rate + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(rate * (1 - rate) / total + spread / total / 4) / (1 + spread)
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    return low, 1.0 if hits == total else min(1.0, middle + half)


def poisson_rate(events: int, frames: int) -> tuple[float, float]:
    """Exact 95 % interval of events a frame; (0, inf) without a frame. Source: Garwood 1936."""
    if not frames:
        return 0.0, math.inf
    low = stats.chi2.ppf(0.025, 2 * events) / 2 if events else 0.0
    return float(low / frames), float(stats.chi2.ppf(0.975, 2 * events + 2) / 2 / frames)


def bootstrap_iou(parts: Sequence[NDArray[np.int64]], seed: int = 0) -> NDArray[np.float64]:
    """95 % intervals of IoU by drawing whole parts again, since pixels of one part err together.

    parts: the confusion matrix of each physical part. Returns (classes + 1, 2): each class's
    interval, then that of the mean; NaN for a class that no draw shows, and for all with one part
    alone, of which every draw is the same.
    """
    if len(parts) == 1:
        return np.full((len(parts[0]) + 1, 2), np.nan)
    stacked = np.stack(list(parts))
    drawn = np.random.default_rng(seed).multinomial(
        len(parts), np.full(len(parts), 1 / len(parts)), RESAMPLES
    )
    ious = iou_of(np.tensordot(drawn, stacked, axes=1))
    columns = np.column_stack([ious, _mean(ious)])
    found = np.full((columns.shape[1], 2), np.nan)
    for k, column in enumerate(columns.T):
        if not np.isnan(column).all():
            found[k] = np.nanpercentile(column, [2.5, 97.5])
    return found


def iou_of(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of each class of one confusion matrix (K, K) or of many (..., K, K); NaN for absent classes."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    union = matrix.sum(-1) + matrix.sum(-2) - hits
    return np.asarray(np.where(union > 0, hits / np.maximum(union, 1), np.nan))


def _mean(ious: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis without NaN; NaN where all are."""
    known = ~np.isnan(ious)
    total = np.where(known, ious, 0.0).sum(-1)
    return np.asarray(np.where(known.any(-1), total / np.maximum(known.sum(-1), 1), np.nan))


def null_for_nan(value: Any) -> Any:
    """The same with None for NaN and infinity, which JSON does not have, and lists for tuples."""
    if isinstance(value, dict):
        return {key: null_for_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [null_for_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _components(region: NDArray[np.bool_], connectivity: int) -> NDArray[np.int64]:
    return cv2.connectedComponents(region.astype(np.uint8), connectivity=connectivity)[1].astype(np.int64)
