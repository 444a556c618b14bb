"""Thresholds for each class, chosen on validation frames for the best intersection over union."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.types import Mask, ProbMap
from trainer.dataset import IGNORE

LOWEST, HIGHEST = 8, 242
"""Levels of 255 between which a threshold may lie (0.03 and 0.95): beyond them few pixels decide.
Calibrated probabilities of a rare class that is hard to tell hardly rise above 0.2."""
FEW = 10
"""With fewer defects than this a class's own threshold is drawn towards the one of all classes."""
HALF = 128
"""The level from which a class has more than half of the probability."""
PLATEAU = 0.995
"""Thresholds this close to the best count as best; their middle is taken."""


@dataclass(frozen=True, slots=True)
class ClassChoice:
    """What validation says of one class."""

    threshold: float
    """0 to 1."""
    iou: float | None
    """At the threshold, over all validation pixels; None when no validation frame shows the class."""
    defects: int
    """8-connected true regions seen."""
    pixels: int
    escape_target: float | None = None
    """What the threshold was chosen for; None: the best IoU."""


class ProbabilityHistogram:
    """How often each of the 256 levels was given to pixels of a class and to all others."""

    def __init__(self, classes: int) -> None:
        self._true = np.zeros((classes, 256), np.int64)
        self._false = np.zeros((classes, 256), np.int64)
        self._defects = np.zeros(classes, np.int64)

    def add(self, probs: ProbMap, mask: Mask) -> None:
        """Count one frame. probs: uint8 (H, W, K) of the defect classes. mask: uint8 (H, W), 255 = ignore."""
        valid = mask != IGNORE
        for k in range(probs.shape[2]):
            truth = mask == k + 1
            everything = np.bincount(probs[..., k][valid], minlength=256)
            hits = np.bincount(probs[..., k][truth], minlength=256)
            self._true[k] += hits
            self._false[k] += everything - hits
            if hits.any():
                self._defects[k] += cv2.connectedComponents(truth.view(np.uint8), connectivity=8)[0] - 1

    def counts(self) -> tuple[NDArray[np.int64], ...]:
        """All that is counted; added up in place they are the counts of several processes' frames."""
        return self._true, self._false, self._defects

    def called(self) -> tuple[int, ...]:
        """Pixels given to each class for more than half."""
        return tuple(int(n) for n in (self._true + self._false)[:, HALF:].sum(1))

    def choose(self, prior: Sequence[float | None]) -> tuple[ClassChoice, ...]:
        """One choice for each class, in order.

        prior: thresholds (0 to 1) towards which classes with few defects are drawn, those of the
        package that training goes on from; None: the best one threshold for all classes together.
        """
        present = self._true.sum(1) > 0
        common = _best(self._true[present].sum(0), self._false[present].sum(0)) if present.any() else 127.5
        choices = []
        for k, (true, false, defects) in enumerate(zip(self._true, self._false, self._defects, strict=True)):
            given = prior[k]
            expected = common if given is None else 255 * given
            if not true.any():
                choices.append(ClassChoice(expected / 255, None, 0, 0))
                continue
            trust = min(1.0, int(defects) / FEW)
            level = trust * _best(true, false) + (1 - trust) * expected
            iou = float(_iou(true, false)[int(np.ceil(level))])
            choices.append(ClassChoice(level / 255, iou, int(defects), int(true.sum())))
        return tuple(choices)

    def score(self) -> float:
        """Mean over the classes shown of the best IoU that any threshold reaches; 0 when none is shown."""
        best = [
            float(_iou(true, false)[LOWEST : HIGHEST + 1].max())
            for true, false in zip(self._true, self._false, strict=True)
            if true.any()
        ]
        return float(np.mean(best)) if best else 0.0


def _iou(true: NDArray[np.int64], false: NDArray[np.int64]) -> NDArray[np.float64]:
    """(256,): IoU when every pixel of this level and above is called the class."""
    hits, alarms = true[::-1].cumsum()[::-1], false[::-1].cumsum()[::-1]
    return np.asarray(hits / np.maximum(true.sum() + alarms, 1))


def _best(true: NDArray[np.int64], false: NDArray[np.int64]) -> float:
    """The middle of the levels whose IoU is as good as the best one's."""
    iou = _iou(true, false)[LOWEST : HIGHEST + 1]
    return float(LOWEST + np.flatnonzero(iou >= PLATEAU * iou.max()).mean())
