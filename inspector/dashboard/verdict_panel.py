"""The verdict in large: word, symbol and colour, with the reason under it."""

from __future__ import annotations

import textwrap

from rich.text import Text
from textual.widget import Widget

from inspector.dashboard.banner import Banner
from inspector.dashboard.letters import fitting_letters
from inspector.dashboard.tones import panel_style
from inspector.types import VerdictWord

PADDING = 2
FRAME_ROWS = 2
"""Rows that the letters leave for the words below them."""


class VerdictPanel(Widget):
    """Draws one Banner; redraws only when it changed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._banner = Banner("WAITING", "…", "idle", "")

    @property
    def banner(self) -> Banner:
        return self._banner

    def show(self, banner: Banner) -> None:
        if banner != self._banner:
            self._banner = banner
            self.refresh()

    def render(self) -> Text:
        width, height = self.size
        inner = max(1, width - 2 * PADDING)
        words = wrapped(self._banner.words, inner)
        rows = self._letters(inner, max(1, height - FRAME_ROWS))
        spare = max(0, height - len(rows) - len(words))
        lines = [""] * ((spare + 1) // 2) + list(rows) + [""] * (spare // 2) + words
        text = "\n".join(" " * PADDING + line.ljust(width - PADDING) for line in lines[:height])
        return Text(text, style=panel_style(self._banner.tone), no_wrap=True)

    def _letters(self, width: int, height: int) -> tuple[str, ...]:
        """Symbol, word and age in large; a PASS keeps its age also where that leaves plain letters."""
        banner = self._banner
        word = f"{banner.symbol} {banner.word}"
        if not banner.age:
            return fitting_letters(word, width, height)
        rows = fitting_letters(f"{word} {banner.age}", width, height)
        if len(rows) > 1 or banner.word == VerdictWord.PASS:
            return rows
        return fitting_letters(word, width, height)


def wrapped(words: str, width: int) -> list[str]:
    """At most two lines of `width`; what does not fit ends in an ellipsis."""
    return textwrap.wrap(words, width, max_lines=2, placeholder=" …") or [""]
