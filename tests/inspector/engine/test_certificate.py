import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from inspector.config import ModelConfig
from inspector.engine import open as opening
from inspector.engine.certificate import LIMITS, Certificate, certify, measure
from inspector.engine.open import open_engine
from inspector.engine.openvino import CompileOptions, OpenVinoEngine, cpu_has_bf16
from inspector.errors import CertificateError
from inspector.package import Golden, ModelPackage, write_package

F32 = ModelConfig(precision="f32")


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INSPECTION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def only_certificate(cache: Path) -> Path:
    (path,) = cache.glob("certificates/*/*.json")
    return path


def other_network(package: ModelPackage, path: Path, change: float) -> ModelPackage:
    """The same graph, but its golden probabilities are of a network that says something else."""
    golden = package.golden()
    probs = np.clip(golden.probs + np.float32(change), 0, 1)
    manifest = package.manifest.model_dump()
    return write_package(path, manifest, package.onnx.read_bytes(), Golden(golden.tiles, probs))


def test_the_first_load_makes_and_announces_it_and_the_next_reads_it(
    tiny_package: ModelPackage, fresh_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "inspector")
    first = open_engine(tiny_package, (60, 60), F32)
    assert "Certificate" in caplog.text and "made" in caplog.text
    kept = json.loads(only_certificate(fresh_cache).read_text())
    assert kept["id"] == first.info.certificate
    assert kept["package"] == tiny_package.id and kept["device"] == first.info.device
    caplog.clear()
    assert open_engine(tiny_package, (60, 60), F32).info.certificate == first.info.certificate
    assert "made" not in caplog.text


def test_each_tile_has_its_own(tiny_package: ModelPackage, fresh_cache: Path) -> None:
    one = open_engine(tiny_package, (60, 60), F32).info.certificate
    assert open_engine(tiny_package, (64, 60), F32).info.certificate != one
    assert len(list(fresh_cache.glob("certificates/*/*.json"))) == 2


@pytest.mark.parametrize("tile", [(44, 44), (60, 104), (300, 500)])
def test_golden_tiles_are_found_again_on_a_tile_of_any_size(
    tile: tuple[int, int], tiny_package: ModelPackage
) -> None:
    parity = measure(
        OpenVinoEngine(tiny_package, tile, CompileOptions("f32")), tiny_package, tiny_package.golden()
    )
    assert parity.max_difference <= 1 / 255
    assert parity.lost == 0 and parity.mask_equal == 1.0


def test_a_changed_file_refuses_with_both_values_and_the_command(
    tiny_package: ModelPackage, fresh_cache: Path
) -> None:
    open_engine(tiny_package, (60, 60), F32)
    path = only_certificate(fresh_cache)
    fields = json.loads(path.read_text())
    fields["parity"]["lost"] = 3
    path.write_text(json.dumps(fields))
    with pytest.raises(CertificateError, match="was changed") as refusal:
        open_engine(tiny_package, (60, 60), F32)
    assert fields["id"][:12] in str(refusal.value) and f"rm '{path}'" in str(refusal.value)
    path.unlink()
    open_engine(tiny_package, (60, 60), F32)


def test_one_of_another_machine_refuses(tiny_package: ModelPackage, fresh_cache: Path) -> None:
    open_engine(tiny_package, (60, 60), F32)
    path = only_certificate(fresh_cache)
    fields = json.loads(path.read_text())
    fields.pop("id")
    other = Certificate.model_validate({**fields, "device": "Z80"})
    path.write_text(json.dumps({**other.model_dump(mode="json"), "id": other.id()}))
    with pytest.raises(CertificateError, match="for device Z80, this is"):
        open_engine(tiny_package, (60, 60), F32)


def test_a_broken_file_refuses(tiny_package: ModelPackage, fresh_cache: Path) -> None:
    open_engine(tiny_package, (60, 60), F32)
    only_certificate(fresh_cache).write_text("{")
    with pytest.raises(CertificateError, match="cannot be read"):
        open_engine(tiny_package, (60, 60), F32)


