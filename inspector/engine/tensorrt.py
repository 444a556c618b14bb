"""The engine on an NVIDIA GPU: a plan that `inspector models compile` made, run with cuda-bindings.

One thread owns CUDA. Tiles go into pinned memory, two batches are on their way at a time, and
three streams let the copies of one run beside the computing of the other:

    to the GPU   image of batch 1 | image of batch 2 | ...
    compute                       | batch 1          | batch 2 | ...
    to the host                                      | prob and check of batch 1 | ...

Not run on a GPU: tests run it against a TensorRT and a CUDA in host memory that hold it to their
contracts, `tests/gpu` against the real ones where there are any.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.engine.certificate import LIMITS
from inspector.engine.compiled import (
    CHECK,
    IMAGE,
    PROB,
    IoTensor,
    Stored,
    compile_command,
    contract,
    find_compiled,
)
from inspector.engine.cuda import CudaRuntime, DeviceMemory, cuda_runtime, probe_gpu
from inspector.engine.protocol import EngineInfo
from inspector.engine.tensorrt_api import ERRORS, Context, CudaEngine, TensorRt, load_tensorrt, logger_of
from inspector.engine.tensorrt_lane import Lane, Slot
from inspector.errors import DeviceLost, EngineError, EngineModelMismatch, InspectionError
from inspector.package import ModelPackage, load_package
from inspector.types import Image, ProbMap

_LOG = logging.getLogger(__name__)

_BATCHES = 2  # one computes, one is copied
_POISON = 0xAA
_MOST_LEVELS = round(2 * 255 * LIMITS["fp16"].max_difference)
"""So many of 256 levels may a tile differ with its place in a batch, which other kernels may compute: each of
them by its limit from the trained network."""


class TensorRtEngine:
    """A compiled plan on the GPU. Used by one thread."""

    def __init__(
        self, package: ModelPackage, stored: Stored, trt: TensorRt, cuda: CudaRuntime, *, graphs: bool = False
    ) -> None:
        """Load the plan, hold its tensors against the package, take all memory and warm up.

        stored: verified for this GPU and TensorRT, as find_compiled returns it. graphs: replay CUDA
        graphs, after a test that they give what the plain run gives. Raises GpuMissing, EngineCorrupt,
        EngineModelMismatch, EngineError, DeviceLost.
        """
        gpu = probe_gpu(cuda)  # first of all: a TensorRT Runtime without a GPU ends the process
        record = stored.record
        plan = stored.plan_bytes()
        self._package, self._tile, self._most = package, record.tile, record.batch.most
        self.in_flight = _BATCHES * record.batch.most
        self._lost: str | None = None
        self._memory = DeviceMemory(cuda)
        try:
            self._runtime: Any = _runtime(trt)
            self._engine: Any = _deserialized(self._runtime, plan, stored, package)
            _check_tensors(self._engine, stored, package)
            self._lane: Lane | None = Lane(_context(self._engine), self._memory)
            tensors = contract(package, record.tile)
            self._slots = [self._lane.slot(tensors, self._most) for _ in range(_BATCHES)]
            self._warm_up(graphs)
        except InspectionError:
            self.close()
            raise
        self.info = EngineInfo(
            name="tensorrt",
            version=record.version,
            precision=record.precision,
            device=gpu.name,
            package=package.id,
            certificate="none",
            tile=record.tile,
            layers=_precisions(stored),
            # A certificate is of this plan: another compilation may have chosen other kernels.
            note=f"plan {record.plan_sha256[:12]}{', CUDA graphs' if graphs else ''}",
        )

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        """See Engine.run. Raises DeviceLost when the GPU is gone; from then on at each call."""
        lane = self._open_lane()
        free, busy = list(self._slots), deque[Slot]()
        slot: Slot | None = None
        whole = False
        try:
            for index, tile in enumerate(tiles):
                if slot is None:
                    if not free:
                        free.append(self._finish(busy.popleft(), deliver))
                    slot = free.pop().begin(index)
                slot.put(tile)
                if slot.count == self._most:
                    lane.launch(slot)
                    busy.append(slot)
                    slot = None
            if slot is not None:
                lane.launch(slot)
                busy.append(slot)
            while busy:
                self._finish(busy.popleft(), deliver)
            whole = True
        except DeviceLost as error:
            self._lost = str(error)
            raise
        finally:
            if not whole:
                self._drain(lane)

    def close(self) -> None:
        """See Engine.close. In the order that TensorRT asks for: context, engine, runtime, memory."""
        lane, self._lane = getattr(self, "_lane", None), None
        if lane is not None:
            self._drain(lane)
            lane.close()
        self._slots = []
        self._engine = self._runtime = None
        self._memory.close()

    def _open_lane(self) -> Lane:
        if self._lane is None:
            raise EngineError("The engine was closed; open it again.")
        if self._lost is not None:
            raise DeviceLost(f"The GPU was lost before ({self._lost}); the engine has to be opened again.")
        return self._lane

    def _finish(self, slot: Slot, deliver: Callable[[int, ProbMap], None]) -> Slot:
        """Wait for a batch, hold it against its check, hand it over."""
        self._open_lane().wait(slot)
        planes = len(self._package.classes) + 1
        for n in range(slot.count):
            total = float(slot.host[CHECK][n]) * planes
            if not abs(total - 1) < 1e-3:  # true for NaN as well
                raise EngineError(
                    f"TensorRT returned nonsense on tile {slot.first + n}: its softmax is not finite or was"
                    " not computed; compile again, and look at the GPU if it happens again."
                )
            deliver(slot.first + n, slot.host[PROB][n])
        return slot

    def _drain(self, lane: Lane) -> None:
        """After a failure: nothing may still be on its way when the buffers are used again."""
        try:
            lane.drain()
        except EngineError as error:
            self._lost = self._lost or str(error)
            _LOG.info("%s", error)

    def _warm_up(self, graphs: bool) -> None:
        """Full batches through each slot, because TensorRT takes memory at the first; then graphs.

        Golden tiles prove one place of one slot. All the others are held against it here.
        """
        lane = self._open_lane()
        noise = np.random.default_rng(0).integers(0, 256, self._slots[0].host[IMAGE].shape[1:], np.uint8)
        (alone,) = self._once(lane, self._slots[-1], noise, 1)
        for slot in self._slots:
            plain = self._once(lane, slot, noise, self._most)
            if max(int(np.abs(one - alone).max()) for one in plain) > _MOST_LEVELS:
                raise EngineError(
                    f"TensorRT gives a tile other probabilities in a batch of {self._most} than alone;"
                    f" compile again with `{compile_command(self._package, self._tile)} --batch 1`."
                )
            if not graphs:
                continue
            lane.capture(slot)
            for name in (PROB, CHECK):
                lane.poison(slot, name, _POISON)  # else a graph that does nothing looks right
            if not np.array_equal(self._once(lane, slot, noise, self._most), plain):
                raise EngineError(
                    "A CUDA graph gave other probabilities than the plain run; set model.cuda_graphs = false."
                )

    def _once(self, lane: Lane, slot: Slot, tile: Image, count: int) -> list[NDArray[np.int16]]:
        """The probabilities of a batch of so many times this tile, checked and copied."""
        slot.begin(0)
        for _ in range(count):
            slot.put(tile)
        slot.host[PROB].fill(_POISON)
        lane.launch(slot)
        found: list[NDArray[np.int16]] = []
        self._finish(slot, lambda _, probs: found.append(probs.astype(np.int16)))
        return found


def open_tensorrt(
    package: ModelPackage,
    tile: tuple[int, int],
    *,
    graphs: bool = False,
    trt: TensorRt | None = None,
    cuda: CudaRuntime | None = None,
) -> TensorRtEngine:
    """The engine that was compiled here for this package and tile.

    trt, cuda: the libraries; the installed ones by default. Raises UsageError where one is missing,
    GpuMissing, what find_compiled raises, and what TensorRtEngine raises.
    """
    cuda = cuda or cuda_runtime()
    gpu = probe_gpu(cuda)
    trt = trt or load_tensorrt("tensorrt")  # nothing to install where there is no GPU
    stored = find_compiled(package, tile, trt.__version__, gpu)
    return TensorRtEngine(package, stored, trt, cuda, graphs=graphs)


def open_described(description: dict[str, Any]) -> TensorRtEngine:
    """open_tensorrt from what a message can carry: package (path), tile, graphs."""
    height, width = description["tile"]
    package = load_package(Path(description["package"]))
    return open_tensorrt(package, (height, width), graphs=bool(description["graphs"]))


def _precisions(stored: Stored) -> dict[str, int]:
    """Convolutions in each precision, as the compiler's audit counted them."""
    names = {"HALF": "fp16", "FLOAT": "f32", "BF16": "bf16", "INT8": "int8"}
    found: dict[str, int] = {}
    for kind in ("CONVOLUTION", "DECONVOLUTION"):
        for types, count in stored.record.layers.get(kind, {}).items():
            precision = names.get(types, types)
            found[precision] = found.get(precision, 0) + count
    return found


