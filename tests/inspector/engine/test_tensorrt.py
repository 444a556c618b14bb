"""The TensorRT engine against a CUDA and a TensorRT in host memory that enforce their contracts."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable

import numpy as np
import pytest
from fake_gpu import LOST, NAN_PIXEL, FakeCuda, FakeTensorRt, rule_package, store_plan

from inspector.engine import tensorrt_lane
from inspector.engine.certificate import certify
from inspector.engine.compiled import CHECK, IMAGE, PROB, Stored, contract
from inspector.engine.fake import dark_and_bright
from inspector.engine.tensorrt import TensorRtEngine, open_tensorrt
from inspector.errors import (
    DeviceLost,
    EngineCorrupt,
    EngineError,
    EngineGpuMismatch,
    EngineModelMismatch,
    EngineNotCompiled,
    EngineVersionMismatch,
    GpuMissing,
    InspectionError,
)
from inspector.package import ModelPackage
from inspector.types import Image, ProbMap

pytestmark = pytest.mark.usefixtures("fresh_cache")

TILE = (60, 64)
HALO = 20


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    return rule_package(tmp_path_factory.mktemp("rule") / "package")


@pytest.fixture
def stored(package: ModelPackage) -> Stored:
    return store_plan(package, TILE)


@pytest.fixture
def cuda() -> FakeCuda:
    return FakeCuda()


@pytest.fixture
def trt(cuda: FakeCuda) -> FakeTensorRt:
    return FakeTensorRt(cuda)


def opened(package: ModelPackage, trt: FakeTensorRt, graphs: bool = False) -> TensorRtEngine:
    return open_tensorrt(package, TILE, graphs=graphs, trt=trt, cuda=trt.cuda)


def pictures(count: int, seed: int = 0) -> list[Image]:
    found = np.random.default_rng(seed).integers(0, 256, (count, *TILE), np.uint8)
    found[:, 0, 0] = 128
    return list(found)


def expected(tile: Image) -> ProbMap:
    return dark_and_bright(2)(tile)[HALO:-HALO, HALO:-HALO]


def run(engine: TensorRtEngine, tiles: list[Image]) -> dict[int, ProbMap]:
    found: dict[int, ProbMap] = {}

    def deliver(index: int, probs: ProbMap) -> None:
        assert index not in found
        found[index] = probs.copy()

    engine.run(iter(tiles), deliver)
    return found


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 9])
def test_every_tile_comes_back_once_with_its_own_pixels(
    count: int, graphs: bool, package: ModelPackage, stored: Stored, trt: FakeTensorRt
) -> None:
    engine = opened(package, trt, graphs)
    for frame in range(3):
        tiles = pictures(count, seed=frame)
        found = run(engine, tiles)
        assert sorted(found) == list(range(count))
        for index, tile in enumerate(tiles):
            assert np.array_equal(found[index], expected(tile))


def test_what_runs_is_said_and_proven(package: ModelPackage, stored: Stored, trt: FakeTensorRt) -> None:
    engine = opened(package, trt)
    info = engine.info
    assert (info.name, info.version, info.precision, info.device, info.tile) == (
        "tensorrt", "11.4.0.106", "fp16", "NVIDIA Fake", TILE,
    )  # fmt: skip
    assert info.layers == {"fp16": 2}
    certificate = certify(engine, package)
    assert certificate.parity.lost == 0 and certificate.parity.mask_equal == 1.0
    assert certificate.limits.max_difference == 0.02


def test_a_tile_that_differs_with_its_place_in_the_batch_does_not_serve(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt
) -> None:
    """Golden tiles come one at a time, so that they never see the second place."""
    trt.wrong["batch"] = True
    with pytest.raises(EngineError, match=r"in a batch of 2 than alone; .* --tile 60x64 --batch 1"):
        opened(package, trt)
    assert not trt.cuda.memory


def test_a_certificate_is_of_one_compilation(package: ModelPackage, trt: FakeTensorRt) -> None:
    """Another one may have chosen other kernels, and its rows must not name the proof of the first."""
    ids = []
    for batch in ((1, 2, 2), (1, 1, 1)):
        plan = store_plan(package, TILE, batch, built_utc=f"2026-11-22T1{batch[2]}:00:00.000+00:00")
        for graphs in (False, True):
            engine = TensorRtEngine(package, plan, trt, trt.cuda, graphs=graphs)
            assert plan.record.plan_sha256[:12] in engine.info.note
            ids.append(certify(engine, package).id())
            assert certify(engine, package).id() == ids[-1]
    assert len(set(ids)) == 4


def test_the_caller_may_use_one_buffer_for_all_tiles(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt
) -> None:
    engine, buffer, tiles = opened(package, trt), np.empty(TILE, np.uint8), pictures(5)
    found: dict[int, ProbMap] = {}

    def cut():
        for tile in tiles:
            buffer[...] = tile
            yield buffer

    engine.run(cut(), lambda index, probs: found.update({index: probs.copy()}))
    assert all(np.array_equal(found[i], expected(tile)) for i, tile in enumerate(tiles))


def test_buffers_are_taken_once_and_given_back(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt, cuda: FakeCuda
) -> None:
    engine = opened(package, trt)
    taken = dict(cuda.memory)
    run(engine, pictures(7))
    assert dict(cuda.memory) == taken
    assert len(cuda.pinned) == 6 and len(taken) == 12  # three tensors, two batches, host and GPU
    engine.close()
    engine.close()
    assert not cuda.memory and not cuda.streams and cuda.events == 0
    with pytest.raises(EngineError, match="closed"):
        run(engine, pictures(1))


def test_the_next_batch_is_on_its_way_before_the_last_is_waited_for(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt, cuda: FakeCuda
) -> None:
    engine = opened(package, trt)
    cuda.calls.clear()
    run(engine, pictures(4))
    assert cuda.calls.count("cudaEventSynchronize") == 2
    before_first_wait = cuda.calls[: cuda.calls.index("cudaEventSynchronize")]
    assert before_first_wait.count("cudaMemcpyAsync") == 6  # both batches up, and their answers' way back
    assert not {"cudaMalloc", "cudaHostAlloc", "cudaStreamSynchronize"} & set(cuda.calls)


@pytest.mark.parametrize("forgotten", ["cudaStreamWaitEvent", "cudaEventSynchronize"])
def test_the_fake_gpu_sees_a_forgotten_wait(
    forgotten: str,
    package: ModelPackage,
    stored: Stored,
    trt: FakeTensorRt,
    cuda: FakeCuda,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that the tests above mean something."""
    monkeypatch.setattr(FakeCuda, f"_{forgotten}", lambda *_: None)
    with pytest.raises(EngineError, match="nonsense"):
        run(opened(package, trt), pictures(3))


