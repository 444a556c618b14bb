"""The network in plain numpy, float32: slow, and like none of the engines that are held against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.qualify.network import MEAN, STD, Network, Weights

Maps = NDArray[np.float32]
"""(channels, h, w)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What the network computes on one picture."""

    features: Maps
    """(base, oh, ow): what the head reads."""
    probs: NDArray[np.float32]
    """(oh, ow, K) of the defect classes, 0 to 1."""
    activation: float
    """Largest absolute value that any convolution gave."""


def compute(network: Network, picture: NDArray[np.uint8]) -> Reference:
    """picture: uint8 (h, w) of a legal size."""
    x: Maps = ((picture.astype(np.float32) - MEAN) / STD)[None]
    largest = 0.0
    skips: list[Maps] = []
    for level, pair in enumerate(network.down):
        if level:
            skips.append(x)
            x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).max(axis=(2, 4))
        x, largest = _both(x, pair, largest)
    for lift, first, second in network.up:
        x = _doubled(x, lift)
        largest = max(largest, float(np.abs(x).max()))
        skip = skips.pop()
        top, left = ((skip.shape[axis] - x.shape[axis]) // 2 for axis in (1, 2))
        x = np.concatenate((skip[:, top : top + x.shape[1], left : left + x.shape[2]], x))
        x, largest = _both(x, (first, second), largest)
    scores = np.tensordot(network.head, x, 1) + network.bias[:, None, None]
    odds = np.exp(scores - scores.max(axis=0))
    probs = np.moveaxis(odds[1:] / odds.sum(axis=0), 0, -1)
    return Reference(x, np.ascontiguousarray(probs, np.float32), max(largest, float(np.abs(scores).max())))


def _both(x: Maps, pair: tuple[Weights, Weights], largest: float) -> tuple[Maps, float]:
    """Two convolutions with ReLU, and the largest value seen so far."""
    for kernel in pair:
        x = _convolved(x, kernel)
        largest = max(largest, float(np.abs(x).max()))
        np.maximum(x, 0, out=x)
    return x, largest


def _convolved(x: Maps, kernel: Weights) -> Maps:
    """A valid 3x3 convolution as nine matrix products."""
    h, w = x.shape[1] - 2, x.shape[2] - 2
    total = np.zeros((kernel.shape[0], h * w), np.float32)
    for dy in range(3):
        for dx in range(3):
            part = np.ascontiguousarray(x[:, dy : dy + h, dx : dx + w]).reshape(len(x), -1)
            total += kernel[:, :, dy, dx] @ part
    return total.reshape(-1, h, w)


def _doubled(x: Maps, lift: Weights) -> Maps:
    """A 2x2 up-convolution of stride 2: each input pixel becomes four."""
    inputs, outputs = lift.shape[:2]
    h, w = x.shape[1:]
    four = lift.reshape(inputs, outputs * 4).T @ x.reshape(inputs, -1)
    return four.reshape(outputs, 2, 2, h, w).transpose(0, 3, 1, 4, 2).reshape(outputs, 2 * h, 2 * w)
