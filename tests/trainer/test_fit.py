"""`trainer fit` end to end on a tiny line: it learns, repeats, resumes, refuses."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tiny_run import TINY, Silent, request, resumption

from inspector.errors import DatasetError, InspectionError, UsageError
from inspector.tiling import Geometry
from trainer.checkpoint import load_checkpoint, load_run
from trainer.cli.fit import fit
from trainer.config import from_toml
from trainer.dataset import load_dataset
from trainer.evaluate import Reading, evaluate, run_segmenter
from trainer.export import export_package
from trainer.fit import Request, prepare, run
from trainer.golden import load_tiles
from trainer.recipes import fit_config
from trainer.report.identity import identity
from trainer.resume import prepare_resume
from trainer.sampler import TileSampler
from trainer.stock import load_stock
from trainer.weights import instances_of


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "learned"
    run(prepare(request(data, out, steps=120, learning_rate=1e-2)), Silent())
    return out


def test_it_learns_and_keeps_all_that_a_package_needs(trained: Path, data: Path) -> None:
    found = load_run(trained)
    assert found.metrics["validation"]["score"] > 0.8
    assert found.classes == ("hole", "chip")
    assert found.channels == 1
    assert not found.net.training
    assert len(found.thresholds) == 2 and all(0.05 < t < 0.99 for t in found.thresholds)
    assert found.data_sha256 == load_dataset([data]).sha256()
    assert len(found.normalisation[0]) == len(found.normalisation[1]) == 1
    assert from_toml(found.fit_config).base == 4
    assert tomllib.loads((trained / "config.toml").read_text())["classes"] == ["hole", "chip"]


def test_log_holds_steps_and_validations(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "steps"]
    assert losses[-1] < losses[0]
    assert sum(line["kind"] == "validation" for line in lines) >= 10


def test_the_best_network_carries_defect_counts_with_intervals(trained: Path, data: Path) -> None:
    """Counted again here, over the frames that validated, by the line's own mask and matching."""
    found = load_run(trained)
    kept = found.metrics["validation"]["per_defect"]
    _, held_out = load_dataset([data]).validation(0.15, 0)
    figures_now = evaluate(held_out, run_segmenter(found), Reading.of(found), halo=Geometry(3).halo).json()
    counted = figures_now["per_defect"]
    assert kept["total"] > 0 and kept["frames"] == len(held_out) == found.metrics["validation"]["frames"]
    # In the arithmetic of training, so that a false alarm more or less may be seen.
    figures = ("found", "total", "recall", "recall_95")
    for name, counts in counted["classes"].items():
        assert [kept["classes"][name][k] for k in figures] == [counts[k] for k in figures], "by frame"
    assert set(kept["classes"]) == {"hole", "chip"}
    json.dumps(kept, allow_nan=False)


def test_a_run_ends_with_the_figures_of_the_network_that_serves(data: Path, tmp_path: Path) -> None:
    """That of the last validation does not when it has been wrecked."""
    out = tmp_path / "wrecked"
    prepared = prepare(request(data, out, steps=40, learning_rate=1e-2))
    learner = prepared.training._learner
    step = learner.step

    def wrecking(batch: object, number: int, frozen: bool, rate: float) -> float:
        loss = step(batch, number, frozen, rate)  # type: ignore[arg-type]
        if number > 32:
            for value in learner._average.values():
                value.zero_()
        return loss

    learner.step = wrecking  # type: ignore[method-assign]
    found = run(prepared, Silent())
    best = load_run(out)
    assert best.metrics["validation"]["score"] == found.score
    assert tuple(choice.threshold for choice in found.choices) == best.thresholds
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    told = [line for line in lines if line["kind"] == "validation"]
    serves = [line for line in told if line["kept"]][-1]
    assert not told[-1]["kept"] and told[-1]["score"] < 0.5 * serves["score"]
    assert best.step == serves["step"]
    # Calibrated probabilities fall on other ones of the 256 levels, which moves the score.
    assert found.score > 0.9 * serves["score"]


