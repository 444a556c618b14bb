"""Latencies and reasons of any number of frames in little memory; the summary of a run and the report
both count with these, so that they say the same of the same run."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from inspector.types import Reason
from inspector.units import shown
from inspector.verdict import class_of

_STEP = 1.001
"""Latencies are counted in bins that grow by 0.1 %, so a month takes hardly more memory than a minute."""

_NAMES = {"unlisted": "no limit set", "total_area": "total area"}
"""Reason codes that are no plain words, as a person reads them."""

_MOST_FORMS = 200
"""Forms of words that are kept for one reason: words may name files, of which there is no end."""


def rate_words(fps: float) -> str:
    """Frames a second for people: `29.8`; `0.15` of a slow line, where 0.0 would say that it stands."""
    return f"{fps:.1f}" if fps >= 1 or fps == 0 else shown(float(f"{fps:.2g}"))


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
    """The same figures as a person reads them; a latency of no frame is none, not 0.

    They end when the row was handed to the ledger. The disk confirms a row only after that, and a
    row cannot hold a time that comes after it; the outputs' `latency_ms` counts to the confirmation.
    """
    if latency_ms["max"] is None:
        return "none, no frame was inspected"
    words = "  ".join(f"{name} {value:.1f}" for name, value in latency_ms.items())
    return f"{words} ms, from grab until the row is written, before the disk confirms it"


class ReasonCount:
    """Frames by reason code, and by the defect class that the reason is about; what each mostly said."""

    def __init__(self) -> None:
        self._frames: Counter[str] = Counter()
        self._classes: dict[str, Counter[str]] = {}
        self._words = _ReasonWords()

    def add(self, reasons: Sequence[Reason]) -> None:
        """Count the reasons of one frame; a code or a class that it has twice counts once."""
        self._frames.update({reason.code for reason in reasons})
        for code, name in {(reason.code, class_of(reason)) for reason in reasons}:
            if name is not None:
                self._classes.setdefault(code, Counter())[name] += 1
        for reason in reasons:
            self._words.add(reason.code, reason.words)

    def frames(self) -> dict[str, int]:
        """Code -> frames that have it, most first. A frame with two codes counts in both."""
        return dict(self._frames.most_common())

    def classes(self) -> dict[str, dict[str, int]]:
        """Code -> class -> frames, most first; codes that are about no class of defects are left out."""
        return {
            code: dict(self._classes[code].most_common()) for code in self.frames() if code in self._classes
        }

    def words(self) -> dict[str, str]:
        """Code -> what it mostly said; an example, where it said several things. Left out without words."""
        return self._words.most_frequent()


class _ReasonWords:
    """The most frequent words of each reason code; words that differ only in numbers count as one form."""

    def __init__(self) -> None:
        self._forms: dict[str, Counter[str]] = {}
        self._first: dict[tuple[str, str], str] = {}
        self._varied: set[str] = set()

    def add(self, code: str, words: str) -> None:
        words = re.sub(r" \(\d+\)", "", words)  # how many defects one frame had says nothing of the others
        form = re.sub(r"\d+(\.\d+)?", "#", words)
        forms = self._forms.setdefault(code, Counter())
        if form not in forms and len(forms) >= _MOST_FORMS:
            return
        forms[form] += 1
        if self._first.setdefault((code, form), words) != words or len(forms) > 1:
            self._varied.add(code)

    def most_frequent(self) -> dict[str, str]:
        found = {}
        for code, forms in self._forms.items():
            words = self._first[code, forms.most_common(1)[0][0]]
            if words:
                found[code] = ("such as: " if code in self._varied else "") + words
        return found


def reasons_text(
    reasons: Mapping[str, int], classes: Mapping[str, Mapping[str, int]], words: Mapping[str, str]
) -> dict[str, str]:
    """Name of the reason -> frames, classes and words: `78: pit 71, dent 7 (such as: pit area 9 px, limit
    5 px)`."""
    found = {}
    for code, frames in reasons.items():
        named = ", ".join(f"{name} {count}" for name, count in classes.get(code, {}).items())
        said = f" ({words[code]})" if code in words else ""
        found[_NAMES.get(code, code)] = f"{frames}{': ' if named else ''}{named}{said}"
    return found


def lost_words(gaps: int) -> str:
    """What it means that the camera lost so many frames; empty where it lost none."""
    if not gaps:
        return ""
    have, them = ("has", "it") if gaps == 1 else ("have", "them")
    frames = counted(gaps, "frame")
    return f"{frames} never reached the line and {have} no verdict, so parts on {them} were not inspected"


def counted(count: int, noun: str) -> str:
    """`1 frame`, `1,200 frames`: a count as a sentence has it."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def age_words(seconds: float) -> str:
    """A duration as people say it, at most two units."""
    if seconds == float("inf"):
        return "as long as is known"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
