"""Weights in 8 bits: what a layer answers matters, not each weight."""

import pytest
import torch
from torch import Tensor

from trainer.rounding import LARGEST, Moments, Rounded, fit, fit_and_round

INPUTS, OUTPUTS = 40, 12


def correlated(count: int, seed: int) -> Tensor:
    """(count, INPUTS) of activations that rise and fall together, none below 0."""
    random = torch.Generator().manual_seed(seed)
    common = torch.randn(count, 3, generator=random) @ torch.randn(
        3, INPUTS, generator=torch.Generator().manual_seed(7)
    )
    return (common + 0.1 * torch.randn(count, INPUTS, generator=random) + 2).relu() * 20


@pytest.fixture
def weights() -> Tensor:
    return torch.randn(OUTPUTS, INPUTS, generator=torch.Generator().manual_seed(1)).double()


def moments_of(x: Tensor, y: Tensor) -> Moments:
    found = Moments(x.shape[1], y.shape[1])
    for part_x, part_y in zip(x.split(500), y.split(500), strict=True):
        found.add(part_x, part_y)
    return found


def error(found: Rounded, x: Tensor, y: Tensor) -> float:
    answer = x.double() @ (found.whole * found.scale[:, None]).T + found.bias
    return float((answer - y).square().mean().sqrt())


def test_answers_stay_several_times_nearer_than_with_each_weight_rounded(weights: Tensor) -> None:
    x, unseen = correlated(4000, 2), correlated(1000, 3)
    found = fit_and_round(weights, moments_of(x, x @ weights.T.float()))
    whole = (weights / found.scale[:, None]).round()
    bias = (x.double() @ (weights - whole * found.scale[:, None]).T).mean(0)
    nearest = Rounded(whole, found.scale, bias)  # even with what its answers are off by in the mean made good
    wanted = unseen.double() @ weights.T
    assert error(found, unseen, wanted) < error(nearest, unseen, wanted) / 2


def test_weights_are_whole_numbers_of_8_bits(weights: Tensor) -> None:
    x = correlated(2000, 2)
    found = fit_and_round(weights, moments_of(x, x @ weights.T.float()))
    assert torch.equal(found.whole, found.whole.round())
    assert LARGEST - 10 <= int(found.whole.abs().amax()) <= LARGEST


def test_outputs_of_a_group_share_their_scale(weights: Tensor) -> None:
    x = correlated(2000, 2)
    scale = fit_and_round(weights, moments_of(x, x @ weights.T.float()), groups=4).scale
    assert torch.equal(scale, scale[:3].repeat(4)) and len(set(scale[:3].tolist())) == 3


def test_a_layer_makes_good_what_it_reads_wrong(weights: Tensor) -> None:
    x = correlated(4000, 2)
    wanted = x.double() @ weights.T
    wrong = 0.9 * x + 1.5  # as a layer before it may have changed it
    found = fit_and_round(weights, moments_of(wrong, wanted.float()))
    as_it_was = fit_and_round(weights, moments_of(x, wanted.float()))
    assert error(found, wrong, wanted) < 0.1 * error(as_it_was, wrong, wanted)


def test_inputs_that_were_never_seen_keep_their_weights(weights: Tensor) -> None:
    x = correlated(2000, 2)
    x[:, 5] = 0
    found = fit_and_round(weights, moments_of(x, x @ weights.T.float()))
    off = (found.whole * found.scale[:, None] - weights)[:, 5].abs()
    assert bool((off <= found.scale / 2 + 1e-9).all())
    silent = fit_and_round(weights, moments_of(torch.zeros_like(x), torch.zeros(2000, OUTPUTS)))
    assert bool(silent.whole.isfinite().all()) and bool(silent.bias.isfinite().all())


def test_without_rounding_nothing_is_lost_where_the_inputs_are_right(weights: Tensor) -> None:
    x = correlated(2000, 2)
    found = fit(weights, moments_of(x, x @ weights.T.float() + 3))
    assert torch.allclose(found, weights, atol=1e-3)
