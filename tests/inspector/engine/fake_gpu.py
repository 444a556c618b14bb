"""A CUDA and a TensorRT in host memory that hold the engine to their real contracts.

Nothing runs when it is queued. A stream's work runs only when somebody waits for it, and then only
as far as that wait reaches: who forgets to wait, or to make one stream wait for another, reads what
was there before. What was consumed is overwritten, so that nothing old ever looks right.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from inspector.engine.compiled import (
    CHECK,
    IMAGE,
    PROB,
    Batch,
    BuilderOptions,
    CompiledEngine,
    Stored,
    contract,
    engines_folder,
)
from inspector.engine.fake import dark_and_bright
from inspector.package import ONNX, Golden, Manifest, ModelPackage, Normalisation, Threshold, write_package
from inspector.tiling import Geometry

NAN_PIXEL = 13
"""A tile that begins with this gray value makes the network overflow."""
LOST = 700


@dataclass
class Stream:
    number: int
    work: list[Any] = field(default_factory=list)
    done: int = 0
    capturing: list[Any] | None = None

    def __int__(self) -> int:
        return self.number


@dataclass
class Event:
    stream: Stream | None = None
    at: int = 0


class FakeCuda:
    """`cuda.bindings.runtime` with one GPU."""

    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, name: str = "NVIDIA Fake", devices: int = 1, code: int = 0) -> None:
        """code: what cudaGetDeviceCount says."""
        self.name, self.devices, self.code = name, devices, code
        self.calls: list[str] = []
        self.fail: dict[str, int] = {}
        """Call -> code that it returns once."""
        self.lost = 0
        """Code that every call returns from now on."""
        self.memory: dict[int, Any] = {}
        self.pinned: set[int] = set()
        self.streams: dict[int, Stream] = {}
        self.events = 0

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("cuda") or name in ("cudaStreamCaptureMode", "cudaMemcpyKind"):
            return object.__getattribute__(self, name)

        def call(*args: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            if self.lost:
                return (self.lost, None)
            if code := self.fail.pop(name, 0):
                if code not in (1, 2):
                    self.lost = code
                return (code, None)
            capturing = any(stream.capturing is not None for stream in self.streams.values())
            if capturing and ("Synchronize" in name or "Alloc" in name or name == "cudaMalloc"):
                return (900, None)
            value = object.__getattribute__(self, "_" + name)(*args)
            if self.lost:
                return (self.lost, None)
            return (0,) if value is None else (0, value)

        if name == "cudaGetDeviceCount":
            self.calls.append(name)
            return lambda: (self.code, None if self.code else self.devices)
        return call

    @staticmethod
    def cudaMemcpyKind(kind: int) -> int:
        return {1: 1, 2: 2}[kind]

    def _cudaDriverGetVersion(self) -> int:
        return 13010

    def _cudaGetDeviceProperties(self, device: int) -> Any:
        assert device == 0
        return SimpleNamespace(name=self.name.encode(), major=9, minor=0, totalGlobalMem=1 << 34)

    def _cudaSetDevice(self, device: int) -> None:
        assert device == 0

    def _cudaMemGetInfo(self) -> tuple[int, int]:
        return (1 << 33, 1 << 34)

    def _take(self, nbytes: int) -> int:
        buffer = (ctypes.c_uint8 * nbytes)()
        ctypes.memset(buffer, 0x5C, nbytes)
        self.memory[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    def _cudaMalloc(self, size: int) -> int:
        return self._take(size)

    def _cudaHostAlloc(self, size: int, flags: int) -> int:
        address = self._take(size)
        self.pinned.add(address)
        return address

    def _cudaFree(self, address: int) -> None:
        assert address not in self.pinned
        del self.memory[address]

    def _cudaFreeHost(self, address: int) -> None:
        self.pinned.remove(address)
        del self.memory[address]

    def _cudaStreamCreateWithFlags(self, flags: int) -> Stream:
        stream = Stream(1000 + len(self.streams))
        self.streams[stream.number] = stream
        return stream

    def _cudaStreamDestroy(self, stream: Stream) -> None:
        del self.streams[stream.number]

    def _cudaEventCreateWithFlags(self, flags: int) -> Event:
        self.events += 1
        return Event()

    def _cudaEventDestroy(self, event: Event) -> None:
        self.events -= 1

    def _cudaMemcpyAsync(self, to: int, source: int, nbytes: int, kind: int, stream: Stream) -> None:
        host, device = (source, to) if kind == 1 else (to, source)
        assert self._inside(host, nbytes, pinned=True), "a copy from or to memory that is not pinned"
        assert self._inside(device, nbytes, pinned=False), "a copy from or to memory that is not the GPU's"

        def copy() -> None:
            ctypes.memmove(to, source, nbytes)
            if kind == 2:
                ctypes.memset(source, 0x55, nbytes)  # fetched once; the next one has to be computed

        self.queue(stream, copy)

    def _cudaMemsetAsync(self, address: int, value: int, nbytes: int, stream: Stream) -> None:
        assert self._inside(address, nbytes, pinned=False)
        self.queue(stream, lambda: ctypes.memset(address, value, nbytes) and None)

    def _cudaEventRecord(self, event: Event, stream: Stream) -> None:
        event.stream, event.at = stream, len(stream.work)

    def _cudaStreamWaitEvent(self, stream: Stream, event: Event, flags: int) -> None:
        of, at = event.stream, event.at
        self.queue(stream, lambda: self._advance(of, at) if of is not None else None)

    def _cudaEventSynchronize(self, event: Event) -> None:
        if event.stream is not None:
            self._advance(event.stream, event.at)

    def _cudaStreamSynchronize(self, stream: Stream) -> None:
        self._advance(stream, len(stream.work))

    def _cudaStreamBeginCapture(self, stream: Stream, mode: int) -> None:
        stream.capturing = []

    def _cudaStreamEndCapture(self, stream: Stream) -> list[Any]:
        captured, stream.capturing = stream.capturing, None
        assert captured is not None
        return captured

    def _cudaGraphInstantiate(self, graph: list[Any], flags: int) -> list[Any]:
        return list(graph)

    def _cudaGraphDestroy(self, graph: list[Any]) -> None: ...

    def _cudaGraphExecDestroy(self, graph: list[Any]) -> None: ...

    def _cudaGraphLaunch(self, graph: list[Any], stream: Stream) -> None:
        for work in graph:
            self.queue(stream, work)

    def queue(self, stream: Stream, work: Callable[[], None]) -> None:
        (stream.work if stream.capturing is None else stream.capturing).append(work)

    def _advance(self, stream: Stream, to: int) -> None:
        while stream.done < to and not self.lost:
            work = stream.work[stream.done]
            stream.done += 1
            work()

    def _inside(self, address: int, nbytes: int, pinned: bool) -> bool:
        return any(
            start <= address and address + nbytes <= start + len(buffer)
            for start, buffer in self.memory.items()
            if (start in self.pinned) == pinned
        )


class FakeTensorRt:
    """`tensorrt` with a Runtime. A plan is JSON: tile, channels, classes, batch, halo."""

    __name__ = "tensorrt"

    class ILogger:
        def __init__(self) -> None: ...

    def __init__(self, cuda: FakeCuda, version: str = "11.4.0.106") -> None:
        self.cuda, self.__version__ = cuda, version
        self.wrong: dict[str, Any] = {}
        """What to do wrong: execute, address, infer, context, dtype, idle, batch."""
        self.network: Any = None
        """(h, w, channels) -> probabilities (out_h, out_w, K) and the softmax's mean, instead of the rule."""
        self.runtimes = 0

    def Runtime(self, logger: Any) -> Any:
        if self.cuda.code or not self.cuda.devices:
            raise SystemError("a real TensorRT ends the process here (SIGSEGV)")
        self.runtimes += 1
        self.logger = logger
        return SimpleNamespace(deserialize_cuda_engine=self._deserialize)

    def say(self, text: str) -> None:
        self.logger.log(SimpleNamespace(name="ERROR"), text)

    def facts(self, plan: bytes) -> Any:
        return json.loads(plan)

    def _deserialize(self, plan: bytes) -> Any:
        try:
            return _Engine(self, self.facts(plan))
        except ValueError:
            self.say("Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed.")
            return None