def test_a_run_that_has_ended_takes_an_escape_target(
    trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.finish.FEW_DEFECTS", 2)  # the tiny set's validation shows no more
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    before = load_run(out)
    found = run(prepare_resume(resumption(data, out, escape_target=0.9)), Silent())
    after = load_run(out)
    assert before.escape_target is None and after.escape_target == 0.9
    assert after.step == before.step and after.thresholds != before.thresholds
    counts = after.metrics["validation"]["per_defect"]["classes"]["hole"]
    assert 1 - counts["found"] / counts["total"] <= 0.9
    assert tuple(choice.threshold for choice in found.choices) == after.thresholds
    package = export_package(after, load_tiles(out), tmp_path / "package", "tiny", "1")
    targets = {name: threshold.escape_target for name, threshold in package.manifest.thresholds.items()}
    assert targets.pop("hole") == 0.9 and set(targets.values()) == {None}, "too few of the others to tell"


def test_thresholds_that_tell_touching_instances_apart_are_kept_with_the_network(
    data: Path, tmp_path: Path
) -> None:
    """Each blot is two instances, five and two columns wide; in one piece it outlines the larger."""
    parted, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(data, parted)
    (parted / "instances").mkdir()
    for path in (data / "masks").iterdir():
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        instances = instances_of(mask).astype(np.uint16)
        for number in range(1, instances.max() + 1):
            columns = np.nonzero(instances == number)[1]
            instances[(instances == number) & (np.arange(mask.shape[1]) > columns.max() - 2)] = 100 + number
        cv2.imwrite(str(parted / "instances" / path.name), instances)
    prepared = prepare(request(parted, out, steps=120, learning_rate=1e-2, border="none"))
    found = run(prepared, Silent())
    kept = load_run(out)
    assert kept.thresholds == tuple(choice.threshold for choice in found.choices)
    assert kept.metrics["validation"]["classes"]["hole"]["ap50"] > 0.2
    samples = load_dataset([parted]).split("all")
    said = identity(out, kept, (), load_dataset([parted]), samples, "all").model["threshold of hole"]
    assert said.endswith("to tell most instances apart")


def test_the_last_steps_before_the_clock_are_judged(data: Path, tmp_path: Path) -> None:
    """The clock can run out between a step and the next; that step's network is validated all the same."""
    prepared = prepare(request(data, tmp_path / "r", minutes=1.0))
    clock = prepared.training._schedule
    clock.progress = lambda step: 0.01 if step < 2 else 1.0  # type: ignore[method-assign]
    due = iter([True, False])
    prepared.training._validation_due = lambda: next(due)  # type: ignore[method-assign]
    run(prepared, Silent())
    lines = [json.loads(line) for line in (tmp_path / "r" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [1, 2]


def _weights(out: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_checkpoint(out / "last.pt")["net"]
    return weights


def test_same_seed_same_weights_and_another_seed_others(data: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(prepare(request(data, tmp_path / name, steps=6, seed=seed)), Silent())
    a, b, c = (_weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not all(torch.equal(a[k], c[k]) for k in a)


def test_test_frames_are_never_read(data: Path, tmp_path: Path) -> None:
    """Spoiled test pictures do not stop a run, because nothing opens them."""
    copy = tmp_path / "d"
    for name in ("images", "masks"):
        (copy / name).mkdir(parents=True)
        for path in (data / name).iterdir():
            (copy / name / path.name).write_bytes(path.read_bytes())
    (copy / "classes.json").write_bytes((data / "classes.json").read_bytes())
    (copy / "split.json").write_text(json.dumps({"train": [str(n) for n in range(10)], "test": ["10", "11"]}))
    for stem in ("10", "11"):
        (copy / "images" / f"{stem}.png").write_bytes(b"spoiled")
        (copy / "masks" / f"{stem}.png").write_bytes(b"spoiled")
    run(prepare(request(copy, tmp_path / "run", steps=1)), Silent())
    assert (tmp_path / "run" / "best.pt").exists()


def test_an_exam_frame_that_comes_back_in_another_folder_is_refused(data: Path, tmp_path: Path) -> None:
    """A flagged frame is the same picture in another file, here with other compression."""
    exam, flagged = tmp_path / "exam", tmp_path / "flagged"
    for name in ("images", "masks"):
        (exam / name).mkdir(parents=True)
        (flagged / name).mkdir(parents=True)
        for path in (data / name).iterdir():
            (exam / name / path.name).write_bytes(path.read_bytes())
        pixels = cv2.imread(str(data / name / "11.png"), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(flagged / name / "frame_7.png"), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    for folder in (exam, flagged):
        (folder / "classes.json").write_bytes((data / "classes.json").read_bytes())
    stems = [str(n) for n in range(11)]
    (exam / "split.json").write_text(json.dumps({"train": stems, "test": ["11"]}))
    both = Request((exam, flagged), tmp_path / "run", "modern", None, {**TINY, "steps": 1})
    with pytest.raises(DatasetError, match=r"frame_7\.png shows the test picture .*11\.png"):
        prepare(both)
    assert not both.out.exists()
    (exam / "split.json").write_text(json.dumps({"train": [*stems[1:], "11"], "test": ["0"]}))
    prepare(both)


def test_a_run_never_overwrites_another(trained: Path, data: Path) -> None:
    before = (trained / "best.pt").read_bytes()
    with pytest.raises(UsageError, match="never overwrites"):
        prepare(request(data, trained, steps=1))
    assert (trained / "best.pt").read_bytes() == before


def test_nothing_is_written_when_the_data_is_bad(tmp_path: Path) -> None:
    with pytest.raises(InspectionError):
        prepare(request(tmp_path / "nowhere", tmp_path / "run", steps=1))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("border", ["weight", "ignore", "none"])
def test_border_modes_reach_the_loss(data: Path, border: str) -> None:
    dataset = load_dataset([data])
    config = fit_config("modern", steps=1, classes=dataset.classes, border=border, **TINY)
    stock = load_stock(dataset.samples, config)
    weights = np.concatenate([TileSampler(stock, config).batch(n, 0.0).weights.numpy() for n in range(4)])
    by_class = {round(float(w), 4) for w in stock.class_weight}
    others = {round(float(w), 4) for w in np.unique(weights)} - by_class
    assert {"none": not others, "ignore": others == {0.0}, "weight": len(others) > 5}[border]


def test_tiles_are_drawn_class_first(data: Path) -> None:
    """A third of the pictures shows class 2, yet half of the aimed tiles hold it."""
    dataset = load_dataset([data])
    config = fit_config(
        "modern", steps=1, classes=dataset.classes, defect_share=(1.0, 0.0), base=4, depth=3, tile_px=12,
        step_px=144, crops=1, start_scale=1.0,
    )  # fmt: skip
    sampler = TileSampler(load_stock(dataset.samples, config), config)
    shown = [bool((sampler.batch(n, 0.0).mask == 2).any()) for n in range(200)]
    late = [bool((sampler.batch(n, 1.0).mask > 0).any()) for n in range(200)]
    assert 0.35 < np.mean(shown) < 0.75
    assert np.mean(late) < 0.6


def test_the_command_shows_progress_and_ends_with_one_json_line(data: Path, tmp_path: Path) -> None:
    arguments = [
        str(data),
        "--out",
        str(tmp_path / "r"),
        "--steps",
        "2",
        "--base",
        "4",
        "--depth",
        "3",
        "--json",
    ]
    result = CliRunner().invoke(fit, arguments, standalone_mode=False)
    assert result.return_value == 0, result.output
    outcome = json.loads(result.stdout.splitlines()[-1])
    assert set(outcome) == {"run", "validation_iou", "thresholds", "warnings"}
    assert "validation IoU" in result.stderr and "12 frames" not in result.stdout
    assert "Warning: This network finds" in result.stderr and outcome["warnings"]  # two steps teach nothing
    for done in ("calibrating", "segmenting", "choosing thresholds", "counting defects"):
        assert f"{done}: 0 of 2 validation frames" in result.stderr, "silent minutes look like a hang"
    assert f"next: trainer evaluate {tmp_path / 'r'} {data}" in result.stderr
    assert "next: trainer export" not in result.stderr


def test_a_time_that_is_over_before_the_first_step_is_no_training(data: Path, tmp_path: Path) -> None:
    prepared = prepare(request(data, tmp_path / "r", minutes=0.2))
    prepared.training._schedule.progress = lambda _step: 1.0  # type: ignore[method-assign]
    with pytest.raises(InspectionError, match=r"No step .* --minutes 0\.2.*more minutes") as told:
        run(prepared, Silent())
    assert told.value.exit_code == 1 and not (tmp_path / "r" / "best.pt").exists()


def test_minutes_end_by_the_clock(data: Path, tmp_path: Path) -> None:
    prepared = prepare(request(data, tmp_path / "r", minutes=0.03))
    clock = prepared.training._schedule
    usual = clock.progress
    # On a busy machine the time may be over before the first step.
    clock.progress = lambda step: usual(step) if step else 0.0  # type: ignore[method-assign]
    run(prepared, Silent())
    assert load_checkpoint(tmp_path / "r" / "last.pt")["elapsed_s"] >= 1.8
