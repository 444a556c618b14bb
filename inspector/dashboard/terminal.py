"""Watching over the terminal that the screen is drawn on: a dashboard does not outlive it."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

GRACE_S = 5.0
"""How long the screen may take to end once nobody can see it."""


def when_it_hangs_up(fd: int, end: Callable[[], object]) -> None:
    """Call `end` in a thread of its own once the terminal behind fd is gone, and see to it that all ends.

    A hang-up mostly kills by its signal. Where that is ignored, as under nohup, each read gives
    nothing at once, and Textual reads again for ever; what it writes may block as well. So a
    screen that has not ended after GRACE_S is ended here: it holds nothing that could be lost.
    """
    threading.Thread(target=_watch, args=(fd, end), name="terminal", daemon=True).start()


def _watch(fd: int, end: Callable[[], object]) -> None:
    poll = select.poll()
    poll.register(fd, 0)  # no event is asked for: a hang-up and an error are always told
    poll.poll()
    end()
    time.sleep(GRACE_S)
    os._exit(0)
