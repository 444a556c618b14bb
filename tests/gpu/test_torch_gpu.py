"""The torch engine on a real GPU. Skipped with the reason where there is none."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from inspector.config import ModelConfig
from inspector.engine.open import choose_plan, open_engine
from inspector.engine.segment import segment
from inspector.errors import EngineError
from inspector.package import ModelPackage, load_package
from inspector.tiling import plan_tiles, whole_plan

torch = pytest.importorskip("torch")
engines = pytest.importorskip("inspector.engine.torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU here: not run"),
]

TorchEngine, TorchOptions = engines.TorchEngine, engines.TorchOptions
DEMO = Path("data_samples/demo_model")
FRAME = np.random.default_rng(0).integers(60, 200, (1080, 1920), np.uint8)
F32, FP16 = TorchOptions("f32", "cuda"), TorchOptions("fp16", "cuda", graphs=True)


@pytest.fixture(scope="module")
def demo() -> ModelPackage:
    return load_package(DEMO)


def test_half_precision_gets_its_certificate_with_graphs(demo: ModelPackage) -> None:
    settings = ModelConfig(engine="torch", cuda_graphs=True)
    engine = open_engine(demo, choose_plan(demo, FRAME.shape, settings), settings)
    assert engine.info.precision == "fp16" and len(engine.info.certificate) == 64
    assert engine.info.device == torch.cuda.get_device_name(0) and engine.info.note == "CUDA graphs"
    engine.close()


def test_float32_on_the_gpu_is_float32(demo: ModelPackage) -> None:
    """TF32 would differ by levels."""
    plan = whole_plan((270, 480), demo.geometry)
    frame = FRAME[:270, :480]
    exact = segment(frame, plan, TorchEngine(demo, plan.input, TorchOptions("f32", "cpu")))
    found = segment(frame, plan, TorchEngine(demo, plan.input, F32))
    assert np.abs(found.astype(int) - exact).max() <= 1


def test_tiles_equal_the_whole_and_many_are_under_way(demo: ModelPackage) -> None:
    whole, tiled = whole_plan(FRAME.shape, demo.geometry), plan_tiles(FRAME.shape, (228, 388), demo.geometry)
    engine = TorchEngine(demo, tiled.input, FP16)
    exact = segment(FRAME, whole, TorchEngine(demo, whole.input, FP16))
    for _ in range(3):
        assert np.abs(segment(FRAME, tiled, engine).astype(int) - exact).max() <= 5  # 0.02 of 255
    engine.close()


def test_copies_are_hidden_behind_computing(demo: ModelPackage) -> None:
    """Tiles in a loop take hardly longer than the same computing without any copy."""
    plan = whole_plan((2160, 3840), demo.geometry)
    engine = TorchEngine(demo, plan.input, FP16)
    tile = np.random.default_rng(0).integers(0, 256, plan.input, np.uint8)
    loop = engine._loop
    slot = loop._slots[0]  # type: ignore[union-attr]

    def seconds(run) -> float:  # type: ignore[no-untyped-def]
        run()
        torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        torch.cuda.synchronize()
        return time.perf_counter() - began

    def compute_only() -> None:
        with loop._on_device(), torch.cuda.stream(loop._main):  # type: ignore[union-attr]
            for _ in range(20):
                slot.compute()

    alone = seconds(compute_only)
    whole = seconds(lambda: engine.run((tile for _ in range(20)), lambda *_: None))
    assert whole <= alone / 0.9


def test_a_tile_beyond_the_memory_is_an_engine_error(demo: ModelPackage) -> None:
    total = torch.cuda.mem_get_info(0)[1]
    hold = torch.empty(int(0.9 * torch.cuda.mem_get_info(0)[0]), dtype=torch.uint8, device="cuda")
    side = demo.geometry.input(demo.geometry.output_at_least(int((total / 200) ** 0.5)))
    with pytest.raises(EngineError, match=r"no memory left|failed on the GPU"):
        TorchEngine(demo, (side, side), FP16)
    del hold
    torch.cuda.empty_cache()
    TorchEngine(demo, (188, 188), FP16).close()