def test_values_that_are_not_finite_are_refused_and_the_next_frame_is_well(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt
) -> None:
    engine, tiles = opened(package, trt), pictures(5)
    tiles[2][0, 0] = NAN_PIXEL
    with pytest.raises(EngineError, match="tile 2: its softmax is not finite") as refusal:
        run(engine, tiles)
    assert not isinstance(refusal.value, DeviceLost)
    assert np.array_equal(run(engine, pictures(1))[0], expected(pictures(1)[0]))


def test_a_run_that_does_nothing_never_gives_the_last_frames_answer(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt
) -> None:
    engine = opened(package, trt)
    run(engine, pictures(4))
    trt.wrong["idle"] = True
    with pytest.raises(EngineError, match="nonsense"):
        run(engine, pictures(4))


def test_a_false_from_execute_fails_the_frame_with_tensorrts_words(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt
) -> None:
    engine = opened(package, trt)
    trt.wrong["execute"] = True
    with pytest.raises(EngineError, match="did not run a batch of 2: Address is not set"):
        run(engine, pictures(3))
    assert len(run(engine, pictures(3))) == 3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"context": True}, "cannot take the memory"),
        ({"infer": True}, "misses the shapes of image"),
        ({"address": PROB}, "does not take the address of prob"),
    ],
)
def test_each_none_and_false_at_opening_is_an_error_and_leaks_nothing(
    wrong: dict[str, object], words: str, package: ModelPackage, stored: Stored, trt: FakeTensorRt
) -> None:
    trt.wrong.update(wrong)
    with pytest.raises(EngineError, match=words):
        opened(package, trt)
    assert not trt.cuda.memory


def test_a_batch_outside_the_profile_is_refused(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt
) -> None:
    engine = opened(package, trt)
    lane, slot = engine._lane, engine._slots[0]
    assert lane is not None
    slot.begin(0).count = 3
    with pytest.raises(EngineError, match="does not take tiles of"):
        lane._shape(lane._context, slot, 3)  # type: ignore[arg-type]


