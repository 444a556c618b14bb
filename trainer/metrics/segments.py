"""Segments of a frame, as electron microscopy and cell counting know them, and their Rand error."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import adapted_rand_error

from trainer.metrics.instances import predicted_instances
from trainer.metrics.intervals import mean_by_parts, ratio
from trainer.metrics.judged import Judged
from trainer.weights import instances_of


class RandError:
    """Mean adapted Rand error over frames: 1 - F of the Rand precision and recall of segments.

    Source: Arganda-Carreras et al. 2015, as scikit-image computes it: predicted pixels of no segment are
    one more segment.
    """

    def __init__(self) -> None:
        self._parts: dict[str, NDArray[np.float64]] = {}
        """Sum of errors and number of frames of each part."""

    def update(self, judged: Judged) -> None:
        """Count one frame; one without a true segment of two pixels is left out."""
        error = rand_error(*segments_of(judged))
        if error is not None:
            self._parts[judged.part] = self._parts.get(judged.part, 0) + np.array([error, 1.0])

    def compute(self) -> float:
        """0 to 1, 0 is best; NaN when no frame has a segment."""
        return ratio(*map(float, sum(self._parts.values(), np.zeros(2))))

    def json(self) -> dict[str, Any]:
        """rand_error with its interval and the number of frames that have a segment."""
        counted = list(self._parts.values())
        return {
            "rand_error": self.compute(),
            "rand_error_95": mean_by_parts(counted),
            "rand_error_frames": int(sum(float(part[1]) for part in counted)),
        }


def rand_error(segments: NDArray[np.int64], said: NDArray[np.int64]) -> float | None:
    """Of true and predicted segments of a frame, 0 to 1; None without a true one of two pixels."""
    if np.bincount(segments.ravel())[1:].max(initial=0) < 2:
        return None  # the figure counts pairs of pixels
    with np.errstate(invalid="ignore"):
        error = float(adapted_rand_error(segments, said)[0])  # type: ignore[no-untyped-call]
    # No pair was predicted at all: scikit-image divides 0 by 0.
    return 1.0 if math.isnan(error) else error


def segments_of(judged: Judged) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(true, predicted) segments of a frame, 1, 2 ..., 0 = none; pixels that the truth ignores are none.

    The true instances and the predicted ones, as SEG counts them, where the frame has an instance
    mask; else the 4-connected good regions, as in electron microscopy, where the class is the
    membrane between cells.
    """
    truth, predicted = judged.truth, judged.predicted
    if judged.instances is None:
        return components(truth == 0, 4), components(predicted == 0, 4)
    true = instances_of(truth, judged.instances)
    return true.astype(np.int64), predicted_instances(predicted, judged.partings).astype(np.int64)


def components(region: NDArray[np.bool_], connectivity: int) -> NDArray[np.int64]:
    """4- or 8-connected pieces of a region, 1, 2 ...; int64 (H, W), 0 outside it."""
    return cv2.connectedComponents(region.astype(np.uint8), connectivity=connectivity)[1].astype(np.int64)
