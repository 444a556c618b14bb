"""Pixel and Rand error at the threshold that makes each lowest, as the EM challenge takes them.

The challenge thresholds a probability map at ten levels and counts the best for each error (Arganda-Carreras
et al. 2015; Ronneberger, Fischer, Brox 2015, section 4). That threshold is chosen on the very frames that
are judged: these figures compare with the challenge's tables and with nothing that serves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.metrics.intervals import share
from trainer.metrics.judged import Judged
from trainer.metrics.segments import components, rand_error
from trainer.weights import IGNORE

THRESHOLDS = tuple(round(0.05 + 0.1 * number, 2) for number in range(10))
ERRORS = ("pixel_error", "rand_error")


class ChallengeErrors:
    """Over frames of one class and without instance masks, as micrographs of membranes are."""

    def __init__(self) -> None:
        self._sums = np.zeros((len(ERRORS), len(THRESHOLDS), 2))
        """Errors, and what they are a share of: pixels, and frames that have a segment."""

    def update(self, judged: Judged) -> None:
        """Count one frame; one of several classes or with an instance mask is left out."""
        if judged.instances is not None or judged.probs.shape[2] != 1:
            return
        truth, valid = judged.truth, judged.truth != IGNORE
        segments = components(truth == 0, 4)
        for number, threshold in enumerate(THRESHOLDS):
            said = (judged.probs[..., 0] >= 255 * threshold).astype(np.uint8)
            self._sums[0, number] += np.count_nonzero((said != truth) & valid), np.count_nonzero(valid)
            error = rand_error(segments, components(said == 0, 4))
            if error is not None:
                self._sums[1, number] += error, 1

    def json(self) -> dict[str, Any]:
        """challenge: for each error `lowest`, its `threshold`, and what all `thresholds` give."""
        found: dict[str, Any] = {}
        for name, sums in zip(ERRORS, self._sums, strict=True):
            errors = share(sums[:, 0], sums[:, 1])
            if not np.isnan(errors).all():
                best = int(np.nanargmin(errors))
                found[name] = {
                    "lowest": float(errors[best]),
                    "threshold": THRESHOLDS[best],
                    "thresholds": list(THRESHOLDS),
                    "errors": errors.tolist(),
                }
        return {"challenge": found} if found else {}
