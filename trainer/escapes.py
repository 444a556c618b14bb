"""Thresholds for a stated escape target: what it costs in false alarms to miss no more than that.

An escape is a true defect of which less than a tenth is found, as the line's matching rule has it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.defects import MatchCounts, mark_damage, match_defects
from inspector.regions import damaged_box
from inspector.types import Mask, ProbMap, Segmentation
from trainer.metrics.intervals import Z95
from trainer.metrics.matches import PartMatches
from trainer.weights import IGNORE

LEVELS = (
    8, 13, 19, 26, 38, 51, 77, 102, 128, 153, 179, 204, 217, 230, 237, 242, 245, 248, 250, 252, 253, 254,
)  # fmt: skip
"""Levels of 255 that are tried: from 0.03, the lowest threshold that any class may have, to 0.996. Closer
together at both ends: a rare class's calibrated probabilities lie low, those of a sure network high."""
FEW_DEFECTS = 10
"""Fewer of a class do not tell which of its thresholds keeps a target."""


@dataclass(frozen=True, slots=True)
class Trade:
    """What one threshold of one class finds and invents on the validation frames."""

    threshold: float
    found: int
    total: int
    false_alarms: int
    iou: float
    """Over all pixels of the frames."""


class EscapeCurve:
    """Defects found and false alarms of each class at each level; one frame after the other."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._matches = {level: PartMatches() for level in LEVELS}
        self._pixels = {(name, level): np.zeros(2, np.int64) for name in self._classes for level in LEVELS}
        """Pixels in both truth and prediction, and in either."""

    def add(self, probs: ProbMap, truth: Mask, instances: NDArray[np.integer] | None, part: str = "") -> None:
        """Count one frame.

        probs: uint8 (H, W, K). truth: uint8 (H, W), 255 = ignore; see `match_defects`. part: the
        physical part that it shows, for intervals.
        """
        found, box = _damage(probs, truth)
        truth, instances = truth[box], None if instances is None else instances[box]
        counted = {name: MatchCounts() for name in self._classes}
        before: Mask | None = None if truth.size else truth
        for level in LEVELS:
            # With one threshold for all, a pixel's class is the same at every level that it reaches.
            predicted = np.where(found.certainty >= level, found.mask, 0).astype(np.uint8)
            if before is None or not np.array_equal(predicted, before):
                counted, before = match_defects(truth, instances, predicted, self._classes), predicted
            self._matches[level].update(part, counted)
            for class_id, name in enumerate(self._classes, start=1):
                true, said = truth == class_id, (predicted == class_id) & (truth != IGNORE)
                self._pixels[name, level] += np.count_nonzero(true & said), np.count_nonzero(true | said)

    def trades(self, name: str) -> tuple[Trade, ...]:
        """The curve of one class, lowest threshold first."""
        trades = []
        for level in LEVELS:
            counts, (both, either) = self._matches[level].of(name).counts, self._pixels[name, level]
            iou = float(both) / max(1, int(either))
            trades.append(Trade(level / 255, counts.found, counts.total, counts.false_alarms, iou))
        return tuple(trades)

    def points(self, *names: str) -> list[dict[str, Any]]:
        """The curve of these classes together: `DefectFigures` with their intervals at each level."""
        return [{"threshold": level / 255, **self._matches[level].of(*names).json()} for level in LEVELS]

    def choose(self, target: float, least: int) -> tuple[Trade | None, ...]:
        """For each class the highest threshold that lets no more than `target` of its defects escape.

        Where none is that good, the highest of those that let the fewest escape. None for a class
        of which the frames show fewer than `least` defects: they could not tell.
        """
        return tuple(_best(self.trades(name), target, least) for name in self._classes)

    def json(self, target: float, served: Sequence[float], found: Mapping[str, Any]) -> dict[str, Any]:
        """The trade for an escape target: a row of each class, and one of `all` together.

        served: the model's own thresholds. found: `defect_figures` at these, of the same frames.
        `defects_needed`: with so many defects of a class, all found, the 95 % interval would prove the
        target. See `_row` for what a row holds.
        """
        needed = None if target <= 0 else math.ceil(Z95 * Z95 * (1 - target) / target)
        classes = {
            name: _row(target, self.points(name), {**found["classes"][name], "threshold": threshold})
            for name, threshold in zip(self._classes, served, strict=True)
        }
        every = _row(target, self.points(*self._classes), {**found, "threshold": None})
        return {"target": target, "defects_needed": needed, "classes": classes, "all": every}


def may_escape(target: float, total: int) -> int:
    """How many of `total` defects a target lets escape, counted in decimals: of 100 at 0.07 they are 7."""
    return math.floor(Fraction(str(target)) * total)


def outcomes(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The points of `EscapeCurve.points` without neighbours of one outcome; the highest stands for them."""
    groups = itertools.groupby(points, key=lambda point: (point["found"], point["false_alarms"]))
    return [list(group)[-1] for _, group in groups]


def _best(trades: tuple[Trade, ...], target: float, least: int) -> Trade | None:
    total = trades[0].total
    if total < max(1, least):
        return None
    allowed = max(may_escape(target, total), min(total - trade.found for trade in trades))
    return [trade for trade in trades if total - trade.found <= allowed][-1]


def _row(target: float, points: list[dict[str, Any]], figures: Mapping[str, Any]) -> dict[str, Any]:
    """What the points of a curve and those of the served thresholds say of the target.

    points: lowest threshold first, each with one threshold for all classes. figures: at the served
    thresholds, each class at its own. `at_target` is the point that keeps the target, or with `reached`
    False misses fewest, at the fewest false alarms, and of equal ones the highest threshold; None where
    the frames show no defect, or none is found at any. `advice` names the better by the same rule,
    "served" or "at_target"; where they are equal, it is the served one.
    """
    served = {key: figures[key] for key in points[0]}
    allowed = may_escape(target, served["total"])
    seen = max(point["found"] for point in (served, *points))
    at = min(reversed(points), key=lambda point: _cost(point, allowed)) if seen else None
    advice = None
    if at is not None:
        advice = "served" if _cost(served, allowed) <= _cost(at, allowed) else "at_target"
    return {
        "served_threshold": served["threshold"],
        "served": served,
        "served_reached": bool(seen) and _missed(served) <= allowed,
        "at_target": at,
        "reached": at is not None and _missed(at) <= allowed,
        "advice": advice,
        "points": points,
    }


def _missed(point: Mapping[str, Any]) -> int:
    return int(point["total"] - point["found"])


def _cost(point: Mapping[str, Any], allowed: int) -> tuple[int, int, int]:
    """What to keep low, most important first; a target that is kept need not be kept by more."""
    missed = _missed(point)
    return 0 if missed <= allowed else missed, int(point["false_alarms"]), missed


def _damage(probs: ProbMap, truth: Mask) -> tuple[Segmentation, tuple[slice, slice]]:
    """What the lowest level finds, and the box that holds all of it and all true defects.

    Found and certainty are of the box alone, mostly a small part of a frame: nothing outside counts.
    """
    found = Segmentation.of_nothing((probs.shape[0], probs.shape[1]))
    mark_damage(probs, [LEVELS[0] / 255] * probs.shape[2], found)
    y0, x0, y1, x1 = damaged_box(np.where(truth != IGNORE, found.mask | truth, found.mask))
    box = slice(y0, y1), slice(x0, x1)
    return Segmentation(found.mask[box], found.certainty[box]), box
