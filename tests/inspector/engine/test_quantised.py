"""An int8 package on the line: served in int8 and nothing else, with a certificate, its cost said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspector.cli.models_show import facts_of, text_of
from inspector.config import ModelConfig
from inspector.engine import measured, openvino
from inspector.engine.certificate import certify
from inspector.engine.graph import CompileOptions
from inspector.engine.open import open_engine
from inspector.engine.openvino import OpenVinoEngine
from inspector.engine.parity import measure
from inspector.engine.planner import memory_model
from inspector.engine.quantised import MOST_LOST, AccuracyLoss, quantisation
from inspector.errors import CertificateError, PackageError, UsageError
from inspector.package import INT8, Golden, ModelPackage, write_package

pytestmark = pytest.mark.usefixtures("fresh_cache")

LAYERS = 13  # of depth 3


def changed(
    package: ModelPackage, path: Path, made: dict[str, Any] | None = None, golden: Golden | None = None
) -> ModelPackage:
    """A whole package with another record of its making, or with other golden probabilities."""
    metrics = package.manifest.metrics
    metrics = metrics if made is None else {**metrics, INT8: made}
    manifest = package.manifest.model_copy(update={"metrics": metrics, "files": {}})
    return write_package(path, manifest, package.onnx.read_bytes(), golden or package.golden())


def test_auto_serves_it_in_int8_and_every_convolution_is(
    tiny_package: ModelPackage, tiny_int8_package: ModelPackage
) -> None:
    engine = open_engine(tiny_int8_package, (140, 180), ModelConfig())
    assert engine.info.precision == "int8" and engine.info.layers == {"int8": LAYERS}
    assert len(engine.info.certificate) == 64
    assert f"from package {tiny_package.id[:12]}" in engine.info.note and "points of mIoU" in engine.info.note
    engine.close()


def test_models_show_says_where_it_comes_from_and_what_it_cost(
    tiny_package: ModelPackage, tiny_int8_package: ModelPackage
) -> None:
    shown = text_of(facts_of(tiny_int8_package))
    assert f"in 8 bits from package {tiny_package.id[:12]}, " in shown and "models compile" not in shown
    made = quantisation(tiny_int8_package)
    assert made is not None and made.golden is not None
    marked = made.golden.defects
    kept = f"{marked} of {marked} defects of at least 9 px kept that the network in floating point marks"
    assert f"  golden      {kept}" in shown and marked > 0
    assert "models compile" in (usual := text_of(facts_of(tiny_package))) and "  golden " not in usual


def test_the_engine_computes_what_torch_computes(tiny_int8_package: ModelPackage) -> None:
    """Not only within int8's limits: whole numbers leave nothing to differ in but the last level."""
    golden = tiny_int8_package.golden()
    height, width = golden.tiles.shape[1:3]
    engine = OpenVinoEngine(tiny_int8_package, (height, width), CompileOptions("int8"))
    parity = measure(engine, tiny_int8_package, golden)
    engine.close()
    assert parity.max_difference <= 1 / 255 and parity.changed == 0 and parity.defects > 0


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_another_precision_is_refused_with_both_ways_out(
    precision: str,
    tiny_package: ModelPackage,
    tiny_int8_package: ModelPackage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openvino, "cpu_has_bf16", lambda: True)
    with pytest.raises(UsageError, match=f"does not compute in {precision}.*auto.*{tiny_package.id[:12]}"):
        open_engine(tiny_int8_package, (60, 60), ModelConfig.model_validate({"precision": precision}))


def test_a_package_in_floating_point_is_not_served_in_int8(tiny_package: ModelPackage) -> None:
    with pytest.raises(UsageError, match=r"in floating point; .* `trainer export .* --int8 DATA --out"):
        open_engine(tiny_package, (60, 60), ModelConfig(precision="int8"))


def test_torch_does_not_read_it(tiny_package: ModelPackage, tiny_int8_package: ModelPackage) -> None:
    pytest.importorskip("torch")
    with pytest.raises(UsageError, match=f"int8 package, .* torch cannot; .*{tiny_package.id[:12]}"):
        open_engine(tiny_int8_package, (60, 60), ModelConfig(engine="torch"))


