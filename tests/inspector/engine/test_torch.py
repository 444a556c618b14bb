import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from inspector.config import ModelConfig
from inspector.engine import planner
from inspector.engine.open import choose_plan, open_engine
from inspector.engine.openvino import CompileOptions, OpenVinoEngine
from inspector.engine.parity import measure
from inspector.engine.process import ProcessEngine
from inspector.engine.segment import segment
from inspector.engine.torch import TorchEngine, TorchOptions
from inspector.errors import EngineError, GpuMissing, PackageError, ShapeMismatch, UsageError
from inspector.package import ModelPackage, write_package
from inspector.tiling import plan_tiles, whole_plan

IMAGE = np.random.default_rng(0).normal(128, 50, (133, 150)).clip(0, 255).astype(np.uint8)
CPU = TorchOptions("f32", "cpu")
TORCH = ModelConfig(engine="torch")


@pytest.fixture(scope="module")
def exact(tiny_package: ModelPackage) -> np.ndarray:
    plan = whole_plan(IMAGE.shape, tiny_package.geometry)
    return segment(IMAGE, plan, TorchEngine(tiny_package, plan.input, CPU))


def test_it_is_the_trained_network_to_the_last_level(tiny_package: ModelPackage) -> None:
    engine = TorchEngine(tiny_package, (60, 60), CPU)
    parity = measure(engine, tiny_package, tiny_package.golden())
    assert parity.max_difference <= 1 / 255 and parity.changed == parity.lost == 0
    assert engine.info.name == "torch" and engine.info.precision == "f32"
    assert engine.info.layers == {"f32": 2 * 5 + 2 + 1} and engine.info.note == ""


def test_tiles_equal_the_whole_and_openvino_says_the_same(
    tiny_package: ModelPackage, exact: np.ndarray
) -> None:
    plan = plan_tiles(IMAGE.shape, (44, 60), tiny_package.geometry)
    found = segment(IMAGE, plan, TorchEngine(tiny_package, plan.input, CPU))
    assert np.abs(found.astype(int) - exact).max() <= 1
    other = segment(IMAGE, plan, OpenVinoEngine(tiny_package, plan.input, CompileOptions("f32")))
    assert np.abs(other.astype(int) - exact).max() <= 1
    assert exact[..., 0].max() > 200 and exact[..., 1].max() > 200  # the network does see something


def test_a_network_that_adds_its_skips_and_sees_colour_is_read_too(tmp_path: Path) -> None:
    from dataclasses import replace

    from benchmarks.networks import pictures, seeing_network
    from trainer.export import export_package
    from trainer.unet import UNet

    torch.manual_seed(1)
    trained = seeing_network(4, 3, channels=3)
    config = replace(trained.config, skip="sum")
    trained = replace(trained, net=UNet(config).eval(), config=config, thresholds=(0.99, 0.99))
    package = export_package(trained, pictures(2, (76, 76), 3), tmp_path / "sum", "sum", "1")
    parity = measure(TorchEngine(package, (76, 76), CPU), package, package.golden())
    assert parity.max_difference <= 1 / 255


def test_the_line_opens_it_with_a_certificate(
    tiny_package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECTION_CACHE", str(tmp_path))
    plan = choose_plan(tiny_package, IMAGE.shape, TORCH)
    engine = open_engine(tiny_package, plan, TORCH)
    assert len(plan.tiles) == 1 and len(engine.info.certificate) == 64
    assert list(tmp_path.glob("certificates/*/torch-*.json"))
    with pytest.raises(EngineError, match="engine for"):
        engine.run([np.zeros((64, 60), np.uint8)], lambda *_: None)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run([], lambda *_: None)


def test_it_runs_in_a_process_of_its_own_as_on_a_gpu(tiny_package: ModelPackage, exact: np.ndarray) -> None:
    plan = plan_tiles(IMAGE.shape, (44, 60), tiny_package.geometry)
    description = {"package": str(tiny_package.path), "tile": plan.input, "options": asdict(CPU)}
    engine = ProcessEngine("inspector.engine.torch:open_described", description, tiny_package)
    try:
        assert engine.info.name == "torch" and engine.info.layers == {"f32": 13}
        assert np.abs(segment(IMAGE, plan, engine).astype(int) - exact).max() <= 1
    finally:
        engine.close()


def test_what_it_cannot_run_is_refused(tiny_package: ModelPackage) -> None:
    with pytest.raises(ShapeMismatch, match="use 60 or 64"):
        TorchEngine(tiny_package, (61, 60), CPU)
    with pytest.raises(UsageError, match="does not run bf16"):
        open_engine(tiny_package, (60, 60), ModelConfig(engine="torch", precision="bf16"))
    with pytest.raises(UsageError, match="fp16 needs an NVIDIA GPU"):
        open_engine(tiny_package, (60, 60), ModelConfig(precision="fp16"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an NVIDIA GPU")
def test_half_precision_is_not_run_slowly_on_the_cpu_instead(tiny_package: ModelPackage) -> None:
    with pytest.raises(GpuMissing, match="finds no NVIDIA GPU") as missing:
        open_engine(tiny_package, (60, 60), ModelConfig(engine="torch", precision="fp16"))
    assert missing.value.exit_code == 2


@pytest.mark.parametrize("library", ["torch", "onnx"])
def test_without_the_library_one_sentence_says_what_to_install(
    library: str, tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    if library == "torch":
        monkeypatch.delitem(sys.modules, "inspector.engine.torch")
        monkeypatch.delitem(sys.modules, "inspector.engine.torch_cuda")
    with pytest.raises(UsageError, match=rf"{library}.*pip install") as refusal:
        open_engine(tiny_package, (60, 60), TORCH)
    assert refusal.value.exit_code == 2 and "\n" not in str(refusal.value)


def test_a_graph_that_is_another_network_is_refused(tiny_package: ModelPackage, tmp_path: Path) -> None:
    manifest = tiny_package.manifest.model_dump() | {"base": 8}
    other = write_package(tmp_path / "wide", manifest, tiny_package.onnx.read_bytes(), tiny_package.golden())
    with pytest.raises(PackageError, match="not those of a U-Net of depth 3 and base 8"):
        TorchEngine(other, (60, 60), CPU)


def test_on_a_gpu_its_own_memory_limits_the_tile(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "_torch_gpu_tile_px", lambda _: 100 * 100)
    plan = choose_plan(tiny_package, (480, 640), TORCH)
    assert plan.input[0] * plan.input[1] <= 100 * 100 and len(plan.tiles) > 1
