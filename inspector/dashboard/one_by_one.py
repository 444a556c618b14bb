"""One key after the other: what a key does is done before the next one is read.

Textual puts a key into the queue of the focused widget, from where it walks up to the app and acts
there. What is typed right behind it is on its way to the same widget by then, although the key may
open a dialog or move the focus: `f` and `3` in one breath would reach two different screens.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

from textual.app import App
from textual.events import Key
from textual.widget import Widget

PATIENCE_S = 1.0
"""A field that is being closed answers no more; no key may wait for it for ever."""


@runtime_checkable
class BeginsText(Protocol):
    """A widget that is no text field and sends what is typed on it into one."""

    def begin_text(self, character: str) -> bool: ...


async def act_on(app: App[Any], event: Key) -> bool:
    """Do what the key is bound to, to its end; False for text of the focused field and for unbound keys.

    An action that awaits the screen it opens is over when that screen has its focus, so the next
    key belongs to it. To be called where the app reads its events.
    """
    app.app_focus = True  # as Textual does: a terminal that types has the focus, whatever it said before
    focused = app.focused
    if focused is not None and focused.check_consume_key(event.key, event.character):
        return False
    bound = app.screen.active_bindings.get(event.key)
    if bound is None and not (event.is_printable and isinstance(focused, BeginsText)):
        return False
    if focused is not None:
        await _has_read(focused)
        if app.focused is not focused:  # what was pasted before went on to another field
            return await act_on(app, event)
    if bound is None:
        return isinstance(focused, BeginsText) and focused.begin_text(event.character or "")
    return await app.run_action(bound.binding.action, bound.node)


async def _has_read(widget: Widget) -> None:
    """Wait until all that was typed or pasted before is in the field: Enter must not overtake it."""
    done = asyncio.Event()
    if widget.call_later(done.set):
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), PATIENCE_S)
