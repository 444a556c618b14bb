import dataclasses
import hashlib
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from inspector.config import ModelConfig
from inspector.engine import open as opening
from inspector.engine.certificate import (
    FORMAT,
    LIMITS,
    Certificate,
    ChangedCertificate,
    OverLimit,
    certificate_path,
    certify,
    kept_certificates,
    refuse_over_limit,
)
from inspector.engine.open import open_engine
from inspector.engine.openvino import CompileOptions, OpenVinoEngine, cpu_has_bf16
from inspector.engine.parity import Parity, measure
from inspector.engine.protocol import EngineInfo
from inspector.engine.refusals import refusal_path, remember, remembered
from inspector.errors import CertificateError, EngineError, PackageError
from inspector.package import (
    HALF_HEADROOM,
    LARGEST_HALF,
    Golden,
    ModelPackage,
    load_package,
    write_package,
)

pytestmark = pytest.mark.usefixtures("fresh_cache")

F32 = ModelConfig(precision="f32")


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


@pytest.mark.parametrize(
    ("precision", "difference", "equal"),
    [("f32", 1 / 255, 0.9999), ("fp16", 0.02, 0.9999), ("bf16", 0.05, 0.999), ("int8", 0.10, 0.998)],
)
def test_the_limits_are_those_of_the_design_and_each_refuses(
    precision: str, difference: float, equal: float
) -> None:
    info = EngineInfo("openvino", "1", precision, "a processor", "p" * 64, "none", (60, 60))
    within = Parity(max_difference=difference, mean_difference=0.0, mask_equal=equal, changed=1,
                    pixels=10_000, defects=9, lost=0, iou_change={})  # fmt: skip
    refuse_over_limit(info, within)
    for changed, words in (
        ({"max_difference": difference + 1e-6}, "a golden probability differs"),
        ({"mask_equal": equal - 1e-6}, "of the golden mask pixels are equal"),
        ({"lost": 1}, "finds 8 of 9 golden defects, none may be lost"),
    ):
        with pytest.raises(OverLimit, match=words):
            refuse_over_limit(info, within.model_copy(update=changed))


@pytest.mark.parametrize("at", [(slice(-20, None), slice(-20, None)), (slice(0, 20), slice(0, 20))])
def test_an_engine_that_is_wrong_at_either_end_of_its_tile_refuses(
    at: tuple[slice, slice], tiny_package: ModelPackage
) -> None:
    """On a large tile the golden ones filled its first rows only: what went wrong elsewhere was unseen."""
    engine = OpenVinoEngine(tiny_package, (300, 500), CompileOptions("f32"))

    class Wrong:
        info = engine.info

        def run(self, tiles, deliver):  # type: ignore[no-untyped-def]
            def spoiled(index, probs):  # type: ignore[no-untyped-def]
                other = probs.copy()
                other[at] ^= 0x80
                deliver(index, other)

            engine.run(tiles, spoiled)

        def close(self) -> None:
            engine.close()

    certify(engine, tiny_package)
    with pytest.raises(CertificateError, match="golden probability differs"):
        certify(Wrong(), tiny_package)


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


