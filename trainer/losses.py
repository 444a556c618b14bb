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
    return dice_loss(dice_sums(logits, mask))


def dice_sums(logits: Tensor, mask: Tensor) -> Tensor:
    """What batch Dice is made of, float32 (3, K - 1): probability on true pixels, on all, and true pixels.

    Sums of two halves of a batch add up to those of the batch.
    """
    valid = mask != IGNORE
    probabilities = torch.softmax(logits.float(), 1)
    sums = []
    for class_id in range(1, logits.shape[1]):
        truth = mask == class_id
        p = probabilities[:, class_id] * valid
        sums.append(torch.stack(((p * truth).sum(), p.sum(), truth.sum().to(p.dtype))))
    return torch.stack(sums, 1)


def dice_loss(sums: Tensor) -> Tensor:
    """1 - Dice of `dice_sums`, averaged over the classes that have true pixels."""
    shared, said, true = sums
    shown = true > 0
    losses = 1 - (2 * shared + 1) / (said + true + 1)
    mean: Tensor = (losses * shown).sum() / shown.sum().clamp(min=1)
    return mean
