"""A trial trains once and goes on where it was stopped; the baseline is judged by the project's figures."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import trials
from benchmarks.baseline import Trained, fit, judged, load, save
from benchmarks.steps import ROOT, StepFailed, step
from benchmarks.trials import Trial
from trainer.dataset import load_dataset

PAPER = Trial("cells", "paper", 3, 12.0, ("--border", "none"))
FIGURES = {"miou": 0.5, "per_class": {}, "per_defect": {}, "frames": 4}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "count.py").write_text(
        "import json, pathlib, sys, time\n"
        "time.sleep(0.1)\n"  # costs are rounded to tenths of a second
        "path = pathlib.Path('times'); path.write_text(path.read_text() + 'x' if path.exists() else 'x')\n"
        "print('noise'); print(json.dumps({'said': sys.argv[1]}))\n"
        "sys.exit(int(sys.argv[2]))\n"
    )
    return tmp_path


def test_a_step_runs_once_and_keeps_what_it_said_and_cost(folder: Path):
    for _ in range(2):
        found = step(folder, "fit", ["count", "yes", "0"])
        assert found["said"] == "yes" and found["cost"]["wall_s"] > 0
    assert (folder / "times").read_text() == "x"


def test_a_step_that_failed_is_run_again(folder: Path):
    for _ in range(2):
        with pytest.raises(StepFailed, match="count yes 1 ended with 1"):
            step(folder, "fit", ["count", "yes", "1"])
    assert (folder / "times").read_text() == "xx"


def test_a_command_is_asked_to_stop_with_the_benchmark(folder: Path):
    (folder / "slow.py").write_text(
        "import pathlib, signal, sys, time\n"
        "def stop(*_):\n    pathlib.Path('saved').touch(); sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "pathlib.Path('ready').touch(); time.sleep(60)\n"
    )
    code = (
        "import pathlib; from benchmarks.steps import step, stopped_in_order\n"
        f"with stopped_in_order(): step(pathlib.Path({str(folder)!r}), 'fit', ['slow'])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, cwd=ROOT)
    while not (folder / "ready").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    assert b"KeyboardInterrupt" in process.communicate()[1]
    assert (folder / "saved").exists() and not (folder / "fit.json").exists()


class Commands:
    """Stands for the processes: notes each command and answers it."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def __call__(self, folder: Path, name: str, command: Sequence[str]) -> dict[str, Any]:
        self.seen.append(list(command))
        if name == "fit" and command[0] != "benchmarks.baseline":
            (folder / "run").mkdir(exist_ok=True)
            (folder / "run" / "best.pt").touch()
            (folder / "run" / "log.jsonl").write_text(json.dumps({"kind": "steps", "step": 640}))
        own = {"steps": 7} if command[0] == "benchmarks.baseline" else {}
        return {**FIGURES, **own, "cost": {"wall_s": 1.0, "cpu_s": 2.0}}


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    found = Commands()
    monkeypatch.setattr(trials, "step", found)
    return found


def test_a_trial_is_fitted_and_judged(tmp_path: Path, commands: Commands):
    row = trials.measure(PAPER, tmp_path / "cells", tmp_path / "work")
    fitted, evaluated = commands.seen
    assert fitted[:2] == ["trainer", "fit"] and "--resume" not in fitted
    assert " ".join(fitted).endswith(
        "--recipe paper --minutes 12 --seed 3 --base 16 --depth 4 --border none --json"
    )
    assert evaluated[:3] == ["trainer", "evaluate", "run"]
    assert (row["steps"], row["sittings"], row["recipe"], row["miou"]) == (640, 1, "paper", 0.5)


def test_a_training_that_was_stopped_goes_on_or_begins_again(tmp_path: Path, commands: Commands):
    run = PAPER.folder(tmp_path / "work") / "run"
    run.mkdir(parents=True)
    (run / "golden_tiles.npz").touch()
    trials.measure(PAPER, tmp_path / "cells", tmp_path / "work")
    assert "--resume" not in commands.seen[0] and not (run / "golden_tiles.npz").exists()
    (run / "last.pt").touch()
    row = trials.measure(PAPER, tmp_path / "cells", tmp_path / "work")
    assert "--resume" in commands.seen[2] and row["sittings"] == 2


