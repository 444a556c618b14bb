"""The end of a run: thresholds where they can be told apart, and the figures of the network as served."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.networks import seeing_network
from trainer.checkpoint import TrainedNetwork
from trainer.escapes import Trade
from trainer.finish import CROWDED, MOVE, Aim, finish
from trainer.validate import Shown

DAMAGE, DIRT, GOOD = 20, 70, 128


def frame() -> Shown:
    """Twelve dark spots that are damage and twelve less dark ones that are not."""
    image, mask = np.full((120, 400), GOOD, np.uint8), np.zeros((120, 400), np.uint8)
    for n in range(12):
        x = 30 * n + 20
        image[30:40, x : x + 10] = DAMAGE
        mask[30:40, x : x + 10] = 1
        image[80:90, x : x + 10] = DIRT
    return image, mask, None


def sure(by: float) -> TrainedNetwork:
    """A network whose every score of a defect is raised by so much; calibrated already, or so it says."""
    trained = seeing_network(4, 3)
    with torch.no_grad():
        assert trained.net.head.bias is not None
        trained.net.head.bias[1:] += by
    return replace(trained, scaled=True, metrics={"validation": {}})


def finished(trained: TrainedNetwork, target: float | None) -> TrainedNetwork:
    def log(name: str, trades: tuple[Trade, ...]) -> None:
        assert name in trained.classes and trades

    return finish(trained, [frame()], Aim((None, None), target), contextlib.nullcontext(), log)  # type: ignore[arg-type]


def test_a_threshold_is_found_where_probabilities_crowd_at_one() -> None:
    served = finished(sure(2.5), 0.0)
    counts = served.metrics["validation"]["per_defect"]["classes"][served.classes[0]]
    assert (counts["found"], counts["total"], counts["false_alarms"]) == (12, 12, 0)


def test_and_where_they_crowd_at_zero() -> None:
    served = finished(sure(-13.0), 0.0)
    counts = served.metrics["validation"]["per_defect"]["classes"][served.classes[0]]
    assert CROWDED[0] < 255 * served.thresholds[0] < CROWDED[1]
    assert (counts["found"], counts["total"], counts["false_alarms"]) == (12, 12, 0)


def test_only_the_last_layers_bias_of_the_crowded_class_moves() -> None:
    trained = sure(2.5)
    served = finished(trained, 0.0)
    before, after = trained.net.state_dict(), served.net.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"head.bias"}
    moved = after["head.bias"] - before["head.bias"]
    assert moved[0] == 0 and moved[1] == pytest.approx(-MOVE) and moved[2] == 0


def test_without_an_escape_target_the_network_stays_as_calibrated() -> None:
    trained = sure(30.0)
    assert finished(trained, None).net is trained.net


def test_a_run_that_is_finished_again_moves_no_further() -> None:
    first = finished(sure(2.5), 0.0)
    again = finished(first, 0.0)
    assert first.moved and torch.equal(
        first.net.state_dict()["head.bias"], again.net.state_dict()["head.bias"]
    )
    assert first.thresholds == again.thresholds
