"""Batches made ahead of the step that needs them, in one thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

from trainer.sampler import Batch

AHEAD = 3


class Prefetch:
    """Yields make(first), make(first + 1), ... for ever; a failure of `make` is raised at the batch it hit.

    One thread is enough: OpenCV and numpy release the interpreter lock, and two cores have
    none to spare.
    """

    def __init__(self, make: Callable[[int], Batch], first: int) -> None:
        self._make, self._next = make, first
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="tiles", daemon=True)

    def __enter__(self) -> Prefetch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            batch = self._ready.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch

    def _fill(self) -> None:
        while not self._stop.is_set():
            try:
                made: Batch | BaseException = self._make(self._next)
            except BaseException as error:
                made = error
            self._next += 1
            while not self._stop.is_set():
                try:
                    self._ready.put(made, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if isinstance(made, BaseException):
                return
