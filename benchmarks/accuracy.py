"""Accuracy on real pictures: each recipe trains each set for as many minutes and is judged on its test split.

    python -m benchmarks.accuracy --list
    python -m benchmarks.accuracy
    python -m benchmarks.accuracy --data magnetic_tile --recipe modern --seed 1 --minutes 90

Three recipes: modern and paper of `trainer fit`, and the baseline that an engineer writes in an
afternoon (benchmarks/baseline.py), all at base 16 and depth 4. What has a row in
results/accuracy.jsonl is not run again; a training that was stopped goes on. The bars and figures:
`python -m benchmarks.accuracy_table > benchmarks/ACCURACY.md`.

Rows name the commit that they began with, and `+changes` where files differ from it. While others
edit the tree, run from a clone: `git clone . runs/bench`, then set INSPECTION_DATASETS there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator

from benchmarks.trials import Trial, run_all, shared_options

NAME = "accuracy"
RECIPES = ("modern", "baseline", "paper")
SEEDS = {
    "masonry_crack": (1, 2, 3), "magnetic_tile": (1, 2, 3),
    "isbi2012_em": (1,), "dsb2018_nuclei": (1,), "deepcrack_256": (1,),
}  # fmt: skip
"""Set -> seeds."""
FIRST = ("masonry_crack", "magnetic_tile")
MODERN: dict[str, tuple[str, ...]] = {
    "masonry_crack": ("--quarter-turns", "--augmentation", "strong"),
    "deepcrack_256": ("--quarter-turns", "--augmentation", "strong"),
    "isbi2012_em": ("--quarter-turns",),
    "dsb2018_nuclei": ("--quarter-turns", "--even-places", "--border", "weight"),
}
"""What a user who knows the pictures would tell `trainer fit`: cracks, membranes and cells lie in any
direction, crack photographs are few and of many places, cells touch, and large pictures show other cells than
small ones. Those of masonry_crack and the even places were compared on frames held back from train; no
setting was ever compared on a test split."""
NO_BORDER = ("--quarter-turns", "--even-places", "--border", "none")
"""Nuclei once more without border weights, to see how many they keep apart."""
AVERAGES = {"isbi2012_em": ("rotations",)}
"""The paper's figures are means over 7 rotated versions of the input."""


def plan(minutes: float) -> list[Trial]:
    """All trials in the order in which a run that is stopped loses least."""

    def trial(data: str, recipe: str, seed: int, settings: tuple[str, ...] | None = None) -> Trial:
        given = MODERN.get(data, ()) if recipe == "modern" else ()
        averages = AVERAGES.get(data, ()) if recipe != "baseline" else ()
        return Trial(data, recipe, seed, minutes, given if settings is None else settings, averages=averages)

    def trials(recipes: Iterable[str], sets: Iterable[str]) -> Iterator[Trial]:
        chosen = [(data, seed) for data in sets for seed in SEEDS[data]]
        for data, seed in sorted(chosen, key=lambda one: one[1]):
            yield from (trial(data, recipe, seed) for recipe in recipes)

    others = [data for data in SEEDS if data not in FIRST]
    return [
        *trials(("modern", "baseline"), FIRST),
        *trials(("modern", "baseline"), others),
        trial("dsb2018_nuclei", "modern", 1, NO_BORDER),
        *trials(("paper",), SEEDS),
    ]


def command(trial: Trial) -> str:
    """What a person types to run this trial alone."""
    return (
        f"python -m benchmarks.accuracy --data {trial.data} --recipe {trial.recipe} --seed {trial.seed}"
        f" --minutes {trial.minutes:g}"
    )


def main() -> int:
    """Run what has no row yet; 1 when a training failed or was stopped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=12.0, help="of each training [12]")
    parser.add_argument("--data", action="append", choices=SEEDS, help="only this set; repeatable")
    parser.add_argument("--recipe", action="append", choices=RECIPES, help="only this one; repeatable")
    parser.add_argument("--seed", action="append", type=int, help="only this seed; repeatable")
    shared_options(parser, NAME)
    given = parser.parse_args()
    wanted = [
        trial
        for trial in plan(given.minutes)
        if trial.data in (given.data or SEEDS)
        and trial.recipe in (given.recipe or RECIPES)
        and trial.seed in (given.seed or [trial.seed])
    ]
    return run_all(NAME, wanted, given, command)


if __name__ == "__main__":
    sys.exit(main())
