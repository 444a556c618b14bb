"""The keys, and what the large words mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

TEXT = """\
f        flag the frame on screen as wrong or doubtful
p        ask the station to pause, or to go on
↑ ↓      choose one of the last frames that did not pass
Enter    look at the chosen frame; Esc goes back
q        leave this screen; it asks what becomes of the line

✓ PASS         no defect above a limit
✗ REJECT       a defect above its limit
? REVIEW       a person should look at the part
! UNINSPECTED  not judged: treat the part as rejected
! BLIND        the line sees nothing; no part is inspected
… WAITING      the station lives, no new frame has come
gaps           frames the camera lost: not inspected
✓ PASS 17 S    of a frame grabbed 17 s ago, not of now;
               the age is said from 3 s on

The line runs in its own process: this screen can be
closed or can fail without stopping it."""


class HelpScreen(ModalScreen[None]):
    """Any of the usual keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,question_mark,q,enter,space", "dismiss", "close")]

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static("Keys and words", classes="title")
            yield Static(TEXT, markup=False)
            yield Static("Esc: close", classes="hint")
