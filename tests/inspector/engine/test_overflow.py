"""A network whose inside overflows half precision while everything that CPUs run looks fine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from benchmarks.networks import pictures, seeing_network
from inspector.engine.certificate import certify
from inspector.engine.openvino import CompileOptions, OpenVinoEngine
from inspector.engine.torch import TorchEngine, TorchOptions
from inspector.errors import CertificateError, EngineError, Refused
from inspector.package import (
    LARGEST_HALF,
    Golden,
    Manifest,
    ModelPackage,
    Normalisation,
    Threshold,
    write_package,
)
from trainer.checkpoint import TrainedNetwork
from trainer.export import export_package, half_report, probabilities
from trainer.release import ReleaseGraph, release_graph, released, to_onnx

SIDE = 76
TILES = pictures(2, (SIDE, SIDE), 1)


def overflowing() -> TrainedNetwork:
    """What the two convolutions of the bottom make too large, the way up makes small again.

    By powers of two, so that float32 computes the very same probabilities as without.
    """
    trained = seeing_network(4, 3)
    net = trained.net
    with torch.no_grad():
        for layer, power in ((net.down[2].conv1, 9), (net.down[2].conv2, 9), (net.up[0].up, -9)):
            layer.weight.mul_(2.0**power)  # type: ignore[union-attr, operator]
        joined = net.up[0].convs.conv1.weight  # type: ignore[union-attr]
        joined[:, joined.shape[1] // 2 :].mul_(2.0**-9)  # type: ignore[index, union-attr]
    return trained


def released_package(trained: TrainedNetwork, path: Path, activation: float | None) -> ModelPackage:
    """The package that an exporter without the gate would write, claiming this largest activation."""
    reference = probabilities(ReleaseGraph(released(trained.net), trained.normalisation).eval(), TILES)
    mean, std = trained.normalisation
    manifest = Manifest(
        name="overflow", version="1", classes=trained.classes, channels=1, depth=3, base=4, halo=20, grid=4,
        normalisation=Normalisation(mean=mean, std=std),
        thresholds={name: Threshold(value=0.5) for name in trained.classes},
        training_data_sha256="0" * 64, seed=0,
        metrics={} if activation is None else {"half": {"activation": activation}},
    )  # fmt: skip
    onnx = to_onnx(release_graph(trained.net, trained.normalisation))
    return write_package(path, manifest, onnx, Golden(TILES, reference))


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    return released_package(overflowing(), tmp_path_factory.mktemp("overflow") / "package", 12.0)


def test_the_exporter_refuses_it_and_names_the_layer(tmp_path: Path) -> None:
    trained = overflowing()
    reference = probabilities(ReleaseGraph(released(trained.net), trained.normalisation).eval(), TILES)
    assert np.isfinite(reference).all() and reference.max() > 0.9
    report = half_report(trained, release_graph(trained.net, trained.normalisation), TILES, reference)
    assert report.largest_activation > LARGEST_HALF and not report.finite
    assert report.largest_weight < LARGEST_HALF  # so that only running it can tell
    with pytest.raises(Refused, match=r"activation of [\d,]+ in down\.2\.conv2 comes too near"):
        export_package(trained, TILES, tmp_path / "package", "overflow", "1")
    assert not list(tmp_path.iterdir())


def test_onnx_runtime_and_openvino_do_not_see_it(unguarded: ModelPackage) -> None:
    session = onnxruntime.InferenceSession(str(unguarded.onnx), providers=["CPUExecutionProvider"])
    prob_f32 = session.run(["prob_f32"], {"image": TILES})[0]
    assert np.abs(np.moveaxis(prob_f32[:, 1:], 1, -1) - unguarded.golden().probs).max() < 0.02
    engine = OpenVinoEngine(unguarded, (SIDE, SIDE), CompileOptions("f32"))
    assert certify(engine, unguarded).parity.lost == 0


def test_torch_half_sees_it_whatever_the_package_claims(unguarded: ModelPackage) -> None:
    engine = TorchEngine(unguarded, (SIDE, SIDE), TorchOptions("fp16", "cpu"))
    with pytest.raises(EngineError, match="not finite"):
        certify(engine, unguarded)
    exact = TorchEngine(unguarded, (SIDE, SIDE), TorchOptions("f32", "cpu"))
    assert certify(exact, unguarded).parity.changed == 0


def test_no_engine_serves_it_in_half_precision(tmp_path: Path, unguarded: ModelPackage) -> None:
    """An engine that computes in float32 and says fp16, as OpenVINO would: parity alone would let it."""
    for name, activation in (("said", 250_000.0), ("silent", None)):
        package = released_package(overflowing(), tmp_path / name, activation)
        engine = OpenVinoEngine(package, (SIDE, SIDE), CompileOptions("f32"))
        engine.info = dataclasses.replace(engine.info, precision="fp16", layers={})
        with pytest.raises(CertificateError, match=r"not safe"):
            certify(engine, package)


def test_half_precision_that_fits_gets_its_certificate(tiny_package: ModelPackage) -> None:
    tile = tiny_package.golden().tiles.shape[1:3]
    engine = TorchEngine(tiny_package, tile, TorchOptions("fp16", "cpu"))
    certificate = certify(engine, tiny_package)
    assert certificate.precision == "fp16" and certificate.layers == {"fp16": 13}
    assert certificate.headroom is not None and certificate.headroom > 16
