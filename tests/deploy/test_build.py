"""The production build function through TensorRT-RTX, which is real and needs no GPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from deploy import build as building
from deploy.build import Plan, Wish, build
from deploy.network import audit, parsed
from inspector.engine.compiled import Batch, BuilderOptions, contract
from inspector.engine.tensorrt import _deserialized, _runtime
from inspector.engine.tensorrt_api import ERRORS, TensorRt, logger_of
from inspector.errors import CompileCancelled, CompileError, EngineError, PackageError, Refused, ShapeMismatch
from inspector.package import ONNX, ModelPackage, load_package

trt: TensorRt = pytest.importorskip("tensorrt_rtx", reason="TENSORRT-RTX IS NOT INSTALLED: nothing is built")

ROOT = Path(__file__).parents[2]
OPTIONS = BuilderOptions(workspace_bytes=1 << 28, optimization_level=3)
TILE = (60, 64)


def wish(tile: tuple[int, int] = TILE, most: int = 4) -> Wish:
    return Wish(tile, Batch(least=1, usual=most, most=most), OPTIONS)


def quiet(share: float, phase: str) -> bool:
    return True


def with_graph(package: ModelPackage, folder: Path, data: bytes) -> ModelPackage:
    """The package with another model.onnx, whose hash nobody asks for here."""
    folder.mkdir()
    (folder / ONNX).write_bytes(data)
    return dataclasses.replace(package, path=folder)


def graph(nodes: list[Any], outputs: list[Any]) -> bytes:
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 1])
    made = helper.make_graph(nodes, "wrong", [image], outputs, [])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def output(name: str, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, ["n", "a", "b", "c"])


@pytest.mark.parametrize("base", [8, 32, 64])
def test_it_compiles_at_every_width_in_half_precision(base: int, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from benchmarks.networks import seeing_package

    package = seeing_package(tmp_path / "package", base, depth=4)
    shares: list[float] = []
    plan = build(trt, package, wish((156, 164), 2), lambda share, _: shares.append(share) is None)
    assert plan.tensors == contract(package, (156, 164))
    assert plan.layers["CONVOLUTION"] == {"HALF": 15} and plan.layers["DECONVOLUTION"] == {"HALF": 3}
    assert plan.layers["SOFTMAX"] == {"FLOAT": 1} and plan.layers["REDUCE"] == {"FLOAT": 1}
    assert min(shares) >= 0 and max(shares) <= 1 and len(shares) > 10
    # Weights in half precision and little else; float32 would be twice the graph.
    weights = package.onnx.stat().st_size
    assert len(plan.data) < 1.5 * weights + 2_000_000


def test_the_builder_is_given_its_limits() -> None:
    """Without the first it takes what the GPU has; level 5 takes an hour."""
    options = BuilderOptions(workspace_bytes=1 << 27, optimization_level=1)
    config: Any = building._config(trt, trt.Builder(logger_of(trt)), options, quiet)
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 1 << 27
    assert config.builder_optimization_level == 1


def test_the_demo_model_compiles_for_a_whole_frame() -> None:
    package = load_package(ROOT / "data_samples" / "demo_model")
    plan = build(trt, package, wish((812, 1372), 1), quiet)
    assert plan.tensors[1].shape == (-1, 812, 1372, 1)
    assert plan.data.startswith(b"vtrt")


def test_one_process_builds_again(tiny_package: ModelPackage) -> None:
    first, second = (build(trt, tiny_package, wish(), quiet) for _ in range(2))
    assert first.layers == second.layers and first.tensors == second.tensors
    assert abs(len(first.data) - len(second.data)) < 0.1 * len(first.data)


def test_saying_no_cancels_and_the_next_one_is_well(tiny_package: ModelPackage) -> None:
    asked = []

    def soon_no(share: float, phase: str) -> bool:
        asked.append(phase)
        return len(asked) < 3

    with pytest.raises(CompileCancelled, match="nothing was kept"):
        build(trt, tiny_package, wish(), soon_no)
    assert build(trt, tiny_package, wish(), quiet).data


def test_an_illegal_tile_is_refused_before_tensorrt_sees_it(tiny_package: ModelPackage) -> None:
    with pytest.raises(ShapeMismatch, match="61 pixels"):
        build(trt, tiny_package, wish((61, 64)), quiet)


def test_a_float32_graph_is_refused_by_the_audit(tiny_package: ModelPackage, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from benchmarks.networks import seeing_network
    from trainer.release import ReleaseGraph, released, to_onnx

    trained = seeing_network(4, 3)
    single = to_onnx(ReleaseGraph(released(trained.net), trained.normalisation).eval())
    package = with_graph(tiny_package, tmp_path / "float32", single)
    with pytest.raises(
        Refused, match=r"CONVOLUTION layer\(s\) of the parsed graph compute in FLOAT"
    ) as refusal:
        build(trt, package, wish(), quiet)
    assert refusal.value.exit_code == 3


def test_a_softmax_in_half_is_refused_by_the_audit(tiny_package: ModelPackage) -> None:
    model = onnx.load(tiny_package.onnx)
    assert "Softmax" in [node.op_type for node in model.graph.node]

    class Layer:
        def __init__(self, kind: str, dtype: str) -> None:
            self.type, self.dtype, self.num_outputs = Name(kind), Name(dtype), 1

        def get_output(self, index: int) -> Any:
            return self

    class Name:
        def __init__(self, name: str) -> None:
            self.name = name

    class Network:
        layers = (Layer("CONVOLUTION", "HALF"), Layer("SOFTMAX", "HALF"))
        num_layers = 2

        def get_layer(self, index: int) -> Any:
            return self.layers[index]

    with pytest.raises(Refused, match=r"SOFTMAX layer\(s\) .* in HALF instead of FLOAT"):
        audit(Network())  # type: ignore[arg-type]
    Network.num_layers = 1
    with pytest.raises(Refused, match="no softmax"):
        audit(Network())  # type: ignore[arg-type]


def parse_error(package: ModelPackage) -> str:
    with pytest.raises(CompileError) as failure:
        parsed(trt, trt.Builder(logger_of(trt)), package)
    return str(failure.value)


def test_uint8_into_anything_but_a_cast_does_not_parse(tiny_package: ModelPackage, tmp_path: Path) -> None:
    """The bad order runs in ONNX Runtime and OpenVINO; only TensorRT's parser sees it."""
    nodes = [
        helper.make_node("Transpose", ["image"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["t"], ["prob_f32"], to=TensorProto.FLOAT),
    ]
    words = parse_error(with_graph(tiny_package, tmp_path / "bad", graph(nodes, [output("prob_f32")])))
    assert "has type UInt8" in words and "export the package again" in words


def test_mixed_types_in_one_node_do_not_parse(tiny_package: ModelPackage, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["image"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Sub", ["f", "h"], ["prob_f32"]),
    ]
    words = parse_error(with_graph(tiny_package, tmp_path / "bad", graph(nodes, [output("prob_f32")])))
    assert "types Float and Half" in words


def test_a_file_that_is_no_onnx_does_not_parse(tiny_package: ModelPackage, tmp_path: Path) -> None:
    words = parse_error(with_graph(tiny_package, tmp_path / "bad", b"not a graph"))
    assert "Failed to parse the ONNX model" in words


def test_a_graph_that_is_no_release_graph_is_named(tiny_package: ModelPackage, tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["image"], ["other"], to=TensorProto.FLOAT)]
    package = with_graph(tiny_package, tmp_path / "other", graph(nodes, [output("other")]))
    with pytest.raises(PackageError, match="no output prob_f32"):
        build(trt, package, wish(), quiet)


@pytest.mark.parametrize(
    ("picture", "batch", "words"),
    [
        (None, Batch(), "no optimization profile has been defined"),
        ((60, 64), Batch(), "profile 0 has 3 dimensions"),
        ((60, 60, 1), Batch(), "Dimension mismatch for tensor image and profile 0"),
        ((60, 64, 1), Batch.model_construct(least=1, usual=9, most=8), "MIN<=OPT<=MAX"),
    ],
)
def test_a_wrong_profile_is_an_error_with_tensorrts_first_words(
    picture: tuple[int, ...] | None,
    batch: Batch,
    words: str,
    tiny_package: ModelPackage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No package or option leads here; if ever one did, this is what would be said."""
    real = building._add_profile

    def wrong(builder: Any, config: Any, _picture: Any, _batch: Any) -> None:
        if picture is not None:
            real(builder, config, picture, batch)

    monkeypatch.setattr(building, "_add_profile", wrong)
    with pytest.raises(CompileError) as failure:
        build(trt, tiny_package, wish(), quiet)
    assert words in str(failure.value)


def test_a_profile_for_another_tensor_is_an_error(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT itself accepts it, and then misses the right one."""
    monkeypatch.setattr(building, "IMAGE", "picture")
    with pytest.raises(CompileError, match="image is missing dimensions in profile 0"):
        build(trt, tiny_package, wish(), quiet)


def test_full_memory_names_the_options_that_help() -> None:
    logger_of(trt)
    ERRORS.add("Error Code 2: OutOfMemory (Requested size was 68719476736 bytes.)")
    words = building._reason(wish((1000, 2000), 3))
    assert (
        "3 tile(s) of 1000x2000" in words and "workspace of 256 MB" in words and "--tile, --batch or" in words
    )


@pytest.fixture(scope="module")
def plan(tiny_package: ModelPackage) -> Plan:
    return build(trt, tiny_package, wish(), quiet)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data, "cudaError 35"),
        (lambda data: data[:-100], "plan.header.size == blobSize failed"),
        (lambda data: b"garbage" * 100, "header.magicTag == kEXPECTED_MAGIC_TAG failed"),
        (lambda data: b"", "empty memory buffer"),
    ],
)
def test_a_plan_that_does_not_load_is_an_error_and_names_the_command(
    damage: Any, words: str, plan: Plan, tiny_package: ModelPackage, tmp_path: Path
) -> None:
    """TensorRT-RTX may make a Runtime without a GPU; TensorRT itself would end the process."""

    class Record:
        plan, tile = "engine.plan", TILE

    class Stored:
        record = Record

    if words == "cudaError 35" and _has_gpu():
        pytest.skip("here is a GPU: a good plan loads")
    with pytest.raises(EngineError) as failure:
        _deserialized(_runtime(trt), damage(plan.data), Stored, tiny_package)  # type: ignore[arg-type]
    assert words in str(failure.value) and "inspector models compile" in str(failure.value)


def _has_gpu() -> bool:
    from inspector.engine.cuda import cuda_runtime, probe_gpu
    from inspector.errors import GpuMissing

    try:
        probe_gpu(cuda_runtime())
    except GpuMissing:
        return False
    return True
