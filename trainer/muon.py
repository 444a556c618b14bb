"""Muon (Jordan 2024, kellerjordan.github.io/posts/muon) with its iteration on Gram matrices.

The steps are torch.optim.Muon's. That one orthogonalises the matrices one after the other, in bfloat16: at
base 16 these are 255 small products a step, each with its wait for both cores, 32 ms beside the 200 ms of
forward and backward.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

A, B, C = 3.4445, -4.7750, 2.0315
"""Coefficients of Jordan's quintic Newton-Schulz iteration, chosen for the steepest slope at zero."""
ITERATIONS = 5
EPS = 1e-7


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, and weight decay beside it."""

    def __init__(
        self, matrices: Iterable[Tensor], learning_rate: float, weight_decay: float, momentum: float
    ) -> None:
        """matrices: float32 of two axes. The step of a tall one is sqrt(height / width) times as long."""
        super().__init__(matrices, {"lr": learning_rate, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient. closure: not used."""
        for group in self.param_groups:
            self._move([matrix for matrix in group["params"] if matrix.grad is not None], group)

    def _move(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        if not matrices:
            return
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        moving = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        torch._foreach_lerp_(moving, gradients, 1 - group["momentum"])
        steps = orthogonalised(torch._foreach_lerp(gradients, moving, group["momentum"]))
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        for matrix, step in zip(matrices, steps, strict=True):
            length = math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
            matrix.add_(step, alpha=-group["lr"] * length)


@torch.no_grad()
def orthogonalised(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Each matrix with its singular values brought near 1 (0.7 to 1.2), its singular vectors kept.

    matrices: float32 (h, w), of any sizes, tall ones as if transposed. The iteration is X' = P X with P =
    a + b G + c G^2, G = X X^T, so that G' = P G P. All P are polynomials of the first G and commute:
    the rounds run on the small square matrices alone, those of one size in one product, and X is
    multiplied once, by the product of all P. A matrix of zeros stays one.

    In float32, not bfloat16: G holds the squares of the singular values, and rounding moves those that
    are below 1e-4 of the largest by more than they are. That is harmless where P is nearly a, which it
    is for all of them in the first rounds: over eight decades the result is exact to 1e-3 of its norm
    (bfloat16 on X itself: 0.16).
    """
    wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
    by_side: dict[int, list[int]] = defaultdict(list)
    for index, matrix in enumerate(wide):
        by_side[matrix.shape[0]].append(index)
    for same in by_side.values():
        grams = torch.stack([wide[index] @ wide[index].T for index in same])
        # The squares of the singular values add up to the trace; the iteration asks for none above 1.
        norms = grams.diagonal(dim1=1, dim2=2).sum(1).sqrt().clamp(min=EPS)[:, None, None]
        products = _product_of_rounds(grams / norms**2) / norms
        for product, index in zip(products, same, strict=True):
            wide[index] = product @ wide[index]
    return [x if x.shape == matrix.shape else x.T for x, matrix in zip(wide, matrices, strict=True)]


def _product_of_rounds(gram: Tensor) -> Tensor:
    """(n, s, s): what all rounds together multiply each X by, from its X X^T (n, s, s)."""
    product = gram.new_empty(0)
    for number in range(ITERATIONS):
        polynomial = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        polynomial.diagonal(dim1=1, dim2=2).add_(A)
        product = polynomial @ product if number else polynomial
        if number < ITERATIONS - 1:
            gram = polynomial @ gram @ polynomial
    return product
