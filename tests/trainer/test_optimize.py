"""Every weight is moved by one optimizer, Muon's steps are orthogonal, and a checkpoint goes on exactly."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainer.config import FitConfig
from trainer.optimize import MUON_RATE, Optimizer
from trainer.unet import UNet, UNetConfig


def network(seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    net = UNet(UNetConfig(channels=1, classes=3, depth=3, base=4, norm="batch", dropout=0.0))
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def config(optimizer: Any, **settings: Any) -> FitConfig:
    return FitConfig(steps=1, optimizer=optimizer, weight_decay=0.0, **settings)


def backward(net: UNet, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    net(torch.randn(2, 1, 60, 60, generator=random)).square().mean().backward()


@pytest.mark.parametrize("name", ["muon", "adamw", "sgd"])
def test_every_parameter_moves(name: str) -> None:
    net = network()
    before = {k: v.detach().clone() for k, v in net.named_parameters()}
    optimizer = Optimizer(net, config(name))
    optimizer.clear()
    backward(net, 1)
    optimizer.step(1e-2)
    still = [
        k
        for k, v in net.named_parameters()
        if torch.equal(v, before[k]) and v.grad is not None and v.grad.any()
    ]
    assert still == []


def test_a_step_of_muon_turns_all_directions_alike() -> None:
    net = network()
    weight = net.down[1].conv2.weight
    before = weight.detach().clone()
    optimizer = Optimizer(net, config("muon"))
    optimizer.clear()
    backward(net, 1)
    optimizer.step(1e-2)
    moved = (weight.detach() - before).flatten(1)
    values = torch.linalg.svdvals(moved) / (MUON_RATE * 1e-2)
    # Five Newton-Schulz iterations bring singular values near 1, not to it.
    assert float(values.min()) > 0.5 and float(values.max()) < 1.5
    assert weight.grad is not None
    gradient = torch.linalg.svdvals(weight.grad.flatten(1))
    assert gradient.max() / gradient.min() > 1.2 * values.max() / values.min()


@pytest.mark.parametrize("name", ["muon", "adamw", "sgd"])
def test_the_state_goes_on_exactly(name: str) -> None:
    whole, broken = network(), network()
    first, second = Optimizer(whole, config(name)), Optimizer(broken, config(name))
    for step in range(4):
        if step == 2:
            state = second.state_dict()
            second = Optimizer(broken, config(name))
            second.load_state_dict(state)
        for net, optimizer in ((whole, first), (broken, second)):
            optimizer.clear()
            backward(net, step)
            optimizer.step(1e-3)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), broken.parameters(), strict=True))


def test_weights_in_another_layout_are_not_silently_left_alone() -> None:
    net = UNet(UNetConfig(channels=1, classes=3, depth=3, base=4))
    with pytest.raises(AssertionError, match="channels last"):
        Optimizer(net, config("muon"))


@pytest.mark.parametrize(("base", "depth", "inside"), [(16, 4, 1), (32, 4, 2), (16, 5, 2)])
def test_small_products_take_one_thread_and_the_network_gets_its_own_back(
    base: int, depth: int, inside: int
) -> None:
    net = UNet(UNetConfig(channels=1, classes=2, depth=depth, base=base, norm="batch"))
    optimizer = Optimizer(net.to(memory_format=torch.channels_last), FitConfig(optimizer="muon"))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError), optimizer.threads():
            assert torch.get_num_threads() == inside
            raise RuntimeError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
