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
from scipy import special

DRAWS = 500
SURE = 0.9
"""How sure validation must be that a network is worse, one-sided."""
AT_MOST = 0.5
"""No class is taken to be uncertain by more than this share of its IoU, however few parts show it; one that
falls by more is lost."""
FOUND = 0.1
"""IoU from which a class counts as found, so that it can be lost."""


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """How well a network does on each group of validation parts, at the level that is best for each class."""

    overlap: NDArray[np.int64]
    """(groups, K, 2): pixels of each defect class that both truth and network have, and that either has."""
    shown: NDArray[np.bool_]
    """(groups, K): whether the group shows the class."""

    @property
    def iou(self) -> NDArray[np.float64]:
        """(K,): of all groups together, NaN for a class that none shows."""
        return _iou(self.overlap.sum(0), self.shown.sum(0) > 0)

    @property
    def score(self) -> float:
        """Mean over the classes shown; 0 when none is."""
        return float(np.nanmean(self.iou)) if self.shown.any() else 0.0

    def worse_than(self, best: Standing) -> bool:
        """Whether the groups tell that this network's score is the lower one, or it has lost a class.

        Both stand on the same groups, which are drawn again for both at once: what is hard for both says
        nothing. What the levels were chosen by, these groups too, is not in it.
        """
        before, now = best.iou, self.iou
        if bool(np.any((before >= FOUND) & (now < (1 - AT_MOST) * before))):
            return True
        return self.score < best.score - self._reach(best)

    def kept(self) -> dict[str, Any]:
        """As plain values; see `read`."""
        return {"overlap": self.overlap.tolist(), "shown": self.shown.tolist()}

    @classmethod
    def read(cls, kept: dict[str, Any]) -> Standing:
        """What `kept` made of one."""
        return cls(np.array(kept["overlap"], np.int64), np.array(kept["shown"], np.bool_))

    def _reach(self, best: Standing) -> float:
        """How far the difference of the scores may be off.

        By bootstrap over groups. Few do not tell how far groups differ: Student's quantile takes the
        normal's place, and a class that one group shows is uncertain by AT_MOST.
        """
        count, classes = len(self.shown), np.flatnonzero(self.shown.sum(0))
        if not len(classes):
            return 0.0
        drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
        change = self._drawn(drawn) - best._drawn(drawn)
        together, alone = np.zeros(DRAWS), []
        for k in classes.tolist():
            groups, most = int(self.shown[:, k].sum()), AT_MOST * float(best.iou[k])
            if groups == 1:
                alone.append(most)
                continue
            # One draw moves all classes of a group, so the draws are added up, not their deviations.
            moved = np.nan_to_num(change[:, k] - np.nanmean(change[:, k]))
            times = float(special.stdtrit(groups - 1, SURE)) * math.sqrt(groups / (groups - 1))
            deviation = float(moved.std())
            together += moved * (min(times, most / deviation) if deviation else 0.0)
        return math.hypot(float(together.std()), *alone) / len(classes)

    def _drawn(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """(draws, K) IoU where each group counts so many times; NaN where no group shows the class."""
        return _iou(np.tensordot(times, self.overlap, 1), times @ self.shown.astype(np.int64) > 0)


def _iou(overlap: NDArray[np.int64], shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(shown, overlap[..., 0] / np.maximum(overlap[..., 1], 1), np.nan)