def _runtime(trt: TensorRt) -> Any:
    ERRORS.take()
    try:
        return trt.Runtime(logger_of(trt))
    except TypeError as error:  # what pybind makes of a constructor that returns nothing
        raise EngineError(f"TensorRT does not start: {ERRORS.take()}; look with `nvidia-smi`.") from error


def _deserialized(runtime: Any, plan: bytes, stored: Stored, package: ModelPackage) -> CudaEngine:
    engine: CudaEngine | None = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(
            f"TensorRT does not load {stored.record.plan}: {ERRORS.take()}; compile it again with"
            f" `{compile_command(package, stored.record.tile)}`."
        )
    return engine


def _context(engine: CudaEngine) -> Context:
    context = engine.create_execution_context()
    if context is None:
        raise EngineError(
            f"TensorRT cannot take the memory that the engine needs: {ERRORS.take()}; free memory on the GPU,"
            " or compile a smaller tile or batch."
        )
    return context


def _check_tensors(engine: CudaEngine, stored: Stored, package: ModelPackage) -> None:
    """Names, types and shapes as the record and the package say; nothing is guessed by order."""
    names = sorted(engine.get_tensor_name(i) for i in range(engine.num_io_tensors))
    found = tuple(
        IoTensor(
            name=name,
            mode=engine.get_tensor_mode(name).name,
            dtype=engine.get_tensor_dtype(name).name,
            shape=tuple(engine.get_tensor_shape(name)),
        )
        for name in names
    )
    record = stored.record
    again = f"compile it again with `{compile_command(package, record.tile)}`"
    for expected in (record.tensors, contract(package, record.tile)):
        if found != expected:
            raise EngineModelMismatch(
                f"The engine {record.plan} has the tensors {_words(found)} instead of {_words(expected)};"
                f" {again}."
            )
    batches = tuple(int(shape[0]) for shape in engine.get_tensor_profile_shape(IMAGE, 0))
    wanted = (record.batch.least, record.batch.usual, record.batch.most)
    if engine.num_optimization_profiles != 1 or batches != wanted:
        raise EngineModelMismatch(
            f"The engine {record.plan} takes batches of {batches} instead of {wanted}; {again}."
        )


def _words(tensors: tuple[IoTensor, ...]) -> str:
    return ", ".join(f"{one.name} {one.dtype} {list(one.shape)}" for one in tensors)