class _Engine:
    num_optimization_profiles = 1

    def __init__(self, trt: FakeTensorRt, facts: dict[str, Any]) -> None:
        self.trt, self.facts = trt, facts
        (h, w), halo = facts["tile"], facts["halo"]
        self.shapes = {
            PROB: (-1, h - 2 * halo, w - 2 * halo, facts["classes"]),
            IMAGE: (-1, h, w, facts["channels"]),
            CHECK: (-1,),
        }
        self.num_io_tensors = 3
        self.network = trt.network or self.rule

    def rule(self, tile: Any) -> tuple[Any, float]:
        """Probabilities of what is dark and bright, and the mean of the softmax."""
        halo, classes = self.facts["halo"], self.facts["classes"]
        probs = dark_and_bright(classes)(tile[..., 0] if tile.shape[-1] == 1 else tile)
        mean = np.nan if tile[0, 0, 0] == NAN_PIXEL else 1 / (classes + 1)
        return probs[halo:-halo, halo:-halo], mean

    def get_tensor_name(self, index: int) -> str:
        return list(self.shapes)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return SimpleNamespace(name="INPUT" if name == IMAGE else "OUTPUT")

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self.trt.wrong.get("dtype", "FLOAT" if name == CHECK else "UINT8"))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        return [(count, *self.shapes[name][1:]) for count in self.facts["batch"]]

    def create_execution_context(self) -> Any:
        return None if self.trt.wrong.get("context") else _Context(self)


