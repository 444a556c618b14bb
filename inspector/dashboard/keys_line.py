"""The bottom line: which key does what, always in the same place."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from inspector.dashboard.tones import QUIET


class KeysLine(Static):
    """Keys in bold, what they do beside them."""

    def __init__(self, *keys: tuple[str, str]) -> None:
        text = Text("  ").join(
            Text.assemble((key, "bold #f2c230"), (f" {does} ", QUIET)) for key, does in keys
        )
        super().__init__(text, markup=False)
