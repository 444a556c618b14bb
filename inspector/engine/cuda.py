"""The CUDA runtime without torch: which GPU is there, memory that is taken once, and no code unread.

cuda-bindings returns (code, value, ...) and never raises; `check` is the only way to a value here.
Not run on a GPU: the tests execute this module against a CUDA runtime that lives in host memory,
and `tests/gpu` against a real one where there is one.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NewType, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DeviceLost, EngineError, GpuMissing, UsageError

_LOG = logging.getLogger(__name__)

TO_DEVICE, TO_HOST = 1, 2
_BLOCKING_EVENT_WITHOUT_TIME = 0x1 | 0x2
_NON_BLOCKING_STREAM = 0x1
_OUT_OF_MEMORY = 2
# What was asked was wrong and the device is as it was: invalid value, memory, invalid handle, and
# what capturing forbids. After anything else the context cannot be trusted, however it looks.
_DEVICE_SURVIVES = {1, _OUT_OF_MEMORY, 400, *range(900, 908)}

Event = NewType("Event", object)
Result = tuple[Any, ...]


class Stream(Protocol):
    """A stream; as a number it is the handle that TensorRT takes."""

    def __int__(self) -> int: ...


class CudaRuntime(Protocol):
    """What is used of `cuda.bindings.runtime`; each call returns (code, value, ...)."""

    def cudaGetDeviceCount(self) -> Result: ...
    def cudaDriverGetVersion(self) -> Result: ...
    def cudaGetDeviceProperties(self, device: int) -> Result: ...
    def cudaSetDevice(self, device: int) -> Result: ...
    def cudaMemGetInfo(self) -> Result: ...
    def cudaMalloc(self, size: int) -> Result: ...
    def cudaFree(self, devPtr: int) -> Result: ...
    def cudaHostAlloc(self, size: int, flags: int) -> Result: ...
    def cudaFreeHost(self, ptr: int) -> Result: ...
    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: Any, stream: Stream) -> Result: ...
    def cudaMemsetAsync(self, devPtr: int, value: int, count: int, stream: Stream) -> Result: ...
    def cudaStreamCreateWithFlags(self, flags: int) -> Result: ...
    def cudaStreamSynchronize(self, stream: Stream) -> Result: ...
    def cudaStreamWaitEvent(self, stream: Stream, event: Event, flags: int) -> Result: ...
    def cudaStreamDestroy(self, stream: Stream) -> Result: ...
    def cudaStreamBeginCapture(self, stream: Stream, mode: Any) -> Result: ...
    def cudaStreamEndCapture(self, stream: Stream) -> Result: ...
    def cudaEventCreateWithFlags(self, flags: int) -> Result: ...
    def cudaEventRecord(self, event: Event, stream: Stream) -> Result: ...
    def cudaEventSynchronize(self, event: Event) -> Result: ...
    def cudaEventDestroy(self, event: Event) -> Result: ...
    def cudaGraphInstantiate(self, graph: Any, flags: int) -> Result: ...
    def cudaGraphDestroy(self, graph: Any) -> Result: ...
    def cudaGraphLaunch(self, graphExec: Any, stream: Stream) -> Result: ...
    def cudaGraphExecDestroy(self, graphExec: Any) -> Result: ...

    cudaMemcpyKind: Any
    cudaStreamCaptureMode: Any


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU that CUDA shows; CUDA_VISIBLE_DEVICES chooses which that is."""

    name: str
    compute_capability: str
    """For example 9.0."""
    driver: str
    """The newest CUDA that the driver serves, for example 13.0."""
    memory_bytes: int


def cuda_runtime() -> CudaRuntime:
    """The CUDA runtime.

    Raises UsageError with the remedy where cuda-bindings is not installed, and GpuMissing where the machine
    has no NVIDIA driver either: to install software then would lead nowhere.
    """
    try:
        return cast(CudaRuntime, importlib.import_module("cuda.bindings.runtime"))
    except ImportError as error:
        if not _has_driver():
            raise GpuMissing(
                "This machine has no NVIDIA driver, so no GPU can serve; install one where there is a GPU, or"
                ' set model.engine = "openvino".'
            ) from error
        raise UsageError(
            f"The CUDA runtime cannot be imported ({error}); install it with `pip install '.[tensorrt]'`."
        ) from error


