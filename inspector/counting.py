"""Latencies and reasons of any number of frames in little memory; the summary of a run and the report
both count with these, so that they say the same of the same run."""

from __future__ import annotations

import math
from collections import Counter

_STEP = 1.001
"""Latencies are counted in bins that grow by 0.1 %, so a month takes hardly more memory than a minute."""


class Latencies:
    """Quantiles of any number of durations, within 0.05 %; the largest is exact."""

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self.max = 0.0

    def add(self, ms: float) -> None:
        self._bins[round(math.log(max(ms, 1e-3), _STEP))] += 1
        self.max = max(self.max, ms)

    def quantile(self, share: float) -> float | None:
        """The duration in ms that this share of all does not exceed (nearest rank); None without any."""
        left = math.ceil(share * self._bins.total())
        for number in sorted(self._bins):
            left -= self._bins[number]
            if left <= 0:
                return min(self.max, _STEP**number)
        return None

    def json(self) -> dict[str, float | None]:
        """p50, p95, p99 and max in ms; each None without any."""
        values = {"p50": self.quantile(0.50), "p95": self.quantile(0.95), "p99": self.quantile(0.99)}
        values["max"] = self.max if self._bins else None
        return {name: None if value is None else round(value, 2) for name, value in values.items()}


def latency_text(latency_ms: dict[str, float | None]) -> str:
    """The same figures as a person reads them; a latency of no frame is none, not 0."""
    if latency_ms["max"] is None:
        return "none, no frame was inspected"
    words = "  ".join(f"{name} {value:.1f}" for name, value in latency_ms.items())
    return f"{words} ms, from grab to commit"
