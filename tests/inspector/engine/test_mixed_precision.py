"""bf16 that is over its limits because of the first layer is mended by keeping that one in f32."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.networks import CLASSES, seeing_network
from inspector.config import ModelConfig
from inspector.engine.certificate import LIMITS
from inspector.engine.graph import CompileOptions, compile_graph, executed_layers
from inspector.engine.open import open_engine
from inspector.engine.openvino import OpenVinoEngine, cpu_has_bf16
from inspector.engine.parity import measure
from inspector.errors import CertificateError
from inspector.package import Golden, Manifest, ModelPackage, Normalisation, Threshold, write_package
from trainer.export import probabilities
from trainer.release import ReleaseGraph, to_onnx

pytestmark = [
    pytest.mark.skipif(not cpu_has_bf16(), reason="this processor has no bf16"),
    pytest.mark.usefixtures("fresh_cache"),
]

SIDE = 76
BF16 = ModelConfig(precision="bf16")


@pytest.fixture(scope="module")
def sensitive(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """Its first convolution takes large gray values from each other; bfloat16 rounds all eight taps up."""
    trained = seeing_network(4, 3)
    with torch.no_grad():
        first = trained.net.down[0].conv1.weight  # type: ignore[union-attr]
        for output, sign in ((0, -1.0), (1, 1.0)):
            kernel = torch.zeros(3, 3)
            kernel[::2, ::2] = 12.0390625  # 12.0625 in bfloat16
            kernel[::2, 1] = kernel[1, ::2] = -12.0234375  # -12.0
            kernel[1, 1] = 1.0
            first[output, 0] = sign * kernel  # type: ignore[index, operator]
        for parameter in trained.net.parameters():
            parameter.copy_(parameter.half().float())
    # A ramp, on which the eight taps all but cancel, so that every probability occurs.
    ramp = np.linspace(40, 216, SIDE).astype(np.uint8)
    tiles = np.stack([np.tile(ramp, (SIDE, 1)), np.tile(ramp[:, None], (1, SIDE))])[..., None]
    # Not released by the exporter, which would make the first layer exact in bfloat16.
    reference = probabilities(ReleaseGraph(trained.net.eval(), trained.normalisation).eval(), tiles)
    onnx = to_onnx(ReleaseGraph(trained.net.half(), trained.normalisation).eval())
    mean, std = trained.normalisation
    manifest = Manifest(
        name="sensitive", version="1", classes=CLASSES, channels=1, depth=3, base=4, halo=20, grid=4,
        normalisation=Normalisation(mean=mean, std=std),
        thresholds={name: Threshold(value=0.5) for name in CLASSES},
        training_data_sha256="0" * 64, seed=0,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("sensitive") / "package"
    return write_package(path, manifest, onnx, Golden(tiles, reference))


def test_the_first_convolution_is_kept_in_f32_and_it_is_said(
    sensitive: ModelPackage, fresh_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "inspector")
    plain = measure(
        OpenVinoEngine(sensitive, (SIDE, SIDE), CompileOptions("bf16")), sensitive, sensitive.golden()
    )
    assert plain.max_difference > LIMITS["bf16"].max_difference
    engine = open_engine(sensitive, (SIDE, SIDE), BF16)
    assert engine.info.precision == "bf16" and engine.info.layers == {"bf16": 12, "f32": 1}
    assert engine.info.note == "first convolution in f32"
    assert "no layer in f32: openvino in bf16" in caplog.text and engine.info.note in caplog.text
    (path,) = fresh_cache.glob("certificates/*/*.json")
    kept = json.loads(path.read_text())
    assert kept["note"] == engine.info.note and kept["layers"] == engine.info.layers


def test_the_next_start_begins_with_what_was_enough(
    sensitive: ModelPackage, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_engine(sensitive, (SIDE, SIDE), BF16).info
    caplog.clear()
    assert open_engine(sensitive, (SIDE, SIDE), BF16).info == first
    assert "no layer in f32" not in caplog.text


def test_where_no_step_is_enough_it_is_refused(
    sensitive: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "bf16", LIMITS["bf16"].model_copy(update={"max_difference": 0.0}))
    with pytest.raises(CertificateError, match=r"in bf16 .* is not the trained model"):
        open_engine(sensitive, (SIDE, SIDE), BF16)
    assert open_engine(sensitive, (SIDE, SIDE), ModelConfig()).info.precision == "f32"


def test_a_cached_model_keeps_its_exact_layers(sensitive: ModelPackage, tmp_path: Path) -> None:
    for exact in (0, 1, 4, 1, 0):  # made thrice, taken back twice
        options = CompileOptions("bf16", cache=tmp_path, exact=exact)
        layers = executed_layers(compile_graph(sensitive.onnx, (60, 60), options))
        assert layers.get("f32", 0) == exact and layers["bf16"] == 13 - exact
    assert len(list(tmp_path.iterdir())) == 3
