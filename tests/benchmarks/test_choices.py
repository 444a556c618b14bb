"""Each arm takes back one choice of the recipe, and the table says what the rows say."""

import json
from typing import Any

import pytest

from benchmarks.arms import REFERENCE
from benchmarks.choices import ARMS, SEEDS, SETS, STEPS, arm, command, plan
from benchmarks.choices_table import page
from benchmarks.rows import machine
from trainer.recipes import fit_config


def configured(name: str, data: str) -> dict[str, Any]:
    """The fit config that the options and the file of an arm give."""
    trial = arm(name, data, 1)
    assert trial is not None and trial.minutes is None
    settings: dict[str, Any] = dict(trial.config)
    if "--augmentation" in trial.settings:
        settings["augmentation"] = "strong"
    if "--quarter-turns" in trial.settings:
        settings["quarter_turns"] = True
    return fit_config("modern", **settings).model_dump()


@pytest.mark.parametrize("data", SETS)
def test_an_arm_differs_from_the_recipe_in_what_it_names_alone(data: str):
    usual = configured(REFERENCE, data)
    for name, choice in ARMS.items():
        if name in (REFERENCE, "other augmentation") or arm(name, data, 1) is None:
            continue
        differ = {key for key, value in configured(name, data).items() if value != usual[key]}
        assert differ == set(choice.config)
    assert configured("other augmentation", data)["augment"] != usual["augment"]
    assert usual["steps"] == STEPS and usual["minutes"] is None


def test_every_trial_is_another_one_and_its_command_names_it():
    assert len({json.dumps(trial.identity()) for _, trial in plan()}) == len(plan())
    for name, trial in plan():
        assert f"--arm '{name}'" in command(trial) and f"--seed {trial.seed}" in command(trial)


def row(name: str, seed: int, ious: tuple[float | None, float]) -> dict[str, Any]:
    trial = arm(name, "magnetic_tile", seed)
    assert trial is not None
    figures = {
        "per_class": {"background": {"iou": 0.99}, "a": {"iou": ious[0]}, "b": {"iou": ious[1]}},
        "per_defect": {"recall": 0.8, "false_alarms_per_frame": 0.5},
        "cpu_s": 301.0, "steps": STEPS, "machine": machine(), "commit": "abc1234",
        "date": "2026-11-23T03:00:00+00:00", "began": "2026-11-23T02:47:00+00:00", "sittings": 1,
        "command": command(trial),
    }  # fmt: skip
    return {**trial.identity(), **figures}


def test_the_mean_is_over_the_defects_and_worth_is_over_the_seeds_of_both():
    usual = [row(REFERENCE, seed, (0.2, 0.4)) for seed in SEEDS]
    shown = page([*usual, row("no dice", 1, (0.1, 0.3)), row("adamw", 2, (None, 0.35))])
    assert "| as it is | the recipe | 2 | 0.300 (0.300 to 0.300) |" in shown
    assert "| 0.200 | 0.800 | 0.50 | 301 | +0.100, spread not known |" in shown
    assert "| 0.350 |" in shown  # a class that neither truth nor network shows is left out
