"""The loss is section 3's sum, pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.losses import batch_dice, weighted_cross_entropy


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
