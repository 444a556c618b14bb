"""Ctrl-C and SIGTERM end a run where nothing is lost by it, and it says at once where that is."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


AFTER_THIS_STEP = "Stopping after this step; once more stops at once."
WHEN_DONE = (
    "The training is over; what is left, the choice of thresholds, is still done. Once more stops at once,"
    " and --resume does it later."
)


@contextmanager
def asked_to_stop(words: str = AFTER_THIS_STEP) -> Iterator[Callable[[int], bool]]:
    """Yields what a run asks after each step: whether a signal has come meanwhile.

    The first signal is answered with the words, the second interrupts at once, wherever the run is.
    One of these blocks within another answers in its place. Outside the main thread no signal
    arrives and the answer is always no.
    """
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        # Not print: the signal may have come in the midst of one.
        os.write(2, f"\n{words}\n".encode())

    if threading.current_thread() is not threading.main_thread():
        yield lambda _step: False
        return
    before = [signal.signal(number, ask) for number in SIGNALS]
    try:
        yield lambda _step: asked.is_set()
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
