"""Networks of any size that need no training and no torch, and still see something.

All weights are drawn as for training (standard deviation sqrt(2/N), N = fan-in), and two paths
through the first level are set by hand: dark regions are class `dark`, bright ones class `bright`.
What the deep levels compute moves the scores too, so that an engine that is wrong there is found out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

CLASSES = ("dark", "bright")
MEAN, STD = 128.0, 64.0
STEEPNESS, OFFSET = 8.0, 4.0
"""Score of a class = 8 * how far it is from mid gray in units of 64 levels - 4: half at gray 96 and 160."""
DEEP_SCORE = 0.5
"""Standard deviation of what the deep levels add to a score."""

Weights = NDArray[np.float32]
Pair = tuple[Weights, Weights]


@dataclass(frozen=True, slots=True)
class Network:
    """A gray U-Net with concatenated skips. Weights are float32 that half precision holds exactly."""

    base: int
    depth: int
    down: tuple[Pair, ...]
    """3x3 kernels (outputs, inputs, 3, 3) of each level, the bottom last."""
    up: tuple[tuple[Weights, Weights, Weights], ...]
    """Up-convolution (inputs, outputs, 2, 2) and the two kernels after it, deepest first."""
    head: Weights
    """(1 + classes, base); background first."""
    bias: NDArray[np.float32]
    """Of the head; all others are zero."""

    def with_deep_scores(self, features: NDArray[np.float32]) -> Network:
        """Scaled so that the drawn part of the head moves scores by DEEP_SCORE.

        features: (base, h, w), what the head reads on some picture.
        """
        drawn = self.head.copy()
        drawn[:, :2] = 0.0
        spread = float(np.tensordot(drawn, features, 1).std())
        drawn *= DEEP_SCORE / max(spread, 1e-6)
        drawn[:, :2] = self.head[:, :2]
        return replace(self, head=halved(drawn))


def seeing_network(base: int, depth: int, seed: int = 0) -> Network:
    """A network of this size, base at least 4, that knows dark and bright."""
    random = np.random.default_rng(seed)

    def kernel(outputs: int, inputs: int) -> Weights:
        return halved(random.normal(0, np.sqrt(2 / (9 * inputs)), (outputs, inputs, 3, 3)))

    widths = [base << level for level in range(depth)]
    down = [
        (kernel(width, inputs), kernel(width, width))
        for inputs, width in zip([1, *widths], widths, strict=False)
    ]
    up = []
    for width in reversed(widths[:-1]):
        lift = halved(random.normal(0, np.sqrt(2 / (2 * width)), (2 * width, width, 2, 2)))
        up.append((lift, kernel(width, 2 * width), kernel(width, width)))
    for pair in (down[0], up[-1][1:]):
        _pass_through(pair)
    down[0][0][0, 0, 1, 1], down[0][0][1, 0, 1, 1] = -1.0, 1.0
    # The first convolution reads gray values of 100 and more: bfloat16 has to hold its weights exactly.
    down[0] = _bfloat16(down[0][0]), down[0][1]
    head = random.normal(0, np.sqrt(2 / base), (1 + len(CLASSES), base)).astype(np.float32)
    head[:, :2] = 0.0
    head[1, 0] = head[2, 1] = STEEPNESS
    bias = np.array([0.0, -OFFSET, -OFFSET], np.float32)
    return Network(base, depth, tuple(down), tuple(up), halved(head), bias)


def flop_per_px(base: int, depth: int, channels: int, planes: int) -> float:
    """Floating-point operations for each pixel of an endless frame; a multiplication and its sum are two.

    planes: outputs, background included. Base 16: about 71,000 at depth 4, 94,000 at depth 5.
    """
    total = 0.0
    for level in range(depth):
        width, inputs = base << level, channels if level == 0 else base << (level - 1)
        share = 0.25**level  # of the pixels at this level
        total += share * 18 * (inputs * width + width * width)
        if level < depth - 1:
            total += share * (2 * 2 * width * width + 18 * (2 * width * width + width * width))
    return total + 2 * base * planes


def halved(weights: NDArray[np.floating]) -> Weights:
    """Rounded to what half precision holds."""
    return weights.astype(np.float16).astype(np.float32)


def _bfloat16(weights: Weights) -> Weights:
    """Rounded towards zero to what bfloat16 holds, which is its upper half of bits; half holds it too."""
    return (weights.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def _pass_through(pair: tuple[Weights, ...]) -> None:
    """Output channels 0 and 1 are input channels 0 and 1, unchanged."""
    for kernel in pair:
        kernel[:2] = 0.0
        for channel in range(min(2, kernel.shape[1])):
            kernel[channel, channel, 1, 1] = 1.0
