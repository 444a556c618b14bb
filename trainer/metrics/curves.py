"""Precision and recall of each class at every threshold, by pixel and by defect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.escapes import EscapeCurve
from trainer.metrics.intervals import bootstrap, share
from trainer.metrics.judged import Judged
from trainer.weights import IGNORE

POINTS = tuple(range(5, 256, 10))
"""Levels of 255 that the pixel curve shows; its average precision is over all of them."""


class PixelCurves:
    """Precision and recall of pixels, one class against all the rest, at each of the 256 levels.

    Unlike in the line's mask, classes do not compete for a pixel here, so that each class's curve
    is its own. At the served threshold the figures `per_class` may therefore be a little lower.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._parts: dict[str, NDArray[np.int64]] = {}
        """(classes, [other, own], 256): pixels by the level that they were given."""

    def update(self, judged: Judged) -> None:
        """Count one frame. Ignored pixels are left out."""
        counts = np.zeros((len(self._classes), 2, 256), np.int64)
        valid = judged.truth != IGNORE
        for k in range(len(self._classes)):
            given = judged.probs[..., k][valid].astype(np.int64)
            own = judged.truth[valid] == k + 1
            counts[k] = np.bincount(own * 256 + given, minlength=512).reshape(2, 256)
        self._parts[judged.part] = self._parts.get(judged.part, 0) + counts

    def json(self) -> dict[str, Any]:
        """pixel_curves: by class average_precision and points, with intervals by part."""
        parts = list(self._parts.values())
        return {
            "pixel_curves": {
                name: _curve([part[k] for part in parts])
                for k, name in enumerate(self._classes)
                if any(part[k, 1].any() for part in parts)
            }
        }


def average_precision(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under the curve in steps: the mean precision over the recall that each level adds.

    counts: (..., 2, 256) of other and own pixels by level. Returns (...); NaN without an own pixel.
    Source: as scikit-learn's average_precision_score.
    """
    precision, recall = _rates(counts)
    gained = recall - np.concatenate([recall[..., 1:], np.zeros_like(recall[..., :1])], axis=-1)
    return np.asarray((np.where(gained > 0, np.nan_to_num(precision), 0.0) * gained).sum(-1))


def _rates(counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(precision, recall), each (..., 256), when this level and all above it are called the class."""
    reached = counts[..., ::-1].cumsum(-1)[..., ::-1]
    own = reached[..., 1, :]
    return share(own, reached.sum(-2)), share(own, own[..., :1])


def _curve(parts: list[NDArray[np.int64]]) -> dict[str, Any]:
    """parts: (2, 256) of each part."""

    def figures(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        rates = (side[..., list(POINTS)] for side in _rates(counts))
        return np.concatenate([average_precision(counts)[..., None], *rates], axis=-1)

    values = figures(np.sum(parts, axis=0).astype(np.float64)).tolist()
    bounds = bootstrap(parts, figures).tolist()
    points, count = [], len(POINTS)
    for n, level in enumerate(POINTS):
        p, r = 1 + n, 1 + count + n
        points.append(
            {
                "threshold": level / 255,
                "precision": values[p],
                "precision_95": bounds[p],
                "recall": values[r],
                "recall_95": bounds[r],
            }
        )
    return {"average_precision": values[0], "average_precision_95": bounds[0], "points": points}


class DefectCurves:
    """Defects found and false alarms at each threshold, one for all classes at a time."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self.escapes = EscapeCurve(classes)

    def update(self, judged: Judged) -> None:
        """Count one frame."""
        self.escapes.add(judged.probs, judged.truth, judged.instances, judged.part)

    def json(self) -> dict[str, Any]:
        """defect_curves: by class the points of `EscapeCurve.points`, lowest threshold first."""
        return {"defect_curves": {name: self.escapes.points(name) for name in self._classes}}
