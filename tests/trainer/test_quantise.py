"""int8 packages made for real on a small dataset, by function and by command."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from benchmarks.networks import pictures, seeing_network
from inspector.cli.group import run_group
from inspector.engine.quantised import AccuracyLoss, quantisation
from inspector.errors import Refused, UsageError
from inspector.package import INT8, ModelPackage
from inspector.tiling import Geometry, mirror_indices
from trainer import quantise
from trainer.calibration import OUT_PX, calibration_tiles
from trainer.cli.export import _progress
from trainer.cli.main import trainer
from trainer.dataset import Dataset, load_dataset
from trainer.export import export_package
from trainer.initial import start_from
from trainer.quantise import export_int8
from trainer.unet import UNet, UNetConfig

NAMES = ("spots", "2")


@pytest.fixture(scope="module")
def dataset(spots: Path) -> Dataset:
    return load_dataset([spots], channels=1, classes=("dark", "bright"))


def test_tiles_are_cut_from_the_mirrored_plane_and_show_every_class(dataset: Dataset) -> None:
    geometry, samples = Geometry(3), dataset.split("train")
    found = calibration_tiles(samples, 2, geometry, 9)
    side = geometry.input(geometry.output_at_least(OUT_PX))
    assert found.tiles.shape == (9, side, side, 1) and found.frames == 9
    assert (found.tiles < 60).any(axis=(1, 2, 3)).sum() >= 3
    assert (found.tiles > 196).any(axis=(1, 2, 3)).sum() >= 3
    at = [mirror_indices(-geometry.halo, side - geometry.halo, n) for n in (120, 150)]
    planes = [sample.image()[at[0][:, None], at[1]] for sample in samples]
    for tile in found.tiles:  # frames are smaller than a tile, so each tile is a whole mirrored frame
        assert any((tile[..., 0] == plane).all() for plane in planes)
    again = calibration_tiles(samples, 2, geometry, 9)
    assert again.sha256 == found.sha256 != calibration_tiles(samples, 2, geometry, 9, seed=1).sha256


def test_every_step_of_the_making_says_how_far_it_is_and_on_what(
    tiny_package: ModelPackage, spots: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Fitting took minutes without a word, and `all of them train and validate` stood beside fewer
    `training frames`."""
    few = Path(shutil.copytree(spots, tmp_path / "few"))
    for stem in [f"{number:02}" for number in (0, 1, 8, 9, 10, 11)]:
        (few / "images" / f"{stem}.png").unlink()
        (few / "masks" / f"{stem}.png").unlink()
    (few / "split.json").unlink()
    caplog.set_level("INFO", "trainer.quantise")
    dataset, said = load_dataset([few], channels=1, classes=("dark", "bright")), list[tuple[str, int, int]]()
    package = export_int8(tiny_package, dataset, tmp_path / "out", NAMES, 8, lambda *one: said.append(one))
    layers, frames = 13, 6
    assert said == [
        *(("fitting layers to 8 bits", done, layers) for done in range(layers + 1)),
        *(("validation frames in f32", done, frames) for done in range(frames + 1)),
        *(("validation frames in int8", done, frames) for done in range(frames + 1)),
    ]
    made = quantisation(package)
    assert made is not None and not made.loss.held_out and made.loss.frames == frames
    assert f"cut from {made.calibration.frames} of 6 training frames, all of which also show" in caplog.text
    assert "What int8 costs was measured on only 6 frames that it was fitted on as well:" in caplog.text


def test_the_bar_of_each_step_ends_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with _progress() as tell:
        tell("fitting layers to 8 bits", 1, 2)
        tell("fitting layers to 8 bits", 2, 2)
        tell("validation frames in f32", 1, 4)
    first, second, rest = capsys.readouterr().err.split("\n")
    assert " 50%" in first and "fitting layers to 8 bits, 2 of 2" in first and " 25%" in second and rest == ""


def test_no_training_frame_is_refused() -> None:
    with pytest.raises(UsageError, match="no training frame"):
        calibration_tiles([], 2, Geometry(3))


def test_the_manifest_says_what_it_was_made_from_and_what_it_lost(
    tiny_package: ModelPackage, tiny_int8_package: ModelPackage
) -> None:
    made, manifest = quantisation(tiny_int8_package), tiny_int8_package.manifest
    assert made is not None and made.source == tiny_package.id != tiny_int8_package.id
    assert made.calibration.tiles == 12 and made.calibration.frames < 10
    assert made.loss.held_out and 0 < made.loss.frames < 10
    assert set(made.loss.iou_int8) == {"background", "dark", "bright"}
    assert made.loss.miou_change is not None and abs(made.loss.miou_change) < 0.002
    assert made.golden is not None and 0 < made.golden.max_difference < 0.1 and made.golden.lost == 0
    assert manifest.thresholds == tiny_package.manifest.thresholds and "half" not in manifest.metrics
    validation = manifest.metrics["validation"]
    assert validation["classes"]["dark"]["iou"] == made.loss.iou_int8["dark"]
    assert validation["per_defect"]["total"] >= 2 and validation["frames"] == made.loss.frames
    for name, counts in validation["per_defect"]["classes"].items():
        one = made.loss.defects[name]
        assert (one.total, one.int8) == (counts["total"], counts["found"]) and one.f32 <= one.total


def test_its_golden_tiles_are_the_same_and_its_probabilities_its_own(
    tiny_package: ModelPackage, tiny_int8_package: ModelPackage
) -> None:
    trained, own = tiny_package.golden(), tiny_int8_package.golden()
    assert (own.tiles == trained.tiles).all()
    assert 0 < abs(own.probs - trained.probs).max() < 0.1


