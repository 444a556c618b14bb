"""Latencies and reasons of any number of frames in little memory; the summary of a run and the report
both count with these, so that they say the same of the same run."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

_STEP = 1.001
"""Latencies are counted in bins that grow by 0.1 %, so a month takes hardly more memory than a minute."""

_MOST_FORMS = 200
"""Forms of words that are kept for one reason: words may name files, of which there is no end."""


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


class ReasonWords:
    """The most frequent words of each reason code; words that differ only in numbers count as one form."""

    def __init__(self) -> None:
        self._forms: dict[str, Counter[str]] = {}
        self._first: dict[tuple[str, str], str] = {}
        self._varied: set[tuple[str, str]] = set()

    def add(self, code: str, words: str, count: int = 1) -> None:
        words = re.sub(r" \(\d+\)", "", words)  # how many defects one frame had says nothing of the others
        form = re.sub(r"\d+(\.\d+)?", "#", words)
        forms = self._forms.setdefault(code, Counter())
        if form not in forms and len(forms) >= _MOST_FORMS:
            return
        forms[form] += count
        if self._first.setdefault((code, form), words) != words:
            self._varied.add((code, form))

    def most_frequent(self) -> dict[str, str]:
        """Code -> words; an example of them, where their numbers differ. Codes without words are left out."""
        found = {}
        for code, forms in self._forms.items():
            key = (code, forms.most_common(1)[0][0])
            if self._first[key]:
                found[code] = ("such as: " if key in self._varied else "") + self._first[key]
        return found


def with_words(reasons: Mapping[str, int], words: Mapping[str, str]) -> dict[str, str]:
    """Code -> count and words: `124 (dent found, no rule allows it)`."""
    return {code: f"{n} ({words[code]})" if code in words else str(n) for code, n in reasons.items()}
