"""Batches made ahead of the step that needs them, in threads of this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from trainer.sampler import Batch

AHEAD = 3
"""Batches in the making or waiting, for one thread; each further thread has one more."""


class Prefetch:
    """Yields make(first), make(first + 1), ... for ever; a failure of `make` is raised at the batch it hit.

    Threads are enough: OpenCV and numpy release the interpreter lock. Beside a network on two cores
    one thread is, which takes a few percent of them; a GPU asks for several.
    """

    def __init__(self, make: Callable[[int], Batch], first: int, threads: int = 1) -> None:
        self._make, self._next, self._ahead = make, first, AHEAD + threads - 1
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tiles")
        self._coming: deque[Future[Batch]] = deque()

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            while len(self._coming) < self._ahead:
                self._coming.append(self._pool.submit(self._make, self._next))
                self._next += 1
            yield self._coming.popleft().result()
