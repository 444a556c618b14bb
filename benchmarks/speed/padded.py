"""The same weights with padding 1, output as large as input: the form in which other tools are used.

Inside a picture it computes what the line's network computes, with pools that may begin elsewhere;
it has no halo, so that it needs fewer operations for a frame. That is to the advantage of the others.
"""

from __future__ import annotations

import copy
from pathlib import Path

import openvino as ov
import torch
from torch import Tensor, nn

from trainer.unet import UNet, UpLevel


class PaddedUNet(nn.Module):
    """Scores (n, classes, h, w) of a normalised picture (n, C, h, w); sides are multiples of the grid."""

    def __init__(self, net: UNet) -> None:
        super().__init__()
        same = copy.deepcopy(net.fold())
        for module in same.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                module.padding = (1, 1)
        self.down, self.up, self.head = same.down, same.up, same.head

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, convs in enumerate(self.down):
            if level:
                skips.append(x)
                x = nn.functional.max_pool2d(x, 2)
            x = convs(x)
        for up in self.up:
            assert isinstance(up, UpLevel)
            x = up.convs(torch.cat((skips.pop(), up.up(x)), 1))
        scores: Tensor = self.head(x)
        return scores


class _Probabilities(nn.Module):
    """Softmax of the scores of the first plane, for tools that hand over a gray picture as colour."""

    def __init__(self, net: PaddedUNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.net(x[:, :1]), 1)


def padded_openvino(net: UNet, channels: int, side: int, path: Path) -> Path:
    """The padded network as OpenVINO's own file: float (1, channels, side, side) -> probabilities.

    channels: 1, or 3 of which the first counts. The file is written as OpenVINO's users write it.
    """
    example = torch.zeros(1, channels, 64, 64)
    shape = ov.PartialShape([1, channels, side, side])
    model = ov.convert_model(_Probabilities(PaddedUNet(net).eval()), example_input=example, input=[shape])
    ov.save_model(model, path)
    return path
