"""CUDA without torch, and TensorRT itself, on a real GPU. Skipped with the reason where one is missing.

pip install -e '.[trainer,tensorrt,test]' && pytest tests/gpu/test_tensorrt_gpu.py -rs
"""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inspector.config import ModelConfig
from inspector.engine.cuda import (
    TO_DEVICE,
    TO_HOST,
    CudaRuntime,
    DeviceMemory,
    check,
    cuda_runtime,
    free_memory,
    probe_gpu,
)
from inspector.errors import GpuMissing, UsageError
from inspector.package import ModelPackage, load_package


def _why_not() -> str | None:
    try:
        probe_gpu(cuda_runtime())
    except (GpuMissing, UsageError) as missing:
        return f"not run: {missing}"
    return None


WHY_NOT = _why_not()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")]
needs_tensorrt = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt") is None, reason="not run: TensorRT is not installed"
)
DEMO = Path(__file__).parents[2] / "data_samples" / "demo_model"
FRAME = np.random.default_rng(0).integers(60, 200, (1080, 1920), np.uint8)


@pytest.fixture
def cuda() -> CudaRuntime:
    return cuda_runtime()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelPackage]:
    """The demo model, compiled for whole 1080p frames and for batches of smaller tiles."""
    from deploy.compile import Request, compile_package

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSPECTION_CACHE", str(tmp_path_factory.mktemp("cache")))
        for request in (Request(DEMO, frame=(1080, 1920)), Request(DEMO, tile=(316, 508), batch=4)):
            compile_package(request, lambda share, phase: True)
        yield load_package(DEMO)


def settings(**more: object) -> ModelConfig:
    return ModelConfig.model_validate({"engine": "tensorrt", **more})


def test_pinned_memory_goes_to_the_gpu_and_back_and_is_given_back(cuda: CudaRuntime) -> None:
    before = free_memory(cuda)
    memory, nbytes = DeviceMemory(cuda), 64 << 20
    there, back, device = memory.pinned(nbytes), memory.pinned(nbytes), memory.device(nbytes)
    there[:] = np.random.default_rng(0).integers(0, 256, nbytes, np.uint8)
    back[:] = 0
    stream, event = memory.stream(), memory.event()
    memory.copy(device, there.ctypes.data, nbytes, TO_DEVICE, stream)
    memory.copy(back.ctypes.data, device, nbytes, TO_HOST, stream)
    check(cuda.cudaEventRecord(event, stream), "an event was recorded")
    check(cuda.cudaEventSynchronize(event), "a copy was waited for")
    assert np.array_equal(there, back)
    del there, back
    memory.close()
    assert free_memory(cuda) >= before - (4 << 20)


def test_copies_in_two_directions_run_beside_each_other(cuda: CudaRuntime) -> None:
    memory, nbytes = DeviceMemory(cuda), 256 << 20
    hosts, devices = [memory.pinned(nbytes) for _ in range(2)], [memory.device(nbytes) for _ in range(2)]
    streams = [memory.stream() for _ in range(2)]

    def seconds(second_stream: int) -> float:
        began = time.perf_counter()
        for _ in range(8):
            memory.copy(devices[0], hosts[0].ctypes.data, nbytes, TO_DEVICE, streams[0])
            memory.copy(hosts[1].ctypes.data, devices[1], nbytes, TO_HOST, streams[second_stream])
        for stream in streams:
            check(cuda.cudaStreamSynchronize(stream), "a stream was emptied")
        return time.perf_counter() - began

    seconds(0)
    apart, together = (min(seconds(which) for _ in range(3)) for which in (0, 1))
    memory.close()
    assert together < 0.8 * apart


