"""The operator's screen: draws one snapshot a refresh, asks the station, never touches the line."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from textual import work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.css.query import NoMatches
from textual.events import Event, Key
from textual.message import Message
from textual.widgets import DataTable, Static

from inspector.account import account_name
from inspector.counting import age_words
from inspector.dashboard.banner import banner_of
from inspector.dashboard.evidence import EvidenceReader
from inspector.dashboard.evidence_screen import EvidenceScreen
from inspector.dashboard.facts_panel import FactsPanel
from inspector.dashboard.feed import LedgerFeed
from inspector.dashboard.flag_dialog import NOBODY, FlagAnswer, FlagDialog
from inspector.dashboard.help_screen import HelpScreen
from inspector.dashboard.keys_line import KeysLine
from inspector.dashboard.one_by_one import act_on
from inspector.dashboard.picture_view import PictureView
from inspector.dashboard.quit_dialog import QuitAnswer, QuitDialog
from inspector.dashboard.rejects_table import RejectsTable, time_of_day
from inspector.dashboard.snapshot import SILENT_AFTER_S, Judged, Snapshot
from inspector.dashboard.terminal import when_it_hangs_up
from inspector.dashboard.verdict_panel import VerdictPanel
from inspector.errors import UsageError

REFRESH_S = 0.33
"""Three times a second: a person cannot use more, and the line needs the processor."""
KEYS = (
    ("f", "flag"),
    ("p", "pause/resume"),
    ("↑↓", "choose"),
    ("Enter", "look"),
    ("?", "help"),
    ("q", "quit"),
)


class Feed(Protocol):
    """Where the screen gets its snapshots and puts what the operator asks."""

    def read(self) -> Snapshot: ...
    def flag(self, answer: FlagAnswer) -> str: ...
    def ask(self, kind: str, by: str) -> str: ...
    def evidence(self) -> EvidenceReader: ...
    def close(self) -> None: ...


@dataclass
class SnapshotRead(Message):
    """A new snapshot is there."""

    snapshot: Snapshot


@dataclass
class Answered(Message):
    """What became of something that the operator asked, in one sentence."""

    words: str


@dataclass
class HungUp(Message):
    """The terminal is gone, and whoever looked with it."""


class DashboardApp(App[str]):
    """Gives "stop", "leave" or "over" when it closes."""

    CSS_PATH = "dashboard.tcss"
    TITLE = "inspector"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-thin"), (72, "-narrow"), (120, "-wide")]  # noqa: RUF012 - as Textual types it
    VERTICAL_BREAKPOINTS = [(0, "-low"), (22, "-middle"), (32, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        ("f", "flag", "flag"),
        ("p", "pause", "pause or resume"),
        ("enter", "look", "look"),
        ("question_mark", "help", "help"),
        ("q,ctrl+c,ctrl+q", "ask_to_quit", "quit"),
    ]

    def __init__(
        self,
        feed: Feed,
        operator: str = "",
        refresh_s: float = REFRESH_S,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """operator: who flags until somebody gave another name; empty: the flag dialog asks."""
        super().__init__()
        self._clock = clock
        self.operator = operator
        self._feed = feed
        self._refresh_s = refresh_s
        self._snapshot = Snapshot(0)
        self._reading = False
        self._errands = ThreadPoolExecutor(max_workers=1)
        """One after the other: of two flags for a frame the later one counts."""

    def compose(self) -> ComposeResult:
        yield Static(id="status", markup=False)
        yield VerdictPanel(id="verdict")
        with Container(id="body"):
            yield PictureView(id="picture")
            yield FactsPanel(id="facts")
            yield RejectsTable(id="rejects")
        yield KeysLine(*KEYS)

    def on_mount(self) -> None:
        self._tick()
        self.set_interval(self._refresh_s, self._tick)
        if not self.is_headless and sys.__stdin__ is not None:
            when_it_hangs_up(sys.__stdin__.fileno(), lambda: self.post_message(HungUp()))
        self.query_one("#rejects").focus()

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key) and not event.is_forwarded and await act_on(self, event):
            return
        await super().on_event(event)

    def _tick(self) -> None:
        """Start the next read; while one hangs, the screen says so instead of showing what was."""
        if not self._reading:
            self._reading = True
            self._read()
            return
        silent_s = (self._clock() - self._snapshot.utc_ns) / 1e9
        if self._snapshot.utc_ns and silent_s > SILENT_AFTER_S:
            words = f"The ledger has not answered for {age_words(silent_s)}; what this screen knows is old."
            self._show(replace(self._snapshot, trouble=words))

    @work(thread=True, group="read")
    def _read(self) -> None:
        self.post_message(SnapshotRead(self._feed.read()))

    def on_snapshot_read(self, message: SnapshotRead) -> None:
        self._reading = False
        self._snapshot = message.snapshot
        self._show(message.snapshot)

    def on_hung_up(self) -> None:
        self.exit("leave")

    def _show(self, snapshot: Snapshot) -> None:
        banner = banner_of(snapshot)
        old = banner.tone in ("blind", "idle")
        # While the app closes, its widgets go before the last answer of the feed comes.
        with suppress(NoMatches, IndexError):
            main = self.screen_stack[0]
            main.query_one("#status", Static).update(status_line(snapshot))
            main.query_one("#verdict", VerdictPanel).show(banner)
            main.query_one("#picture", PictureView).show(snapshot.picture, missing_picture(snapshot), old)
            main.query_one("#facts", FactsPanel).show(snapshot)
            main.query_one("#rejects", RejectsTable).show(snapshot.rejects)

    async def action_flag(self) -> None:
        if self._snapshot.current is None:
            self.notify("There is no frame on screen to flag.", severity="warning")
            return
        await self.ask_about(self._snapshot.current)

    async def ask_about(self, judged: Judged) -> None:
        """Open the flag dialog on this frame; it has its focus when this returns."""
        await self.push_screen(FlagDialog(judged, self.operator), self._flag_answered)

    def _flag_answered(self, answer: FlagAnswer | None) -> None:
        if answer is not None:
            if answer.operator != NOBODY:  # nobody is not to be proposed as somebody the next time
                self.operator = answer.operator
            self._do(lambda: self._feed.flag(answer))

    def action_pause(self) -> None:
        if not self._snapshot.alive or self._snapshot.beat is None:
            self.notify("There is no living station to ask.", severity="warning")
            return
        kind = "resume" if self._snapshot.beat.state == "paused" else "pause"
        self._do(lambda: self._feed.ask(kind, self.operator or "dashboard"))

    async def action_look(self) -> None:
        if len(self.screen_stack) > 1:  # Enter on a past frame must not put the same screen on top of it
            return
        table = self.query_one("#rejects", RejectsTable)
        rows = self._snapshot.rejects
        chosen = table.chosen()
        if chosen is None or chosen not in rows:
            self.notify("No frame has been rejected yet.")
            return
        await self.push_screen(EvidenceScreen(self._feed.evidence(), rows, rows.index(chosen)))

    async def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        await self.action_look()

    async def action_help(self) -> None:
        await self.push_screen(HelpScreen())

    async def action_ask_to_quit(self) -> None:
        if not self._snapshot.alive:
            self.exit("over")
        elif not isinstance(self.screen, QuitDialog):
            await self.push_screen(QuitDialog(), self._quit_answered)

    def _quit_answered(self, answer: QuitAnswer | None) -> None:
        if answer == "leave":
            self.exit("leave")
        elif answer == "stop":
            self._stop_and_leave()

    @work(thread=True)
    def _stop_and_leave(self) -> None:
        words = self._feed.ask("stop", self.operator or "dashboard")
        if words.startswith("Asked"):
            self.call_from_thread(self.exit, "stop")
        else:
            self.post_message(Answered(words))

    def _do(self, what: Callable[[], str]) -> None:
        self._errands.submit(lambda: self.post_message(Answered(what())))

    async def on_unmount(self) -> None:
        # What was asked is done, also when the operator leaves at once.
        await asyncio.to_thread(self._errands.shutdown)

    def on_answered(self, message: Answered) -> None:
        self.notify(message.words, markup=False, timeout=6)


def status_line(snapshot: Snapshot) -> str:
    """Camera, state, what was asked and not yet done, and the time: one line."""
    parts = [snapshot.run.camera if snapshot.run else "no run"]
    if snapshot.beat is not None:
        over = snapshot.beat.state in ("ended", "failed")
        parts.append(snapshot.beat.state if over or snapshot.alive else "no answer")
        if snapshot.beat.warning and snapshot.alive:
            parts.append(f"! {snapshot.beat.warning}")
    parts += [f"{kind} asked, not done yet" for kind in snapshot.asked]
    return f"{time_of_day(snapshot.utc_ns)} UTC   " + "   ".join(parts)


def missing_picture(snapshot: Snapshot) -> str:
    return "No picture of this frame." if snapshot.current else "No picture yet."


def run_dashboard(url: str, run_id: str | None = None) -> int:
    """Show the run until the operator leaves; 0 whatever becomes of the line, 1 when the screen failed.

    run_id: None for the newest run of the ledger.
    Raises UsageError without a terminal, a ledger or the run; LedgerError when it cannot be read.
    """
    # Textual draws on stderr: sent to a file, it would leave a blank terminal that eats the keys.
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "The dashboard needs a terminal for its input, output and errors;"
            " without one use inspector report --db URL."
        )
    feed = LedgerFeed.open(url, run_id)
    try:
        app = DashboardApp(feed, operator=account_name())
        app.run()
    finally:
        feed.close()
    return app.return_code or 0
