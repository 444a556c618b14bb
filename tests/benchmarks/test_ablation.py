"""Each arm changes one idea, the altered trainer does what it says, and the table says what the rows say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import altered
from benchmarks.ablation import ARMS, ELASTIC, REFERENCE, SEEDS, SETS, arm, command, plan
from benchmarks.ablation_table import page
from benchmarks.rows import machine
from benchmarks.steps import ROOT
from benchmarks.trials import Trial
from inspector.tiling import Geometry, cut_tile, plan_tiles
from trainer.augment import Motion, motion_map, nearest, warp_image
from trainer.recipes import fit_config

GRAY = 100


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(altered, "_nothing", [float(GRAY)])


def test_arms_are_the_recipe_with_one_thing_changed():
    assert len({json.dumps(trial.identity()) for _, trial in plan()}) == len(plan()) == 2 * 2 * 7
    for data in SETS:
        found = {name: trial for name in ARMS if (trial := arm(name, data, 1)) is not None}
        assert sum(name.startswith("border ") for name in found) == 2
        (deformed,) = (found[name] for name in ELASTIC if name in found)
        configs = [configured(one) for one in (deformed, found[REFERENCE])]
        # One with, one without: the recipe deforms no tile but where it is told to.
        assert sorted(one["augment"].pop("elastic_chance") > 0 for one in configs) == [False, True]
        assert configs[0] == configs[1]


def configured(trial: Trial) -> dict[str, Any]:
    """The fit config that the options and the file of a trial give."""
    given = list(trial.settings)
    settings: dict[str, Any] = {**trial.config, "border": "none"}
    for option, name in (("--border", "border"), ("--augmentation", "augmentation")):
        if option in given:
            settings[name] = given[given.index(option) + 1]
    if "--quarter-turns" in given:
        settings["quarter_turns"] = True
    return fit_config("modern", minutes=6, **settings).model_dump()


def test_a_command_runs_its_own_trial_alone():
    for name, trial in plan():
        assert f"--arm '{name}'" in command(trial) and f"--seed {trial.seed}" in command(trial)


def test_beyond_the_frame_is_nothing():
    geometry = Geometry(3)
    frame = np.arange(40 * 50, dtype=np.uint8).reshape(40, 50)
    tiles = plan_tiles((40, 50), (28, 28), geometry)
    for tile in tiles.tiles:
        cut, mirrored = altered.cut_over_nothing(frame, tiles, tile), cut_tile(frame, tiles, tile)
        rows = np.arange(cut.shape[0]) + tile.y - geometry.halo
        columns = np.arange(cut.shape[1]) + tile.x - geometry.halo
        inside = ((rows >= 0) & (rows < 40))[:, None] & ((columns >= 0) & (columns < 50))[None]
        assert (cut[inside] == mirrored[inside]).all() and (cut[~inside] == GRAY).all()
        assert (~inside).any()
    colour = altered.cut_over_nothing(np.zeros((40, 50, 3), np.uint8), tiles, tiles.tiles[0])
    assert (colour[0, 0] == GRAY).all() and (colour[25, 25] == 0).all()


def test_a_training_tile_shows_nothing_beyond_the_frame_and_does_not_learn_from_it():
    image = np.random.default_rng(0).integers(0, 256, (30, 36), np.uint8)
    where = motion_map(Motion(np.eye(2, dtype=np.float32), (14.0, 17.0), None), (51, 51))
    said, mirrored = altered.warp_over_nothing(image, where), warp_image(image, where)
    y, x = altered.nearest_or_nothing(where, (30, 36), 0)
    beyond = y * 36 + x == image.size  # where the sampler looks it up
    assert beyond.any() and (said[beyond] == GRAY).all()
    assert (said[~beyond] == mirrored[~beyond]).all()  # whole pixels: nothing is interpolated
    for mine, plain in zip((y, x), nearest(where, (30, 36), 0), strict=True):
        assert (mine[~beyond] == plain[~beyond]).all()


ALTERED = """
import json, sys
from benchmarks import altered
from trainer.unet import UNet, UNetConfig
import torch
altered.WITHOUT[sys.argv.pop(1)]()
net = UNet(UNetConfig(depth=3, base=2)).eval()
shapes = [tuple(net(torch.zeros(1, 1, 64, 64)).shape[2:])] if altered.Geometry(3).halo == 0 else []
data, run = sys.argv[1:]
for rest in (
    ["fit", data, "--out", run, "--steps", "3", "--base", "2", "--depth", "3", "--json"],
    ["evaluate", run, data, "--json"],
):
    sys.argv = ["trainer", *rest]
    assert altered.trainer_command() == 0
print(json.dumps({"shapes": shapes, "nothing": altered._nothing}))
"""


@pytest.mark.parametrize("idea", list(altered.WITHOUT))
def test_the_trainer_without_an_idea_fits_and_evaluates(tmp_path: Path, idea: str):
    spots(tmp_path / "spots")
    done = subprocess.run(
        [sys.executable, "-c", ALTERED, idea, str(tmp_path / "spots"), str(tmp_path / "run")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *_, figures, last = map(json.loads, done.stdout.strip().splitlines())
    assert figures["frames"] == 2 and figures["border"]["px"] == 20
    if idea == "valid":
        assert last["shapes"] == [[64, 64]]
    else:
        assert last["nothing"] == [pytest.approx(102, abs=30)]


def spots(folder: Path) -> None:
    """Gray pictures of 60x70 pixels with one bright square each."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(8):
        image, mask = rng.integers(90, 110, (60, 70), np.uint8), np.zeros((60, 70), np.uint8)
        image[10 + number : 30, 20:40], mask[10 + number : 30, 20:40] = 250, 1
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{number}.png"), mask)
    (folder / "split.json").write_text(json.dumps({"train": list("012345"), "test": list("67")}))


def row(name: str, data: str, seed: int, iou: float) -> dict[str, Any]:
    trial = arm(name, data, seed)
    assert trial is not None
    figures = {
        "per_class": {"class_1": {"iou": iou, "dice": iou}},
        "border": {"iou": {"class_1": iou - 0.1}},
        "per_defect": {"recall": 0.8, "false_alarms_per_frame": 0.5},
        "ap50": iou, "seg": 0.5, "instances": {"merges": 7, "splits": 3}, "steps": 400,
        "machine": machine(), "commit": "abc1234", "date": "2026-11-23T03:00:00+00:00",
        "began": "2026-11-23T02:47:00+00:00", "sittings": 1, "command": command(trial),
    }  # fmt: skip
    return {**trial.identity(), **figures}


def test_the_table_sets_each_arm_beside_the_recipe_and_the_spread():
    usual = [
        row(REFERENCE, "masonry_crack", seed, iou) for seed, iou in zip(SEEDS, (0.60, 0.62), strict=True)
    ]
    sums = [row("sum", "masonry_crack", seed, iou) for seed, iou in zip(SEEDS, (0.55, 0.56), strict=True)]
    zero = [row("zero", "masonry_crack", 1, 0.60)]
    shown = page(usual + sums + zero)
    assert "0.610 (0.600 to 0.620)" in shown
    assert "+0.055, over the spread of 0.020" in shown
    assert "+0.000, spread not known" in shown  # on the one seed that both have
    assert shown.count("| NOT RUN |") == 4 + 7


def test_an_arm_that_is_better_than_the_recipe_is_said_to_be():
    usual = [row(REFERENCE, "dsb2018_nuclei", seed, 0.7) for seed in SEEDS]
    without = [row("border none", "dsb2018_nuclei", seed, 0.8) for seed in SEEDS]
    assert "-0.100, over the spread of 0.000" in page(usual + without)