def test_an_answer_of_another_shape_than_its_buffer_is_refused(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be written past the end of what was taken for it."""
    monkeypatch.setattr(
        "fake_gpu._Context.get_tensor_shape", lambda self, _: (self.batch, 21, 24, 2), raising=True
    )
    with pytest.raises(EngineError, match=r"gives prob as \(1, 21, 24, 2\) instead of \(1, 20, 24, 2\)"):
        opened(package, trt)


def test_a_tile_of_another_size_is_refused(package: ModelPackage, stored: Stored, trt: FakeTensorRt) -> None:
    with pytest.raises(EngineError, match=r"tile of \(64, 60\)"):
        run(opened(package, trt), [np.zeros((64, 60), np.uint8)])


@pytest.mark.parametrize(
    "call",
    ["cudaMemcpyAsync", "cudaEventRecord", "cudaStreamWaitEvent", "cudaEventSynchronize", "cudaMemsetAsync"],
)
def test_a_lost_gpu_is_said_and_stays_lost(
    call: str, package: ModelPackage, stored: Stored, trt: FakeTensorRt, cuda: FakeCuda
) -> None:
    engine = opened(package, trt)
    cuda.fail[call] = LOST
    with pytest.raises(DeviceLost, match=r"The GPU was lost when .*700"):
        run(engine, pictures(4))
    with pytest.raises(DeviceLost, match="has to be opened again"):
        run(engine, pictures(1))
    engine.close()


def test_full_memory_is_no_lost_gpu(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt, cuda: FakeCuda
) -> None:
    cuda.fail["cudaHostAlloc"] = 2
    with pytest.raises(EngineError, match="memory was full") as refusal:
        opened(package, trt)
    assert not isinstance(refusal.value, DeviceLost)


def test_an_error_of_the_caller_leaves_nothing_on_its_way(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt
) -> None:
    engine = opened(package, trt)

    def broken(index: int, probs: ProbMap) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.run(iter(pictures(5)), broken)
    assert all(stream.done == len(stream.work) for stream in trt.cuda.streams.values())
    assert len(run(engine, pictures(5))) == 5


def test_a_graph_that_gives_other_numbers_does_not_serve(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(self: FakeCuda, graph: list[Callable[[], None]], stream: object) -> None:
        for work in graph[:-1]:  # all but the network itself
            self.queue(stream, work)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeCuda, "_cudaGraphLaunch", launch)
    with pytest.raises(EngineError, match=r"nonsense|model\.cuda_graphs = false"):
        opened(package, trt, graphs=True)


def test_a_graph_whose_answer_differs_names_the_setting(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(self: FakeCuda, graph: list[Callable[[], None]], stream: object) -> None:
        for work in graph:
            self.queue(stream, work)  # type: ignore[arg-type]
        for start in [at for at in self.memory if at not in self.pinned]:
            if len(self.memory[start]) > 1000:  # one probability of the first tile
                self.queue(stream, lambda at=start: self.memory[at].__setitem__(0, 77))  # type: ignore[arg-type]

    monkeypatch.setattr(FakeCuda, "_cudaGraphLaunch", launch)
    with pytest.raises(EngineError, match=r"model\.cuda_graphs = false"):
        opened(package, trt, graphs=True)


def test_a_graph_that_does_nothing_does_not_serve_what_lay_on_the_gpu(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real copy leaves its source as it was: the plain run's answer, which the graph is compared with."""

    def copy(self: FakeCuda, to: int, source: int, nbytes: int, kind: int, stream: object) -> None:
        self.queue(stream, lambda: ctypes.memmove(to, source, nbytes) and None)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeCuda, "_cudaMemcpyAsync", copy)
    opened(package, trt, graphs=True).close()
    monkeypatch.setattr(FakeCuda, "_cudaGraphLaunch", lambda *_: None)
    with pytest.raises(EngineError, match=r"nonsense|model\.cuda_graphs = false"):
        opened(package, trt, graphs=True)


def test_graphs_are_replayed_and_freed(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt, cuda: FakeCuda
) -> None:
    engine = opened(package, trt, graphs=True)
    cuda.calls.clear()
    run(engine, pictures(3))
    assert cuda.calls.count("cudaGraphLaunch") == 2
    engine.close()
    assert cuda.calls.count("cudaGraphExecDestroy") == 2


@pytest.mark.parametrize(("code", "devices"), [(35, 0), (100, 0), (0, 0)])
def test_without_a_gpu_no_runtime_is_ever_made(
    code: int, devices: int, package: ModelPackage, stored: Stored
) -> None:
    cuda = FakeCuda(code=code, devices=devices)
    trt = FakeTensorRt(cuda)
    for attempt in (lambda: opened(package, trt), lambda: TensorRtEngine(package, stored, trt, cuda)):
        with pytest.raises(GpuMissing, match=f"{code or 'counts none'}.*nvidia-smi"):
            attempt()
    assert trt.runtimes == 0


