"""The small dialog behind `f`: who doubts this frame, in which way, and a note.

It begins at the kinds where the operator is known, since a key is mostly meant for these: `f` `1` Enter
flags, and letters begin the note. A kind's key alone is never taken for a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Click, DescendantBlur, Paste
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, Label, Static

from inspector.dashboard.snapshot import Judged
from inspector.types import VerdictWord

KINDS = {
    "false_reject": "false-reject: the part is good",
    "missed": "missed: there is a defect that was not found",
    "unsure": "unsure: somebody should look again",
}
KIND_KEYS = ("1", "2", "3")
HINT = """\
1 2 3 or ↑↓ choose   letters begin the note   Shift+Tab the name
Enter flags it       Esc cancels"""
NOBODY = "unknown"
"""Stands for the operator where neither a name nor an account is known."""
LIKELY = {VerdictWord.REJECT: "false_reject", VerdictWord.PASS: "missed"}


@dataclass(frozen=True, slots=True)
class FlagAnswer:
    """What an operator said of one frame."""

    run_id: str
    """The frame's own run: a new one may have begun while the operator was thinking."""
    number: int
    operator: str
    kind: str
    note: str


class KindChooser(Widget, can_focus=True):
    """One of the kinds; the mark is a letter, not a colour."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("up", "step(-1)", "up"),
        ("down", "step(1)", "down"),
        ("1", "take(0)", "false-reject"),
        ("2", "take(1)", "missed"),
        ("3", "take(2)", "unsure"),
    ]
    kind: reactive[str] = reactive("unsure")

    def action_step(self, by: int) -> None:
        kinds = list(KINDS)
        self.kind = kinds[(kinds.index(self.kind) + by) % len(kinds)]

    def action_take(self, at: int) -> None:
        self.kind = list(KINDS)[at]

    def begin_text(self, character: str) -> bool:
        """What is no key of the kinds begins the note; a space says nothing yet."""
        if character.isspace():
            return False
        self._begin_note(character)
        return True

    def on_paste(self, event: Paste) -> None:
        self._begin_note(event.text)

    def _begin_note(self, text: str) -> None:
        note = self.screen.query_one("#note", NoteField)
        note.insert_text_at_cursor(text)
        self.screen.set_focus(note)

    def on_click(self, event: Click) -> None:
        if 0 <= event.y < len(KINDS):
            self.action_take(event.y)

    def render(self) -> Text:
        lines = [
            Text(f"({'x' if kind == self.kind else ' '}) {at} {words}", "bold" if kind == self.kind else "")
            for at, (kind, words) in enumerate(KINDS.items(), 1)
        ]
        return Text("\n").join(lines)


class OperatorField(Input):
    """Enter confirms the name and goes on to the kinds: a name alone flags nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [("enter", "app.focus_next", "next field")]


class NoteField(Input):
    """Enter flags, as on the kinds, before another key is read; what is in it is added to."""

    BINDINGS: ClassVar[list[BindingType]] = [("enter", "screen.save", "flag it")]


class FlagDialog(ModalScreen[FlagAnswer | None]):
    """Gives a FlagAnswer, or None when the operator thought better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "cancel"), ("enter", "save", "flag it")]

    def __init__(self, judged: Judged, operator: str) -> None:
        """operator: who flags unless another name is given; empty: the dialog asks for it first."""
        super().__init__()
        self._judged = judged
        self._operator = operator

    def compose(self) -> ComposeResult:
        again = ", flagged already" if self._judged.flagged else ""
        with Vertical(id="dialog"):
            yield Static(
                f"Flag frame {self._judged.number:,} ({self._judged.word.value}{again})",
                classes="title",
                markup=False,
            )
            yield Label("Operator")
            yield OperatorField(self._operator, placeholder="your name or badge", id="operator", compact=True)
            yield KindChooser(id="kind")
            yield Label("Note")
            yield NoteField(placeholder="what you see", id="note", compact=True, select_on_focus=False)
            with Horizontal(classes="buttons"):
                yield Button("Flag it", id="save", variant="primary", compact=True)
                yield Button("Cancel", id="leave", compact=True)
            yield Static(HINT, classes="hint", markup=False)

    def on_mount(self) -> None:
        self.query_one(KindChooser).kind = LIKELY.get(self._judged.word, "unsure")
        # A field that is focused is selected as well: what is typed takes the proposal's place.
        # At once, and not by Widget.focus, which comes after keys that are typed already.
        self.set_focus(self.query_one("#kind" if self._operator else "#operator"))

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        if event.widget.id == "operator":
            self._take_for_kind()

    def _take_for_kind(self) -> None:
        """A kind's key that stands alone in the name was meant for the kinds: nobody is called `1`."""
        field = self.query_one("#operator", Input)
        typed = field.value.strip()
        if typed in KIND_KEYS:
            field.value = self._operator
            chooser = self.query_one(KindChooser)
            chooser.action_take(KIND_KEYS.index(typed))
            self.notify(f"{typed} is taken as the kind, not as a name: {KINDS[chooser.kind]}.")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "save":
            self.action_save()
        else:
            self.dismiss(None)

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_save(self) -> None:
        self._take_for_kind()
        kind = self.query_one(KindChooser).kind
        operator = self.query_one("#operator", Input).value.strip() or self._operator or NOBODY
        note = self.query_one("#note", Input).value.strip()
        self.dismiss(FlagAnswer(self._judged.run_id, self._judged.number, operator, kind, note))