def _has_driver() -> bool:
    """Whether the NVIDIA driver's own library is there, which its installation puts beside the system's."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def probe_gpu(cuda: CudaRuntime) -> Gpu:
    """The GPU that would serve. Takes no memory on it.

    Raises GpuMissing, naming CUDA's own code, where there is no driver, no GPU, or one that does
    not answer. To be called before any TensorRT Runtime is made: without a device TensorRT returns
    one all the same, and the next call on it ends the process with SIGSEGV.
    """
    try:
        code, count = cuda.cudaGetDeviceCount()
        if int(code) != 0 or not count:
            raise GpuMissing(
                f"CUDA finds no NVIDIA GPU ({_name(code) if int(code) else 'it counts none'}); install the"
                ' NVIDIA driver and look with `nvidia-smi`, or set model.engine = "openvino".'
            )
        code, driver = cuda.cudaDriverGetVersion()
        failed, properties = cuda.cudaGetDeviceProperties(0)
    except RuntimeError as error:  # cuda-bindings raises where the driver's library is not there at all
        raise GpuMissing(
            f'CUDA finds no NVIDIA driver ({error}); install it, or set model.engine = "openvino".'
        ) from error
    if int(code) != 0 or int(failed) != 0:
        raise GpuMissing(
            f"The NVIDIA GPU does not answer ({_name(code if int(code) else failed)}); look with"
            " `nvidia-smi`, and start the machine again if it stays so."
        )
    return Gpu(
        name=properties.name.decode(errors="replace").rstrip("\0"),
        compute_capability=f"{properties.major}.{properties.minor}",
        driver=f"{driver // 1000}.{driver % 1000 // 10}",
        memory_bytes=int(properties.totalGlobalMem),
    )


def free_memory(cuda: CudaRuntime) -> int:
    """Bytes that are free on the GPU now. Makes a CUDA context; call probe_gpu first."""
    check(cuda.cudaSetDevice(0), "the GPU was chosen")
    return int(check(cuda.cudaMemGetInfo(), "its memory was asked for")[0])


def check(result: Result, when: str) -> Any:
    """What a CUDA call returned beside its code: nothing, one value, or a tuple.

    when: for the message, for example `a tile was copied`. Raises EngineError when memory is out
    or the call was wrong, and DeviceLost for every other code.
    """
    code, *values = result
    if int(code) == 0:
        return values[0] if len(values) == 1 else tuple(values)
    if int(code) == _OUT_OF_MEMORY:
        raise EngineError(
            f"The GPU's memory was full when {when} ({_name(code)}); free it, or compile a smaller tile."
        )
    if int(code) in _DEVICE_SURVIVES:
        raise EngineError(f"CUDA refused when {when} ({_name(code)}); report this with the log.")
    raise DeviceLost(f"The GPU was lost when {when} ({_name(code)}); look with `nvidia-smi`.")


def _name(code: Any) -> str:
    return f"{getattr(code, 'name', 'CUDA error')} {int(code)}"


class DeviceMemory:
    """Pinned and device memory, streams and events, each taken once and given back by `close`."""

    def __init__(self, cuda: CudaRuntime) -> None:
        """Chooses the first GPU for this thread."""
        self.cuda = cuda
        self._give_back: list[Callable[[], Result]] = []
        check(cuda.cudaSetDevice(0), "the GPU was chosen")

    def pinned(self, nbytes: int) -> NDArray[np.uint8]:
        """Page-locked host memory, from which and to which copies run beside the computing."""
        address = int(check(self.cuda.cudaHostAlloc(nbytes, 0), f"{nbytes} bytes were pinned"))
        self._give_back.append(lambda: self.cuda.cudaFreeHost(address))
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))

    def device(self, nbytes: int) -> int:
        """The address of so many bytes on the GPU."""
        address = int(check(self.cuda.cudaMalloc(nbytes), f"{nbytes} bytes were taken on it"))
        self._give_back.append(lambda: self.cuda.cudaFree(address))
        return address

    def stream(self) -> Stream:
        """A stream of its own: the default one would make all others wait."""
        made = self.cuda.cudaStreamCreateWithFlags(_NON_BLOCKING_STREAM)
        stream: Stream = check(made, "a stream was made")
        self._give_back.append(lambda: self.cuda.cudaStreamDestroy(stream))
        return stream

    def event(self) -> Event:
        """An event on which the processor sleeps instead of spinning."""
        event = Event(
            check(self.cuda.cudaEventCreateWithFlags(_BLOCKING_EVENT_WITHOUT_TIME), "an event was made")
        )
        self._give_back.append(lambda: self.cuda.cudaEventDestroy(event))
        return event

    def copy(self, to: int, source: int, nbytes: int, direction: int, stream: Stream) -> None:
        """Queue a copy between pinned and device memory. direction: TO_DEVICE or TO_HOST."""
        kind = self.cuda.cudaMemcpyKind(direction)
        check(self.cuda.cudaMemcpyAsync(to, source, nbytes, kind, stream), "a copy was queued")

    def close(self) -> None:
        """Give everything back, last first; a lost GPU refuses that, which is only logged. Idempotent."""
        while self._give_back:
            code = self._give_back.pop()()[0]
            if int(code) != 0:
                _LOG.debug("CUDA did not take memory back: %s", _name(code))
