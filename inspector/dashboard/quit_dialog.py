"""The question behind `q`: the screen may go while the line runs on."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

QuitAnswer = Literal["stop", "leave"]


class QuitDialog(ModalScreen[QuitAnswer | None]):
    """Gives "stop" (the line ends too), "leave" (only the screen goes) or None (nothing changes)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("s", "answer('stop')", "stop the line"),
        ("l", "answer('leave')", "leave it running"),
        ("c,escape", "answer('')", "cancel"),
        ("left", "app.focus_previous", "previous"),
        ("right", "app.focus_next", "next"),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static("The line is running. What should happen to it?", classes="title")
            with Horizontal(classes="buttons"):
                yield Button("[u]L[/u]eave it running", id="leave", variant="primary", compact=True)
                yield Button("[u]S[/u]top the line", id="stop", variant="error", compact=True)
                yield Button("[u]C[/u]ancel", id="cancel", compact=True)
            yield Static("l leaves it running, s stops the line, c or Esc goes back.", classes="hint")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.action_answer(event.button.id or "")

    def action_answer(self, answer: str) -> None:
        self.dismiss("stop" if answer == "stop" else "leave" if answer == "leave" else None)
