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


def test_probabilities_that_do_not_sum_to_one_are_nonsense() -> None:
    class Tensor:
        def __init__(self, data: np.ndarray) -> None:
            self.data = data

    class Request:
        """A request whose second output, the softmax sample, holds one NaN."""

        def wait(self) -> None: ...

        def get_output_tensor(self, index: int) -> Tensor:
            check = np.full((1, 2, 4, 4), 0.5, np.float32)
            check[0, 0, 1, 2] = np.nan
            return Tensor(check if index else np.zeros((1, 8, 8, 1), np.uint8))

    with pytest.raises(EngineError, match="nonsense"):
        openvino._finish(0, Request(), lambda *_: None)


def test_a_graph_that_cannot_be_read_is_one_sentence(tmp_path, tiny_package: ModelPackage) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineError, match="cannot compile") as error:
        compile_graph(tmp_path / "model.onnx", (60, 60), CompileOptions())
    assert "\n" not in str(error.value)
