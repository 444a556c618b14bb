"""Whole frames and parts: how many good ones the network marks, and on how many bad ones it marks nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.metrics.intervals import Interval, rate_by_parts, ratio
from trainer.metrics.judged import Judged
from trainer.weights import IGNORE


@dataclass(frozen=True, slots=True)
class _Tally:
    """(frames, of them wrong) of each part, or of single parts."""

    totals: list[int]
    wrong: list[int]

    def json(self, wrong: str) -> dict[str, Any]:
        total, count = sum(self.totals), sum(self.wrong)
        bounds: Interval = rate_by_parts(self.wrong, self.totals)
        return {"total": total, wrong: count, "share": ratio(count, total), "share_95": bounds}


class MarkedFrames:
    """Truly good and bad frames by whether the network marks anything on them; parts likewise.

    Bad is what shows a true defect, marked is what has a predicted pixel of any defect class, wherever it
    lies; a part is bad, or marked, if one of its frames is. Pixels that the truth ignores (255) count for
    neither. What the line's own limits pass or reject comes on top of this.
    """

    def __init__(self) -> None:
        self._parts: dict[str, NDArray[np.int64]] = {}
        """Frames of each part by [good, bad] and [nothing marked, marked]."""

    def update(self, judged: Judged) -> None:
        """Count one frame."""
        valid = judged.truth != IGNORE
        bad, marked = ((mask > 0) & valid for mask in (judged.truth, judged.predicted))
        counts = self._parts.setdefault(judged.part, np.zeros((2, 2), np.int64))
        counts[int(bad.any()), int(marked.any())] += 1

    def json(self) -> dict[str, Any]:
        """marked: frames, and parts where one has several frames (else None), each with `good` and `bad`.

        Each of them: total, share and share_95 of those that went wrong, and their count as `marked`
        (good) or `unmarked` (bad). Of frames the interval is by part.
        """
        frames = list(self._parts.values())
        parts = [self._as_one(counts) for counts in frames]
        several = any(counts.sum() > 1 for counts in frames)
        return {"marked": {"frames": _figures(frames), "parts": _figures(parts) if several else None}}

    @staticmethod
    def _as_one(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        one = np.zeros((2, 2), np.int64)
        one[int(counts[1].any()), int(counts[:, 1].any())] = 1
        return one


def _figures(tables: list[NDArray[np.int64]]) -> dict[str, Any]:
    good = _Tally([int(t[0].sum()) for t in tables], [int(t[0, 1]) for t in tables])
    bad = _Tally([int(t[1].sum()) for t in tables], [int(t[1, 0]) for t in tables])
    return {"good": good.json("marked"), "bad": bad.json("unmarked")}
