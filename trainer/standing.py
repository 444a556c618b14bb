"""Whether validation can tell that one network of a run is worse than another.

A few parts decide which network is served, one or two of a rare class: their score falls and rises by
chance more than the last hundreds of steps are worth. So the highest score alone is no reason to serve an
early network, whose learning rate had not come down yet; the latest is served that validation does not
tell from the best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

DRAWS = 500
SURE = 0.9
"""How sure validation must be that a network is worse, one-sided."""
AT_MOST = 0.5
"""No class is taken to be uncertain by more than this share of its IoU, however few parts show it: else one
that a single part shows could be lost altogether without a word."""


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """How well a network does on each validation part."""

    overlap: NDArray[np.int64]
    """(parts, K, 2): pixels of each defect class that both truth and network have, and that either has."""
    shown: NDArray[np.bool_]
    """(parts, K): whether the part shows the class."""

    @property
    def iou(self) -> NDArray[np.float64]:
        """(K,): of all parts together, NaN for a class that none shows."""
        return _iou(self.overlap.sum(0), self.shown.sum(0) > 0)

    @property
    def score(self) -> float:
        """Mean over the classes shown; 0 when none is."""
        return float(np.nanmean(self.iou)) if self.shown.any() else 0.0

    def worse_than(self, best: Standing) -> bool:
        """Whether these parts tell that this network's score is below the other's on any such parts.

        Both stand on the same parts, which are drawn again in pairs: what is hard for both says nothing.
        Few parts do not tell how far parts differ, so that Student's quantile takes the normal's place.
        """
        count = len(self.shown)
        drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
        change = self._drawn(drawn) - best._drawn(drawn)
        reaches = []
        for k in np.flatnonzero(self.shown.sum(0)).tolist():
            parts = int(self.shown[:, k].sum())
            most = AT_MOST * float(best.iou[k])
            if parts > 1:
                error = float(np.nanstd(change[:, k])) * math.sqrt(parts / (parts - 1))
                most = min(most, float(stats.t.ppf(SURE, parts - 1)) * error)
            reaches.append(most)
        return bool(reaches) and self.score < best.score - math.hypot(*reaches) / len(reaches)

    def kept(self) -> dict[str, Any]:
        """As plain values; see `read`."""
        return {"overlap": self.overlap.tolist(), "shown": self.shown.tolist()}

    @classmethod
    def read(cls, kept: dict[str, Any]) -> Standing:
        """What `kept` made of one."""
        return cls(np.array(kept["overlap"], np.int64), np.array(kept["shown"], np.bool_))

    def _drawn(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """(draws, K) IoU where each part counts so many times; NaN where no part shows the class."""
        return _iou(np.tensordot(times, self.overlap, 1), times @ self.shown.astype(np.int64) > 0)


def _iou(overlap: NDArray[np.int64], shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(shown, overlap[..., 0] / np.maximum(overlap[..., 1], 1), np.nan)
