"""Which network of a run is kept to serve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.tiny_run import make_data, request
from trainer.checkpoint import load_run, save_network
from trainer.fit import prepare
from trainer.judge import Judge
from trainer.standing import Standing
from trainer.thresholds import ClassChoice
from trainer.train import Training
from trainer.validate import Shown, Validation, units

CHOICES = (ClassChoice(0.5, 0.5, 9, 90), ClassChoice(0.5, 0.5, 9, 90))


def validation(*ious: float) -> Validation:
    """Of as many parts, each with this IoU of both classes."""
    both = np.array([[round(1000 * iou)] * 2 for iou in ious])
    overlap = np.stack([both, np.full_like(both, 1000)], -1)
    standing = Standing(overlap, np.ones(both.shape, np.bool_))
    return Validation(standing.score, CHOICES, standing=standing)


BEST = validation(0.7, 0.5, 0.6, 0.6)
LOWER = validation(0.58, 0.58, 0.5, 0.66)
"""By no more than parts differ."""
LOWEST = validation(0.65, 0.45, 0.55, 0.55)
"""Worse than the best for sure, but not than the one before."""


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return prepare(request(make_data(tmp_path / "data"), tmp_path / "run", steps=1)).training


def keep(training: Training, found: Validation, step: int) -> bool:
    return training._judge.keep_unless_worse(training._learner.averaged(), found, step)


def test_the_latest_is_kept_that_is_not_worse_than_the_best(training: Training, tmp_path: Path) -> None:
    assert LOWEST.standing is not None and LOWER.standing is not None
    assert not LOWEST.standing.worse_than(LOWER.standing)
    assert [keep(training, found, n) for n, found in enumerate((BEST, LOWER, LOWEST))] == [True, True, False]
    kept = load_run(tmp_path / "run")
    assert kept.step == 1 and kept.metrics["validation"]["score"] == LOWER.score
    assert kept.standing is not None and kept.standing.score == BEST.score, "else it slides step by step"


def test_a_run_that_goes_on_holds_the_next_against_the_same_best(training: Training) -> None:
    keep(training, BEST, 0), keep(training, LOWER, 1)
    judge = training._judge
    training._judge = Judge(judge._config, judge._material, judge._origin, judge._run, judge._ranks)
    training._judge.take_up()
    assert not keep(training, LOWEST, 2)
    assert keep(training, validation(0.7, 0.6, 0.6, 0.6), 3)


def test_of_an_earlier_version_the_score_is_known_alone(training: Training, tmp_path: Path) -> None:
    keep(training, BEST, 0)
    path = tmp_path / "run" / "best.pt"
    save_network(path, replace(load_run(tmp_path / "run"), standing=None))
    training._judge.take_up()
    assert not keep(training, LOWER, 1)
    assert keep(training, BEST, 2)
    assert keep(training, LOWER, 3), "from then on part by part"


def test_frames_of_one_part_are_told_apart_as_validation_was_cut() -> None:
    image = np.zeros((4, 4), np.uint8)
    one = [Shown(image, image, None, "a") for _ in range(3)]
    assert units(one) == ["0", "1", "2"]
    assert units([*one, Shown(image, image, None, "b")]) == ["a", "a", "a", "b"]
