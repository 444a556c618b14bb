"""torch.cuda on tensors in host memory, with streams that run as late and in as bad an order as allowed.

What is called inside `stream(s)` is put on that stream's queue and runs only when somebody waits.
Then the stream that carries results back runs before the one that computes, and that before the one
that carries pictures in, wherever no event holds them: a missing wait reads stale buffers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Work = Callable[[], bool]
"""Does its part and says True, or False while an event holds it."""


class _Recorded(TorchDispatchMode):
    """Hands every tensor operation to `keep` as something to run later, and gives its output now."""

    def __init__(self, keep: Callable[[Callable[[], None]], None]) -> None:
        super().__init__()
        self._keep = keep

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        changes = func._schema.is_mutable
        out = args[0] if changes else func(*args, **options)

        def later() -> None:
            with torch.inference_mode():
                again = func(*args, **options)
                if not changes:
                    out.copy_(again)

        self._keep(later)
        return out


class Stream:
    def __init__(self, cuda: FakeCuda) -> None:
        self.queue: deque[Work] = deque()
        cuda.streams.append(self)

    def wait_event(self, event: Event) -> None:
        recorded = event.recorded
        self.queue.append(lambda: recorded is None or recorded["fired"])


class Event:
    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self.recorded: dict[str, bool] | None = None

    def record(self, stream: Stream) -> None:
        mark = self.recorded = {"fired": False}
        stream.queue.append(lambda: mark.update(fired=True) is None)

    def synchronize(self) -> None:
        assert self.recorded is not None
        self._cuda.run_until(lambda: bool(self.recorded and self.recorded["fired"]))


class Graph:
    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self.operations: list[Callable[[], None]] = []

    def pool(self) -> int:
        return 1

    def replay(self) -> None:
        for operation in self.operations:
            self._cuda.keep(operation)


class FakeCuda:
    """The part of torch.cuda that CudaLoop uses. stale: replayed graphs compute nothing."""

    def __init__(self, *, stale: bool = False, capture_fails: bool = False) -> None:
        self.streams: list[Stream] = []
        self.current: Stream | None = None
        self.captured: list[Graph] = []
        self.stale, self.capture_fails = stale, capture_fails

    def Stream(self) -> Stream:
        return Stream(self)

    def Event(self, *, blocking: bool) -> Event:
        assert blocking  # waiting must not burn a core
        return Event(self)

    def CUDAGraph(self) -> Graph:
        return Graph(self)

    def device(self, _: torch.device) -> Any:
        return nullcontext()

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        with _Recorded(self.keep):
            yield
        self.current = before

    @contextmanager
    def graph(self, graph: Graph, *, pool: int | None, stream: Stream) -> Iterator[None]:
        assert pool == (1 if self.captured else None) and not any(s.queue for s in self.streams)
        if self.capture_fails:
            raise RuntimeError("operation not permitted when stream is capturing\nsecond line")
        keep = (lambda _: None) if self.stale else graph.operations.append
        with _Recorded(keep):
            yield
        self.captured.append(graph)

    def keep(self, operation: Callable[[], None]) -> None:
        assert self.current is not None
        self.current.queue.append(lambda: operation() is None)

    def synchronize(self) -> None:
        self.run_until(lambda: not any(stream.queue for stream in self.streams))

    def empty_cache(self) -> None: ...

    def run_until(self, done: Callable[[], bool]) -> None:
        while not done():
            for stream in reversed(self.streams):
                if stream.queue and stream.queue[0]():
                    stream.queue.popleft()
                    break
            else:
                raise AssertionError("every stream waits for another one")
