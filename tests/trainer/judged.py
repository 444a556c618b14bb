"""A frame with truth and prediction drawn by hand, for figures that can be counted on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.dataset import Sample
from trainer.metrics.judged import Judged


def judged(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    instances: NDArray[np.integer] | None = None,
    *,
    part: str = "p",
    classes: int = 1,
    probs: NDArray[np.uint8] | None = None,
) -> Judged:
    """probs: None for a model that is certain of what it says."""
    said = predicted.astype(np.uint8)
    if probs is None:
        probs = np.stack([255 * (said == k + 1) for k in range(classes)], axis=2).astype(np.uint8)
    sample = Sample(f"{part}_frame", part, Path(), Path(), 1, tuple(range(1, classes + 1)))
    ids = None if instances is None else instances.astype(np.uint16)
    return Judged(sample, np.zeros(truth.shape, np.uint8), truth.astype(np.uint8), ids, probs, said)


def drawn(*rows: str) -> NDArray[np.uint8]:
    """Digits as class ids, `.` as 0, `#` as 1, `x` as 255."""
    values = {".": 0, "#": 1, "x": 255}
    return np.array([[values.get(c, int(c) if c.isdigit() else 0) for c in row] for row in rows], np.uint8)
