"""One step's gradient: what of the loss reaches which level, and what is served of it."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import TINY

from trainer.config import FitConfig
from trainer.dataset import load_dataset
from trainer.learner import Learner
from trainer.ranks import ALONE
from trainer.recipes import fit_config
from trainer.sampler import Batch, TileSampler
from trainer.stock import load_stock
from trainer.unet import UNet


def settings(**more: Any) -> FitConfig:
    return fit_config(
        "modern", steps=1, classes=("hole", "chip"), precision="f32", **{**TINY, "depth": 4}, **more
    )


@pytest.fixture(scope="module")
def batch(data: Path) -> Batch:
    config = settings()
    return TileSampler(load_stock(load_dataset([data]).samples, config), config).batch(0, 0.0)


def gradients(learner: Learner) -> dict[str, float]:
    """The largest gradient of each level of the expanding path, deepest first."""
    return {
        f"up.{n}": max(float(p.grad.abs().max()) for p in up.parameters() if p.grad is not None)
        for n, up in enumerate(learner._net.up)
    }


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_supervision_reaches_the_coarser_levels_without_the_output(batch: Batch, share: float) -> None:
    learner = Learner(settings(deep_supervision=share), ALONE, None)
    with torch.no_grad():
        learner._net.head.weight.zero_()  # so that nothing comes from the output
    learner.gradients(batch)
    found = gradients(learner)
    assert found["up.2"] == 0
    assert (found["up.0"] > 0) == (found["up.1"] > 0) == (share > 0)


def test_the_loss_adds_half_as_much_at_each_coarser_level(batch: Batch) -> None:
    """Heads that say nothing pay ln K a pixel at each level."""
    values = []
    for share in (0.0, 0.6):
        learner = Learner(settings(deep_supervision=share), ALONE, None)
        for head in (learner._net.head, *learner._net.coarse):
            torch.nn.init.zeros_(head.weight)
        values.append(float(learner.gradients(batch)))
    inner = batch.weights[:, 2:-2, 2:-2].sum() / batch.weights.sum()
    assert values[1] - values[0] == pytest.approx((0.6 + 0.3) * float(inner) * math.log(3), rel=1e-4)


def test_coarse_heads_learn_and_are_kept_but_not_served(batch: Batch) -> None:
    learner = Learner(settings(deep_supervision=0.5), ALONE, None)
    before = {name: value.clone() for name, value in learner.state()["net"].items()}
    learner.step(batch, 0, False, 1e-2)
    state = learner.state()
    heads = {f"coarse.{n}.{part}" for n in (0, 1) for part in ("weight", "bias")}
    for kept in (state["net"], state["average"]):
        assert {name for name in kept if name.startswith("coarse")} == heads
        assert not any(torch.equal(kept[name], before[name]) for name in heads)
    served = learner.averaged()
    assert not heads & set(served.state_dict())
    assert set(served.state_dict()) == set(state["average"]) - heads


def test_a_package_to_go_on_from_needs_no_coarse_heads(batch: Batch) -> None:
    torch.manual_seed(5)
    start = UNet(settings().unet()).state_dict()
    learner = Learner(settings(deep_supervision=0.5), ALONE, start)
    assert torch.equal(learner.state()["net"]["head.weight"], start["head.weight"])
    assert torch.isfinite(learner.gradients(batch))


def test_the_average_follows_every_weight_statistic_and_count(batch: Batch) -> None:
    """And goes on from a checkpoint's, whatever it was before."""
    learner, other = (Learner(settings(seed=seed), ALONE, None) for seed in (0, 1))
    before = {name: value.clone() for name, value in learner.state()["average"].items()}
    learner.step(batch, 0, False, 1e-2)
    net, average = learner.state()["net"], learner.state()["average"]
    for name, value in average.items():
        wanted = before[name].lerp(net[name], 10 / 11) if value.is_floating_point() else net[name]
        assert torch.equal(value, wanted)
    other.load_state(copy.deepcopy(learner.state()))
    for one in (learner, other):
        one.step(batch, 1, False, 1e-2)
    for part in ("net", "average"):
        assert all(torch.equal(learner.state()[part][name], other.state()[part][name]) for name in net)