def test_an_engine_that_is_not_its_network_is_refused(
    tiny_int8_package: ModelPackage, tmp_path: Path
) -> None:
    golden = tiny_int8_package.golden()
    probs = np.where(golden.probs < 0.5, golden.probs + np.float32(0.12), golden.probs)
    other = changed(tiny_int8_package, tmp_path / "other", golden=Golden(golden.tiles, probs))
    words = r"int8 on .* differs by 0\.1[12].* limit is 0\.1.*floating point"
    with pytest.raises(CertificateError, match=words):
        open_engine(other, (60, 60), ModelConfig())


def test_a_package_that_only_says_int8_is_not_served(
    tiny_package: ModelPackage, tiny_int8_package: ModelPackage, tmp_path: Path
) -> None:
    """Its graph computes in floating point: what runs is asked, not what is written."""
    manifest = tiny_int8_package.manifest.model_copy(update={"files": {}})
    false = write_package(tmp_path / "false", manifest, tiny_package.onnx.read_bytes(), tiny_package.golden())
    words = f"runs f32 .* serve the package in floating point that it was made from, {tiny_package.id[:12]}"
    with pytest.raises(CertificateError, match=words):
        open_engine(false, (60, 60), ModelConfig())


def test_a_graph_of_which_only_a_part_runs_in_int8_is_said_to_be_so(
    tiny_int8_package: ModelPackage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    open_engine(tiny_int8_package, (60, 60), ModelConfig()).close()
    assert "convolutions in int8" not in caplog.text + text_of(facts_of(tiny_int8_package))
    monkeypatch.setattr(openvino, "executed_layers", lambda _: {"int8": LAYERS - 2, "f32": 2})
    open_engine(tiny_int8_package, (68, 60), ModelConfig()).close()
    assert "only 11 of 13 convolutions in int8" in caplog.text
    assert ", only 11 of 13 convolutions in int8" in text_of(facts_of(tiny_int8_package))


def test_a_making_that_is_not_told_in_full_is_refused(
    tiny_int8_package: ModelPackage, tmp_path: Path
) -> None:
    made = dict(tiny_int8_package.manifest.metrics[INT8])
    del made["loss"]
    silent = changed(tiny_int8_package, tmp_path / "silent", made)
    with pytest.raises(PackageError, match=r"loss.*trainer export"):
        open_engine(silent, (60, 60), ModelConfig())
    with pytest.raises(PackageError, match=r"loss.*trainer export"):
        facts_of(silent)


def test_plans_and_memory_are_those_of_int8(
    tiny_package: ModelPackage, tiny_int8_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory_model(tiny_int8_package, ModelConfig()).precision == "int8"
    assert memory_model(tiny_package, ModelConfig()).precision == "f32"
    monkeypatch.setattr(measured, "cpu_has_bf16", lambda: False)
    for package, precision in ((tiny_int8_package, "int8"), (tiny_package, "f32")):
        assert measured._key(package, (300, 400), ModelConfig(), None)["precision"] == precision


def test_the_loss_is_counted_by_class_and_has_a_limit() -> None:
    loss = AccuracyLoss(
        frames=1,
        held_out=True,
        iou_f32={"background": 1.0, "dark": 0.5, "bright": None},
        iou_int8={"background": 1.0, "dark": 0.4975, "bright": None},
        miou_f32=0.75,
        miou_int8=0.75 - MOST_LOST + 1e-6,
    )
    assert loss.change == {"background": 0.0, "dark": pytest.approx(-0.0025)}
    assert loss.miou_change == pytest.approx(-MOST_LOST, abs=2e-6) and not loss.too_much
    assert loss.model_copy(update={"miou_int8": 0.75 - MOST_LOST - 1e-6}).too_much
    assert not loss.model_copy(update={"miou_int8": None}).too_much


def test_without_vnni_it_is_said(
    tiny_int8_package: ModelPackage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino, "cpu_has_vnni", lambda: False)
    engine = OpenVinoEngine(tiny_int8_package, (60, 60), CompileOptions("int8"))
    assert engine.info.note.endswith("without VNNI") and "has no VNNI" in caplog.text
    assert certify(engine, tiny_int8_package).note == engine.info.note
    engine.close()


def test_a_package_in_floating_point_has_no_making(tiny_package: ModelPackage) -> None:
    assert not tiny_package.in_8_bits and quantisation(tiny_package) is None
