"""The last frames that did not pass, newest first, each with its reason in brief; enter opens one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.widgets import DataTable

from inspector.dashboard.banner import SYMBOLS
from inspector.dashboard.snapshot import Judged
from inspector.dashboard.tones import TEXT

FRAME_WIDTH = 10
"""Room for 99,999,999: a month at 30 frames a second. A narrower column cuts the last digits off."""
WHY_WIDTH = 160
"""Wider than any screen: reasons are cut by the window's edge, never by the column."""


def time_of_day(utc_ns: int) -> str:
    """Time of day, UTC, as 17:05:42."""
    return datetime.fromtimestamp(utc_ns / 1e9, UTC).strftime("%H:%M:%S")


class RejectsTable(DataTable[Text]):
    """Rows keyed by frame number, so that the cursor stays on its frame while new ones come."""

    # DataTable's own Enter only posts a message, which a key typed right behind it would overtake.
    BINDINGS: ClassVar[list[BindingType]] = [("enter", "app.look", "look")]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=1)
        self._shown: tuple[Judged, ...] = ()
        self._by_number: dict[str, Judged] = {}

    def on_mount(self) -> None:
        for name, width in (("frame", FRAME_WIDTH), ("UTC", 8), ("verdict", 13), ("why", WHY_WIDTH)):
            self.add_column(name, width=width, key=name)

    def show(self, rejects: tuple[Judged, ...]) -> None:
        if rejects == self._shown:
            return
        kept = self.chosen()
        follow = self.cursor_row == 0
        self._shown = rejects
        self._by_number = {str(row.number): row for row in rejects}
        self.clear()
        for row in rejects:
            self.add_row(*_cells(row), key=str(row.number))
        if kept is not None and not follow and str(kept.number) in self._by_number:
            self.move_cursor(row=self.get_row_index(str(kept.number)))

    def chosen(self) -> Judged | None:
        """The row under the cursor."""
        return self._shown[self.cursor_row] if 0 <= self.cursor_row < len(self._shown) else None


def _cells(row: Judged) -> list[Text]:
    word = Text(f"{SYMBOLS[row.word]} {row.word.value}", style=f"bold {TEXT[row.word.value]}")
    why = Text(("⚑ " if row.flagged else "") + (row.brief or row.why))
    return [Text(f"{row.number:,}", justify="right"), Text(time_of_day(row.utc_ns)), word, why]
