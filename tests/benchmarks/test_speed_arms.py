"""What is run beside the line computes the same network, and its operations are counted right."""

from pathlib import Path

import click
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.networks import MEAN, STD, pictures, seeing_network
from benchmarks.speed import int8, peers
from benchmarks.speed.arms import Arm, Task, agreement, sensible
from benchmarks.speed.line import Scope
from benchmarks.speed.padded import PaddedUNet
from benchmarks.speed.peers import spotted
from benchmarks.speed.tile_arms import float32_twin, onnx_runtime
from deploy.qualify.network import flop_per_px
from inspector.defects import mask_of
from inspector.engine.graph import CompileOptions
from inspector.engine.openvino import OpenVinoEngine
from inspector.engine.segment import segment
from inspector.errors import CertificateError
from inspector.tiling import whole_plan
from trainer.dataset import load_dataset
from trainer.export import export_package
from trainer.unet import UNet, UNetConfig

SIZE = (104, 160)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("task")
    network = seeing_network(4, 4)
    package = export_package(network, pictures(2, (156, 156), 1), folder / "package", "seeing", "1")
    return Task(network.net, package, (MEAN, STD), spotted(SIZE), 1, folder)


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_operations_a_pixel(depth: int):
    """On sides that pool evenly the padded network is the endless frame, and torch counts its operations."""
    net = PaddedUNet(UNet(UNetConfig(channels=1, classes=3, depth=depth, base=16)).eval())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 1, 64, 96))
    assert counter.get_total_flops() / (64 * 96) == flop_per_px(16, depth, 1, 3)


def test_padded_is_the_same_network_inside():
    """At depth 2 pools begin on the same pixels, so that nothing but the border differs."""
    torch.manual_seed(0)
    net = UNet(UNetConfig(channels=1, classes=3, depth=2, base=4, dropout=0.0)).eval()
    x = torch.randn(1, 1, 40, 56)
    with torch.no_grad():
        valid, padded = net(x), PaddedUNet(net)(x)
    assert torch.allclose(valid, padded[..., 8:-8, 8:-8], atol=1e-6)


def test_onnx_runtime_says_what_the_line_says(task: Task):
    plan = whole_plan(SIZE, task.package.geometry)
    engine = OpenVinoEngine(task.package, plan.input, CompileOptions("f32"))
    expected = mask_of(segment(task.frame, plan, engine), task.package.thresholds)
    engine.close()
    (arm,) = onnx_runtime(task)
    assert sensible(agreement(arm.classes(), expected)) and arm.seconds() > 0
    assert set(np.unique(expected)) == {0, 1, 2}


def test_the_twin_has_no_half_precision_left(task: Task):
    assert b"float16" not in str(float32_twin(task.package.onnx)).lower().encode()


def test_an_arm_that_sees_nothing_is_left_out():
    def arm(name: str, classes: np.ndarray) -> Arm:
        return Arm(name, "", "", "", lambda: 1.0, lambda: classes)

    seen = np.zeros((50, 50), np.uint8)
    seen[10:20, 10:20] = 1
    missing: dict[str, str] = {}
    arms = [arm("ours", seen), arm("same", seen), arm("blind", np.zeros_like(seen))]
    kept, found = peers.sensible_arms(arms, missing)
    assert [one.name for one in kept] == ["ours", "same"]
    assert found["same"]["agreement"] == {"equal": 1.0, "lowest_iou": 1.0}
    assert "blind does not see" in missing["blind"]
    assert not sensible(agreement(seen[:40], seen))


def test_rounds_are_interleaved(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(peers, "_PAUSE_S", 0.0)
    order: list[str] = []

    def arm(name: str) -> Arm:
        def seconds() -> float:
            order.append(name)
            return 1.0

        return Arm(name, "", "", "", seconds, lambda: np.zeros((1, 1), np.uint8))

    found = peers.interleaved([arm("a"), arm("b")], 2)
    assert order == ["a", "b", "b", "a"] and found == {"a": [1.0, 1.0], "b": [1.0, 1.0]}


def test_what_is_not_installed_is_told_with_its_command(
    task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def absent(_: Task) -> list[Arm]:
        raise ImportError("No module named 'monai'")

    monkeypatch.setattr(peers, "BUILDERS", {"MONAI": absent})
    missing: dict[str, str] = {}
    assert peers._theirs(task, (), missing) == []
    assert "pip install" in missing["MONAI"] and "MONAI: not run" in capsys.readouterr().out


def test_int8_of_a_network_that_bears_it(tmp_path: Path, task: Task):
    """Both engines get their certificates; which is the faster says nothing on a frame this small."""
    data = int8.drawn_pictures(tmp_path / "pictures")
    scope = Scope(1, 20, {"1080p": SIZE}, 1)
    exam = load_dataset([data], channels=1, classes=task.package.classes).samples[:2]
    row = int8.one_model(task.package, data, scope, tmp_path / "run", exam)
    assert row["iou"]["frames"] == 2 and row["iou"]["int8"]["miou"] > 0.5 and abs(row["iou"]["change"]) < 0.05
    assert row["served"]["int8"]["engine"]["precision"] == "int8" and set(row["layers"]) == {"int8"}
    assert set(row["ratios"]) == {"line", "engine only"}
    assert {len(one["engine"]["certificate"]) for one in row["served"].values()} == {64}


def test_int8_wants_frames_that_it_was_not_fitted_on(tmp_path: Path, task: Task):
    """Said at once: without them an hour of measuring ended on a traceback."""
    data = int8.drawn_pictures(tmp_path / "pictures")
    scope = Scope(1, 20, {"1080p": SIZE}, 1, int8=(task.package.path, data))
    with pytest.raises(click.UsageError, match="pictures has no test frames"):
        int8.measure_int8(scope, tmp_path / "run")


def test_int8_says_that_it_was_refused(tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise CertificateError("does not bear 8 bits")

    monkeypatch.setattr(int8, "export_int8", refuse)
    data = int8.drawn_pictures(tmp_path / "pictures")
    row = int8.one_model(task.package, data, Scope(1, 20, {"1080p": SIZE}, 1), tmp_path / "run")
    assert row["refused"] == "does not bear 8 bits" and "ratios" not in row
