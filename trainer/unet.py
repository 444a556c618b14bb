"""The U-Net of Ronneberger, Fischer and Brox (2015): valid convolutions, constant crops.

image -> two 3x3 + ReLU -> pool -> ... -> bottom -> up, crop the skip, join -> two 3x3 -> ... -> 1x1
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.errors import ConfigError, ShapeMismatch

MIN_DEPTH, MAX_DEPTH = 2, 6
COARSE = "coarse."
"""How the names of the coarse heads' weights begin."""


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """What a network is built from. The defaults are the paper's."""

    channels: int = 1
    """Planes of the input picture: 1 gray or 3 BGR."""
    classes: int = 2
    """Planes of the output, background included."""
    depth: int = 5
    """Levels, the bottom included."""
    base: int = 64
    """Feature maps of the first level; doubled at each level down."""
    skip: Literal["concat", "sum"] = "concat"
    """How a skip map joins: `sum` is the FCN way, kept as the comparison."""
    norm: Literal["none", "batch"] = "none"
    """`batch` is folded into the convolutions for export."""
    dropout: float = 0.5
    """At the end of the contracting path, in training only; 0 to below 1."""

    def __post_init__(self) -> None:
        """Raises ConfigError that names the field, its value and what is allowed."""
        if self.norm not in ("none", "batch"):
            raise ConfigError(
                f"norm = {self.norm!r} is refused; instance, group and layer norm read statistics of the"
                " tile, so that tiles would not equal the whole; use 'batch' or 'none'."
            )
        if self.skip not in ("concat", "sum"):
            raise ConfigError(f"skip = {self.skip!r} is not known; use 'concat' or 'sum'.")
        if not MIN_DEPTH <= self.depth <= MAX_DEPTH:
            raise ConfigError(f"depth = {self.depth} is outside {MIN_DEPTH} to {MAX_DEPTH}.")
        if self.channels not in (1, 3):
            raise ConfigError(f"channels = {self.channels} is not possible; use 1 (gray) or 3 (colour).")
        if self.base < 1 or self.classes < 2 or not 0.0 <= self.dropout < 1.0:
            raise ConfigError(
                f"base = {self.base}, classes = {self.classes}, dropout = {self.dropout} cannot be used;"
                " base is at least 1, classes at least 2 (background included), dropout 0 to below 1."
            )