class _Context:
    """Addresses and shapes as set when a run is queued; False for what a real one refuses."""

    def __init__(self, engine: _Engine) -> None:
        self.engine, self.trt = engine, engine.trt
        self.batch = 0
        self.addresses: dict[str, int] = {}
        self.streams: set[int] = set()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.facts["batch"]
        fits = (
            name == IMAGE and tuple(shape[1:]) == self.engine.shapes[IMAGE][1:] and least <= shape[0] <= most
        )
        if not fits:
            self.trt.say(f"Static dimension mismatch while setting input shape for {name}.")
            return False
        self.batch = shape[0]
        return True

    def infer_shapes(self) -> list[str]:
        return [] if self.batch and not self.trt.wrong.get("infer") else [IMAGE]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.batch or -1, *self.engine.shapes[name][1:])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self.engine.shapes or memory % 16 or self.trt.wrong.get("address") == name:
            return False
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        missing = set(self.engine.shapes) - set(self.addresses)
        if missing or not self.batch or self.trt.wrong.pop("execute", False):
            self.trt.say(f"Address is not set for input tensor {sorted(missing)}.")
            return False
        self.streams.add(stream_handle)
        assert len(self.streams) == 1, "one context on two streams at a time"
        if not self.trt.wrong.get("idle"):
            batch, addresses = self.batch, dict(self.addresses)
            stream = self.trt.cuda.streams[stream_handle]
            self.trt.cuda.queue(stream, lambda: self._compute(batch, addresses))
        return True

    def _compute(self, batch: int, addresses: dict[str, int]) -> None:
        image = self._array(addresses[IMAGE], (batch, *self.engine.shapes[IMAGE][1:]), np.uint8)
        prob = self._array(addresses[PROB], (batch, *self.engine.shapes[PROB][1:]), np.uint8)
        check = self._array(addresses[CHECK], (batch,), np.float32)
        for n in range(batch):
            prob[n], check[n] = self.engine.network(image[n])
            if n and self.trt.wrong.get("batch"):
                prob[n] = prob[0] // 2
        image[...] = 0x66  # consumed: the next run needs its own

    @staticmethod
    def _array(address: int, shape: tuple[int, ...], kind: Any) -> Any:
        nbytes = int(np.prod(shape)) * np.dtype(kind).itemsize
        return np.frombuffer((ctypes.c_uint8 * nbytes).from_address(address), kind).reshape(shape)


def rule_package(path: Any, channels: int = 1) -> ModelPackage:
    """Depth 3; classes dark and bright. Its golden probabilities are those of the fake GPU."""
    geometry = Geometry(3)
    side = geometry.input(geometry.output_at_least(24))
    random = np.random.default_rng(1)
    tiles = random.integers(90, 160, (3, side, side, channels), np.uint8)
    for n, tile in enumerate(tiles):
        tile[26 : 30 + n, 26 : 32 + n] = 250 if n % 2 else 5
    rule, halo = dark_and_bright(2), geometry.halo
    probs = [rule(t[..., 0] if channels == 1 else t)[halo:-halo, halo:-halo] for t in tiles]
    manifest = Manifest(
        name="rule", version="1", classes=("dark", "bright"), channels=channels, depth=3, base=4,
        halo=halo, grid=geometry.grid,
        normalisation=Normalisation(mean=(128.0,) * channels, std=(64.0,) * channels),
        thresholds={"dark": Threshold(value=0.6), "bright": Threshold(value=0.6)},
        training_data_sha256="0" * 64, seed=1, metrics={"half": {"activation": 8.0}},
    )  # fmt: skip
    golden = Golden(tiles, (np.stack(probs) / 255).astype(np.float32))
    return write_package(path, manifest, b"no network", golden)


