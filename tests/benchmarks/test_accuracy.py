"""A series that was stopped goes on, and the page says what holds, what falls short and what was not run."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import accuracy, rows, trials
from benchmarks.accuracy import MODERN, NO_BORDER, plan
from benchmarks.accuracy_bars import MAIN, bars
from benchmarks.accuracy_table import page
from benchmarks.steps import StepFailed
from benchmarks.trials import Trial, finished, run_all

COUNTS = {
    "recall": 0.8, "recall_95": [0.7, 0.9], "found": 8, "total": 10,
    "false_alarms_per_frame": 0.5, "false_alarms_per_frame_95": [0.2, 0.9],
}  # fmt: skip


def row(trial: Trial, f1: float = 0.7, **figures: Any) -> dict[str, Any]:
    pixels = {"iou": f1 / (2 - f1), "iou_95": [0.1, 0.9], "dice": f1, "dice_95": [0.1, 0.9]}
    stamp = {"machine": rows.machine(), "commit": "abc1234", "date": "2026-11-23T03:00:00+00:00"}
    shared = {
        "per_class": {"background": pixels, "class_1": pixels},
        "per_defect": {**COUNTS, "classes": {"class_1": COUNTS}},
        "miou": f1, "miou_95": [0.1, 0.9], "frames": 6, "parts": 2, "averaged": {},
        "steps": 700, "cpu_s": 1200.0, "wall_s": 725.0,
        "began": "2026-11-23T02:47:00+00:00", "sittings": 1, "command": accuracy.command(trial),
    }  # fmt: skip
    return {**trial.identity(), **shared, **stamp, **figures}


def trial(data: str, recipe: str, seed: int = 1, minutes: float = 12.0) -> Trial:
    settings = MODERN.get(data, ()) if recipe == "modern" else ()
    return Trial(data, recipe, seed, minutes, settings)


def word(found: list[dict[str, Any]], what: str) -> str:
    [bar] = [bar for bar in bars(found) if bar.what.startswith(what)]
    return bar.word


def test_the_plan_begins_with_what_counts_most_and_holds_each_training_once():
    found = plan(12.0)
    assert len({json.dumps(one.identity()) for one in found}) == len(found) == 28
    assert {(one.data, one.recipe) for one in found[:12]} == {
        (data, recipe) for data in ("masonry_crack", "magnetic_tile") for recipe in ("modern", "baseline")
    }
    assert [one.seed for one in found[:12]] == [1] * 4 + [2] * 4 + [3] * 4


def test_only_a_row_with_the_same_settings_counts():
    one = trial("masonry_crack", "modern")
    assert finished(one, [row(one)])
    assert not finished(one, [row(trial("masonry_crack", "modern", seed=2))])
    assert not finished(one, [row(trial("masonry_crack", "modern", minutes=6))])
    assert not finished(one, [{**row(one), "settings": []}])
    assert not finished(one, [row(trial("masonry_crack", "baseline"))])


def test_a_series_skips_what_has_its_row_and_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    first, broken, last = (trial("masonry_crack", "paper", seed) for seed in (1, 2, 3))
    (tmp_path / "accuracy.jsonl").write_text(json.dumps(row(first)) + "\n")
    read = trials.rows
    monkeypatch.setattr(rows, "RESULTS", tmp_path)
    monkeypatch.setattr(trials, "with_parts", lambda *_: tmp_path)
    monkeypatch.setattr(trials, "rows", lambda name, since: read(name, since, tmp_path))
    ran = []

    def measure(one: Trial, data: Path, work: Path) -> dict[str, Any]:
        ran.append(one.seed)
        if one is broken:
            raise StepFailed("trainer fit ended with 1; see its message above.")
        one.folder(work).mkdir(parents=True)
        return row(one)

    monkeypatch.setattr(trials, "measure", measure)
    given = Namespace(work=tmp_path / "work", since="", list=False, no_keep=False)
    assert run_all("accuracy", [first, broken, last], given, accuracy.command) == 1
    assert ran == [2, 3] and "ended with 1" in capsys.readouterr().err
    kept = [json.loads(line) for line in (tmp_path / "accuracy.jsonl").read_text().splitlines()]
    assert [one["seed"] for one in kept] == [1, 3]
    assert kept[1]["command"].startswith("python -m benchmarks.accuracy --data masonry_crack")
    given.since = "2026-11-24"
    assert run_all("accuracy", [first], given, accuracy.command) == 0 and ran == [2, 3, 1]


def test_a_stopped_series_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(trials, "measure", stopped)
    monkeypatch.setattr(trials, "with_parts", lambda *_: tmp_path)
    monkeypatch.setattr(trials, "rows", lambda *_: [])
    given = Namespace(work=tmp_path, since="", list=False, no_keep=False)
    assert run_all("accuracy", plan(12.0)[:2], given, accuracy.command) == 1
    assert "goes on from here" in capsys.readouterr().err


def test_above_the_baseline_means_by_more_than_the_spread_over_seeds():
    ours = [row(trial("masonry_crack", "modern", seed), f1) for seed, f1 in ((1, 0.80), (2, 0.82))]
    near = [row(trial("masonry_crack", "baseline", seed), f1) for seed, f1 in ((1, 0.78), (2, 0.80))]
    far = [row(trial("masonry_crack", "baseline", seed), f1) for seed, f1 in ((1, 0.77), (2, 0.78))]
    what = "masonry_crack: modern above"
    assert word(ours + near, what) == "FALLS SHORT"
    assert word(ours + far, what) == "HOLDS"
    assert word(ours, what) == "NOT RUN"
    assert word(ours + far, "masonry_crack: crack F1") == "HOLDS"
    assert word(far, "masonry_crack: crack F1") == "NOT RUN"


def test_the_newest_row_of_a_training_counts():
    one = trial("masonry_crack", "modern")
    assert word([row(one, 0.9), row(one, 0.7)], "masonry_crack: crack F1") == "FALLS SHORT"


def test_less_is_better_for_errors():
    figures = {"pixel_error": 0.06, "warping_error": 1e-3, "warping": {"splits_and_mergers": 5e-4}}
    ours = row(trial("isbi2012_em", "modern"), rand_error=0.04, **figures)
    theirs = row(trial("isbi2012_em", "baseline"), rand_error=0.05, **figures)
    above = "isbi2012_em: modern above"
    assert word([ours, theirs], above) == "AHEAD, spread not known", "one seed each is not more than a spread"
    assert word([ours, theirs], "isbi2012_em: Rand error") == "HOLDS"
    for worse in (0.05, 0.06):
        assert word([{**ours, "rand_error": worse}, theirs], above) == "BEHIND, spread not known"
    assert word([{**ours, "rand_error": 0.06}, theirs], "isbi2012_em: Rand error") == "FALLS SHORT"


def test_merges_are_compared_with_the_same_training_without_border_weights():
    counts = {"merges": 20, "splits": 3, "missed": 9, "invented": 8, "true": 400}
    ours = row(trial("dsb2018_nuclei", "modern"), ap50=0.8, seg=0.8, instances=counts)
    plain = Trial("dsb2018_nuclei", "modern", 1, 12.0, NO_BORDER)
    what = "dsb2018_nuclei: merges"
    for merges, said in ((30, "HOLDS"), (29, "FALLS SHORT")):
        other = row(plain, ap50=0.7, seg=0.7, instances={**counts, "merges": merges})
        assert word([ours, other], what) == said
        assert f"20 against {merges} merges" in page([ours, other])
    assert word([ours], what) == "NOT RUN"


def test_a_longer_run_is_no_run_of_twelve_minutes():
    longer = row(trial("magnetic_tile", "modern", minutes=90), 0.72)
    assert word([longer], "magnetic_tile: mean IoU in a run of any length") == "HOLDS"
    assert word([longer], "magnetic_tile: modern above") == "NOT RUN"


def test_a_run_of_any_length_is_the_longest_by_all_its_seeds():
    """The best of all seeds and lengths would be chosen by the figure of the test split."""

    def tiles(minutes: float, *figures: float) -> list[dict[str, Any]]:
        return [
            row(trial("magnetic_tile", "modern", seed, minutes), miou)
            for seed, miou in enumerate(figures, start=1)
        ]

    what = "magnetic_tile: mean IoU in a run of any length"
    assert word(tiles(12, 0.71), what) == "HOLDS", "twelve minutes are a length"
    assert word(tiles(12, 0.71, 0.66), what) == "FALLS SHORT", "the mean, not the best seed"
    assert word(tiles(12, 0.71) + tiles(90, 0.69), what) == "FALLS SHORT", "the longest, not the best length"
    assert word(tiles(90, 0.69, 0.72), what) == "HOLDS"
    assert "0.705 (0.690 to 0.720) in 90 minutes, seeds 1, 2 |" in page(tiles(90, 0.69, 0.72))
    assert word(tiles(90, 0.6, 0.72)[1:], what) == "NOT RUN", "seed 1 was named beforehand"


def test_what_other_sittings_took_is_not_shown_as_the_whole_training():
    shown = page([row(trial("masonry_crack", "modern"), 0.75, sittings=2)])
    assert "| modern | 1 | 12 | 700 |  | 0.750" in shown


def test_rows_with_parts_of_an_earlier_rule_do_not_count():
    old = row(trial("masonry_crack", "modern"), 0.75, parts_rule=0)
    assert "| modern | 1 |" not in page([old])


def test_the_page_shows_every_row_and_what_is_missing():
    ours = row(trial("masonry_crack", "modern"), 0.75)
    shown = page([ours])
    assert "| modern | 1 | 12 | 700 | 1.66 | 0.750 (0.100 to 0.900) |" in shown
    assert "Judged on 6 frames of 2 parts." in shown
    assert "| class_1 | modern | 1 |" in shown and "8/10: 0.800 (0.700 to 0.900)" in shown
    assert "| baseline | 3 | 12 | NOT RUN |" in shown
    assert shown.count("NOT RUN: `python -m benchmarks.accuracy --data") == 4
    assert set(MAIN) == set(accuracy.SEEDS)


def test_settings_become_a_file_that_trainer_fit_reads(tmp_path: Path):
    from trainer.config_file import read_settings

    path = tmp_path / "settings.toml"
    path.write_text(trials.toml({"skip": "sum", "augment": {"elastic_chance": 0.0, "scale": [0.5, 2.0]}}))
    found = read_settings(path)
    assert found["skip"] == "sum" and found["augment"]["elastic_chance"] == 0.0
    assert np.isclose(found["augment"]["scale"][1], 2.0)
