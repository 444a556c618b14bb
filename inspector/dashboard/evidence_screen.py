"""A past frame with its evidence picture, its defects and its reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from inspector.dashboard.banner import SYMBOLS, Banner
from inspector.dashboard.evidence import Evidence, EvidenceReader
from inspector.dashboard.keys_line import KeysLine
from inspector.dashboard.picture_view import PictureView
from inspector.dashboard.rejects_table import time_of_day
from inspector.dashboard.snapshot import Judged
from inspector.dashboard.verdict_panel import VerdictPanel

if TYPE_CHECKING:
    from inspector.dashboard.app import DashboardApp


@dataclass
class EvidenceRead(Message):
    """The evidence of one frame has been read from disk."""

    evidence: Evidence


class EvidenceScreen(Screen[None]):
    """Steps through the frames it was given; a new verdict on the line does not move it."""

    app: DashboardApp
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,q", "app.pop_screen", "back to the line"),
        ("down,right,j", "step(1)", "older"),
        ("up,left,k", "step(-1)", "newer"),
        ("f", "flag", "flag"),
    ]

    def __init__(self, reader: EvidenceReader, rows: tuple[Judged, ...], at: int) -> None:
        super().__init__()
        self._reader = reader
        self._rows = rows
        self._at = at

    def compose(self) -> ComposeResult:
        yield Static("A past frame: this is not what is under the camera now.", id="status", markup=False)
        yield VerdictPanel(id="verdict")
        yield PictureView(id="past")
        yield Static(id="details", markup=False)
        yield KeysLine(("Esc", "back to the line"), ("↑", "newer"), ("↓", "older"), ("f", "flag"))

    def on_mount(self) -> None:
        self._show()

    @property
    def judged(self) -> Judged:
        return self._rows[self._at]

    def action_step(self, by: int) -> None:
        self._at = max(0, min(len(self._rows) - 1, self._at + by))
        self._show()

    async def action_flag(self) -> None:
        await self.app.ask_about(self.judged)

    def _show(self) -> None:
        judged = self.judged
        words = f"Frame {judged.number:,}, {time_of_day(judged.utc_ns)} UTC: {judged.why}"
        banner = Banner(judged.word.value, SYMBOLS[judged.word], judged.word.value.lower(), words)
        self.query_one("#verdict", VerdictPanel).show(banner)
        self.query_one("#past", PictureView).show(None, "Reading the evidence ...")
        self.query_one("#details", Static).update("")
        self._read(judged)

    @work(thread=True, exclusive=True)
    def _read(self, judged: Judged) -> None:
        self.post_message(EvidenceRead(self._reader.read(judged)))

    def on_evidence_read(self, message: EvidenceRead) -> None:
        evidence = message.evidence
        if evidence.number == self.judged.number:
            self.query_one("#past", PictureView).show(evidence.picture, evidence.words)
            self.query_one("#details", Static).update(evidence.details)
