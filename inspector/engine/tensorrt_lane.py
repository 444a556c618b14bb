"""The three streams of a TensorRT engine and the batches on them; every returned value is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.engine.compiled import CHECK, IMAGE, PROB, IoTensor
from inspector.engine.cuda import TO_DEVICE, TO_HOST, DeviceMemory, Event, check
from inspector.engine.tensorrt_api import ERRORS, Context
from inspector.errors import EngineError
from inspector.types import Image

_TYPES = {"UINT8": np.uint8, "FLOAT": np.float32}
_UNWRITTEN = 0xFF
"""A float32 of such bytes is not a number."""


@dataclass(slots=True)
class Slot:
    """The buffers of one batch on its way, taken once."""

    host: Mapping[str, NDArray[Any]]
    """Tensor -> pinned array (most, ...)."""
    device: Mapping[str, int]
    """Tensor -> address on the GPU."""
    loaded: Event
    computed: Event
    fetched: Event
    first: int = 0
    """Index of the first tile."""
    count: int = 0
    """Tiles that are in it."""
    graph: Any = None

    def begin(self, first: int) -> Slot:
        """Empty, for tiles from this index on."""
        self.first, self.count = first, 0
        return self

    def put(self, tile: Image) -> None:
        """Copy the tile into pinned memory. Raises EngineError for another size."""
        into = self.host[IMAGE][self.count]
        if tile.size != into.size or tile.shape[:2] != into.shape[:2]:
            raise EngineError(
                f"A tile of {tile.shape} came to an engine for {into.shape}; open it for this plan."
            )
        np.copyto(into, tile.reshape(into.shape))
        self.count += 1


class Lane:
    """One execution context and its streams. Used by one thread."""

    def __init__(self, context: Context, memory: DeviceMemory) -> None:
        self._context: Context | None = context
        self._memory, self._cuda = memory, memory.cuda
        self._to_device, self._compute, self._to_host = (memory.stream() for _ in range(3))
        self._graphs: list[Any] = []
        self._batch = 0

    def slot(self, tensors: tuple[IoTensor, ...], most: int) -> Slot:
        """Buffers for `most` tiles of each tensor."""
        host, device = {}, {}
        for tensor in tensors:
            kind = np.dtype(_TYPES[tensor.dtype])
            nbytes = most * math.prod(tensor.shape[1:]) * kind.itemsize
            host[tensor.name] = self._memory.pinned(nbytes).view(kind).reshape(most, *tensor.shape[1:])
            device[tensor.name] = self._memory.device(nbytes)
        return Slot(host, device, self._memory.event(), self._memory.event(), self._memory.event())

    def launch(self, slot: Slot) -> None:
        """Queue a batch: to the GPU, compute, and back. Returns at once."""
        cuda = self._cuda
        image = slot.host[IMAGE][: slot.count]
        self._memory.copy(slot.device[IMAGE], image.ctypes.data, image.nbytes, TO_DEVICE, self._to_device)
        check(cuda.cudaEventRecord(slot.loaded, self._to_device), "an event was recorded")
        check(cuda.cudaStreamWaitEvent(self._compute, slot.loaded, 0), "a stream was made to wait")
        if slot.graph is not None:
            check(cuda.cudaGraphLaunch(slot.graph, self._compute), "a graph was launched")
        else:
            self._enqueue(slot, slot.count)
        check(cuda.cudaEventRecord(slot.computed, self._compute), "an event was recorded")
        check(cuda.cudaStreamWaitEvent(self._to_host, slot.computed, 0), "a stream was made to wait")
        for name in (PROB, CHECK):
            into = slot.host[name][: slot.count]
            self._memory.copy(into.ctypes.data, slot.device[name], into.nbytes, TO_HOST, self._to_host)
        check(cuda.cudaEventRecord(slot.fetched, self._to_host), "an event was recorded")

    def wait(self, slot: Slot) -> None:
        """Until the batch is back in pinned memory."""
        check(self._cuda.cudaEventSynchronize(slot.fetched), "a batch was waited for")

    def capture(self, slot: Slot) -> None:
        """Make a CUDA graph of the slot's full batch; from now on `launch` replays it.

        A graph freezes shapes and addresses, so it is of the full batch and of this slot alone. The
        slot must have run once before: TensorRT takes memory at the first run, which a capture forbids.
        """
        cuda, most = self._cuda, len(slot.host[IMAGE])
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        check(cuda.cudaStreamBeginCapture(self._compute, mode), "a capture began")
        try:
            self._enqueue(slot, most)
        finally:
            captured = cuda.cudaStreamEndCapture(self._compute)
        graph = check(captured, "a capture ended")
        slot.graph = check(cuda.cudaGraphInstantiate(graph, 0), "a graph was instantiated")
        self._graphs.append(slot.graph)
        check(cuda.cudaGraphDestroy(graph), "a graph's plan was freed")

    def poison(self, slot: Slot, name: str, value: int) -> None:
        """Fill a tensor on the GPU with bytes that no run would leave."""
        nbytes = slot.host[name].nbytes
        check(
            self._cuda.cudaMemsetAsync(slot.device[name], value, nbytes, self._compute),
            "a buffer was filled",
        )

    def drain(self) -> None:
        """Until nothing is on its way on any stream; every stream is asked, then the first error raised."""
        streams = (self._to_device, self._compute, self._to_host)
        for result in [self._cuda.cudaStreamSynchronize(stream) for stream in streams]:
            check(result, "a stream was emptied")

    def close(self) -> None:
        """Free graphs and context; the streams belong to the memory."""
        while self._graphs:
            self._cuda.cudaGraphExecDestroy(self._graphs.pop())
        self._context = None

    def _enqueue(self, slot: Slot, count: int) -> None:
        """Shapes, addresses and the run itself, on the compute stream."""
        context = self._context
        assert context is not None  # a closed lane launches nothing
        # If the run does nothing, what is fetched is not a number, and not the last frame's answer.
        self.poison(slot, CHECK, _UNWRITTEN)
        ERRORS.take()
        if self._batch != count:
            self._shape(context, slot, count)
        for name, address in slot.device.items():
            if not context.set_tensor_address(name, address):
                raise EngineError(f"TensorRT does not take the address of {name}: {ERRORS.take()}.")
        if not context.execute_async_v3(int(self._compute)):
            raise EngineError(f"TensorRT did not run a batch of {count}: {ERRORS.take()}.")

    def _shape(self, context: Context, slot: Slot, count: int) -> None:
        self._batch = 0  # not known again until all of this went well
        shape = (count, *slot.host[IMAGE].shape[1:])
        if not context.set_input_shape(IMAGE, shape):
            raise EngineError(f"TensorRT does not take tiles of {shape}: {ERRORS.take()}.")
        if missing := context.infer_shapes():
            raise EngineError(f"TensorRT misses the shapes of {', '.join(missing)}.")
        for name in (PROB, CHECK):
            found, expected = tuple(context.get_tensor_shape(name)), (count, *slot.host[name].shape[1:])
            if found != expected:
                raise EngineError(f"TensorRT gives {name} as {found} instead of {expected}; compile again.")
        self._batch = count
