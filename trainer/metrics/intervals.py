"""95 % intervals: of a rate, of events a frame, and of any other figure by drawing whole parts again.

Defects of one part, and pixels even more, are found or missed together. So every interval here is by
physical part: rates and events are widened by how much more the parts differ than chance alone would
have it, all other figures are computed anew on parts drawn with replacement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Z95 = 1.959963984540054
RESAMPLES = 2000
Interval = tuple[float, float]


def ratio(part: float, whole: float) -> float:
    """part / whole, NaN when there is nothing to divide by."""
    return part / whole if whole else math.nan


def wilson(hits: float, total: float) -> Interval:
    """95 % interval of a rate; (0, 1) without a trial. Source: Wilson 1927.

    Not whole numbers are allowed: the effective ones of `rate_by_parts`.
    """
    if not total:
        return 0.0, 1.0
    rate, spread = hits / total, Z95 * Z95 / total
    middle = (rate + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(max(0.0, rate * (1 - rate)) / total + spread / total / 4) / (1 + spread)
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    return low, 1.0 if hits == total else min(1.0, middle + half)


def rate_by_parts(hits: Sequence[int], totals: Sequence[int]) -> Interval:
    """95 % interval of sum(hits) / sum(totals), one number a part; (0, 1) without a trial.

    Wilson's, with the trials divided by the design effect: the variance between parts over that of
    independent trials, at least 1. Parts that show no trial say nothing. At a rate of 0 or 1 parts
    cannot differ, and the trials count as independent.
    Source: Kish, "Survey Sampling", 1965; with Wilson's interval Korn and Graubard 1998.
    """
    found, tried = np.asarray(hits, np.float64), np.asarray(totals, np.float64)
    total, parts = float(tried.sum()), int(np.count_nonzero(tried))
    rate = ratio(float(found.sum()), total)
    if not 0 < rate < 1 or parts < 2:
        return wilson(float(found.sum()), total)
    between = parts / (parts - 1) * float(((found - rate * tried) ** 2).sum()) / total**2
    effect = max(1.0, between / (rate * (1 - rate) / total))
    return wilson(rate * total / effect, total / effect)


def poisson_rate(events: float, frames: float) -> Interval:
    """Exact 95 % interval of events a frame; (0, inf) without a frame. Source: Garwood 1936."""
    if not frames:
        return 0.0, math.inf
    low = stats.chi2.ppf(0.025, 2 * events) / 2 if events else 0.0
    return float(low / frames), float(stats.chi2.ppf(0.975, 2 * events + 2) / 2 / frames)


def events_by_parts(events: Sequence[int], frames: Sequence[int]) -> Interval:
    """95 % interval of sum(events) / sum(frames), one number a part; (0, inf) without a frame.

    Garwood's, with events and frames divided by the dispersion: ten false alarms on one dirty part
    say less than one on each of ten. Source: McCullagh and Nelder 1989, 6.2.3 (Pearson, at least 1).
    """
    seen, shown = np.asarray(events, np.float64), np.asarray(frames, np.float64)
    total, parts = float(shown.sum()), int(np.count_nonzero(shown))
    if not seen.any() or parts < 2:
        return poisson_rate(float(seen.sum()), total)
    expected = float(seen.sum()) / total * shown[shown > 0]
    effect = max(1.0, float(((seen[shown > 0] - expected) ** 2 / expected).sum()) / (parts - 1))
    return poisson_rate(float(seen.sum()) / effect, total / effect)


def bootstrap(
    parts: Sequence[NDArray[np.int64]] | Sequence[NDArray[np.float64]],
    figures: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seed: int = 0,
) -> NDArray[np.float64]:
    """95 % intervals (F, 2) of figures between 0 and 1, by drawing whole parts again.

    parts: what was counted on each physical part, arrays of one shape. figures: their sum, shape
    (..., *shape), to (..., F) numbers. NaN where no draw shows a figure, and with one part alone, of
    which every draw is the same. A figure of exactly 0 or 1 would get an interval without width:
    it gets that of as many flawless parts instead, by Wilson, the least that they prove.
    """
    stacked = np.stack([np.asarray(part, np.float64) for part in parts])
    values, alone = figures(stacked.sum(0)), figures(stacked)
    found = np.full((values.shape[-1], 2), np.nan)
    if len(parts) > 1:
        shares = np.full(len(parts), 1 / len(parts))
        drawn = np.random.default_rng(seed).multinomial(len(parts), shares, RESAMPLES)
        for k, column in enumerate(figures(np.tensordot(drawn, stacked, axes=1)).T):
            if not np.isnan(column).all():
                found[k] = np.nanpercentile(column, [2.5, 97.5])
    for k in np.flatnonzero((values == 0) | (values == 1)).tolist():
        count = int(np.count_nonzero(~np.isnan(alone[:, k])))
        found[k] = wilson(count * float(values[k]), count)
    return found


def mean_by_parts(parts: Sequence[NDArray[np.float64]]) -> Interval:
    """95 % interval of a mean, from (sum, number) of each part; NaN without a part."""
    if not parts:
        return math.nan, math.nan
    low, high = bootstrap(parts, lambda counts: share(counts[..., :1], counts[..., 1:]))[0].tolist()
    return low, high


def share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """part / whole for arrays, NaN where there is nothing to divide by."""
    return np.asarray(np.where(whole > 0, part / np.maximum(whole, 1e-300), np.nan), np.float64)
