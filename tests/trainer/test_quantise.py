"""int8 made for real on a small dataset, and loaded as the line loads it."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.networks import pictures
from inspector.cli.group import run_group
from inspector.config import ModelConfig
from inspector.engine.certificate import LIMITS
from inspector.engine.open import open_engine
from inspector.engine.quantised import AccuracyLoss, QuantisedRecord, load_quantised, quantised_folder
from inspector.errors import CertificateError, UsageError
from inspector.package import ModelPackage
from inspector.tiling import Geometry, mirror_indices
from trainer import quantise
from trainer.calibration import OUT_PX, calibration_tiles
from trainer.cli.main import trainer
from trainer.dataset import Dataset, load_dataset
from trainer.quantise import compile_int8, float_layer_choices

INT8 = ModelConfig(precision="int8")
FRAMES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and bright spots with their masks; the two test frames cannot be read, so nobody did."""
    folder = tmp_path_factory.mktemp("spots")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number, picture in enumerate(pictures(FRAMES, (120, 150), 1, seed=3)):
        mask = np.where(picture < 60, 1, np.where(picture > 196, 2, 0)).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{number:02}.png"), picture)
        cv2.imwrite(str(folder / "masks" / f"{number:02}.png"), mask)
    stems = [f"{number:02}" for number in range(FRAMES)]
    (folder / "split.json").write_text(json.dumps({"train": stems[2:], "test": stems[:2]}))
    (folder / "classes.json").write_text('{"1": "dark", "2": "bright"}')
    for stem in stems[:2]:
        (folder / "images" / f"{stem}.png").write_bytes(b"an exam frame")
        (folder / "masks" / f"{stem}.png").write_bytes(b"an exam frame")
    return folder


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return load_dataset([folder], channels=1, classes=("dark", "bright"))


@pytest.fixture(scope="module")
def record(tiny_package: ModelPackage, dataset: Dataset) -> QuantisedRecord:
    return compile_int8(tiny_package, dataset, tiles=12)


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
        assert any(np.array_equal(tile[..., 0], plane) for plane in planes)
    again = calibration_tiles(samples, 2, geometry, 9)
    assert again.sha256 == found.sha256 != calibration_tiles(samples, 2, geometry, 9, seed=1).sha256


def test_no_training_frame_is_refused() -> None:
    with pytest.raises(UsageError, match="no training frame"):
        calibration_tiles([], 2, Geometry(3))


def test_more_layers_stay_in_float_step_by_step() -> None:
    choices = float_layer_choices(4)
    assert choices[:4] == [(1, 18), (1, 17, 18), (1, 2, 17, 18), (1, 2, 16, 17, 18)]
    assert choices[4] == (1, 2, 15, 16, 17, 18)
    assert choices[5] == (1, 2, 3, 4, *range(12, 19))
    assert all(set(few) < set(more) for few, more in pairwise(choices))
    assert all(len(choice) < 18 for choice in choices)


def test_the_line_serves_it_in_int8_with_a_certificate(
    tiny_package: ModelPackage, record: QuantisedRecord
) -> None:
    engine = open_engine(tiny_package, (140, 180), INT8)
    assert engine.info.precision == "int8" and engine.info.layers["int8"] == 13 - len(record.float_layers)
    assert len(engine.info.certificate) == 64 and record.id()[:12] in engine.info.note
    engine.close()


def test_the_record_says_what_it_was_made_from_and_what_it_lost(
    tiny_package: ModelPackage, record: QuantisedRecord
) -> None:
    assert load_quantised(tiny_package).record == record
    assert record.package == tiny_package.id and record.calibration.tiles == 12
    assert record.loss.held_out and 0 < record.loss.frames < FRAMES - 2
    assert set(record.loss.iou_int8) == {"background", "dark", "bright"}
    assert record.loss.miou_change is not None and record.loss.miou_change > -0.01


def test_the_line_needs_no_torch_for_it(tiny_package: ModelPackage, record: QuantisedRecord) -> None:
    code = (
        "import sys; from pathlib import Path; sys.modules['torch'] = None\n"
        "from inspector.config import ModelConfig; from inspector.package import load_package\n"
        "from inspector.engine.open import open_engine\n"
        f"engine = open_engine(load_package(Path({str(tiny_package.path)!r})), (60, 60),"
        " ModelConfig(precision='int8'))\n"
        "print(engine.info.precision, engine.info.note)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.startswith(f"int8 int8 graph {record.id()[:12]}"), done.stderr


def test_a_network_that_does_not_bear_8_bits_is_refused_and_nothing_is_kept(
    tiny_package: ModelPackage,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INSPECTION_CACHE", str(tmp_path))
    monkeypatch.setitem(LIMITS, "int8", LIMITS["int8"].model_copy(update={"mask_equal": 1.1}))
    monkeypatch.setattr(quantise, "float_layer_choices", lambda _depth: [(1, 13)])
    with pytest.raises(CertificateError, match=r"does not bear 8 bits.*limit 110"):
        compile_int8(tiny_package, dataset, tiles=8)
    assert not quantised_folder(tiny_package).exists()


def test_what_loses_too_much_accuracy_is_refused_and_nothing_is_kept(
    tiny_package: ModelPackage, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = quantise.accuracy_loss

    def loses(*given: Any, **named: Any) -> AccuracyLoss:
        loss = measured(*given, **named)
        assert loss.miou_f32 is not None
        return loss.model_copy(update={"miou_int8": loss.miou_f32 - 0.0021})

    monkeypatch.setenv("INSPECTION_CACHE", str(tmp_path))
    monkeypatch.setattr(quantise, "accuracy_loss", loses)
    with pytest.raises(CertificateError, match=r"loses 0\.21 points of mean IoU .* 0\.2 are allowed"):
        compile_int8(tiny_package, dataset, tiles=8)
    assert not quantised_folder(tiny_package).exists()


def test_limits_are_those_of_the_certificate(tiny_package: ModelPackage, record: QuantisedRecord) -> None:
    parity = quantise.golden_parity(tiny_package, load_quantised(tiny_package).graph)
    assert quantise.within_limits(parity)
    for change in ({"max_difference": 0.11}, {"mask_equal": 0.99}, {"lost": 1}):
        assert not quantise.within_limits(parity.model_copy(update=change))


def test_the_command_prints_the_loss(
    tiny_package: ModelPackage,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("INSPECTION_CACHE", str(tmp_path))
    arguments = ["compile", str(tiny_package.path), "--engine", "openvino", "--precision", "int8"]
    monkeypatch.setattr(sys, "argv", ["trainer", *arguments, "--calibrate", str(folder), "--tiles", "8"])
    assert run_group(trainer, "trainer") == 0
    out = capsys.readouterr().out
    assert "background" in out and "mean" in out and "8 tiles" in out and "Statistics" not in out
    assert load_quantised(tiny_package).record.calibration.tiles == 8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--engine", "openvino", "--precision", "int8"], "--calibrate"),
        (["--engine", "openvino", "--precision", "fp16", "--calibrate", "x"], "int8"),
        (["--precision", "int8"], "--engine openvino"),
        (["--calibrate", "x"], "--engine openvino"),
    ],
)
def test_options_that_do_not_belong_together(
    options: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["trainer", "compile", str(tmp_path), *options])
    assert run_group(trainer, "trainer") == 2
    assert words in capsys.readouterr().err
