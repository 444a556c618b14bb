"""Figures that say how good a network is, as small objects: update with a frame, then ask.

Each figure comes with its counts, and rates with a 95 % interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inspector.defects import MatchCounts
from inspector.types import Image, Mask, ProbMap
from trainer.dataset import Sample
from trainer.metrics_intervals import (
    bootstrap,
    events_by_parts,
    poisson_rate,
    rate_by_parts,
    ratio,
    share,
    wilson,
)
from trainer.weights import IGNORE


@dataclass(frozen=True, slots=True)
class Judged:
    """One frame, its truth, and what the model made of it."""

    sample: Sample
    image: Image
    truth: Mask
    """Class ids, 255 = ignore."""
    instances: NDArray[np.uint16] | None
    """Ids of the true instances, where the dataset has them."""
    probs: ProbMap
    predicted: Mask
    """By the model's thresholds."""

    @property
    def part(self) -> str:
        """The physical part that the frame shows."""
        return self.sample.part


class Figure(Protocol):
    """Something that is counted over frames."""

    def update(self, judged: Judged) -> None:
        """Count one frame."""
        ...

    def json(self) -> dict[str, Any]:
        """What is to stand in the result, by name; NaN where nothing stands behind a number."""
        ...


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


@dataclass(frozen=True, slots=True)
class DefectFigures:
    """Recall and false alarms of one class, or of all, over a number of frames."""

    counts: MatchCounts
    frames: int
    parts: tuple[tuple[MatchCounts, int], ...] = ()
    """(counts, frames) of each physical part; () counts every defect and frame as a part of its own."""

    def json(self) -> dict[str, Any]:
        """recall, false alarms a frame and precision with their counts and 95 % intervals by part."""
        counts = self.counts
        parts = self.parts or ((counts, self.frames),)
        return {
            "recall": ratio(counts.found, counts.total),
            "recall_95": rate_by_parts([c.found for c, _ in parts], [c.total for c, _ in parts]),
            "found": counts.found,
            "total": counts.total,
            "false_alarms_per_frame": ratio(counts.false_alarms, self.frames),
            "false_alarms_per_frame_95": events_by_parts(
                [c.false_alarms for c, _ in parts], [frames for _, frames in parts]
            ),
            "false_alarms": counts.false_alarms,
            "predicted": counts.predicted,
            "precision": ratio(counts.predicted - counts.false_alarms, counts.predicted),
            "precision_95": rate_by_parts(
                [c.predicted - c.false_alarms for c, _ in parts], [c.predicted for c, _ in parts]
            ),
            "frames": self.frames,
        }


class PartMatches:
    """Defects found and false alarms by physical part and class."""

    def __init__(self) -> None:
        self._matches: dict[str, dict[str, MatchCounts]] = {}
        self._frames: dict[str, int] = {}

    def update(self, part: str, matches: Mapping[str, MatchCounts]) -> None:
        """Count one frame."""
        counts = self._matches.setdefault(part, {})
        for name, found in matches.items():
            counts[name] = counts.get(name, MatchCounts()) + found
        self._frames[part] = self._frames.get(part, 0) + 1

    def of(self, *names: str) -> DefectFigures:
        """The figures of these classes together."""
        nothing = MatchCounts()
        parts = tuple(
            (sum((counts.get(name, nothing) for name in names), nothing), self._frames[part])
            for part, counts in self._matches.items()
        )
        every = sum((counts for counts, _ in parts), nothing)
        return DefectFigures(every, sum(self._frames.values()), parts)


def defect_figures(
    matches: Mapping[str, MatchCounts], frames: int, by_part: PartMatches | None = None
) -> dict[str, Any]:
    """DefectFigures of all classes together and, under `classes`, of each by name.

    by_part: the same counts by part, for intervals that know of parts. A figure that nothing stands
    behind is None, so that the whole is JSON.
    """
    if by_part is not None:
        every = by_part.of(*matches)
        of_class = {name: by_part.of(name).json() for name in matches}
    else:
        every = DefectFigures(sum(matches.values(), MatchCounts()), frames)
        of_class = {name: DefectFigures(counts, frames).json() for name, counts in matches.items()}
    figures: dict[str, Any] = null_for_nan({**every.json(), "classes": of_class})
    return figures


def bootstrap_iou(parts: Sequence[NDArray[np.int64]], seed: int = 0) -> NDArray[np.float64]:
    """95 % intervals of IoU by drawing whole parts again, since pixels of one part err together.

    parts: the confusion matrix of each physical part. Returns (classes + 1, 2): each class's
    interval, then that of the mean; see `bootstrap`.
    """

    def figures(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        ious = iou_of(matrix)
        return np.concatenate([ious, _mean(ious)[..., None]], axis=-1)

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


def null_for_nan(value: Any) -> Any:
    """The same with None for NaN and infinity, which JSON does not have, and lists for tuples."""
    if isinstance(value, dict):
        return {key: null_for_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [null_for_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


__all__ = [
    "Confusion",
    "DefectFigures",
    "Figure",
    "Judged",
    "PartMatches",
    "bootstrap_iou",
    "defect_figures",
    "iou_of",
    "null_for_nan",
    "poisson_rate",
    "wilson",
]
