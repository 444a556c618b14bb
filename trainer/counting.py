"""Thresholds that tell instances apart, chosen on validation frames where instances touch.

Intersection over union hardly notices the ridge, one pixel wide, that two touching cells need between them;
average precision at IoU 0.5 counts both as missed without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.regions import damaged_box
from inspector.types import Mask, ProbMap
from trainer.metrics.instances import COUNTED, count_instances, overlaps, predicted_instances
from trainer.thresholds import HIGHEST, PARTS_TO_TRUST, ClassChoice, middle_of_best
from trainer.validate import Shown
from trainer.weights import IGNORE, instances_of

STEP = 13
LEVELS = np.arange(STEP, HIGHEST + 1, STEP)
"""Levels of 255 that are tried, a twentieth apart."""
TOUCHING = 0.05
"""From this share of instances that touch another one on, thresholds are chosen to count them."""


def instances_touch(frames: Iterable[Shown]) -> bool:
    """Whether more than a twentieth of the instances share an 8-connected region with another one.

    Frames without an instance mask tell nothing of it.
    """
    touching = total = 0
    for frame in frames:
        if frame.instances is None:
            continue
        instances = instances_of(frame.mask, frame.instances)
        for class_id in np.unique(frame.mask[instances > 0]).tolist():
            of_class = frame.mask == class_id
            regions = cv2.connectedComponents(of_class.astype(np.uint8), connectivity=8)[1]
            pairs = np.unique(np.stack([regions[of_class], instances[of_class]]), axis=1)
            alone = np.bincount(pairs[0]) == 1
            total += pairs.shape[1]
            touching += int(np.count_nonzero(~alone[pairs[0]]))
    return touching > TOUCHING * total


class InstanceCurve:
    """True, predicted and rightly outlined instances of each class at each level."""

    def __init__(self, classes: int) -> None:
        self._counts = np.zeros((classes, len(LEVELS), len(COUNTED)))
        self._pixels = np.zeros((classes, len(LEVELS), 2), np.int64)
        """Pixels in both truth and prediction, and in either."""
        self._parts: list[set[str]] = [set() for _ in range(classes)]

    def add(self, probs: ProbMap, frame: Shown) -> None:
        """Count one frame. probs: uint8 (H, W, K) of the defect classes."""
        truth, valid = frame.mask, frame.mask != IGNORE
        instances = instances_of(truth, frame.instances)
        for k in range(probs.shape[2]):
            of_class = truth == k + 1
            y0, x0, y1, x1 = damaged_box((of_class | (probs[..., k] >= LEVELS[0])).astype(np.uint8))
            if y0 == y1:
                continue
            box = slice(y0, y1), slice(x0, x1)
            self._add(k, probs[..., k][box], of_class[box], np.where(of_class, instances, 0)[box], valid[box])
            if of_class.any():
                self._parts[k].add(frame.part)

    def _add(
        self,
        k: int,
        probs: NDArray[np.uint8],
        of_class: NDArray[np.bool_],
        instances: NDArray[np.int32],
        valid: NDArray[np.bool_],
    ) -> None:
        for number, level in enumerate(LEVELS):
            said: Mask = (probs >= level).astype(np.uint8)
            predicted = np.where(valid, predicted_instances(said), 0)
            self._counts[k, number] += count_instances(overlaps(instances, predicted))
            both = np.count_nonzero((said > 0) & of_class)
            self._pixels[k, number] += both, np.count_nonzero(((said > 0) & valid) | of_class)

    def choose(self, choices: Sequence[ClassChoice]) -> tuple[ClassChoice, ...]:
        """The choices with the thresholds of the best average precision at IoU 0.5.

        A class that few parts show is drawn towards the choice that it has; one of which no instance is
        outlined at any level keeps it.
        """
        return tuple(self._chosen(k, choice) for k, choice in enumerate(choices))

    def _chosen(self, k: int, choice: ClassChoice) -> ClassChoice:
        of = dict(zip(COUNTED, self._counts[k].T, strict=True))
        precision = of["hits"] / np.maximum(of["true"] + of["predicted"] - of["hits"], 1)
        if not of["hits"].any():
            return choice
        trust = min(1.0, len(self._parts[k]) / PARTS_TO_TRUST)
        best = float(np.interp(middle_of_best(precision), np.arange(len(LEVELS)), LEVELS))
        wanted = trust * best + (1 - trust) * 255 * choice.threshold
        at = int(np.abs(LEVELS - wanted).argmin())
        both, either = self._pixels[k, at].tolist()
        threshold = float(LEVELS[at] / 255)
        return replace(choice, threshold=threshold, iou=both / max(1, either), ap50=float(precision[at]))
