"""Counters, rate, latency, and what is running: engine, certificate, package, recipe, camera."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from inspector.counting import rate_words
from inspector.dashboard.banner import SYMBOLS
from inspector.dashboard.snapshot import Beat, Snapshot
from inspector.dashboard.tones import QUIET, TEXT
from inspector.types import VerdictWord

IN_SECONDS_MS = 9_999.5
NAME_WIDTH = 9
"""Cells before each fact, its name in them."""


class FactsPanel(Static):
    """Draws the facts of one Snapshot; redraws only when a line changed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._shown = ""
        self._snapshot: Snapshot | None = None

    def on_resize(self) -> None:
        """What was cut for the old width, as on the first layout, is drawn anew for this one."""
        if self._snapshot is not None:
            self.show(self._snapshot)

    def show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        text = facts_text(snapshot, self.size.width or 40)
        if text.plain != self._shown:
            self._shown = text.plain
            self.update(text)


def facts_text(snapshot: Snapshot, width: int) -> Text:
    """Ten lines at most, none wider than `width` cells."""
    lines = [_counter_line(snapshot, (VerdictWord.PASS, VerdictWord.REJECT))]
    lines.append(_counter_line(snapshot, (VerdictWord.REVIEW, VerdictWord.UNINSPECTED)))
    for name, value in _facts(snapshot, width - NAME_WIDTH):
        lines.append(Text.assemble((name.ljust(NAME_WIDTH), QUIET), value))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n", no_wrap=True).join(lines)


def _counter_line(snapshot: Snapshot, words: tuple[VerdictWord, ...]) -> Text:
    line = Text()
    for word in words:
        count = snapshot.counts.get(word.value)  # a ledger that does not answer has not counted zero
        value = f"{SYMBOLS[word]} {word.value} {'–' if count is None else f'{count:,}'}"
        line.append(value.ljust(19), style=f"bold {TEXT[word.value]}")
    return line


def latency_words(p50: float, p95: float, largest: float) -> str:
    """Milliseconds, or seconds where a slow line's five digits would be cut at 80 columns."""
    if largest < IN_SECONDS_MS:
        return f"{p50:.0f} ms  95 % {p95:.0f}  max {largest:.0f}"
    return f"{p50 / 1e3:.1f} s  95 % {p95 / 1e3:.1f}  max {largest / 1e3:.1f}"


def budget_words(beat: Beat, width: int) -> str:
    """What each stage uses of the time that it has; in milliseconds where nothing limits it.

    Where all of them are wider than `width` cells, the smallest give way: they make no frame late.
    """
    shares = beat.budget_share
    left = dict(shares or {name: ms for name, ms in beat.budget_ms.items() if name != "total"})
    while True:
        words = "  ".join(
            f"{name} {used:.0%}" if shares else f"{name} {used:.0f}" for name, used in left.items()
        )
        words = f"{'! ' if beat.warning else ''}{words}" if shares else f"{words} ms"
        if len(words) <= width or len(left) <= 1:
            return words
        del left[min(left, key=lambda name: left[name])]


def _facts(snapshot: Snapshot, width: int) -> list[tuple[str, str]]:
    """Name and value; width: cells that a value has."""
    beat, run = snapshot.beat, snapshot.run
    facts: list[tuple[str, str]] = []
    if beat is not None:
        was = "" if snapshot.alive else "was "  # what a station said before it fell silent
        # What the camera lost has no row, so no counter above shows it.
        gaps = f" gaps {snapshot.gaps:,}, no verdict" if snapshot.gaps else "  gaps 0"
        facts.append(("rate", f"{was}{rate_words(beat.fps)} frames/s {gaps}"))
        if beat.latency_ms is not None:
            facts.append(("latency", was + latency_words(*beat.latency_ms)))
        facts.append(("camera", f"{was}{beat.camera_state}"))
        if beat.budget_ms:
            facts.append(("budget", was + budget_words(beat, width - len(was))))
    if run is not None:
        facts.append(("engine", f"{run.engine} {run.precision} on {run.device}"))
        facts.append(
            ("proof", f"certificate {run.certificate[:12]}" if run.certificate else "no certificate")
        )
        facts.append(("package", f"{run.package} ({run.package_id[:8]})"))
        facts.append(
            ("recipe", f"{run.recipe} ({run.recipe_hash[:8]})" + (f"  lot {run.lot}" if run.lot else ""))
        )
    return facts