def test_a_row_names_every_commit_that_its_training_ran_with(
    tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
):
    one = Trial("cells", "modern", 1, 12.0)
    for code, kept, said in (
        ("abc", None, ("abc", 1)),
        ("def", None, ("def", 1)),  # nothing to go on from: begun anew
        ("123", "run/last.pt", ("def, 123", 2)),
        ("456", "fit.json", ("def, 123", 2)),  # trained already: only judged again
    ):
        monkeypatch.setattr(trials, "commit", lambda code=code: code)
        if kept is not None:
            (one.folder(tmp_path / "work") / kept).touch()
        row = trials.measure(one, tmp_path / "cells", tmp_path / "work")
        assert (row["commit"], row["sittings"]) == said


def test_a_trial_whose_row_does_not_count_any_more_begins_again(tmp_path: Path, commands: Commands):
    old = PAPER.folder(tmp_path / "work")
    (old / "run").mkdir(parents=True)
    for name in ("recorded", "run/last.pt", "fit.json"):
        (old / name).touch()
    trials.measure(PAPER, tmp_path / "cells", tmp_path / "work")
    assert "--resume" not in commands.seen[0] and not (old / "recorded").exists()


def test_an_idea_taken_out_and_averages_reach_the_commands(tmp_path: Path, commands: Commands):
    one = Trial(
        "isbi2012_em", "modern", 1, 6.0, config={"skip": "sum"}, without="mirror", averages=("flips",)
    )
    row = trials.measure(one, tmp_path / "isbi2012_em", tmp_path / "work")
    fitted, plain, averaged = commands.seen
    assert fitted[:3] == ["benchmarks.altered", "mirror", "fit"] and "--config" in fitted
    assert plain[:3] == averaged[:3] == ["benchmarks.altered", "mirror", "evaluate"]
    assert "rand_error" in plain and averaged[-2:] == ["--average", "flips"]
    assert row["averaged"]["flips"]["miou"] == 0.5
    assert (one.folder(tmp_path / "work") / "settings.toml").read_text() == 'skip = "sum"\n'


def test_the_baseline_is_trained_and_judged_by_its_own_command(tmp_path: Path, commands: Commands):
    row = trials.measure(Trial("dsb2018_nuclei", "baseline", 1, 12.0), tmp_path, tmp_path / "work")
    fitted, judging = commands.seen
    assert fitted[0] == judging[0] == "benchmarks.baseline"
    assert "--out" in fitted and "--judge" in judging and "ap50" in judging
    assert row["steps"] == 7


@pytest.fixture
def spots(tmp_path: Path) -> Path:
    """Four gray pictures of 60x70 pixels with one bright square each."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "spots" / name).mkdir(parents=True)
    for number in range(4):
        image, mask = rng.integers(90, 110, (60, 70), np.uint8), np.zeros((60, 70), np.uint8)
        image[10 + number : 30, 20:40], mask[10 + number : 30, 20:40] = 250, 1
        cv2.imwrite(str(tmp_path / "spots" / "images" / f"{number}.png"), image)
        cv2.imwrite(str(tmp_path / "spots" / "masks" / f"{number}.png"), mask)
    split = {"train": ["0", "1"], "test": ["2", "3"]}
    (tmp_path / "spots" / "split.json").write_text(json.dumps(split))
    return tmp_path / "spots"


def test_the_baseline_trains_is_kept_and_judged_on_whole_frames_by_argmax(spots: Path, tmp_path: Path):
    dataset = load_dataset([spots])
    trained = fit(dataset.split("train"), 2, 0.05, 1)
    save(tmp_path / "kept.pt", trained)
    kept = load(tmp_path / "kept.pt", 1, 2)
    assert isinstance(kept, Trained) and (kept.steps, kept.mean, kept.std) == (
        trained.steps, trained.mean, trained.std,
    )  # fmt: skip
    found = judged(kept, dataset.split("test"), dataset.classes, ("pixel_error",)).json()
    assert found["frames"] == 2 and found["confusion"]["px"] is not None
    assert np.sum(found["confusion"]["px"]) == 2 * 60 * 70
    assert 0 <= found["pixel_error"] <= 1 and found["border"]["px"] == 44
    assert found == judged(trained, dataset.split("test"), dataset.classes, ("pixel_error",)).json()
