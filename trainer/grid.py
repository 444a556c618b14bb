"""8-bit levels for the channels of a map, each over its own range."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEVELS = 255
MARGIN = 1.1
"""Room beyond the values that were seen: the line will show others."""
LEAST_RANGE = 0.02
"""Of the widest channel's range: a channel that was hardly seen to speak may speak on the line."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The values that a map's channels can take in 8 bits: low + step * n, n = 0 to 255."""

    low: Tensor
    """float32 (channels,)."""
    step: Tensor

    def beside(self, other: Grid) -> Grid:
        """Of a map with the other's channels after these."""
        return Grid(torch.cat((self.low, other.low)), torch.cat((self.step, other.step)))


def picture_grid(mean: Tensor, std: Tensor) -> Grid:
    """Of the normalised picture: its whole numbers are the gray values themselves.

    mean, std: float32, one value a channel, in 0..255 units.
    """
    return Grid((-mean / std).flatten(), (1 / std).flatten())


def grid_over(maps: list[Tensor]) -> Grid:
    """Levels for all values that each channel takes, and a little beyond.

    maps: float32 (1, channels, h, w) of every tile, in the trained network. Rare large values are not cut
    off for finer levels of the rest: defects are rare, and the golden tiles showed that they are lost.
    """
    low = MARGIN * torch.stack([one.amin((0, 2, 3)) for one in maps]).amin(0).clamp(max=0)
    span = MARGIN * torch.stack([one.amax((0, 2, 3)) for one in maps]).amax(0) - low
    least = max(LEAST_RANGE * float(span.max()), 1e-6)
    return Grid(low, span.clamp(min=least) / LEVELS)
