"""What tells instances apart, for classes whose instances touch on the validation frames.

Intersection over union hardly notices the ridge, one pixel wide, that two touching cells need between them;
with it each of them can be matched, without it neither. What is kept high here is the share of instances
that are matched at IoU 0.5, of all matched, missed and invented ones: `ap50` of `trainer evaluate`. Chosen
are the threshold, how small a region is a speck, and whether regions are parted at their necks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.regions import damaged_box
from inspector.types import ProbMap
from trainer.metrics.instances import COUNTED, count_instances, predicted_instances
from trainer.metrics.parting import Parting
from trainer.thresholds import PARTS_TO_TRUST, ClassChoice, middle_of_best
from trainer.validate import Shown
from trainer.weights import IGNORE, instances_of

LEVELS = (*range(13, 235, 13), 242, 248, 252)
"""Levels of 255 that are tried: a twentieth apart, closer for a network that is sure of its ridges too."""
SPECKS = 0.01
"""A region smaller than all but this share of the true instances is a speck, if there are enough to tell."""
TOUCHING = 0.05
"""A class of which more than this share of the instances touch another one is counted by instances."""


class TouchingInstances:
    """How many instances each level tells apart, of the classes in which they touch; frame after frame.

    Frames without an instance mask are left out: nobody knows what touches there.
    """

    def __init__(self, frames: Sequence[Shown], classes: int) -> None:
        """frames: all that will be added."""
        self._touch = touching_classes(frames, classes)
        self._specks = [_speck_px(frames, k + 1) if touch else 0 for k, touch in enumerate(self._touch)]
        self._counts = np.zeros((classes, 2, len(LEVELS), len(COUNTED)))
        """Of regions as they are, and parted at their necks."""
        self._pixels = np.zeros((classes, len(LEVELS), 2), np.int64)
        """Pixels in both truth and prediction, and in either."""
        self._parts: list[set[str]] = [set() for _ in range(classes)]

    @property
    def any(self) -> bool:
        """Whether there is such a class."""
        return any(self._touch)

    def add(self, probs: ProbMap, frame: Shown, part: str) -> None:
        """Count one frame. probs: uint8 (H, W, K) of the defect classes. part: see `validate.units`."""
        if frame.instances is None:
            return
        instances = instances_of(frame.mask, frame.instances)
        for k in np.flatnonzero(self._touch).tolist():
            of_class = frame.mask == k + 1
            seen = of_class | (probs[..., k] >= LEVELS[0])
            y0, x0, y1, x1 = damaged_box(seen.astype(np.uint8))
            if y0 == y1:
                continue
            box = slice(y0, y1), slice(x0, x1)
            truth = np.where(of_class, instances, 0)[box]
            self._add(k, probs[..., k][box], truth, frame.mask[box] != IGNORE)
            if of_class.any():
                self._parts[k].add(part)

    def _add(
        self, k: int, probs: NDArray[np.uint8], truth: NDArray[np.int32], valid: NDArray[np.bool_]
    ) -> None:
        before, counts, pixels = -1, np.zeros((2, len(COUNTED))), np.zeros(2, np.int64)
        for number, level in enumerate(LEVELS):
            said = probs >= level
            marked = int(np.count_nonzero(said))
            if marked != before:  # else it is the same mask, and counts the same
                for necks in (False, True):
                    parting = [Parting(self._specks[k], necks)]
                    predicted = np.where(valid, predicted_instances(said.astype(np.uint8), parting), 0)
                    counts[int(necks)] = count_instances(truth, predicted)
                both = np.count_nonzero(said & (truth > 0))
                either = np.count_nonzero((said & valid) | (truth > 0))
                pixels, before = np.array((both, either)), marked
            self._counts[k, :, number] += counts
            self._pixels[k, number] += pixels

    def choose(
        self, choices: Sequence[ClassChoice], prior: Sequence[float | None]
    ) -> tuple[ClassChoice, ...]:
        """The choices, those of classes that touch with what matches the most instances.

        choices: of the best IoU; other classes keep theirs, and so does one of which no instance is matched
        at any level. prior: as for `ProbabilityHistogram.choose`; a class that few parts show is drawn
        towards it, or where there is none towards the best one threshold of all classes that touch.
        """
        true, predicted, hits = (self._counts[..., COUNTED.index(n)] for n in ("true", "predicted", "hits"))
        ways = hits / np.maximum(true + predicted - hits, 1)  # (classes, 2, levels)
        plain, parted = ways.max(2).T
        necks = parted > plain
        ap50 = np.where(necks[:, None], ways[:, 1], ways[:, 0])
        shown = np.flatnonzero(ap50.any(1))
        if not len(shown):
            return tuple(choices)
        common = _level(ap50[shown].mean(0))
        found = list(choices)
        for k in shown.tolist():
            given = prior[k]
            at = self._level_for(k, common if given is None else 255 * given, ap50[k])
            both, either = self._pixels[k, at].tolist()
            found[k] = replace(
                choices[k],
                threshold=LEVELS[at] / 255,
                iou=both / max(1, either),
                ap50=float(ap50[k, at]),
                speck_px=self._specks[k],
                necks=bool(necks[k]),
            )
        return tuple(found)

    def _level_for(self, k: int, expected: float, ap50: NDArray[np.float64]) -> int:
        """Which of LEVELS serves a class, drawn towards the expected one where few parts show it."""
        trust = min(1.0, len(self._parts[k]) / PARTS_TO_TRUST)
        wanted = trust * _level(ap50) + (1 - trust) * expected
        return int(np.abs(np.array(LEVELS) - wanted).argmin())


def _speck_px(frames: Sequence[Shown], class_id: int) -> int:
    """Fewer pixels than all but SPECKS of the named instances of a class have; 0 where they are too few."""
    sizes: list[int] = []
    for frame in frames:
        if frame.instances is not None:
            counts = np.bincount(frame.instances[frame.mask == class_id])[1:]
            sizes += counts[counts > 0].tolist()
    return int(np.quantile(sizes, SPECKS, method="lower")) if len(sizes) >= 1 / SPECKS else 0


def touching_classes(frames: Sequence[Shown], classes: int) -> tuple[bool, ...]:
    """Of which classes more than a twentieth of the instances stand one pixel or less from another one.

    Of the ids of instance masks; frames without one tell nothing.
    """
    counts = np.zeros((classes, 2), np.int64)
    for frame in frames:
        for k in range(classes if frame.instances is not None else 0):
            counts[k] += _touching(frame.mask == k + 1, frame.instances)
    return tuple((counts[:, 0] > TOUCHING * counts[:, 1]).tolist())


def _touching(of_class: NDArray[np.bool_], ids: NDArray[np.uint16] | None) -> tuple[int, int]:
    """Instances of one class that touch another one, and all."""
    if ids is None or not of_class.any():
        return 0, 0
    # Grown by a pixel to one side, regions meet across a gap of one pixel, not of two.
    grown = cv2.dilate(of_class.astype(np.uint8), np.ones((2, 2), np.uint8))
    regions = cv2.connectedComponents(grown, connectivity=8)[1]
    named = of_class & (ids > 0)
    pairs = np.unique(regions[named].astype(np.int64) << 16 | ids[named])
    crowded = np.bincount(pairs >> 16) > 1
    touching = np.unique((pairs & 0xFFFF)[crowded[pairs >> 16]])
    return len(touching), len(np.unique(pairs & 0xFFFF))


def _level(ap50: NDArray[np.float64]) -> float:
    """The middle of the best levels; of two the higher, which lies farther from the ridges."""
    return float(LEVELS[math.ceil(middle_of_best(ap50))])