def test_the_line_needs_no_torch_for_it(tiny_int8_package: ModelPackage) -> None:
    code = (
        "import sys; from pathlib import Path; sys.modules['torch'] = None\n"
        "from inspector.config import ModelConfig; from inspector.package import load_package\n"
        "from inspector.engine.open import open_engine\n"
        f"package = load_package(Path({str(tiny_int8_package.path)!r}))\n"
        "engine = open_engine(package, (60, 60), ModelConfig())\n"
        "print(engine.info.precision, engine.info.note)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.startswith("int8 in 8 bits from package"), done.stderr


def test_what_loses_too_much_is_refused_and_nothing_is_written(
    tiny_package: ModelPackage, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = quantise.accuracy_loss

    def loses(*given: Any, **named: Any) -> tuple[AccuracyLoss, dict[str, Any]]:
        loss, figures = measured(*given, **named)
        assert loss.miou_f32 is not None
        return loss.model_copy(update={"miou_int8": loss.miou_f32 - 0.0021}), figures

    monkeypatch.setattr(quantise, "accuracy_loss", loses)
    with pytest.raises(Refused, match=r"loses 0\.21 points of mean IoU .* 0\.2 are allowed"):
        export_int8(tiny_package, dataset, tmp_path / "out", NAMES, tiles=8)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_is_refused(
    tiny_package: ModelPackage, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="exists already"):
        export_int8(tiny_package, dataset, tmp_path, NAMES)


def test_int8_of_int8_is_refused(tiny_int8_package: ModelPackage, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is an int8 package"):
        export_int8(tiny_int8_package, dataset, tmp_path / "out", NAMES)
    with pytest.raises(UsageError, match="is an int8 package"):
        start_from(tiny_int8_package)


def test_added_skip_maps_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = UNetConfig(classes=3, depth=3, base=4, dropout=0.0, skip="sum")
    trained = replace(seeing_network(4, 3), net=UNet(config).eval(), config=config)
    package = export_package(trained, pictures(2, (108, 108), 1), tmp_path / "sum", "sum", "1")
    with pytest.raises(UsageError, match=r"skip maps .* are added"):
        export_int8(package, dataset, tmp_path / "out", NAMES)


def test_the_command_prints_the_loss(
    tiny_package: ModelPackage,
    spots: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["export", str(tiny_package.path), "--int8", str(spots), "--tiles", "8", "--json"]
    monkeypatch.setattr(sys, "argv", ["trainer", *arguments, "--out", str(tmp_path / "made")])
    assert run_group(trainer, "trainer") == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    manifest = json.loads((tmp_path / "made" / "manifest.json").read_text())
    assert said["id"] == manifest["id"] and manifest["name"] == "made"
    assert said["int8"]["loss"] == manifest["metrics"][INT8]["loss"] and "miou_change" in said["int8"]
    arguments.remove("--json")
    monkeypatch.setattr(sys, "argv", ["trainer", *arguments, "--out", str(tmp_path / "again")])
    assert run_group(trainer, "trainer") == 0
    told = capsys.readouterr()
    assert "8 tiles" in told.out and "background" in told.out and "mean" in told.out and "Done" in told.err


@pytest.mark.parametrize("int8", [True, False])
def test_run_and_package_are_told_apart(
    int8: bool,
    tiny_package: ModelPackage,
    spots: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.pt").write_bytes(b"")
    given = [str(run), "--int8", str(spots)] if int8 else [str(tiny_package.path)]
    monkeypatch.setattr(sys, "argv", ["trainer", "export", *given, "--out", str(tmp_path / "out")])
    assert run_group(trainer, "trainer") == 2
    said = capsys.readouterr().err
    assert "is a RUN folder" in said if int8 else "give --int8 DATA" in said


def test_a_dataset_in_the_place_of_a_run_is_named_as_one(
    spots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It `holds no best.pt yet; let trainer fit reach its first validation`, which nobody had begun."""
    monkeypatch.setattr(sys, "argv", ["trainer", "export", str(spots), "--out", str(tmp_path / "out")])
    assert run_group(trainer, "trainer") == 2
    said = capsys.readouterr().err
    assert f"{spots} is a dataset folder; train on it with `trainer fit {spots} --out RUN`" in said


def test_a_class_that_the_model_has_not_is_refused_with_advice_that_fits_int8(
    tiny_package: ModelPackage,
    spots: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`train without --init` was said to somebody who trained nothing."""
    other = Path(shutil.copytree(spots, tmp_path / "other"))
    (other / "classes.json").write_text('{"1": "dark", "2": "rust"}')
    given = ["export", str(tiny_package.path), "--int8", str(other), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["trainer", *given])
    assert run_group(trainer, "trainer") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "'rust', which is none of dark, bright, the model's own; rename it in classes.json" in said
    assert "train a model with this class" in said


def test_nothing_is_fitted_on_a_test_picture_that_came_back_in_another_folder(
    tiny_package: ModelPackage,
    spots: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept, flagged = (Path(shutil.copytree(spots, tmp_path / name)) for name in ("kept", "flagged"))
    given = json.loads((spots / "split.json").read_text())
    for folder, exam in ((kept, given["train"][:1]), (flagged, [])):
        train = [stem for stem in given["train"] if stem not in exam]
        (folder / "split.json").write_text(json.dumps({"train": train, "test": exam}))
        for name in ("images", "masks"):
            for stem in given["test"]:  # of spots, not to be read
                (folder / name / f"{stem}.png").unlink(missing_ok=True)
    arguments = ["export", str(tiny_package.path), "--int8", str(kept), "--int8", str(flagged)]
    monkeypatch.setattr(sys, "argv", ["trainer", *arguments, "--out", str(tmp_path / "made")])
    assert run_group(trainer, "trainer") == 2
    assert "which must not be trained on" in capsys.readouterr().err and not (tmp_path / "made").exists()
