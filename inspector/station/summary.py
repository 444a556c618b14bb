"""What a run amounts to: counts, latencies and stage times, and the summary printed at its end."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inspector.counting import (
    Latencies,
    ReasonCount,
    age_words,
    counted,
    latency_text,
    lost_words,
    rate_words,
    reasons_text,
)
from inspector.engine.protocol import EngineInfo
from inspector.engine.rivals import BUSY_SHARE
from inspector.errors import InspectionError
from inspector.recorder import Recorded
from inspector.station.truth import Truth
from inspector.types import Fault, Inspection, Reason, VerdictWord


@dataclass(frozen=True, slots=True)
class Recent:
    """The last few seconds, for the health beat; latencies in ms from grab until COMMIT returned."""

    fps: float
    p50: float | None
    p95: float | None
    max: float | None


class Tally:
    """Counts what was committed; added to by the recorder's thread, read by any."""

    def __init__(self, truth: Truth | None = None) -> None:
        """truth: what the frames are known to show, where somebody knows."""
        self._lock = threading.Lock()
        self._truth = truth
        self.words: Counter[str] = Counter({word.value: 0 for word in VerdictWord})
        self.reasons = ReasonCount()
        self.warnings: list[str] = []
        """What happened to the run and must not be overlooked at its end; once each."""
        self.gaps = 0
        self._no_images, self._no_image = 0, ""
        self.latencies = Latencies()
        self._stages: dict[str, tuple[float, int]] = {}
        self._coverage = 0.0
        self._inspected = 0
        self._left = 0
        self._ended = False
        self._first_ns = self._last_ns = 0
        self._recent: deque[tuple[float, float | None]] = deque(maxlen=3000)

    def add(self, records: Iterable[Recorded]) -> None:
        """Count committed records; after `end` none, since all that was grabbed is counted by then."""
        with self._lock:
            for record in () if self._ended else records:
                self._add(record)

    def _add(self, record: Recorded) -> None:
        inspection = record.inspection
        self.words[inspection.verdict.word.value] += 1
        self.reasons.add(inspection.verdict.reasons)
        self._first_ns = self._first_ns or inspection.frame.mono_ns
        self._last_ns = record.committed_mono_ns
        self._look_for_image(inspection)
        if self._truth is not None:
            self._truth.add(inspection)
        latency = None
        if inspection.verdict.word is not VerdictWord.UNINSPECTED:
            latency = (record.committed_mono_ns - inspection.frame.mono_ns) / 1e6
            self.latencies.add((record.row_mono_ns - inspection.frame.mono_ns) / 1e6)
            self._inspected += 1
            self._coverage += inspection.coverage
            for stage, ms in inspection.stages_ms.items():
                total, count = self._stages.get(stage, (0.0, 0))
                self._stages[stage] = (total + ms, count + 1)
        self._recent.append((record.committed_mono_ns / 1e9, latency))

    def _look_for_image(self, inspection: Inspection) -> None:
        """A folder holds lists and thumbnails as well: how many is not to be read off single reasons."""
        frame = inspection.frame
        if frame.image is None and frame.fault is not None and frame.fault.code == Fault.FORMAT:
            self._no_images += 1
            self._no_image = self._no_image or frame.source

    def told(self) -> list[str]:
        """The warnings, and how many frames were no images at all."""
        if not self._no_images:
            return list(self.warnings)
        are = "is no image" if self._no_images == 1 else "are no images"
        words = (
            f"{self._no_images} of {self.words.total()} {are} that can be read (format), such as"
            f" {self._no_image}; take out of the folder what is none."
        )
        return [*self.warnings, words]

    def right(self) -> str | None:
        """What was right, in a sentence; None where nobody knows, or nothing was judged."""
        return self._truth.words() or None if self._truth is not None else None

    def end(self, grabbed: int, reason: Reason) -> int:
        """Count what was grabbed and not committed, with this reason; how many those are.

        A recorder that hung may commit some of them later: these stay counted once.
        """
        with self._lock:
            self._ended = True
            self._left = grabbed - self.words.total()
            self.words[VerdictWord.UNINSPECTED.value] += self._left
            for _ in range(self._left):
                self.reasons.add((reason,))
            return self._left

    def add_gap(self, count: int) -> None:
        """Count frames that the camera lost."""
        with self._lock:
            self.gaps += count

    def counts(self) -> dict[str, int]:
        """Frames by verdict word, and gaps."""
        with self._lock:
            return {**self.words, "gaps": self.gaps}

    def stages_ms(self) -> dict[str, float]:
        """Mean milliseconds of each stage over the inspected frames."""
        with self._lock:
            return {stage: round(total / count, 3) for stage, (total, count) in self._stages.items()}

    def coverage(self) -> float:
        """Mean inspected share of the inspected frames; 0 without any."""
        return round(self._coverage / self._inspected, 6) if self._inspected else 0.0

    def fps(self) -> float:
        """Frames a second from the first grab to the last commit."""
        seconds = (self._last_ns - self._first_ns) / 1e9
        return round((self.words.total() - self._left) / seconds, 3) if seconds > 0 else 0.0

    @property
    def inspected(self) -> int:
        """Frames with a verdict other than UNINSPECTED."""
        return self._inspected

    def progress(self, total: int | None = None) -> str:
        """How far the run is: `frame 53 of 132: PASS 20 REJECT 33, 0.4 fps, 3 min 17 s left`.

        total: how many frames there will be; None where nobody knows.
        """
        with self._lock:
            done, fps = self.words.total(), self.fps()
            words = " ".join(f"{word} {count}" for word, count in self.words.items() if count)
            of = "" if total is None else f" of {total}"
            left = "" if total is None or not fps else f", {age_words(max(0, total - done) / fps)} left"
            return f"frame {done}{of}: {words or 'none judged yet'}, {rate_words(fps)} fps{left}"

    def recent(self, window_s: float = 5.0) -> Recent:
        """Rate and latency over the last seconds."""
        now = time.monotonic()
        with self._lock:
            rows = [row for row in self._recent if row[0] >= now - window_s]
        values = sorted(latency for _, latency in rows if latency is not None)
        fps = len(rows) / min(window_s, max(1.0, now - self._first_ns / 1e9))
        if not values:
            return Recent(fps, None, None, None)
        return Recent(fps, _at(values, 0.5), _at(values, 0.95), values[-1])


