"""The weighted cross entropy of the paper, and batch Dice for the modern recipe."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255


def weighted_cross_entropy(logits: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """E = - sum over pixels x of w(x) log p_l(x)(x), p the softmax over the classes at each pixel.

    logits: float (N, K, H, W), computed in float32. mask: int64 (N, H, W), class ids l(x), 255 = ignore.
    weights: float32 (N, H, W), w(x) >= 0. Divide by the sum of the weights for a mean.
    Source: Ronneberger, Fischer, Brox 2015, equation 1 (whose sign is lost in print).
    """
    losses = F.cross_entropy(logits.float(), mask, ignore_index=IGNORE, reduction="none")
    return (losses * weights).sum()


def batch_dice(logits: Tensor, mask: Tensor) -> Tensor:
    """1 - Dice, averaged over the defect classes that the batch shows; 0 when it shows none.

    Sums run over the whole batch, so that a tile without the class does not push on its own.
    Shapes as above. Pixels labelled 255 take no part.
    """
    valid = mask != IGNORE
    probabilities = torch.softmax(logits.float(), 1)
    losses = []
    for class_id in range(1, logits.shape[1]):
        truth = mask == class_id
        if not bool(truth.any()):
            continue
        p = probabilities[:, class_id] * valid
        shared = (p * truth).sum()
        losses.append(1 - (2 * shared + 1) / (p.sum() + truth.sum() + 1))
    return torch.stack(losses).mean() if losses else logits.sum() * 0.0
