"""Defects found and false alarms, with intervals that know of parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inspector.defects import MatchCounts
from inspector.types import Mask
from trainer.metrics.intervals import (
    Interval,
    events_by_parts,
    poisson_rate,
    rate_by_parts,
    ratio,
    wilson,
)
from trainer.metrics.judged import null_for_nan
from trainer.weights import IGNORE


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
        right = counts.predicted - counts.false_alarms
        return {
            "recall": ratio(counts.found, counts.total),
            "found": counts.found,
            "total": counts.total,
            "false_alarms_per_frame": ratio(counts.false_alarms, self.frames),
            "false_alarms": counts.false_alarms,
            "predicted": counts.predicted,
            "precision": ratio(right, counts.predicted),
            "frames": self.frames,
            **self._intervals(),
        }

    def _intervals(self) -> dict[str, Interval]:
        if not self.parts:
            counts = self.counts
            return {
                "recall_95": wilson(counts.found, counts.total),
                "false_alarms_per_frame_95": poisson_rate(counts.false_alarms, self.frames),
                "precision_95": wilson(counts.predicted - counts.false_alarms, counts.predicted),
            }
        parts, frames = zip(*self.parts, strict=True)
        right = [c.predicted - c.false_alarms for c in parts]
        return {
            "recall_95": rate_by_parts([c.found for c in parts], [c.total for c in parts]),
            "false_alarms_per_frame_95": events_by_parts([c.false_alarms for c in parts], frames),
            "precision_95": rate_by_parts(right, [c.predicted for c in parts]),
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


def as_any_class(truth: Mask, predicted: Mask) -> Mask:
    """The predicted mask with the true class wherever a true defect is marked as any defect.

    truth: uint8 (H, W), 255 = ignore. predicted: uint8 (H, W).
    """
    return np.where((predicted > 0) & (truth > 0) & (truth != IGNORE), truth, predicted)


def defect_figures(
    matches: PartMatches, classes: Sequence[str], as_any: PartMatches | None = None
) -> dict[str, Any]:
    """DefectFigures of all classes together and, under `classes`, of each by name.

    as_any: the matches of `as_any_class`, for how many defects are marked whatever their class is called.
    A figure that nothing stands behind is None, so that the whole is JSON.
    """

    def figures(*names: str) -> dict[str, Any]:
        found = matches.of(*names).json()
        if as_any is not None:
            marked = as_any.of(*names).json()
            found |= {f"{key}_as_any": marked[key] for key in ("found", "recall")}
            found["recall_as_any_95"] = marked["recall_95"]
        return found

    of_class = {name: figures(name) for name in classes}
    return dict(null_for_nan({**figures(*classes), "classes": of_class}))
