"""The loss is section 3's sum, pixel by pixel, with the gradient that autograd finds for it."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.losses import IGNORE, coarse_entropies, dice_loss, loss_sums


def weighted_cross_entropy(logits: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    return loss_sums(logits, mask, weights)[0]


def batch_dice(logits: Tensor, mask: Tensor) -> Tensor:
    return dice_loss(loss_sums(logits, mask, torch.ones(mask.shape))[1])


def test_it_is_the_weighted_sum_of_log_probabilities() -> None:
    torch.manual_seed(0)
    logits, weights = torch.randn(2, 3, 4, 5), torch.rand(2, 4, 5)
    mask = torch.randint(0, 3, (2, 4, 5))
    expected = 0.0
    for n in range(2):
        for y in range(4):
            for x in range(5):
                scores = [math.exp(float(v)) for v in logits[n, :, y, x]]
                expected -= float(weights[n, y, x]) * math.log(scores[int(mask[n, y, x])] / sum(scores))
    assert float(weighted_cross_entropy(logits, mask, weights)) == pytest.approx(expected, rel=1e-5)


def test_ignored_pixels_have_no_gradient() -> None:
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    mask = torch.tensor([[[255, 1], [0, 255]]])
    (weighted_cross_entropy(logits, mask, torch.ones(1, 2, 2)) + batch_dice(logits, mask)).backward()
    assert logits.grad is not None
    assert torch.all(logits.grad[0, :, mask[0] == 255] == 0)
    assert torch.all(logits.grad[0, :, mask[0] != 255] != 0)


def test_dice_is_zero_when_right_and_near_one_when_wrong() -> None:
    mask = torch.zeros(1, 20, 20, dtype=torch.long)
    mask[0, :10] = 1
    right = torch.stack([(mask == k).float() * 40 for k in range(2)], 1)
    assert float(batch_dice(right, mask)) == pytest.approx(0.0, abs=1e-5)
    assert float(batch_dice(right.flip(1), mask)) > 0.99


def test_dice_leaves_out_classes_that_the_batch_does_not_show() -> None:
    logits = torch.randn(1, 4, 6, 6)
    mask = torch.zeros(1, 6, 6, dtype=torch.long)
    assert float(batch_dice(logits, mask)) == 0.0
    mask[0, 0, 0] = 2
    p = torch.softmax(logits, 1)[:, 2]
    expected = 1 - (2 * float(p[0, 0, 0]) + 1) / (float(p.sum()) + 2)
    assert float(batch_dice(logits, mask)) == pytest.approx(expected, rel=1e-5)


def plain(logits: Tensor, mask: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Both sums, each class and pixel by itself; the gradient is left to autograd."""
    valid = mask != IGNORE
    entropy = (F.cross_entropy(logits, mask, ignore_index=IGNORE, reduction="none") * weights).sum()
    p, sums = torch.softmax(logits, 1), []
    for k in range(1, logits.shape[1]):
        sums.append(
            torch.stack(((p[:, k] * (mask == k)).sum(), (p[:, k] * valid).sum(), (mask == k).sum().float()))
        )
    return entropy, torch.stack(sums, 1)


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0), (0.3, 2.0)])
def test_values_and_gradient_are_those_of_the_plain_formula(shares: tuple[float, float]) -> None:
    """With ignored pixels that carry a weight, pixels of weight 0, and a class that no pixel has."""
    random = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(2, 5, 12, 9, generator=random)
    mask = torch.randint(0, 4, (2, 12, 9), generator=random)
    mask[0, :3], weights = IGNORE, torch.rand(2, 12, 9, generator=random)
    weights[1, 4:6] = 0
    gradients = []
    for loss_of in (loss_sums, plain):
        asked = logits.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
        entropy, sums = loss_of(asked, mask, weights)
        (shares[0] * entropy + shares[1] * dice_loss(sums)).backward()  # type: ignore[no-untyped-call]
        gradients.append(asked.grad)
    for ours, wanted in zip(loss_sums(logits, mask, weights), plain(logits, mask, weights), strict=True):
        assert torch.allclose(ours, wanted, rtol=1e-5)
    found, autograd = gradients
    assert found is not None and autograd is not None and autograd.abs().max() > 1e-4
    assert torch.allclose(found, autograd, rtol=1e-4, atol=1e-6 * float(autograd.abs().max()))


def test_a_coarse_cell_answers_for_each_of_its_pixels() -> None:
    """As if its logits stood at each pixel: nothing of a hairline is lost in a cell of 4 x 4."""
    random = torch.Generator().manual_seed(4)
    mask, weights = (
        torch.randint(0, 3, (2, 20, 28), generator=random),
        torch.rand(2, 20, 28, generator=random),
    )
    mask[0, 5:8] = IGNORE
    inner = slice(2, -2)
    coarse = [torch.randn(2, 3, 16 // n + 4, 24 // n + 4, generator=random) for n in (2, 4, 8)]
    for n, logits, found in zip((2, 4, 8), coarse, coarse_entropies(coarse, mask, weights), strict=True):
        fine = F.interpolate(logits[:, :, inner, inner], scale_factor=n, mode="nearest")
        expected = plain(fine, mask[:, inner, inner], weights[:, inner, inner])[0]
        assert float(found) == pytest.approx(float(expected), rel=1e-5)
