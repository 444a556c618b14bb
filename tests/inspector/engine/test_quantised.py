"""The int8 graph of a package on the line: loaded only when record, files and package agree."""

import json
from pathlib import Path
from typing import Any

import openvino as ov
import pytest

from inspector.config import ModelConfig
from inspector.engine import openvino
from inspector.engine.open import open_engine
from inspector.engine.quantised import (
    MOST_LOST,
    AccuracyLoss,
    Calibration,
    QuantisedRecord,
    load_quantised,
    quantised_folder,
    store_quantised,
)
from inspector.errors import CertificateError, EngineCorrupt, EngineModelMismatch, EngineNotCompiled
from inspector.package import ONNX, ModelPackage

pytestmark = pytest.mark.usefixtures("fresh_cache")

INT8 = ModelConfig(precision="int8")


def fields_of(package: ModelPackage) -> dict[str, Any]:
    return {
        "package": package.id,
        "onnx_sha256": package.manifest.files[ONNX],
        "torch": "0",
        "openvino": "0",
        "calibration": Calibration(data_sha256="0" * 64, tiles=1, tile=(60, 60), frames=1),
        "float_layers": (1,),
        "loss": AccuracyLoss(
            frames=1,
            held_out=True,
            iou_f32={"background": 1.0, "dark": 0.5, "bright": None},
            iou_int8={"background": 1.0, "dark": 0.4975, "bright": None},
            miou_f32=0.75,
            miou_int8=0.74875,
        ),
        "made_utc": "2026-01-01T00:00:00+00:00",
    }


def stored(package: ModelPackage, folder: Path, /, **changes: Any) -> QuantisedRecord:
    """The float graph under the name of a quantised one: whole, and of this package."""
    folder.mkdir(exist_ok=True)
    ov.save_model(ov.Core().read_model(package.onnx), folder / "graph.xml", compress_to_fp16=False)
    graph, weights = (folder / "graph.xml").read_bytes(), (folder / "graph.bin").read_bytes()
    return store_quantised(package, graph, weights, {**fields_of(package), **changes})


def test_what_was_kept_comes_back_and_an_older_one_goes(tiny_package: ModelPackage, tmp_path: Path) -> None:
    stored(tiny_package, tmp_path / "made")
    record = stored(tiny_package, tmp_path / "made", torch="1")
    found = load_quantised(tiny_package)
    assert found.record == record and found.graph.suffix == ".xml"
    assert sorted(path.name for path in quantised_folder(tiny_package).iterdir()) == sorted(
        [*record.files, "int8.json"]
    )


def test_the_loss_is_counted_by_class(tiny_package: ModelPackage, tmp_path: Path) -> None:
    loss = stored(tiny_package, tmp_path / "made").loss
    assert loss.change == {"background": 0.0, "dark": pytest.approx(-0.0025)}
    assert loss.miou_change == pytest.approx(-0.00125) and not loss.too_much


def test_a_graph_that_lost_too_much_does_not_serve(tiny_package: ModelPackage, tmp_path: Path) -> None:
    allowed = AccuracyLoss(
        frames=7, held_out=True, iou_f32={}, iou_int8={}, miou_f32=0.5, miou_int8=0.5 - MOST_LOST + 1e-6
    )
    stored(tiny_package, tmp_path / "made", loss=allowed)
    assert load_quantised(tiny_package).record.loss == allowed
    stored(tiny_package, tmp_path / "made", loss=allowed.model_copy(update={"miou_int8": 0.4975}))
    with pytest.raises(CertificateError, match=r"lost 0\.25 points .* 7 validation frames, 0\.2 are allowed"):
        open_engine(tiny_package, (60, 60), INT8)


def test_a_record_of_another_format_is_made_again(tiny_package: ModelPackage, tmp_path: Path) -> None:
    stored(tiny_package, tmp_path / "made", format=1)
    with pytest.raises(EngineNotCompiled, match=r"format 1.*trainer compile"):
        load_quantised(tiny_package)


def test_not_compiled_is_refused_with_the_command(tiny_package: ModelPackage) -> None:
    with pytest.raises(
        EngineNotCompiled, match=r"trainer compile .* --precision int8 --calibrate"
    ) as refusal:
        open_engine(tiny_package, (60, 60), INT8)
    assert refusal.value.exit_code == 3


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_changed_file_is_refused(
    suffix: str, damage: str, tiny_package: ModelPackage, tmp_path: Path
) -> None:
    stored(tiny_package, tmp_path / "made")
    (path,) = quantised_folder(tiny_package).glob(f"*{suffix}")
    if damage == "missing":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    with pytest.raises(EngineCorrupt, match="was changed" if damage == "flipped" else "cannot be read"):
        open_engine(tiny_package, (60, 60), INT8)


def test_a_changed_record_is_refused(tiny_package: ModelPackage, tmp_path: Path) -> None:
    stored(tiny_package, tmp_path / "made")
    path = quantised_folder(tiny_package) / "int8.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "float_layers": [1, 2]}))
    with pytest.raises(EngineCorrupt, match="was changed"):
        load_quantised(tiny_package)
    path.write_text("{")
    with pytest.raises(EngineCorrupt, match="cannot be read"):
        load_quantised(tiny_package)


def test_the_graph_of_another_package_is_refused(tiny_package: ModelPackage, tmp_path: Path) -> None:
    stored(tiny_package, tmp_path / "made", package="f" * 64)
    with pytest.raises(EngineModelMismatch, match="ffffffffffff"):
        load_quantised(tiny_package)


def test_a_graph_that_is_not_int8_is_not_served_as_int8(tiny_package: ModelPackage, tmp_path: Path) -> None:
    stored(tiny_package, tmp_path / "made")
    with pytest.raises(CertificateError, match="asked for int8 and runs"):
        open_engine(tiny_package, (60, 60), INT8)


def test_without_vnni_it_is_said(
    tiny_package: ModelPackage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(openvino, "cpu_has_vnni", lambda: False)
    record = stored(tiny_package, tmp_path / "made")
    note = openvino._int8_note(record)
    assert "without VNNI" in note and record.id()[:12] in note and "-0.12 points" in note
    assert "has no VNNI" in caplog.text