def test_a_graph_of_copies_and_fills_replays(cuda: CudaRuntime) -> None:
    memory = DeviceMemory(cuda)
    host, device, stream = memory.pinned(1024), memory.device(1024), memory.stream()
    mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    check(cuda.cudaStreamBeginCapture(stream, mode), "a capture began")
    check(cuda.cudaMemsetAsync(device, 0x5A, 1024, stream), "a buffer was filled")
    memory.copy(host.ctypes.data, device, 1024, TO_HOST, stream)
    graph = check(cuda.cudaStreamEndCapture(stream), "a capture ended")
    executable = check(cuda.cudaGraphInstantiate(graph, 0), "a graph was instantiated")
    for _ in range(3):
        host[:] = 0
        check(cuda.cudaGraphLaunch(executable, stream), "a graph was launched")
        check(cuda.cudaStreamSynchronize(stream), "a stream was emptied")
        assert (host == 0x5A).all()
    cuda.cudaGraphExecDestroy(executable)
    cuda.cudaGraphDestroy(graph)
    del host
    memory.close()


@needs_tensorrt
def test_it_serves_with_a_certificate_and_the_masks_of_float32(compiled: ModelPackage) -> None:
    from inspector.defects import mask_of
    from inspector.engine.open import choose_plan, open_engine
    from inspector.engine.segment import segment

    plan = choose_plan(compiled, FRAME.shape, settings())
    assert len(plan.tiles) == 1
    engine = open_engine(compiled, plan, settings())
    assert engine.info.precision == "fp16" and len(engine.info.certificate) == 64
    exact = open_engine(compiled, plan, ModelConfig(engine="openvino", precision="f32"))
    found, expected = (segment(FRAME, plan, one) for one in (engine, exact))
    masks = [mask_of(probs, compiled.thresholds) for probs in (found, expected)]
    assert np.mean(masks[0] == masks[1]) >= 0.9999
    assert np.abs(found.astype(int) - expected).max() <= 0.02 * 255 + 1
    engine.close()
    exact.close()


@needs_tensorrt
@pytest.mark.parametrize("graphs", [False, True])
def test_tiles_in_batches_equal_the_whole(graphs: bool, compiled: ModelPackage) -> None:
    from inspector.engine.open import choose_plan, open_engine
    from inspector.engine.segment import segment

    whole = choose_plan(compiled, FRAME.shape, settings())
    tiled = choose_plan(compiled, FRAME.shape, settings(tile="316x508"))
    engine = open_engine(compiled, tiled, settings(cuda_graphs=graphs))
    one = open_engine(compiled, whole, settings())
    exact = segment(FRAME, whole, one)
    for _ in range(3):
        assert np.abs(segment(FRAME, tiled, engine).astype(int) - exact).max() <= 5
    engine.close()
    one.close()


@needs_tensorrt
def test_half_precision_is_really_half(compiled: ModelPackage) -> None:
    """Others asked for fp16 and got float32: twice the bytes."""
    from inspector.engine.compiled import Stored, stored_engines

    for one in stored_engines(compiled):
        assert isinstance(one, Stored)
        assert one.record.layers["CONVOLUTION"].keys() == {"HALF"}
        assert one.record.plan_bytes < 2 * compiled.onnx.stat().st_size + 2_000_000


@needs_tensorrt
def test_copies_hide_behind_computing(compiled: ModelPackage) -> None:
    """Twelve frames cost little more than their computing: two are always on their way."""
    from inspector.engine.tensorrt import open_tensorrt

    engine = open_tensorrt(compiled, (316, 508))
    tile = np.full((316, 508), 128, np.uint8)

    def seconds(count: int) -> float:
        began = time.perf_counter()
        engine.run((tile for _ in range(count)), lambda _index, _probs: None)
        return time.perf_counter() - began

    seconds(48)
    alone = min(seconds(4) for _ in range(10))
    many = min(seconds(48) for _ in range(5))
    engine.close()
    assert many < 12 * alone


@needs_tensorrt
def test_a_plan_of_another_package_is_refused(compiled: ModelPackage) -> None:
    from inspector.engine.compiled import find_compiled
    from inspector.engine.tensorrt_api import load_tensorrt
    from inspector.errors import EngineNotCompiled

    other = dataclasses.replace(compiled, id="0" * 64)
    with pytest.raises(EngineNotCompiled):
        find_compiled(other, (316, 508), load_tensorrt("tensorrt").__version__, probe_gpu(cuda_runtime()))
