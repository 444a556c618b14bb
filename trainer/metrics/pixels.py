"""Pixels by true and predicted class, and the shares that are made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.types import Mask
from trainer.metrics.intervals import bootstrap, ratio, share
from trainer.weights import IGNORE


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

    def miou_defects(self) -> float:
        """The same without the background; NaN where no defect class occurs."""
        return float(_mean(self.iou()[1:]))

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


def bootstrap_iou(parts: Sequence[NDArray[np.int64]], seed: int = 0) -> NDArray[np.float64]:
    """95 % intervals of IoU by drawing whole parts again, since pixels of one part err together.

    parts: the confusion matrix of each physical part. Returns (classes + 2, 2): each class's
    interval, then that of the mean, and of the mean without the background; see `bootstrap`.
    """

    def figures(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        ious = iou_of(matrix)
        means = _mean(ious)[..., None], _mean(ious[..., 1:])[..., None]
        return np.concatenate([ious, *means], axis=-1)

    return bootstrap(parts, figures, seed)


def pixel_intervals(parts: Sequence[NDArray[np.int64]]) -> dict[str, NDArray[np.float64]]:
    """95 % intervals (K, 2) of `dice`, `precision` and `recall` of each class, (1, 2) of `pixel_error`.

    parts: the confusion matrix of each physical part.
    """
    count = len(parts[0])

    def figures(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        hits = np.diagonal(matrix, axis1=-2, axis2=-1)
        true, said, total = matrix.sum(-1), matrix.sum(-2), matrix.sum((-2, -1))[..., None]
        wrong = share(total - hits.sum(-1)[..., None], total)
        shares = [share(2 * hits, true + said), share(hits, said), share(hits, true), wrong]
        return np.concatenate(shares, axis=-1)

    found = bootstrap(parts, figures)
    names = ("dice", "precision", "recall")
    of_class = {name: found[k * count : (k + 1) * count] for k, name in enumerate(names)}
    return {**of_class, "pixel_error": found[-1:]}


def iou_of(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """IoU of each class of one confusion matrix (K, K) or of many (..., K, K); NaN for absent classes."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return share(hits, matrix.sum(-1) + matrix.sum(-2) - hits)


def _mean(ious: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis without NaN; NaN where all are."""
    known = ~np.isnan(ious)
    total = np.where(known, ious, 0.0).sum(-1)
    return np.asarray(np.where(known.any(-1), total / np.maximum(known.sum(-1), 1), np.nan))
