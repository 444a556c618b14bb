"""95 % intervals: of a rate, of events a frame, and of any other figure by drawing whole parts again.

Defects of one part, and pixels even more, are found or missed together. So every interval here is by
physical part: rates and events are widened by how much more the parts differ than chance alone would
have it, all other figures are computed anew on parts drawn with replacement. Few parts do not tell how
far parts differ: Student's quantile takes the normal's place, which is 12.7 for two parts, 4.3 for three
and 2.0 from forty on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

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
    independent trials, at least 1; see `_effective`. Parts that show no trial say nothing. At a rate of
    0 or 1 parts cannot differ, and the effect is 1.
    Source: Kish, "Survey Sampling", 1965; Korn and Graubard 1998, with Wilson's interval.
    """
    found, tried = np.asarray(hits, np.float64), np.asarray(totals, np.float64)
    total, parts = float(tried.sum()), int(np.count_nonzero(tried))
    if not total:
        return wilson(0, 0)
    rate, effect = float(found.sum()) / total, 1.0
    if 0 < rate < 1 and parts > 1:
        between = parts / (parts - 1) * float(((found - rate * tried) ** 2).sum()) / total**2
        effect = max(1.0, between / (rate * (1 - rate) / total))
    count = _effective(tried, effect)
    return wilson(rate * count, count)


def _effective(sizes: NDArray[np.float64], effect: float) -> float:
    """How many independent trials, or frames, those of some parts count for. sizes: of each part.

    All of them by the design effect, and by Student's quantile in place of the normal one: the effect of
    few parts is hardly known. No fewer for that quantile than one a part (equally large parts): trials
    that all go the way of their part are the worst there is, so that two parts still tell something.
    """
    whole, parts = float(sizes.sum()), int(np.count_nonzero(sizes))
    own, alike = whole / effect, whole**2 / float((sizes**2).sum())
    return min(own, max(own * (Z95 / student(parts)) ** 2, alike))


def student(parts: int) -> float:
    """Student's two-sided 95 % quantile where so many parts tell how far parts differ; infinite for one."""
    return float(stats.t.ppf(0.975, parts - 1)) if parts > 1 else math.inf


def poisson_rate(events: float, frames: float) -> Interval:
    """Exact 95 % interval of events a frame; (0, inf) without a frame. Source: Garwood 1936."""
    if not frames:
        return 0.0, math.inf
    low = stats.chi2.ppf(0.025, 2 * events) / 2 if events else 0.0
    return float(low / frames), float(stats.chi2.ppf(0.975, 2 * events + 2) / 2 / frames)


def events_by_parts(events: Sequence[int], frames: Sequence[int]) -> Interval:
    """95 % interval of sum(events) / sum(frames), one number a part; (0, inf) without a frame.

    Garwood's, with events and frames divided by the dispersion: ten false alarms on one dirty part
    say less than one on each of ten; see `_effective`. Source: McCullagh and Nelder 1989, 6.2.3 (Pearson,
    at least 1).
    """
    seen, shown = np.asarray(events, np.float64), np.asarray(frames, np.float64)
    total, parts = float(shown.sum()), int(np.count_nonzero(shown))
    if not total:
        return poisson_rate(0, 0)
    rate, effect = float(seen.sum()) / total, 1.0
    if rate and parts > 1:
        expected = rate * shown[shown > 0]
        effect = max(1.0, float(((seen[shown > 0] - expected) ** 2 / expected).sum()) / (parts - 1))
    count = _effective(shown, effect)
    return poisson_rate(rate * count, count)


def bootstrap(
    parts: Sequence[NDArray[np.int64]] | Sequence[NDArray[np.float64]],
    figures: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seed: int = 0,
) -> NDArray[np.float64]:
    """95 % intervals (F, 2) of figures between 0 and 1, by drawing whole parts again.

    parts: what was counted on each physical part, arrays of one shape. figures: their sum, shape
    (..., *shape), to (..., F) numbers. NaN for a figure that fewer than two parts show, since every draw
    is the same then. A figure of exactly 0 or 1 would get an interval without width: it gets that of as
    many flawless parts instead, by Wilson, the least that they prove.

    The draws give the standard error, and the interval is Student's on the scale of log odds, where a
    figure near 0 or 1 has its longer side inwards. The draws' own percentiles are no 95 %: two parts
    have three sums, and percentiles of them hold the truth in half of all cases.
    """
    stacked = np.stack([np.asarray(part, np.float64) for part in parts])
    values, alone = figures(stacked.sum(0)), figures(stacked)
    showing = np.count_nonzero(~np.isnan(alone), axis=0).tolist()
    shares = np.full(len(parts), 1 / len(parts))
    drawn = np.random.default_rng(seed).multinomial(len(parts), shares, RESAMPLES)
    draws = figures(np.tensordot(drawn, stacked, axes=1))
    found = np.full((values.shape[-1], 2), np.nan)
    for k, (value, count) in enumerate(zip(values.tolist(), showing, strict=True)):
        if value in (0, 1):
            found[k] = wilson(count * value, count)
        elif count > 1:
            error = float(np.nanstd(draws[:, k])) * math.sqrt(count / (count - 1))
            reach = student(count) * error / (value * (1 - value))
            found[k] = special.expit(special.logit(value) + np.array([-reach, reach]))
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