def test_a_model_that_is_not_the_trained_one_refuses_at_every_load(
    tiny_package: ModelPackage, tmp_path: Path, fresh_cache: Path
) -> None:
    wrong = other_network(tiny_package, tmp_path / "wrong", 0.1)
    for _ in range(2):
        with pytest.raises(CertificateError, match=r"differs by 0\.1.*limit is 0\.0039"):
            open_engine(wrong, (60, 60), F32)
    assert not list(fresh_cache.glob("certificates/*/*.json"))


def test_a_certificate_does_not_excuse_an_engine_that_has_changed(tiny_package: ModelPackage) -> None:
    engine = OpenVinoEngine(tiny_package, (60, 60), CompileOptions("f32"))
    certify(engine, tiny_package)

    class Drifted:
        info = engine.info

        def run(self, tiles, deliver):  # type: ignore[no-untyped-def]
            engine.run(tiles, lambda index, probs: deliver(index, 255 - probs))

        def close(self) -> None: ...

    with pytest.raises(CertificateError, match="not the trained model"):
        certify(Drifted(), tiny_package)


def test_auto_serves_f32_aloud_where_bf16_fails(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not cpu_has_bf16():
        pytest.skip("this processor has no bf16")
    none = LIMITS["bf16"].model_copy(update={"mask_equal": 1.1})
    monkeypatch.setitem(LIMITS, "bf16", none)
    assert open_engine(tiny_package, (60, 60), ModelConfig()).info.precision == "f32"
    assert "bf16 does not serve, f32 does" in caplog.text
    with pytest.raises(CertificateError, match=r'model\.precision = "f32"'):
        open_engine(tiny_package, (60, 60), ModelConfig(precision="bf16"))


def test_auto_does_not_work_around_a_changed_certificate(
    tiny_package: ModelPackage, fresh_cache: Path
) -> None:
    """On a processor with bf16 the changed one is bf16's; f32 could serve, and must not do so unasked."""
    open_engine(tiny_package, (60, 60), ModelConfig())
    path = only_certificate(fresh_cache)
    path.write_text(path.read_text().replace('"lost": 0', '"lost": 1'))
    with pytest.raises(CertificateError, match="was changed"):
        open_engine(tiny_package, (60, 60), ModelConfig())


def test_on_a_small_tile_the_middle_of_the_golden_ones_is_held(
    tiny_package: ModelPackage, fresh_cache: Path
) -> None:
    """An engine that goes blind in the middle, where golden tiles show their defect, is found out."""
    golden = tiny_package.golden()
    engine = OpenVinoEngine(tiny_package, (44, 44), CompileOptions("f32"))
    middle = [side // 2 for side in golden.probs.shape[1:3]]
    spoiled = golden.probs.copy()
    spoiled[:, middle[0], middle[1]] = 1 - spoiled[:, middle[0], middle[1]]
    assert measure(engine, tiny_package, golden).max_difference <= 1 / 255
    assert measure(engine, tiny_package, Golden(golden.tiles, spoiled)).max_difference > 0.3


def test_auto_serves_f32_where_there_is_no_bf16(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "inspector")
    monkeypatch.setattr(opening, "cpu_has_bf16", lambda: False)
    assert open_engine(tiny_package, (60, 60), ModelConfig()).info.precision == "f32"
    assert "no bf16" in caplog.text


def test_an_engine_that_runs_in_another_precision_than_asked_refuses(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Secretly(OpenVinoEngine):
        def __init__(self, *args, **kwargs) -> None:  # type: ignore[no-untyped-def]
            super().__init__(*args, **kwargs)
            self.info = dataclasses.replace(self.info, precision="bf16")

    monkeypatch.setattr(opening, "OpenVinoEngine", Secretly)
    with pytest.raises(CertificateError, match="asked for f32 and runs bf16"):
        open_engine(tiny_package, (60, 60), F32)


def test_a_cache_that_cannot_be_written_is_said_aloud(
    tiny_package: ModelPackage,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INSPECTION_CACHE", str(tmp_path / "file"))
    assert len(open_engine(tiny_package, (60, 60), F32).info.certificate) == 64
    assert "cannot be kept" in caplog.text
