"""Tiles through a network on an NVIDIA GPU: copies beside the computing, replayed as CUDA graphs.

Three streams carry the tiles to the GPU, compute, and carry the probabilities back; two slots of
buffers let each work on another tile. All memory is taken once, the host's is pinned and written
in place.

Not run on a GPU: the tests execute the order of copies, events and checks on tensors in host
memory, and `tests/gpu` all of it where there is a GPU.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inspector.errors import DeviceLost, EngineError
from inspector.types import Image, ProbMap

_LOG = logging.getLogger(__name__)

Network: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Pictures uint8 (n, h, w, c) -> probabilities uint8 (n, oh, ow, K), whether all were finite as bool ()."""
Shape: TypeAlias = tuple[int, ...]

_SLOTS = 2
_WARM_UPS = 3  # cuDNN tries its algorithms in the first runs, which must not be captured
_POISON = 170
_MOST_LEVELS = 1  # a replayed graph may differ from the plain run by so many of 256


@dataclass(slots=True)
class Slot:
    """Buffers of one tile under way, and the events that say how far it is."""

    host_in: Tensor
    device_in: Tensor
    device_out: Tensor
    device_finite: Tensor
    host_out: Tensor
    host_finite: Tensor
    uploaded: Any
    computed: Any
    downloaded: Any
    compute: Callable[[], None]
    """device_in -> device_out and device_finite, on the current stream."""