@pytest.mark.parametrize(
    ("changed", "kind", "both"),
    [
        ({"version": "10.16.1.11"}, EngineVersionMismatch, ("10.16.1.11", "11.4.0.106")),
        ({"gpu": "NVIDIA Other"}, EngineGpuMismatch, ("NVIDIA Other", "NVIDIA Fake")),
        ({"compute_capability": "8.9"}, EngineGpuMismatch, ("8.9", "9.0")),
        ({"onnx_sha256": "f" * 64}, EngineModelMismatch, ("f" * 12, "with")),
        ({"package": "e" * 64}, EngineModelMismatch, ("e" * 12, "this is package")),
    ],
)
def test_an_engine_of_elsewhere_is_refused_before_it_is_loaded(
    changed: dict[str, str],
    kind: type[InspectionError],
    both: tuple[str, str],
    package: ModelPackage,
    trt: FakeTensorRt,
) -> None:
    store_plan(package, TILE, **changed)
    with pytest.raises(kind) as refusal:
        opened(package, trt)
    words = str(refusal.value)
    assert all(value in words for value in both)
    assert f"inspector models compile {package.path} --tile 60x64" in words
    assert refusal.value.exit_code == 3
    assert trt.runtimes == 0


def test_a_changed_byte_of_the_plan_is_refused_before_it_is_loaded(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt
) -> None:
    plan = stored.path.with_name(stored.record.plan)
    data = plan.read_bytes()
    for broken in (data[:-1], data[:-2] + b" }"[::-1], b""):
        plan.write_bytes(broken)
        with pytest.raises(EngineCorrupt, match="inspector models compile"):
            opened(package, trt)
    plan.unlink()
    with pytest.raises(EngineCorrupt, match="cannot be read"):
        opened(package, trt)
    assert trt.runtimes == 0


def test_an_engine_with_other_tensors_or_batches_than_its_record_is_refused(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt
) -> None:
    trt.wrong["dtype"] = "HALF"
    with pytest.raises(EngineModelMismatch, match=r"image HALF .* instead of .* image UINT8"):
        opened(package, trt)
    trt.wrong.clear()
    store_plan(package, TILE, batch=(1, 1, 2), built_utc="2027-01-01T00:00:00.000+00:00",
               plan_sha256=stored.record.plan_sha256, plan_bytes=stored.record.plan_bytes)  # fmt: skip
    newest = max(stored.path.parent.glob("*.json"), key=lambda path: "2027" in path.read_text())
    plan = newest.with_suffix(".plan")
    plan.write_bytes(stored.path.with_name(stored.record.plan).read_bytes())
    with pytest.raises(EngineModelMismatch, match=r"batches of \(1, 2, 2\) instead of \(1, 1, 2\)"):
        opened(package, trt)


def test_an_engine_of_another_network_is_refused_though_its_record_agrees(
    package: ModelPackage, trt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the record says was found by the compiler; what is served is the package."""
    wider = [
        tensor if tensor.name != PROB else tensor.model_copy(update={"shape": (*tensor.shape[:3], 3)})
        for tensor in contract(package, TILE)
    ]
    store_plan(package, TILE, tensors=tuple(wider))
    monkeypatch.setattr(trt, "facts", lambda plan: {**json.loads(plan), "classes": 3})
    with pytest.raises(EngineModelMismatch, match=r"prob UINT8 \[-1, 20, 24, 3\] instead of .*24, 2\]"):
        opened(package, trt)


def test_an_engine_with_a_second_profile_is_refused(
    package: ModelPackage, stored: Stored, trt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fake_gpu._Engine.num_optimization_profiles", 2)
    with pytest.raises(EngineModelMismatch, match="takes batches of"):
        opened(package, trt)


def test_without_an_engine_the_command_that_makes_one_is_named(
    package: ModelPackage, trt: FakeTensorRt
) -> None:
    with pytest.raises(EngineNotCompiled, match=r"inspector models compile .* --tile 60x64"):
        opened(package, trt)
    store_plan(package, (64, 64))
    with pytest.raises(EngineNotCompiled, match="60x64"):
        opened(package, trt)


def test_names_of_the_tensors_are_those_of_the_release_graph() -> None:
    assert (IMAGE, PROB, CHECK) == ("image", "prob", "check")
    assert set(tensorrt_lane._TYPES) == {"UINT8", "FLOAT"}