def _at(values: list[float], share: float) -> float:
    return values[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended. `error` is why it ended early, or None."""

    run_id: str
    grabbed: int
    tally: Tally
    engine: EngineInfo
    db: str
    error: InspectionError | None = None
    waiting: int = 0
    """Frames, all UNINSPECTED, that have no row until the ledger is next opened and can be written."""
    others: float = 0.0
    """Share of the processor that other programs took during the run, 0 to 1."""

    def json(self) -> dict[str, Any]:
        """The object that `inspector run --json` prints; latencies and stages in milliseconds.

        The verdicts add up to what was grabbed.
        """
        info = self.engine
        return {
            "grabbed": self.grabbed,
            "verdicts": {word.value: self.tally.words[word.value] for word in VerdictWord},
            "reasons": self.tally.reasons.frames(),
            "reason_classes": self.tally.reasons.classes(),
            "gaps": self.tally.gaps,
            "fps": self.tally.fps(),
            "latency_ms": self.tally.latencies.json(),
            "stages_ms": self.tally.stages_ms(),
            "engine": {
                "name": info.name,
                "precision": info.precision,
                "device": info.device,
                "package": info.package,
                "certificate": info.certificate,
            },
            "coverage": self.tally.coverage(),
            "db": self.db,
            "waiting": self.waiting,
            "others_share": round(self.others, 3),
            "truth": self.tally.right(),
            "warnings": self.tally.told(),
        }

    def text(self) -> str:
        """The same as a person reads it."""
        return summary_text(self.json(), self.tally.reasons.words())


def _waiting(summary: dict[str, Any]) -> str:
    frames = counted(summary["waiting"], "UNINSPECTED frame")
    return f"none yet for {frames}, until the ledger is next opened and can be written"


def _others(share: float) -> list[str]:
    """A line where other programs slowed this one; none on a machine that was its own."""
    if share < BUSY_SHARE:
        return []
    return [
        f"processor  other programs took {share:.0%} of it during the run, so frames took longer than alone"
    ]


def summary_text(summary: dict[str, Any], words: Mapping[str, str]) -> str:
    """The same object as a person reads it. words: what each reason code mostly said."""
    verdicts = "  ".join(f"{word} {count}" for word, count in summary["verdicts"].items())
    told = reasons_text(summary["reasons"], summary["reason_classes"], words)
    said = [f"{code} {text}" for code, text in told.items()]
    reasons = ("\n" + " " * 11).join(said) or "none"
    engine = summary["engine"]
    inspected = summary["grabbed"] - summary["verdicts"][VerdictWord.UNINSPECTED]
    return "\n".join([
        f"frames     {summary['grabbed']} grabbed, {inspected or 'none'} inspected,"
        f" {summary['gaps']} lost by the camera",
        f"verdicts   {verdicts}",
        *([f"lost       {lost}"] if (lost := lost_words(summary["gaps"])) else []),
        *([f"rows       {_waiting(summary)}"] if summary["waiting"] else []),
        f"reasons    {reasons}",
        f"rate       {rate_words(summary['fps'])} frames/s",
        f"latency    {latency_text(summary['latency_ms'])}",
        *_others(summary["others_share"]),
        f"engine     {engine['name']} {engine['precision']} on {engine['device']}",
        f"package    {engine['package'][:16]}, certificate {engine['certificate'][:16]}",
        f"coverage   {summary['coverage']:.1%} of the included area",
        f"ledger     {summary['db']}",
        *([f"truth      {summary['truth']}"] if summary["truth"] else []),
        *(f"event      {words}" for words in summary["warnings"]),
    ])  # fmt: skip