def store_plan(
    made_of: ModelPackage,
    tile: tuple[int, int] = (60, 64),
    batch: tuple[int, int, int] = (1, 2, 2),
    **changed: Any,
) -> Stored:
    """A plan for the fake GPU and its record, in this machine's store. changed: fields of the record."""
    import hashlib

    facts = {
        "tile": tile, "channels": made_of.manifest.channels, "classes": len(made_of.classes),
        "batch": batch, "halo": made_of.manifest.halo,
    }  # fmt: skip
    plan = json.dumps(facts).encode()
    fields: dict[str, Any] = {
        "package": made_of.id, "onnx_sha256": made_of.manifest.files[ONNX], "engine": "tensorrt",
        "module": "tensorrt", "version": "11.4.0.106", "precision": "fp16", "gpu": "NVIDIA Fake",
        "compute_capability": "9.0", "driver": "13.1", "tile": tile,
        "batch": Batch(least=batch[0], usual=batch[1], most=batch[2]), "tensors": contract(made_of, tile),
        "layers": {"CONVOLUTION": {"HALF": 2}, "SOFTMAX": {"FLOAT": 1}},
        "options": BuilderOptions(workspace_bytes=1 << 30, optimization_level=3), "build_s": 1.5,
        "built_utc": "2026-11-22T10:00:00.000+00:00", "plan": "x.plan",
        "plan_sha256": hashlib.sha256(plan).hexdigest(), "plan_bytes": len(plan),
    }  # fmt: skip
    record = CompiledEngine.model_validate({**fields, **changed})
    if "plan" not in changed:
        record = record.model_copy(update={"plan": f"{record.key()}.plan"})
    folder = engines_folder(made_of)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / record.plan).write_bytes(plan)
    path = folder / f"{record.key()}.json"
    path.write_text(record.text())
    return Stored(path, record)


def open_fake(description: dict[str, Any]) -> Any:
    """A maker for ProcessEngine: the TensorRT engine on the fake GPU.

    description: package, tile, graphs, and optionally `die_on`: the gray value of a tile's first pixel
    at which the GPU is lost, the process killed, or hangs, by `how`: lost, kill, hang, refuse, break.
    """
    from pathlib import Path

    from inspector.engine.tensorrt import open_tensorrt
    from inspector.package import load_package

    cuda = FakeCuda(code=description.get("code", 0))
    trt = FakeTensorRt(cuda)
    height, width = description["tile"]
    package = load_package(Path(description["package"]))
    engine = open_tensorrt(
        package, (height, width), graphs=description.get("graphs", False), trt=trt, cuda=cuda
    )
    return _Mortal(engine, cuda, trt, description) if "die_on" in description else engine


class _Mortal:
    def __init__(self, engine: Any, cuda: FakeCuda, trt: FakeTensorRt, description: dict[str, Any]) -> None:
        self.engine, self.cuda, self.trt, self.description = engine, cuda, trt, description
        self.info, self.in_flight = engine.info, engine.in_flight

    def run(self, tiles: Any, deliver: Any) -> None:
        import os
        import signal
        import time

        def watched() -> Any:
            for tile in tiles:
                if tile.flat[0] == self.description["die_on"]:
                    how = self.description["how"]
                    if how == "kill":
                        os.kill(os.getpid(), signal.SIGSEGV)
                    if how == "hang":
                        time.sleep(60)
                    if how == "lost":
                        self.cuda.lost = LOST
                    if how == "refuse":
                        self.trt.wrong["execute"] = True
                    if how == "break":
                        raise ValueError("nobody thought of this")
                yield tile

        self.engine.run(watched(), deliver)

    def close(self) -> None:
        self.engine.close()