class CudaLoop:
    """The network on one GPU, for one shape. Used by one thread."""

    in_flight = _SLOTS
    """Tiles that it holds before it gives the first one back."""

    def __init__(
        self,
        network: Network,
        shapes: tuple[Shape, Shape],
        device: torch.device,
        graphs: bool = False,
        cuda: Any = torch.cuda,
    ) -> None:
        """shapes: of a picture (1, h, w, c) and of its probabilities (1, oh, ow, K). cuda: torch.cuda.

        Takes all memory and runs once. graphs: replay CUDA graphs from then on, if they give what
        plain runs give; `note` says whether. Raises what torch raises; wrap it in `device_errors`.
        """
        self.note = ""
        self._network, self._device, self._cuda = network, device, cuda
        self._tile = shapes[0][1:3]
        with self._on_device():
            self._up, self._main, self._down = (cuda.Stream() for _ in range(3))
            self._slots = [self._slot(*shapes) for _ in range(_SLOTS)]
            self._warm_up(graphs)

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        """See Engine.run."""
        if not self._slots:
            raise EngineError("The engine was closed; open it again.")
        free, busy = list(self._slots), deque[tuple[int, Slot]]()
        try:
            for index, tile in enumerate(tiles):
                if not free:
                    free.append(self._finish(*busy[0], deliver))
                    busy.popleft()
                slot = free.pop()
                busy.append((index, slot))
                with device_errors(self._device, self._tile), self._on_device():
                    self._start(slot, tile)
            while busy:
                self._finish(*busy[0], deliver)
                busy.popleft()
        finally:
            if busy:  # after a failure nothing may still be writing when the buffers are used again
                with suppress(RuntimeError):
                    self._cuda.synchronize()

    def close(self) -> None:
        """Free the GPU's memory."""
        with suppress(RuntimeError):
            self._cuda.synchronize()
        self._slots = []
        self._network = _closed
        with suppress(RuntimeError):
            self._cuda.empty_cache()

    def _start(self, slot: Slot, tile: Image) -> None:
        """Upload, compute and download, each on its stream behind the one before; returns at once."""
        into = slot.host_in.numpy()
        np.copyto(into, tile.reshape(into.shape))
        with self._cuda.stream(self._up):
            slot.device_in.copy_(slot.host_in, non_blocking=True)
            slot.uploaded.record(self._up)
        with self._cuda.stream(self._main):
            self._main.wait_event(slot.uploaded)
            slot.compute()
            slot.computed.record(self._main)
        with self._cuda.stream(self._down):
            self._down.wait_event(slot.computed)
            slot.host_out.copy_(slot.device_out, non_blocking=True)
            slot.host_finite.copy_(slot.device_finite, non_blocking=True)
            slot.downloaded.record(self._down)

    def _finish(self, index: int, slot: Slot, deliver: Callable[[int, ProbMap], None]) -> Slot:
        with device_errors(self._device, self._tile):
            slot.downloaded.synchronize()
        if not bool(slot.host_finite):
            raise EngineError(f"torch returned nonsense on tile {index}: values that are not finite.")
        deliver(index, slot.host_out.numpy()[0])
        return slot

    def _slot(self, picture: Shape, probs: Shape) -> Slot:
        def host(shape: Shape, dtype: torch.dtype) -> Tensor:
            return torch.empty(shape, dtype=dtype, pin_memory=self._device.type == "cuda")

        def device(shape: Shape, dtype: torch.dtype) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=self._device)

        slot = Slot(
            host_in=host(picture, torch.uint8),
            device_in=device(picture, torch.uint8),
            device_out=device(probs, torch.uint8),
            device_finite=device((), torch.bool),
            host_out=host(probs, torch.uint8),
            host_finite=host((), torch.bool),
            uploaded=self._cuda.Event(blocking=True),
            computed=self._cuda.Event(blocking=True),
            downloaded=self._cuda.Event(blocking=True),
            compute=lambda: None,
        )
        slot.compute = lambda: self._plain(slot)
        return slot

    def _plain(self, slot: Slot) -> None:
        levels, finite = self._network(slot.device_in)
        slot.device_out.copy_(levels)
        slot.device_finite.copy_(finite)

    def _warm_up(self, graphs: bool) -> None:
        """Run each slot once, and replay graphs from now on if that was asked for and changes nothing."""
        random = np.random.default_rng(0)
        pictures = [random.integers(0, 256, self._slots[0].host_in.shape, np.uint8) for _ in range(_SLOTS)]
        expected = [self._once(slot, picture) for slot, picture in zip(self._slots, pictures, strict=True)]
        captured = self._captured() if graphs else None
        if captured is None:
            return
        plain = [slot.compute for slot in self._slots]
        for slot, graph in zip(self._slots, captured, strict=True):
            slot.compute = graph.replay
        # Each slot sees the other's picture first: a graph that computes nothing is found out.
        found = [self._once(slot, picture) for slot, picture in zip(self._slots, pictures[::-1], strict=True)]
        levels = max(int(np.abs(a - b).max()) for a, b in zip(expected, found[::-1], strict=True))
        if levels > _MOST_LEVELS:
            for slot, compute in zip(self._slots, plain, strict=True):
                slot.compute = compute
            self._without_graphs(f"their output differs from the plain run by {levels} of 256 levels")
        else:
            self.note = "CUDA graphs"

    def _once(self, slot: Slot, picture: Image) -> NDArray[np.int16]:
        """The picture through one slot, its output poisoned before; -1 everywhere if not finite."""
        slot.device_out.fill_(_POISON)
        slot.device_finite.fill_(False)
        self._cuda.synchronize()
        self._start(slot, picture)
        slot.downloaded.synchronize()
        levels = slot.host_out.numpy().astype(np.int16)
        return levels if bool(slot.host_finite) else np.full_like(levels, -1)

    def _captured(self) -> list[Any] | None:
        """A graph for each slot, all in one pool of memory: they run one after the other on one stream."""
        graphs: list[Any] = []
        try:
            for slot in self._slots:
                with self._cuda.stream(self._main):
                    for _ in range(_WARM_UPS):
                        self._plain(slot)
                self._cuda.synchronize()
                graph = self._cuda.CUDAGraph()
                pool = graphs[0].pool() if graphs else None
                with self._cuda.graph(graph, pool=pool, stream=self._main):
                    self._plain(slot)
                graphs.append(graph)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._without_graphs(f"capturing them failed: {str(error).splitlines()[0]}")
            return None
        return graphs

    def _without_graphs(self, reason: str) -> None:
        self.note = "plain runs: CUDA graphs failed their test"
        _LOG.warning("CUDA graphs are not used: %s.", reason)

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """Float32 stays float32 here (no TF32), and cuDNN chooses its fastest way for this shape."""
        flags = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
        with torch.inference_mode(), flags, self._cuda.device(self._device):
            yield


@contextmanager
def device_errors(device: torch.device, tile: tuple[int, ...]) -> Iterator[None]:
    """torch's failures as EngineError: memory with the remedy, anything else of CUDA as DeviceLost."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineError(
            f"The GPU has no memory left for a tile of {tile[0]}x{tile[1]} ({_memory(device)});"
            " set model.tile to a smaller input size, or free the GPU."
        ) from error
    except torch.AcceleratorError as error:
        raise DeviceLost(
            f"The GPU failed ({str(error).splitlines()[0]}); look with `nvidia-smi`, and start again."
        ) from error
    except RuntimeError as error:
        raise EngineError(f"torch failed on the GPU: {str(error).splitlines()[0]}") from error


def _memory(device: torch.device) -> str:
    try:
        free, total = torch.cuda.mem_get_info(device)
    except (RuntimeError, AssertionError):
        return "how much is free cannot be asked"
    return f"{free / 1e6:.0f} of {total / 1e6:.0f} MB free"


def _closed(_: Tensor) -> tuple[Tensor, Tensor]:
    raise EngineError("The engine was closed; open it again.")
