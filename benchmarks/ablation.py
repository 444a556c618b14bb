"""What each idea of the U-Net paper is worth: the modern recipe with one of them changed at a time.

    python -m benchmarks.ablation --list
    python -m benchmarks.ablation
    python -m benchmarks.ablation --arm sum --data masonry_crack --seed 1

Six minutes each at base 16 and depth 4, two seeds, on masonry_crack and dsb2018_nuclei. What has a row
in results/ablation.jsonl is not run again; a training that was stopped goes on. The table:
`python -m benchmarks.ablation_table > benchmarks/ABLATION.md`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.accuracy import MODERN
from benchmarks.arms import REFERENCE, arm_options, asked
from benchmarks.trials import Trial, run_all, shared_options
from trainer.config import AugmentConfig, FitConfig
from trainer.recipes import MODERN as RECIPE
from trainer.recipes import STRONG

NAME = "ablation"
MINUTES = 6.0
SETS = ("masonry_crack", "dsb2018_nuclei")
SEEDS = (1, 2)
BORDERS = ("weight", "ignore", "none")
USUAL = {"masonry_crack": "none", "dsb2018_nuclei": "weight"}
"""The border mode of the recipe as it is measured on a set, with which all other arms are trained."""
AUGMENT: dict[str, Mapping[str, Any]] = {
    "masonry_crack": {**STRONG, "quarter_turns": True},
    "dsb2018_nuclei": {"quarter_turns": True},
}
"""What MODERN's options say of augmentation, as settings of a file."""
ELASTIC = {"elastic": 0.3, "no elastic": 0.0}
"""Arm -> share of tiles that are deformed. A set has the one that its recipe is not."""
ARMS = {
    REFERENCE: "concatenated skips, mirrored tiles, valid convolutions",
    "sum": "skip maps added, the FCN way, instead of concatenated",
    "elastic": "three in ten tiles deformed elastically, none in the recipe",
    "no elastic": "no elastic deformation, half of the tiles in the recipe",
    **{f"border {mode}": f"border `{mode}`" for mode in BORDERS},
    "zero": "zeros beyond the frame instead of its mirror image",
    "padded": "zero-padded convolutions, no halo, instead of valid ones",
}


def arm(name: str, data: str, seed: int, minutes: float = MINUTES) -> Trial | None:
    """One arm on one set; None where it is the reference itself, or says no more than another arm."""
    settings, config, without = MODERN[data], {}, None
    if name == "sum":
        settings = (*settings, "--skip", "sum")
    elif name in ELASTIC:
        strong = "strong" in settings
        if bool(ELASTIC[name]) == strong:
            return None
        settings = ("--border", USUAL[data])
        deformed = {**AUGMENT[data], "elastic_chance": ELASTIC[name]}
        # Strong augmentation goes without what the recipe sets; asked for in a file, it would not.
        fields = {name: FitConfig.model_fields[name].default for name in RECIPE} if strong else {}
        usual = AugmentConfig().model_dump(mode="json") if strong else {}
        config = {**fields, "augment": {**usual, **deformed}}
    elif name.startswith("border "):
        mode = name.removeprefix("border ")
        if mode == USUAL[data]:
            return None
        plain = tuple(word for word in settings if word not in ("--border", USUAL[data]))
        settings = (*plain, "--border", mode)
    elif name in ("zero", "padded"):
        without = {"zero": "mirror", "padded": "valid"}[name]
    return Trial(data, "modern", seed, minutes, settings, config, without)


def plan(minutes: float = MINUTES) -> list[tuple[str, Trial]]:
    """(arm, trial) of everything, the first seed first, so that a stopped run has whole tables."""
    every = [(name, arm(name, data, seed, minutes)) for seed in SEEDS for data in SETS for name in ARMS]
    return [(name, trial) for name, trial in every if trial is not None]


def command(trial: Trial) -> str:
    """What a person types to run this trial alone."""
    minutes = trial.minutes or MINUTES
    [name] = [name for name in ARMS if arm(name, trial.data, trial.seed, minutes) == trial]
    chosen = f"--data {trial.data} --arm '{name}' --seed {trial.seed}"
    return f"python -m benchmarks.ablation {chosen} --minutes {minutes:g}"


def main() -> int:
    """Run what has no row yet; 1 when a training failed or was stopped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"of each training [{MINUTES:g}]")
    arm_options(parser, SETS, ARMS, SEEDS)
    shared_options(parser, NAME)
    given = parser.parse_args()
    return run_all(NAME, asked(given, plan(given.minutes)), given, command)


if __name__ == "__main__":
    sys.exit(main())
