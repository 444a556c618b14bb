from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inspector.engine import openvino
from inspector.engine.openvino import CompileOptions, OpenVinoEngine, compile_graph, cpu_has_bf16
from inspector.engine.segment import segment
from inspector.errors import EngineError, ShapeMismatch, UsageError
from inspector.package import ModelPackage
from inspector.tiling import plan_tiles, whole_plan

IMAGE = np.random.default_rng(0).normal(128, 50, (133, 150)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def exact(tiny_package: ModelPackage) -> np.ndarray:
    plan = whole_plan(IMAGE.shape, tiny_package.geometry)
    return segment(IMAGE, plan, OpenVinoEngine(tiny_package, plan.input, CompileOptions("f32")))


def test_tiles_equal_the_whole_and_many_are_under_way(tiny_package: ModelPackage, exact: np.ndarray) -> None:
    plan = plan_tiles(IMAGE.shape, (44, 60), tiny_package.geometry)
    engine = OpenVinoEngine(tiny_package, plan.input, CompileOptions("f32"))
    assert len(plan.tiles) > openvino._IN_FLIGHT
    found = segment(IMAGE, plan, engine)
    assert np.abs(found.astype(int) - exact).max() <= 1
    assert found[..., 0].max() > 200 and found[..., 1].max() > 200  # the network does see something


def test_what_runs_is_what_is_reported(tiny_package: ModelPackage) -> None:
    tile = (60, 60)
    assert OpenVinoEngine(tiny_package, tile, CompileOptions("f32")).info.precision == "f32"
    if cpu_has_bf16():
        assert OpenVinoEngine(tiny_package, tile, CompileOptions("bf16")).info.precision == "bf16"


def test_bf16_is_refused_where_the_processor_lacks_it(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "cpu_has_bf16", lambda: False)
    with pytest.raises(UsageError, match="does not compute bf16"):
        OpenVinoEngine(tiny_package, (60, 60), CompileOptions("bf16"))


def test_illegal_tiles_are_refused(tiny_package: ModelPackage) -> None:
    with pytest.raises(ShapeMismatch, match="use 60 or 64"):
        OpenVinoEngine(tiny_package, (61, 60), CompileOptions())
    engine = OpenVinoEngine(tiny_package, (60, 60), CompileOptions())
    with pytest.raises(EngineError, match="engine for"):
        engine.run([np.zeros((64, 60), np.uint8)], lambda *_: None)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run([], lambda *_: None)


def test_a_failing_delivery_leaves_an_engine_that_still_works(
    tiny_package: ModelPackage, exact: np.ndarray
) -> None:
    plan = plan_tiles(IMAGE.shape, (44, 60), tiny_package.geometry)
    engine = OpenVinoEngine(tiny_package, plan.input, CompileOptions("f32"))

    def burst(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.run([np.zeros(plan.input, np.uint8)] * 3, burst)
    assert np.abs(segment(IMAGE, plan, engine).astype(int) - exact).max() <= 1


def dividing_graph(path: Path) -> Path:
    """A release graph without a network: its score of class 1 is x / x, NaN where a pixel is black."""
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper, save

    def node(kind: str, inputs: str, output: str, **settings: object) -> Any:
        return helper.make_node(kind, inputs.split(), [output], **settings)

    nodes = [
        node("Cast", "image", "nhwc", to=TensorProto.FLOAT),
        node("Transpose", "nhwc", "x", perm=[0, 3, 1, 2]),
        node("Div", "x x", "one"), node("Sub", "x x", "zero"), node("Concat", "zero one", "scores", axis=1),
        node("Softmax", "scores", "prob_f32", axis=1), node("Slice", "prob_f32 from to axis", "defect"),
        node("Mul", "defect levels", "scaled"), node("Transpose", "scaled", "last", perm=[0, 2, 3, 1]),
        node("Cast", "last", "prob", to=TensorProto.UINT8),
    ]  # fmt: skip
    whole = [
        helper.make_tensor(n, TensorProto.INT64, [1], [v]) for n, v in (("from", 1), ("to", 2), ("axis", 1))
    ]
    levels = helper.make_tensor("levels", TensorProto.FLOAT, [], [255.0])
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "h", "w", 1])
    outputs = [
        helper.make_tensor_value_info("prob", TensorProto.UINT8, None),
        helper.make_tensor_value_info("prob_f32", TensorProto.FLOAT, None),
    ]
    graph = helper.make_graph(nodes, "dividing", [image], outputs, [*whole, levels])
    opset = helper.make_opsetid("", 17)
    save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    return path


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_one_pixel_without_a_number_is_nonsense_wherever_it_lies(tmp_path: Path, precision: str) -> None:
    """In uint8 it is 0 and would pass as good; every 8th pixel alone was looked at."""
    if precision == "bf16" and not cpu_has_bf16():
        pytest.skip("this processor has no bf16")
    compiled = compile_graph(dividing_graph(tmp_path / "model.onnx"), (60, 1500), CompileOptions(precision))
    request, found = compiled.create_infer_request(), []
    for y, x in ((None, None), (0, 0), (59, 1499), (13, 701)):
        picture = np.full((60, 1500), 77, np.uint8)
        if y is not None:
            picture[y, x] = 0
        openvino._start(request, picture, (60, 1500))
        if y is None:
            openvino._finish(0, request, lambda _, probs: found.append(probs.copy()))
        else:
            with pytest.raises(EngineError, match="nonsense"):
                openvino._finish(0, request, lambda *_: None)
    assert found[0].shape == (60, 1500, 1) and np.ptp(found[0]) <= 1 and found[0].max() > 180


@pytest.mark.parametrize(("missing", "nonsense"), [(0.0, False), (1.0, True), (1000.0, True)])
def test_probabilities_that_do_not_sum_to_one_are_nonsense(missing: float, nonsense: bool) -> None:
    """NaN is not the only wrong answer: a pixel of a row, or a whole row, may not have been computed."""
    check = np.full((1, 4, 60), 250.0, np.float32)  # 4 classes over rows of 1000 pixels
    check[0, 1, 37] -= missing / 4
    check[0, 2, 37] -= 3 * missing / 4
    outputs = [np.zeros((1, 60, 1000, 3), np.uint8), check]
    request: Any = SimpleNamespace(
        wait=lambda: None, get_output_tensor=lambda number: SimpleNamespace(data=outputs[number])
    )
    found: list[np.ndarray] = []
    if nonsense:
        with pytest.raises(EngineError, match="do not sum to one"):
            openvino._finish(0, request, lambda _, probs: found.append(probs))
    else:
        openvino._finish(0, request, lambda _, probs: found.append(probs))
    assert len(found) == (0 if nonsense else 1)


def test_a_graph_that_cannot_be_read_is_one_sentence(tmp_path, tiny_package: ModelPackage) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineError, match="cannot compile") as error:
        compile_graph(tmp_path / "model.onnx", (60, 60), CompileOptions())
    assert "\n" not in str(error.value)
