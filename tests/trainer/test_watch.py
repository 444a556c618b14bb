"""A run that diverges is stopped and keeps the network from before; ordinary noise never looks like that."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import Silent, request, resumption

from trainer.checkpoint import LAST, load_checkpoint, load_run
from trainer.fit import Prepared, prepare, run
from trainer.ranks import Ranks
from trainer.recipes import fit_config
from trainer.resume import prepare_resume
from trainer.thresholds import ClassChoice, ProbabilityHistogram
from trainer.validate import Validation
from trainer.watch import (
    WINDOW,
    Diverged,
    LossWatch,
    background_only,
    guess_loss,
    silent_classes,
    silent_words,
)

GUESS = guess_loss(fit_config("modern", steps=1))


def fires_at(losses: Any) -> int | None:
    watch = LossWatch()
    return next((n for n, loss in enumerate(losses, start=1) if watch.add(float(loss), GUESS)), None)


def noisy_losses(seed: int, steps: int = 1500) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Worse than what runs show: a falling loss, each batch off by a factor of 2 either way, one in ten by
    20, and a bad stretch of thirty steps now and then."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.8, 4.0) * np.exp(-np.arange(steps) / rng.uniform(100, 800)) + rng.uniform(0.01, 0.5)
    losses = level * rng.lognormal(0, math.log(2), steps)
    losses[rng.random(steps) < 0.1] *= 20
    for start in rng.integers(0, 240, 5) + 300 * np.arange(5):
        losses[start : start + 30] *= 5
    return np.asarray(losses)


def test_noise_is_no_divergence() -> None:
    assert [fires_at(noisy_losses(seed)) for seed in range(200)] == [None] * 200


def test_a_good_network_that_is_shaken_is_left_to_recover() -> None:
    """Going on from a package at a high rate: ten times the loss, and still far better than guessing."""
    assert fires_at([0.02] * 60 + [0.2] * 300 + [0.02] * 60) is None


@pytest.mark.parametrize("seed", range(5))
def test_an_explosion_is_seen_within_a_window(seed: int) -> None:
    losses = noisy_losses(seed)
    losses[700:] *= 1000
    fired = fires_at(losses)
    assert fired is not None and 700 < fired <= 700 + WINDOW


def test_so_is_one_that_begins_with_the_warm_up_and_a_network_thrown_back_to_guessing() -> None:
    assert fires_at([1.6] * 10 + [40.0] * 100) == 10 + WINDOW - WINDOW // 10
    assert fires_at([1.6] * 50 + [0.3] * 300 + [1.5] * 60) is not None


def test_a_loss_that_begins_far_above_guessing_and_stays_there_is_one() -> None:
    """Its first ten steps are no level to hold the rest against: a network that knows nothing costs less."""
    blown = [4.5, *[3 * GUESS] * 9, *[4.5 * GUESS] * 100]
    watch = LossWatch()
    assert any([watch.add(loss, GUESS) for loss in blown])
    assert fires_at(blown) == 10 + WINDOW - WINDOW // 10
    assert watch.held_against(GUESS) == ("what guessing costs", GUESS)
    assert fires_at([2.5 * GUESS] * 200) is None, "a start that is merely bad may still learn"
    assert LossWatch(0.3).held_against(GUESS) == ("its best", 0.3)


def test_the_watch_goes_on_from_a_checkpoint() -> None:
    losses = [0.3] * 60 + [9.0] * 60
    watch = LossWatch()
    for loss in losses[:80]:
        assert not watch.add(loss, GUESS)
    again = LossWatch(watch.best, list(watch.recent))
    assert [watch.add(loss, GUESS) for loss in losses[80:]] == [
        again.add(loss, GUESS) for loss in losses[80:]
    ]


def test_guessing_costs_as_much_at_each_supervised_level() -> None:
    plain, deep = (guess_loss(fit_config("modern", steps=1, deep_supervision=w)) for w in (0.0, 0.5))
    assert deep - plain == pytest.approx((0.5 + 0.25) * math.log(2))  # two levels at depth 4, one class


def run_until_diverged(data: Path, out: Path, at: int, rate: float, **settings: Any) -> Diverged:
    """Train with a learning rate that from step `at` on is `rate`."""
    prepared = prepare(request(data, out, **settings))
    schedule = prepared.training._schedule
    usual = schedule.learning_rate
    schedule.learning_rate = (  # type: ignore[method-assign]
        lambda progress: rate if progress * settings["steps"] >= at else usual(progress)
    )
    with pytest.raises(Diverged) as caught:
        run(prepared, Silent())
    return caught.value


def test_a_loss_that_is_no_number_ends_the_run_and_the_best_network_is_served(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    error = run_until_diverged(data, out, 30, 1e30, steps=60, optimizer="sgd")
    assert "no number any more at step 3" in str(error) and "lower --learning-rate" in str(error)
    assert str(out) in str(error) and error.exit_code == 1
    best = load_run(out)
    assert best.step <= 31 and "per_defect" in best.metrics["validation"] and best.scaled
    assert all(bool(value.isfinite().all()) for value in best.net.state_dict().values())
    kept = load_checkpoint(out / LAST)
    assert all(bool(value.isfinite().all()) for value in kept["net"].values())
    assert '"kind": "diverged"' in (out / "log.jsonl").read_text()


def test_a_network_that_gives_no_numbers_is_never_the_best_one(data: Path, tmp_path: Path) -> None:
    """The step before the first validation breaks it, whose loss was still a number."""
    out = tmp_path / "r"
    error = run_until_diverged(data, out, 4, 1e30, steps=60, optimizer="sgd")
    assert "no number any more at step 5. Nothing was learned yet" in str(error)
    assert not (out / "best.pt").exists()
    kept = load_checkpoint(out / LAST)
    assert all(bool(value.isfinite().all()) for value in kept["net"].values())


def test_nor_at_a_later_validation(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    error = run_until_diverged(data, out, 9, 1e30, steps=60, optimizer="sgd")
    assert "no number any more at step 10." in str(error) and "keeps the network from before" in str(error)
    assert load_run(out).step == load_checkpoint(out / LAST)["mark"]["step"] == 5


def test_nor_after_the_last_step_by_the_clock(data: Path, tmp_path: Path) -> None:
    training = prepare(request(data, tmp_path / "r", minutes=1.0)).training
    training._mark.step = 1
    training._schedule.progress = lambda _step: 1.0  # type: ignore[method-assign]
    for value in training._learner._average.values():
        value.fill_(math.nan) if value.is_floating_point() else None
    with pytest.raises(Diverged, match="Nothing was learned yet; start again with a lower --learning-rate"):
        training.run(Silent())


def test_a_frame_of_another_process_that_gives_no_numbers_counts(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = prepare(request(data, tmp_path / "r", steps=1)).training
    net, autocast = training._learner.averaged(), training._learner.autocast
    assert training._judge.score(net, autocast) is not None
    monkeypatch.setattr(Ranks, "any", lambda _self, _flag: True)
    assert training._judge.score(net, autocast) is None


def test_a_loss_that_explodes_ends_the_run(data: Path, tmp_path: Path) -> None:
    error = run_until_diverged(
        data, tmp_path / "r", 60, 30.0, steps=400, optimizer="sgd", norm="none", learning_rate=0.05
    )
    assert "has diverged" in str(error) and "stays far above its best" in str(error)
    assert load_run(tmp_path / "r").step < 200


def test_without_any_network_yet_it_says_so(data: Path, tmp_path: Path) -> None:
    error = run_until_diverged(data, tmp_path / "r", 0, 1e30, steps=60, optimizer="sgd")
    assert "Nothing was learned yet" in str(error)
    assert not (tmp_path / "r" / "best.pt").exists()


def test_a_network_that_calls_everything_good_alarms_once(data: Path, tmp_path: Path) -> None:
    prepared, report = prepare(request(data, tmp_path / "r", steps=24)), Silent()
    judge = prepared.training._judge
    score = judge.score

    def blind(net: Any, autocast: torch.autocast) -> Validation:
        with torch.no_grad():
            net.head.weight.zero_()
            net.head.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
        return score(net, autocast)

    judge.score = blind  # type: ignore[method-assign]
    run(prepared, report)
    assert len(report.alarms) == 1 and "calls everything good" in report.alarms[0]
    alarms = [
        line
        for line in map(json.loads, (tmp_path / "r" / "log.jsonl").read_text().splitlines())
        if line["kind"] == "alarm"
    ]
    assert [line["step"] for line in alarms] == [6]  # the first validation after a fifth of 24 steps


def test_nothing_alarms_early_or_for_a_network_that_finds_some() -> None:
    choices = (ClassChoice(0.5, 0.02, 3, 60), ClassChoice(0.5, 0.02, 2, 40))
    blind = Validation(0.02, choices, called=(1, 0))
    assert background_only(blind, 0.25) is not None
    assert background_only(blind, 0.19) is None
    assert background_only(replace(blind, called=(10, 40)), 0.25) is None
    assert background_only(replace(blind, score=0.3), 0.25) is None
    assert background_only(replace(blind, called=()), 0.25) is None
    good = tuple(ClassChoice(0.5, None, 0, 0) for _ in range(2))
    assert background_only(replace(blind, choices=good), 0.25) is None


def test_a_class_that_stays_silent_is_told_from_one_that_is_slow_rare_or_not_shown() -> None:
    choices = (
        ClassChoice(0.5, 0.6, 30, 900), ClassChoice(0.5, 0.05, 4, 100), ClassChoice(0.5, 0.05, 4, 100),
        ClassChoice(0.5, 0.3, 4, 100), ClassChoice(0.5, None, 0, 0),
    )  # fmt: skip
    found = Validation(0.25, choices, called=(800, 9, 10, 0, 0))
    classes = ("stain", "crack", "slow", "faint", "unseen")
    assert silent_classes(found, 0.4, classes) == {"crack": (4, 0.09)}
    assert silent_classes(found, 0.39, classes) == {}
    assert silent_classes(replace(found, called=()), 0.9, classes) == {}
    words = silent_words(silent_classes(found, 0.42, classes), 0.42)
    assert "After 42% of the run" in words and "crack (9.0% as many pixels as its 4 defects there)" in words
    assert "label more of them" in words and "--weight-cap" in words and "trainer lint" in words


def test_a_class_that_stays_silent_alarms_once_and_the_run_remembers(data: Path, tmp_path: Path) -> None:
    """The other class is found well, so that the network as a whole does not look blind."""
    out, settings = tmp_path / "r", {"steps": 48, "learning_rate": 1e-2}
    report, again = Silent(), Silent()
    prepared = prepare(request(data, out, **settings))
    silence(prepared)
    run(prepared, report, lambda step: step == 32)
    prepared = prepare_resume(resumption(data, out))
    silence(prepared)
    run(prepared, again)
    assert len(report.alarms) == 1 and again.alarms == []
    assert "hardly anything as chip (0.0% as many pixels as its " in report.alarms[0]
    assert "hole" not in report.alarms[0]
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    at = {kind: [line["step"] for line in lines if line["kind"] == kind] for kind in ("alarm", "validation")}
    assert at["alarm"] == [next(step for step in at["validation"] if step >= 0.4 * 48)]


def silence(prepared: Prepared) -> None:
    """Validation sees the network with its second class switched off."""
    judge = prepared.training._judge
    score = judge.score

    def without_chips(net: Any, autocast: torch.autocast) -> Validation | None:
        with torch.no_grad():
            net.head.weight[2].zero_()
            net.head.bias[2] = -99.0
        return score(net, autocast)

    judge.score = without_chips  # type: ignore[method-assign]


def test_called_counts_pixels_that_a_class_has_for_more_than_half() -> None:
    histogram = ProbabilityHistogram(2, ["a"])
    probs = np.zeros((4, 5, 2), np.uint8)
    probs[0, :, 0], probs[1, :3, 1], probs[2, :, 0] = 200, 128, 127
    mask = np.zeros((4, 5), np.uint8)
    mask[0], mask[3], mask[1, 0] = 1, 2, 255
    histogram.add(probs, mask, "a")
    assert histogram.called() == (5, 2)