class ConvPair(nn.Module):
    """Two valid 3x3 convolutions, each followed by its norm (if any) and ReLU; 4 pixels smaller."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        batch = norm == "batch"
        self.conv1 = nn.Conv2d(inputs, outputs, 3, bias=not batch)
        self.norm1 = nn.BatchNorm2d(outputs) if batch else nn.Identity()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, bias=not batch)
        self.norm2 = nn.BatchNorm2d(outputs) if batch else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(x)), inplace=True)


class UpLevel(nn.Module):
    """Doubles the map with half the channels, joins the cropped skip map, then a ConvPair."""

    def __init__(self, inputs: int, config: UNetConfig, crop: int) -> None:
        super().__init__()
        half = inputs // 2
        self.crop = crop
        self.concat = config.skip == "concat"
        self.up = nn.ConvTranspose2d(inputs, half, 2, stride=2)
        self.convs = ConvPair(inputs if self.concat else half, half, config.norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        skip = skip[:, :, self.crop : -self.crop, self.crop : -self.crop]
        joined: Tensor = self.convs(torch.cat((skip, x), 1) if self.concat else skip + x)
        return joined


def crops(depth: int) -> tuple[int, ...]:
    """Pixels to cut from each side of the skip map, first level first; paper: (88, 40, 16, 4).

    From the bottom up: what a level's skip is too large by is twice what the level below lost,
    its own excess plus four pixels in each of its two pairs of convolutions.
    """
    excess, found = 0, []
    for level in range(depth - 2, -1, -1):
        excess = 2 * (excess + (4 if level == depth - 2 else 8))
        found.append(excess // 2)
    return tuple(reversed(found))


class UNet(nn.Module):
    """Scores for every pixel that is one halo away from the edge of the input.

    Modules: `down.0..depth-1` (the last one is the bottom), `up.0..depth-2` (deepest first), `head`, and
    `coarse.0..depth-3` (finest first) where the coarser levels of the decoder have heads of their own.
    """

    def __init__(self, config: UNetConfig, coarse_heads: bool = False) -> None:
        """coarse_heads: for deep supervision in training; what is served has none."""
        super().__init__()
        self.config = config
        widths = [config.base * 2**level for level in range(config.depth)]
        inputs = [config.channels, *widths[:-1]]
        self.down = nn.ModuleList(ConvPair(i, o, config.norm) for i, o in zip(inputs, widths, strict=True))
        self.dropout = nn.Dropout(config.dropout)
        cut = crops(config.depth)
        self.up = nn.ModuleList(
            UpLevel(widths[n + 1], config, cut[n]) for n in reversed(range(config.depth - 1))
        )
        self.head = nn.Conv2d(config.base, config.classes, 1)
        supervised = widths[1:-1] if coarse_heads else []
        self.coarse = nn.ModuleList(nn.Conv2d(width, config.classes, 1) for width in supervised)
        self.init_weights()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes, h - 2 halo, w - 2 halo) of a normalised float picture (N, C, h, w).

        h and w must be legal sizes (4k at depth 3, 8k + 4 at 4, 16k + 12 at 5); see `check_size`.
        """
        return self.levels(x)[0]

    def levels(self, x: Tensor) -> list[Tensor]:
        """The logits of `forward`, then those of each coarse head, the finest of them first.

        A level n below the output has cells of 2^n x 2^n pixels and reaches 2 (2^n - 1) pixels beyond the
        output on each side: without its two outermost rows and columns it is the output without its
        two outermost pixels.
        """
        skips: list[Tensor] = []
        for level, convs in enumerate(self.down):
            if level:
                skips.append(x)
                x = F.max_pool2d(x, 2)
            x = convs(x)
        x = self.dropout(x)
        heads, found = [self.head, *self.coarse], []
        for level, up in zip(reversed(range(len(self.up))), self.up, strict=True):
            x = up(x, skips.pop())
            if level < len(heads):
                found.append(heads[level](x))
        return found[::-1]

    def init_weights(self) -> None:
        """Draw every weight with standard deviation sqrt(2/N), N = fan-in of one neuron; biases 0.

        Uses torch's global generator: seed it first. A 2x2 up-convolution of stride 2 gives each
        neuron one pixel of every input channel, so its N is the number of input channels.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
            elif isinstance(module, nn.ConvTranspose2d):
                fan_in = module.in_channels
            else:
                continue
            nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_in))
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def fold(self) -> UNet:
        """The same network in evaluation mode without batch norm, its scale and shift in the convolutions.

        Coarse heads are left out.
        """
        folded = UNet(replace(self.config, norm="none"))
        source = {k: v for k, v in without_coarse(self.state_dict()).items() if ".norm" not in k}
        for name, module in self.named_modules():
            if isinstance(module, ConvPair) and self.config.norm == "batch":
                for which in ("1", "2"):
                    weight, bias = _fold(getattr(module, "conv" + which), getattr(module, "norm" + which))
                    source[f"{name}.conv{which}.weight"] = weight
                    source[f"{name}.conv{which}.bias"] = bias
        folded.load_state_dict(source)
        return folded.eval()


def coarse_only(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the coarse heads."""
    return {name: value for name, value in state.items() if name.startswith(COARSE)}


def without_coarse(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's weights but for its coarse heads: what is served."""
    return {name: value for name, value in state.items() if not name.startswith(COARSE)}


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None and norm.running_var is not None
    # In double, so that folding itself stays below float32's last digit.
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    weight = conv.weight.double() * scale[:, None, None, None]
    bias = norm.bias.double() - norm.running_mean.double() * scale
    return weight.detach().float(), bias.detach().float()


def check_size(config: UNetConfig, height: int, width: int) -> None:
    """Raises ShapeMismatch when a picture of this size does not pool evenly down to the bottom."""
    for name, size in (("height", height), ("width", width)):
        left = size
        for _ in range(config.depth - 1):
            if left - 4 < 2 or (left - 4) % 2:
                raise ShapeMismatch(f"An input {name} of {size} px is not legal at depth {config.depth}.")
            left = (left - 4) // 2
        if left - 4 < 1:
            raise ShapeMismatch(f"An input {name} of {size} px is too small for depth {config.depth}.")
