"""Weights rounded to 8 bits one after the other, each error made good by the weights still to come.

Rounded each to the nearest level, the weights of a layer change its answers far more than they need
to: activations that rise and fall together turn many small errors into a large one. Here a weight's
error is spread over those that are not rounded yet, so that the layer's answers to what it really
reads stay nearest to the trained network's (Frantar et al. 2022, GPTQ; before it Hassibi and Stork 1993).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST = 127
"""Of a signed 8-bit weight; -128 is not used, so that the levels are symmetric."""
DAMPING = 0.01
"""Of the mean variance, added to each input's: what the tiles do not show must not blow up."""
_BLOCK = 64


class Moments:
    """What a layer reads and what it should answer, summed up over many pixels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self._count = 0
        self._x, self._y = torch.zeros(inputs).double(), torch.zeros(outputs).double()
        self._xx, self._xy = torch.zeros(inputs, inputs).double(), torch.zeros(inputs, outputs).double()

    def add(self, x: Tensor, y: Tensor) -> None:
        """x: float32 (n, inputs), what the layer reads at n pixels; y: (n, outputs), the right answers."""
        self._count += len(x)
        self._x += x.sum(0)
        self._y += y.sum(0)
        self._xx += x.T @ x
        self._xy += x.T @ y

    @property
    def mean(self) -> tuple[Tensor, Tensor]:
        """Of the inputs and of the answers; float64."""
        return self._x / self._count, self._y / self._count

    @property
    def covariance(self) -> tuple[Tensor, Tensor]:
        """(inputs, inputs) and (inputs, outputs); float64."""
        x, y = self.mean
        return self._xx / self._count - torch.outer(x, x), self._xy / self._count - torch.outer(x, y)


@dataclass(frozen=True, slots=True)
class Rounded:
    """A linear layer in 8 bits: answer = scale * (whole input) + bias."""

    whole: Tensor
    """float64 (outputs, inputs), whole numbers of -127 to 127."""
    scale: Tensor
    """float64 (outputs,), above 0."""
    bias: Tensor
    """float64 (outputs,)."""


def fit(weights: Tensor, moments: Moments) -> Tensor:
    """float64 (outputs, inputs): weights of the layer whose answers come nearest to those in `moments`.

    weights: float64 (outputs, inputs), to start from. Where the inputs in `moments` are those of the network
    in 8 bits and the answers the trained network's, the layer makes good what those before it got wrong.
    """
    variance, shared = moments.covariance
    fitted: Tensor = weights + torch.linalg.solve(_damped(variance), shared - variance @ weights.T).T
    return fitted


def fit_and_round(weights: Tensor, moments: Moments, groups: int = 1) -> Rounded:
    """The same layer in 8 bits.

    groups: outputs n, n + outputs/groups, ... share a scale, as an up-convolution's four pixels do.
    """
    fitted = fit(weights, moments)
    largest = fitted.abs().amax(1).reshape(groups, -1).amax(0).repeat(groups)
    scale = (largest / LARGEST).clamp(min=1e-30)
    whole = _round_in_turn(fitted, _damped(moments.covariance[0]), scale)
    x, y = moments.mean
    return Rounded(whole, scale, y - (whole * scale[:, None]) @ x)


def _damped(variance: Tensor) -> Tensor:
    """With something on the diagonal, also where no tile showed anything at all."""
    mean = float(variance.diagonal().mean())
    return variance + (DAMPING * mean or 1.0) * torch.eye(len(variance)).double()


def _round_in_turn(weights: Tensor, variance: Tensor, scale: Tensor) -> Tensor:
    """Whole numbers (outputs, inputs) times `scale` for `weights`, the inputs that vary most first."""
    order = variance.diagonal().argsort(descending=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(variance[order][:, order]))
    # Row n of the upper factor says how the error of weight n is best spread over those after it.
    spread = torch.linalg.cholesky(inverse, upper=True)
    left, whole = weights[:, order].clone(), torch.empty_like(weights)
    for first in range(0, left.shape[1], _BLOCK):
        last = min(first + _BLOCK, left.shape[1])
        errors = torch.empty_like(left[:, first:last])
        for n in range(first, last):
            whole[:, n] = (left[:, n] / scale).round().clamp(-LARGEST, LARGEST)
            error = (left[:, n] - whole[:, n] * scale) / spread[n, n]
            left[:, n:last] -= torch.outer(error, spread[n, n:last])
            errors[:, n - first] = error
        left[:, last:] -= errors @ spread[first:last, last:]
    return whole[:, order.argsort()]
