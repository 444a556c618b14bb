"""Recall by the width of the defect: thin ones are the first that a network misses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inspector.defects import match_defects
from trainer.metrics.intervals import rate_by_parts, ratio
from trainer.metrics.judged import Judged
from trainer.weights import IGNORE, instances_of

EDGES_PX = (2.0, 4.0, 8.0, 16.0)
"""Widest of each band; the last band has no end."""


def true_widths(judged: Judged, class_id: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """(ids (H, W) of the true defects of one class, 0 = none; width in px by id, NaN for unused ids).

    Of an instance in several pieces the widest one counts.
    """
    truth = np.where(judged.truth == class_id, 1, 0).astype(np.uint8)
    given = None if judged.instances is None else np.where(truth > 0, judged.instances, 0)
    ids = instances_of(truth, given)
    widths = np.full(int(ids.max(initial=0)) + 1, np.nan)
    for number, box in enumerate(ndimage.find_objects(ids), start=1):
        if box is not None:
            widths[number] = width_px(ids[box] == number)
    return ids, widths


def width_px(region: NDArray[np.bool_]) -> float:
    """Diameter of the largest circle inside, as the line measures a defect's width.

    Measured on half pixels: there the distance to the background is the width itself, for
    stripes of even and of odd width.
    """
    halves = np.pad(region, 1).repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8)
    return float(cv2.distanceTransform(halves, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())


class WidthRecall:
    """Defects found and shown in each band of width, by class and part, by the line's matching rule."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._parts: dict[str, NDArray[np.int64]] = {}
        """(classes, bands, [found, total])."""

    def update(self, judged: Judged) -> None:
        """Count one frame."""
        counts = np.zeros((len(self._classes), len(EDGES_PX) + 1, 2), np.int64)
        for k, name in enumerate(self._classes):
            if not (judged.truth == k + 1).any():
                continue
            ids, widths = true_widths(judged, k + 1)
            # A hundredth of a pixel of tolerance: the width of a slanted stripe is a rounded root.
            bands = np.searchsorted(np.array(EDGES_PX) + 0.01, widths)
            for band in np.unique(bands[1:]).tolist():
                inside = (bands == band)[ids] & (ids > 0)
                truth = np.where(inside, k + 1, np.where(judged.truth == IGNORE, IGNORE, 0)).astype(np.uint8)
                shown = np.where(inside, ids, 0)
                found = match_defects(truth, shown, judged.predicted, self._classes)[name]
                counts[k, band] += found.found, found.total
        self._parts[judged.part] = self._parts.get(judged.part, 0) + counts

    def json(self) -> dict[str, Any]:
        """widths: rows of each class and of `all`, from_px (above) to to_px (at most, None = no end)."""
        shape = len(self._classes), len(EDGES_PX) + 1, 2
        table = np.array(list(self._parts.values())).reshape(-1, *shape)
        rows = {name: _rows(table[:, k]) for k, name in enumerate(self._classes)}
        return {"widths": {"classes": rows, "all": _rows(table.sum(1))}}


def _rows(table: NDArray[np.int64]) -> list[dict[str, Any]]:
    """table: (parts, bands, [found, total]). Bands without a defect are left out."""
    edges = (0.0, *EDGES_PX, math.inf)
    rows = []
    for band in range(len(edges) - 1):
        found, total = table[:, band].T
        if total.any():
            rows.append(
                {
                    "from_px": edges[band],
                    "to_px": edges[band + 1],
                    "found": int(found.sum()),
                    "total": int(total.sum()),
                    "recall": ratio(int(found.sum()), int(total.sum())),
                    "recall_95": rate_by_parts(found.tolist(), total.tolist()),
                }
            )
    return rows
