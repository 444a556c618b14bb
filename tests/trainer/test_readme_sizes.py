"""What README tells a buyer to collect, held against the code that asks for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trainer.config import FitConfig
from trainer.dataset import PARTS_TO_VALIDATE
from trainer.escapes import FEW_DEFECTS
from trainer.lint.balance import FEW_TO_LEARN, FEW_TO_PROVE
from trainer.metrics.intervals import poisson_rate, wilson
from trainer.recipes import fit_config

README = (Path(__file__).parents[2] / "README.md").read_text()
SIZES = " ".join(re.split(r"\n## ", README.partition("## How much is enough\n")[2])[0].split())


def test_defects_are_those_that_lint_and_the_escape_target_ask_for() -> None:
    assert f"at least {FEW_TO_LEARN} in train and {FEW_TO_PROVE} in test" in SIZES
    assert f"a class needs {FEW_DEFECTS} on the validation frames" in SIZES
    needed = FEW_DEFECTS / FitConfig.model_fields["validation"].default
    assert needed <= int(re.findall(r"so (\d+) there", SIZES)[0]) <= 1.1 * needed
    assert f"fewer than {PARTS_TO_VALIDATE} parts in train" in SIZES


@pytest.mark.parametrize(("found", "above"), [(20, 0.83), (100, 0.96)])
def test_recall_that_flawless_exams_prove(found: int, above: float) -> None:
    assert above < wilson(found, found)[0] < above + 0.01
    assert re.search(rf"{found} of {found} (found mean a recall )?above {above}", SIZES)


@pytest.mark.parametrize(("percent", "needed"), [(5, 73), (2, 189), (1, 381)])
def test_defects_that_prove_an_escape_target(percent: int, needed: int) -> None:
    assert wilson(needed - 1, needed - 1)[0] < 1 - percent / 100 <= wilson(needed, needed)[0]
    assert re.search(rf"\b{needed} (defects of a class )?for {percent} %", SIZES)


@pytest.mark.parametrize(("frames", "below"), [(100, 0.037), (400, 0.010)])
def test_false_alarms_that_good_frames_exclude(frames: int, below: float) -> None:
    assert below - 0.001 < poisson_rate(0, frames)[1] < below
    assert re.search(rf"on {frames} (frames means )?fewer than {below:.3f}", SIZES)


def test_a_step_learns_as_many_pixels_as_it_says() -> None:
    assert f"learns {fit_config('modern', minutes=1).step_px:,} pixels" in SIZES