def test_auto_serves_f32_in_one_line_where_bf16_fails_and_does_not_try_again(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not cpu_has_bf16():
        pytest.skip("this processor has no bf16")
    caplog.set_level(logging.INFO, "inspector")
    tried: list[str] = []

    class Counted(OpenVinoEngine):
        def __init__(self, package: ModelPackage, tile: tuple[int, int], options: CompileOptions) -> None:
            tried.append(options.precision)
            super().__init__(package, tile, options)

    monkeypatch.setattr(opening, "OpenVinoEngine", Counted)
    none = LIMITS["bf16"].model_copy(update={"mask_equal": 1.1})
    monkeypatch.setitem(LIMITS, "bf16", none)
    for expected in (["bf16", "bf16", "bf16", "f32"], ["f32"]):
        engine = open_engine(tiny_package, (60, 60), ModelConfig())
        assert engine.info.precision == "f32" and tried == expected
        told = [r for r in caplog.records if "bf16" in r.getMessage()]
        assert [r.levelno for r in told] == [logging.INFO]
        assert "Serves in f32: bf16 kept " in caplog.text
        assert f"limit 110.00 % (certificate {engine.info.certificate[:12]};" in caplog.text
        tried.clear()
        caplog.clear()
    with pytest.raises(CertificateError, match=r'model\.precision = "f32"'):
        open_engine(tiny_package, (60, 60), ModelConfig(precision="bf16"))
    assert caplog.records[0].levelno == logging.WARNING


def test_a_refusal_on_file_is_of_this_package_tile_and_limit_and_never_trusted_blindly(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = refusal_path(tiny_package, "bf16", (60, 60))
    assert remembered(path) is None
    remember(path, "lost 5 of 400 golden defects")
    assert remembered(path) == "lost 5 of 400 golden defects"
    path.write_text("{")
    assert remembered(path) is None
    assert refusal_path(tiny_package, "bf16", (64, 60)) != path
    monkeypatch.setitem(LIMITS, "bf16", LIMITS["bf16"].model_copy(update={"mask_equal": 0.9}))
    assert refusal_path(tiny_package, "bf16", (60, 60)) != path


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


def rehashed(package: ModelPackage, path: Path, **changes: object) -> ModelPackage:
    """The package with manifest fields changed and a manifest that agrees with itself again."""
    manifest = package.manifest.model_dump() | changes
    return write_package(path, manifest, package.onnx.read_bytes(), package.golden())


def moved(certificate: Path, engine: OpenVinoEngine, package: ModelPackage) -> None:
    """Somebody lays a certificate where that of another package or engine is looked for."""
    place = certificate_path(engine, package)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(certificate.read_bytes())


def with_one_weight_changed(package: ModelPackage, by: float) -> bytes:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(package.onnx))
    entry = next(one for one in model.graph.initializer if one.name == "net.down.0.conv1.weight")
    weight = onnx.numpy_helper.to_array(entry).copy()
    weight[0, 0, 1, 1] += by
    entry.CopyFrom(onnx.numpy_helper.from_array(weight, entry.name))
    data: bytes = model.SerializeToString()
    return data


def test_it_says_how_far_from_the_trained_network(tiny_package: ModelPackage, fresh_cache: Path) -> None:
    open_engine(tiny_package, (60, 60), F32)
    kept = json.loads(only_certificate(fresh_cache).read_text())
    parity = kept["parity"]
    assert 0 <= parity["mean_difference"] <= parity["max_difference"] <= 1 / 255
    assert parity["changed"] == 0 and parity["pixels"] > 0
    assert parity["iou_change"] == {"dark": 0.0, "bright": 0.0}
    assert kept["layers"]["f32"] > 10 and kept["activation"] == tiny_package.largest_activation
    assert Certificate.model_validate({k: v for k, v in kept.items() if k != "id"}).headroom > HALF_HEADROOM


def test_what_changed_is_counted(tiny_package: ModelPackage) -> None:
    """A third of one class taken away: so many pixels, and that much of its IoU."""
    golden = tiny_package.golden()
    dark = golden.probs[..., 0] >= 0.5
    spoiled = golden.probs.copy()
    pixels = np.argwhere(dark)
    taken = pixels[:: len(pixels) // (len(pixels) // 3)]
    spoiled[(*taken.T, 0)] = 0.0
    engine = OpenVinoEngine(tiny_package, (44, 44), CompileOptions("f32"))
    small = measure(engine, tiny_package, golden)
    engine = OpenVinoEngine(tiny_package, golden.tiles.shape[1:3], CompileOptions("f32"))
    found = measure(engine, tiny_package, Golden(golden.tiles, spoiled))
    assert small.pixels < found.pixels == dark.size
    assert found.changed == len(taken) and found.mask_equal == 1 - len(taken) / dark.size
    assert found.iou_change["dark"] == pytest.approx(len(taken) / len(pixels))
    assert found.iou_change["bright"] == 0.0
    assert found.mean_difference == pytest.approx(
        (255 * golden.probs[(*taken.T, 0)]).sum() / 255 / spoiled.size, rel=0.1
    )


def test_a_golden_defect_that_is_not_found_is_counted(tiny_package: ModelPackage) -> None:
    """The first golden tile comes back empty: all its defects are lost, and those of the others are kept."""
    golden = tiny_package.golden()
    engine = OpenVinoEngine(tiny_package, golden.tiles.shape[1:3], CompileOptions("f32"))

    class BlindAtFirst:
        info, runs = engine.info, 0

        def run(self, tiles, deliver):  # type: ignore[no-untyped-def]
            self.runs += 1
            blind = self.runs == 1
            engine.run(tiles, lambda index, probs: deliver(index, probs * 0 if blind else probs))

        def close(self) -> None:
            engine.close()

    all_kept = measure(engine, tiny_package, golden)
    first = measure(engine, tiny_package, Golden(golden.tiles[:1], golden.probs[:1]))
    found = measure(BlindAtFirst(), tiny_package, golden)
    assert all_kept.lost == 0 and 0 < first.defects < all_kept.defects
    assert (found.lost, found.defects) == (first.defects, all_kept.defects)
    with pytest.raises(CertificateError):
        certify(BlindAtFirst(), tiny_package)


def test_one_weight_of_the_graph_changed_refuses(tiny_package: ModelPackage, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_package.path, copy)
    (copy / "model.onnx").write_bytes(with_one_weight_changed(tiny_package, 2**-6))
    with pytest.raises(PackageError, match="was changed"):
        load_package(copy)


def test_one_weight_changed_and_hashed_again_is_another_network(
    tiny_package: ModelPackage, tmp_path: Path
) -> None:
    onnx = with_one_weight_changed(tiny_package, 0.25)
    other = write_package(tmp_path / "other", tiny_package.manifest.model_dump(), onnx, tiny_package.golden())
    assert other.id != tiny_package.id
    with pytest.raises(CertificateError, match="not the trained model"):
        open_engine(other, (60, 60), F32)


def test_one_threshold_changed_refuses(tiny_package: ModelPackage, tmp_path: Path, fresh_cache: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_package.path, copy)
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text.replace('"value": 0.5', '"value": 0.6', 1))
    with pytest.raises(PackageError, match="was changed"):
        load_package(copy)
    open_engine(tiny_package, (60, 60), F32)
    thresholds = {"dark": {"value": 0.6}, "bright": {"value": 0.5}}
    other = rehashed(tiny_package, tmp_path / "other", thresholds=thresholds)
    engine = OpenVinoEngine(other, (60, 60), CompileOptions("f32"))
    moved(only_certificate(fresh_cache), engine, other)
    with pytest.raises(ChangedCertificate, match="is for package"):
        certify(engine, other)


def test_one_of_another_package_tile_or_version_refuses(
    tiny_package: ModelPackage, tmp_path: Path, fresh_cache: Path
) -> None:
    open_engine(tiny_package, (60, 60), F32)
    path = only_certificate(fresh_cache)
    renamed = rehashed(tiny_package, tmp_path / "renamed", name="other")
    engine = OpenVinoEngine(renamed, (60, 60), CompileOptions("f32"))
    moved(path, engine, renamed)
    with pytest.raises(ChangedCertificate, match=f"is for package {tiny_package.id}"):
        certify(engine, renamed)
    larger = OpenVinoEngine(tiny_package, (64, 60), CompileOptions("f32"))
    moved(path, larger, tiny_package)
    with pytest.raises(ChangedCertificate, match=r"is for tile \(60, 60\), this is \(64, 60\)"):
        certify(larger, tiny_package)
    updated = OpenVinoEngine(tiny_package, (60, 60), CompileOptions("f32"))
    updated.info = dataclasses.replace(updated.info, version="2031.1.0")
    moved(path, updated, tiny_package)
    with pytest.raises(ChangedCertificate, match=r"is for engine_version .*, this is 2031\.1\.0"):
        certify(updated, tiny_package)


def test_one_made_for_other_limits_refuses(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_engine(tiny_package, (60, 60), F32)
    monkeypatch.setitem(LIMITS, "f32", LIMITS["f32"].model_copy(update={"mask_equal": 0.99}))
    with pytest.raises(ChangedCertificate, match=r"made for limits .*0\.9999"):
        open_engine(tiny_package, (60, 60), F32)


def test_one_of_an_older_format_is_made_again_and_a_changed_one_refuses(
    tiny_package: ModelPackage, fresh_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "inspector")
    open_engine(tiny_package, (60, 60), F32)
    path = only_certificate(fresh_cache)
    fields = json.loads(path.read_text())
    for key in ("id", "format", "activation", "layers", "note"):  # as the first format was written
        del fields[key]
    for key in ("mean_difference", "changed", "iou_change"):
        del fields["parity"][key]
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    old = {**fields, "id": hashlib.sha256(canonical.encode()).hexdigest()}
    path.write_text(json.dumps({**old, "golden_tiles": 1}))
    with pytest.raises(ChangedCertificate, match="was changed"):
        open_engine(tiny_package, (60, 60), F32)
    path.write_text(json.dumps(old))
    assert kept_certificates(tiny_package) == []
    caplog.clear()
    open_engine(tiny_package, (60, 60), F32)
    assert "has format 1; it is made again" in caplog.text
    assert json.loads(path.read_text())["format"] == FORMAT


def test_half_precision_needs_a_package_that_says_how_large_it_becomes(
    tiny_package: ModelPackage, tmp_path: Path
) -> None:
    engine = OpenVinoEngine(tiny_package, (60, 60), CompileOptions("f32"))
    engine.info = dataclasses.replace(engine.info, precision="fp16", layers={})
    assert certify(engine, tiny_package).activation == tiny_package.largest_activation
    silent = rehashed(tiny_package, tmp_path / "silent", metrics={})
    with pytest.raises(CertificateError, match="does not say how large"):
        certify(engine, silent)
    limit = LARGEST_HALF / HALF_HEADROOM
    large = rehashed(tiny_package, tmp_path / "large", metrics={"half": {"activation": 65000.0}})
    with pytest.raises(CertificateError, match=r"inner values reach 65,000 on .* limit is 4094"):
        certify(engine, large)
    fits = rehashed(tiny_package, tmp_path / "fits", metrics={"half": {"activation": limit}})
    assert certify(engine, fits).headroom == pytest.approx(HALF_HEADROOM)


def test_an_engine_whose_layers_run_in_something_else_refuses(tiny_package: ModelPackage) -> None:
    engine = OpenVinoEngine(tiny_package, (60, 60), CompileOptions("f32"))
    engine.info = dataclasses.replace(engine.info, precision="fp16", layers={"f32": 18})
    with pytest.raises(CertificateError, match=r"its layers are in \{'f32': 18\}"):
        certify(engine, tiny_package)


def test_packages_from_before_the_headroom_keep_their_id() -> None:
    package = load_package(Path("data_samples/demo_model"))
    assert package.largest_activation is not None
    assert package.id == json.loads((package.path / "manifest.json").read_text())["id"]


class Claiming:
    """An engine that says what it is and gives nothing."""

    def __init__(self, package: ModelPackage, name: str, precision: str, **layers: int) -> None:
        self.info = EngineInfo(name, "1", precision, "a GPU", package.id, "none", (60, 60), layers)

    def run(self, tiles: object, deliver: object) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("name", "again", "instead"),
    [
        ("tensorrt", "inspector models compile", 'set model.engine = "openvino"'),
        ("torch", 'set model.precision = "auto"', 'set model.precision = "f32"'),
        ("openvino", 'set model.precision = "auto"', 'set model.precision = "f32"'),
    ],
)
def test_the_remedy_fits_the_engine(tiny_package: ModelPackage, name: str, again: str, instead: str) -> None:
    """TensorRT's engines are fp16: told to set f32, an operator was refused once more."""
    manifest = tiny_package.manifest.model_copy(update={"metrics": {}})
    silent = dataclasses.replace(tiny_package, manifest=manifest)
    with pytest.raises(CertificateError, match=f"not safe.*{instead}"):
        certify(Claiming(silent, name, "fp16"), silent)
    with pytest.raises(CertificateError, match=f"does not run what it says.*{again}"):
        certify(Claiming(silent, name, "fp16", f32=3), silent)


def test_an_engine_that_gives_nothing_is_a_fault(tiny_package: ModelPackage) -> None:
    with pytest.raises(EngineError, match="openvino in f32 on a GPU gave no result for a golden tile"):
        certify(Claiming(tiny_package, "openvino", "f32"), tiny_package)
