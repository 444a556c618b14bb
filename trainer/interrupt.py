"""Ctrl-C and SIGTERM end a run between two steps, so that its last checkpoint is exact."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[int], bool]]:
    """Yields what a run asks after each step: whether a signal has come meanwhile.

    The second signal interrupts at once, wherever the run is. Outside the main thread no signal
    arrives and the answer is always no.
    """
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        # Not print: the signal may have come in the midst of one.
        os.write(2, b"\nStopping after this step; once more stops at once.\n")

    if threading.current_thread() is not threading.main_thread():
        yield lambda _step: False
        return
    before = [signal.signal(number, ask) for number in SIGNALS]
    try:
        yield lambda _step: asked.is_set()
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
