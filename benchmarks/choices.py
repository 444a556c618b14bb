"""What each choice of the modern recipe is worth: one of them taken back at a time.

    python -m benchmarks.choices --list
    python -m benchmarks.choices
    python -m benchmarks.choices --arm 'no dice' --data masonry_crack --seed 1

At base 16 and depth 4, two seeds, on magnetic_tile, masonry_crack and dsb2018_nuclei. A quarter of the
parts of the train split judges (benchmarks/parts.py): settings are compared here so that no test split
ever chooses one. All train for as many steps, whatever else the machine does, and what a choice costs is
its processor time. What has a row in results/choices.jsonl is not run again. The table:
`python -m benchmarks.choices_table > benchmarks/CHOICES.md`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.accuracy import MODERN
from benchmarks.arms import REFERENCE, arm_options, asked
from benchmarks.parts import held_back
from benchmarks.trials import Trial, run_all, shared_options

NAME = "choices"
STEPS = 500
SETS = ("magnetic_tile", "masonry_crack", "dsb2018_nuclei")
USUAL = ("magnetic_tile", "dsb2018_nuclei")
"""Sets that the recipe trains with the usual augmentation, and so with crops and growth."""
SEEDS = (1, 2)


class Choice(NamedTuple):
    """A choice taken back."""

    words: str
    config: Mapping[str, Any]
    sets: tuple[str, ...] = SETS
    """Where the recipe makes this choice."""


ARMS = {
    REFERENCE: Choice("the recipe", {}),
    "no dice": Choice("cross entropy alone", {"dice": 0.0}),
    "no class weights": Choice("every class weighs 1", {"weight_cap": 1.0}),
    "inverse weights": Choice("classes by inverse frequency, not its root", {"balance": "inverse"}),
    "blind tiles": Choice("no tile is aimed at a defect", {"defect_share": [0.0, 0.0]}),
    "steady aim": Choice(
        "six in ten tiles are aimed at a defect from first to last", {"defect_share": [0.6, 0.6]}
    ),
    "pasted": Choice("a defect is pasted into a quarter of the crops", {"paste_chance": 0.25}),
    "mined": Choice(
        "a quarter of the tiles are aimed at false alarms, from 60 % on", {"false_alarm_share": 0.25}
    ),
    "dropout": Choice("half of the bottom's features dropped, as in the paper", {"dropout": 0.5}),
    "no average": Choice("the last weights serve, not their average", {"average": False}),
    "norm never frozen": Choice("batch norm counts to the end", {"freeze_norm_at": 1.0}),
    "no norm": Choice("no batch norm", {"norm": "none"}),
    "adamw": Choice(
        "AdamW at 2e-3 instead of Muon", {"optimizer": "adamw", "learning_rate": 2e-3}
    ),
    "no warm-up": Choice("the learning rate is high from the first step", {"warm_up": 0.0}),
    "no clip": Choice("no gradient is shortened", {"clip_norm": 1e6}),
    "no decay": Choice("no pull of the weights towards 0", {"weight_decay": 0.0}),
    "deep supervision": Choice("losses at the coarser levels as well", {"deep_supervision": 0.5}),
    "float32": Choice("no mixed precision", {"precision": "f32"}),
    "one crop": Choice("one place a tile instead of four", {"crops": 1}, USUAL),
    "full size": Choice(
        "pictures have their own size from the start", {"start_scale": 1.0}, USUAL
    ),
    "heavy border": Choice("twice the paper's weight between instances", {"w0": 20.0}, ("dsb2018_nuclei",)),
    "other augmentation": Choice("`strong` where the recipe is `usual`, `usual` where it is `strong`", {}),
}  # fmt: skip
OTHER = {
    "magnetic_tile": ("--augmentation", "strong"),
    "masonry_crack": ("--quarter-turns",),
    "dsb2018_nuclei": (*MODERN["dsb2018_nuclei"], "--augmentation", "strong"),
}
"""The other augmentation; crops, growth and learning rate go with it, as in `trainer fit`."""


def arm(name: str, data: str, seed: int) -> Trial | None:
    """One arm on one set; None where the set's recipe does not make this choice."""
    choice = ARMS[name]
    if data not in choice.sets:
        return None
    settings = OTHER[data] if name == "other augmentation" else MODERN.get(data, ())
    return Trial(data, "modern", seed, None, settings, {"steps": STEPS, **choice.config})


def plan() -> list[tuple[str, Trial]]:
    """(arm, trial) of everything, the first seed first."""
    every = [(name, arm(name, data, seed)) for seed in SEEDS for data in SETS for name in ARMS]
    return [(name, trial) for name, trial in every if trial is not None]


def command(trial: Trial) -> str:
    """What a person types to run this trial alone."""
    [name] = [name for name in ARMS if arm(name, trial.data, trial.seed) == trial]
    return f"python -m benchmarks.choices --data {trial.data} --arm '{name}' --seed {trial.seed}"


def main() -> int:
    """Run what has no row yet; 1 when a training failed or was stopped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arm_options(parser, SETS, ARMS, SEEDS)
    shared_options(parser, NAME)
    given = parser.parse_args()
    return run_all(NAME, asked(given, plan()), given, command, held_back)


if __name__ == "__main__":
    sys.exit(main())
