"""Thresholds for each class, chosen on validation frames for the best intersection over union."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.types import Mask, ProbMap
from trainer.dataset import IGNORE
from trainer.standing import Standing

LOWEST, HIGHEST = 8, 242
"""Levels of 255 between which a threshold may lie (0.03 and 0.95): beyond them few pixels decide.
Calibrated probabilities of a rare class that is hard to tell hardly rise above 0.2."""
PARTS_TO_TRUST = 10
"""With fewer parts that show it than this a class's own threshold is drawn towards the one of all classes."""
GROUPS = 64
"""Parts' levels are counted in as many groups at most, which bounds the memory."""
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
    """What the threshold was chosen for; None: the best IoU, or `ap50`."""
    ap50: float | None = None
    """Average precision of instances at the threshold, where it was chosen to tell them apart."""
    speck_px: int = 0
    necks: bool = False
    """See `Parting`, of which these two are the fields."""


class ProbabilityHistogram:
    """How often each of the 256 levels was given to pixels of a class and to all others, part by part."""

    def __init__(self, classes: int, parts: Iterable[str]) -> None:
        """parts: every name that `add` will be given."""
        self._part = {part: number for number, part in enumerate(dict.fromkeys(parts))}
        self._pixels = np.zeros((len(self._part), classes), np.int64)
        groups = min(GROUPS, len(self._part))
        self._true = np.zeros((groups, classes, 256), np.int64)
        self._false = np.zeros((groups, classes, 256), np.int64)
        self._defects = np.zeros(classes, np.int64)

    def add(self, probs: ProbMap, mask: Mask, part: str) -> None:
        """Count one frame. probs: uint8 (H, W, K) of the defect classes. mask: uint8 (H, W), 255 = ignore."""
        valid, number = mask != IGNORE, self._part[part]
        group = number % GROUPS
        for k in range(probs.shape[2]):
            truth = mask == k + 1
            everything = np.bincount(probs[..., k][valid], minlength=256)
            hits = np.bincount(probs[..., k][truth], minlength=256)
            self._true[group, k] += hits
            self._false[group, k] += everything - hits
            self._pixels[number, k] += hits.sum()
            if hits.any():
                self._defects[k] += cv2.connectedComponents(truth.view(np.uint8), connectivity=8)[0] - 1

    def counts(self) -> tuple[NDArray[np.int64], ...]:
        """All that is counted; added up in place they are the counts of several processes' frames."""
        return self._true, self._false, self._pixels, self._defects

    def called(self) -> tuple[int, ...]:
        """Pixels given to each class for more than half."""
        return tuple(int(n) for n in (self._true + self._false)[..., HALF:].sum((0, 2)))

    def choose(self, prior: Sequence[float | None]) -> tuple[ClassChoice, ...]:
        """One choice for each class, in order.

        prior: thresholds (0 to 1) towards which classes that few parts show are drawn, those of the
        package that training goes on from; None: the best one threshold for all classes together.
        """
        trues, falses = self._true.sum(0), self._false.sum(0)
        iou, shown = _iou(trues, falses), trues.any(1)
        common = _best(iou[shown].mean(0)) if shown.any() else 127.5
        choices = []
        for k, parts in enumerate((self._pixels > 0).sum(0).tolist()):
            given = prior[k]
            expected = common if given is None else 255 * given
            if not parts:
                choices.append(ClassChoice(expected / 255, None, 0, 0))
                continue
            trust = min(1.0, parts / PARTS_TO_TRUST)
            level = trust * _best(iou[k]) + (1 - trust) * expected
            reached = float(iou[k, int(np.ceil(level))])
            choices.append(ClassChoice(level / 255, reached, int(self._defects[k]), int(trues[k].sum())))
        return tuple(choices)

    def score(self) -> float:
        """Mean over the classes shown of the best IoU that any threshold reaches; 0 when none is shown."""
        return self.standing().score

    def standing(self) -> Standing:
        """What each group of parts says of each class at the level that is best for all together."""
        iou = _iou(self._true.sum(0), self._false.sum(0))[:, LOWEST : HIGHEST + 1]
        overlap = np.zeros((*self._true.shape[:2], 2), np.int64)
        for k, level in enumerate((LOWEST + iou.argmax(1)).tolist()):
            overlap[:, k, 0] = self._true[:, k, level:].sum(1)
            overlap[:, k, 1] = self._true[:, k].sum(1) + self._false[:, k, level:].sum(1)
        return Standing(overlap, self._true.sum(2) > 0)


def _iou(true: NDArray[np.int64], false: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K, 256): IoU of each class when every pixel of this level and above is called it."""
    hits, alarms = true[:, ::-1].cumsum(1)[:, ::-1], false[:, ::-1].cumsum(1)[:, ::-1]
    return np.asarray(hits / np.maximum(true.sum(1, keepdims=True) + alarms, 1))


def _best(iou: NDArray[np.float64]) -> float:
    return LOWEST + middle_of_best(iou[LOWEST : HIGHEST + 1])


def middle_of_best(values: NDArray[np.float64]) -> float:
    """Where the middle is of those around the highest one that are as good as it; in places from 0."""
    best = int(values.argmax())
    lower = np.flatnonzero(values < PLATEAU * values[best])
    first = lower[lower < best].max(initial=-1) + 1
    last = lower[lower > best].min(initial=len(values)) - 1
    return float((first + last) / 2)
