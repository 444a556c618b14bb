"""Training goes on from a package: the same network, its classes kept, its flagged frames learned."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_run import Silent

from inspector.errors import DatasetError, PackageError, UsageError
from inspector.package import ModelPackage
from trainer.checkpoint import TrainedNetwork, load_run
from trainer.export import export_package
from trainer.fit import Request, prepare, run
from trainer.initial import start_from
from trainer.unet import UNet, UNetConfig


def trained(config: UNetConfig) -> TrainedNetwork:
    torch.manual_seed(3)
    net = UNet(config)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    # Small scores keep an untrained network's half precision near its float32.
    torch.nn.init.normal_(net.head.weight, std=0.05)
    return TrainedNetwork(
        net.eval(), config, ("hole",), 1, ((128.0,), (50.0,)), (0.42,), (0.1, 0.2), "0" * 64, 0, {}, 1, ""
    )


@pytest.fixture(scope="module", params=["concat", "sum"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    network = trained(UNetConfig(1, 2, 3, 4, request.param, "batch", 0.0))
    tiles = np.random.default_rng(0).integers(0, 256, (2, 60, 60, 1), dtype=np.uint8)
    return export_package(network, tiles, tmp_path_factory.mktemp("p") / request.param, "demo", "1")


def flagged(folder: Path, classes: str = '{"1": "hole"}') -> Path:
    rng = np.random.default_rng(1)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for n in range(3):
        image = rng.normal(150, 8, (48, 52)).clip(0, 255).astype(np.uint8)
        mask = np.zeros_like(image)
        mask[10 * n + 5 : 10 * n + 15, 20:32] = 1
        image[mask == 1] = 40
        cv2.imwrite(str(folder / "images" / f"{n}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{n}.png"), mask)
    (folder / "classes.json").write_text(classes)
    return folder


def test_the_packages_network_comes_back(served: ModelPackage) -> None:
    start = start_from(served)
    net = UNet(start.config)
    net.load_state_dict(start.state)
    golden = served.golden()
    x = (torch.from_numpy(golden.tiles).permute(0, 3, 1, 2).float() - 128.0) / 50.0
    with torch.inference_mode():
        probs = torch.softmax(net.eval()(x), 1)[:, 1:].permute(0, 2, 3, 1).numpy()
    assert np.abs(probs - golden.probs).max() < 5e-3
    assert probs.std() > 1e-3


def test_flagged_frames_are_learned_and_the_packages_words_kept(served: ModelPackage, tmp_path: Path) -> None:
    data = flagged(tmp_path / "d")
    settings = {"steps": 80, "learning_rate": 1e-2, "step_px": 25_000}
    run(
        prepare(Request((data,), tmp_path / "r", "modern", served.path, settings)),
        Silent(),
    )
    found = load_run(tmp_path / "r")
    assert found.config == start_from(served).config
    assert found.normalisation == ((128.0,), (50.0,))
    assert found.classes == served.classes
    assert found.mm_per_px == (0.1, 0.2)
    assert found.metrics["validation"]["score"] > 0.8


def test_classes_and_shape_must_be_the_packages(served: ModelPackage, tmp_path: Path) -> None:
    data = flagged(tmp_path / "d", '{"1": "scratch"}')
    with pytest.raises(DatasetError, match="'scratch', which is none of hole"):
        prepare(Request((data,), tmp_path / "r", "modern", served.path, {"steps": 1}))
    with pytest.raises(UsageError, match="base = 8 does not fit"):
        prepare(Request((data,), tmp_path / "r", "modern", served.path, {"steps": 1, "base": 8}))
    assert not (tmp_path / "r").exists()


def test_a_graph_of_another_network_is_refused(served: ModelPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.engine.onnx_weights.convolutions", lambda _graph: [])
    with pytest.raises(PackageError, match="depth 3 and base 4"):
        start_from(served)
