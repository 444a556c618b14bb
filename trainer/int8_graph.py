"""The release graph in 8 bits: as torch computes it for the golden tiles, and as the ONNX file.

    image uint8 (n, h, w, channels) -> convolutions of whole numbers, rounded to 0 to 255 between
    two layers -> float32 scores -> float32 softmax -> outputs as in `trainer.release`

Normalisation lies in the first layer's scale and bias, ReLU in the rounding, which cuts off below 0.
OpenVINO computes each such convolution in whole numbers and rounds as it writes. Sums of whole
numbers are exact in any order, so engines differ only where a result lies on a half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from trainer.eight_bits import Layer, nearest
from trainer.release import INPUT, PROB, PROB_F32
from trainer.unet import UNetConfig, crops

OPSET, IR_VERSION = 18, 10
_FAR = 1 << 31


class EightBitGraph(nn.Module):
    """Pictures in, probabilities out, in float32 on whole numbers."""

    def __init__(self, layers: Sequence[Layer], config: UNetConfig) -> None:
        """layers: of `layers_in_8_bits`, from a network of this config."""
        super().__init__()
        self.layers, self.config = tuple(layers), config

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(prob, prob_f32) of uint8 pictures (n, h, w, channels), as ReleaseGraph gives them."""
        coming = iter(self.layers)
        x, skips = image.permute(0, 3, 1, 2).float(), list[Tensor]()
        for level in range(self.config.depth):
            if level:
                skips.append(x)
                x = F.max_pool2d(x, 2)
            x = _pair(x, coming)
        for crop in reversed(crops(self.config.depth)):
            skip = skips.pop()[:, :, crop:-crop, crop:-crop]
            x = _pair(torch.cat((skip, nearest(next(coming).answer(x))), 1), coming)
        prob_f32 = torch.softmax(next(coming).answer(x), 1)
        prob = torch.round(prob_f32[:, 1:].permute(0, 2, 3, 1) * 255.0).to(torch.uint8)
        return prob, prob_f32


def _pair(x: Tensor, coming: Iterator[Layer]) -> Tensor:
    for _ in range(2):
        x = nearest(next(coming).answer(x))
    return x


def int8_onnx(graph: EightBitGraph) -> bytes:
    """The graph as an ONNX file, checked by the ONNX checker; batch, height and width are dynamic.

    Whole numbers are written as ONNX writes them, each result as QuantizeLinear and DequantizeLinear
    with scale 1, each weight as stored int8 and DequantizeLinear with the layer's scale.
    """
    made = _Nodes()
    # Not a Cast: so OpenVINO knows the picture for whole numbers as well.
    x = made.add("Transpose", made.add("DequantizeLinear", INPUT, *made.levels), perm=[0, 3, 1, 2])
    coming, skips = iter(graph.layers), list[str]()
    for level in range(graph.config.depth):
        if level:
            skips.append(x)
            x = made.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        x = made.pair(x, coming)
    for crop in reversed(crops(graph.config.depth)):
        skip = made.part(skips.pop(), (crop, crop), (-crop, -crop), (2, 3))
        x = made.pair(made.add("Concat", skip, made.rounded(x, next(coming)), axis=1), coming)
    made.add("Softmax", made.answer(x, next(coming)), result=PROB_F32, axis=1)
    defects = made.add("Transpose", made.part(PROB_F32, (1,), (_FAR,), (1,)), perm=[0, 2, 3, 1])
    levels = made.add("Round", made.add("Mul", defects, made.constant(np.float32(255))))
    made.add("Cast", levels, result=PROB, to=TensorProto.UINT8)
    return made.model(graph.config)


class _Nodes:
    """An ONNX graph that grows node by node; tensors go by their names."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self.levels = self.constant(np.float32(1)), self.constant(np.uint8(0))
        """Scale and zero of every map."""

    def constant(self, value: NDArray[np.generic] | np.generic) -> str:
        name = f"constant_{len(self._constants)}"
        array = np.ascontiguousarray(value).reshape(value.shape)
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, kind: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        name = result or f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def answer(self, x: str, layer: Layer) -> str:
        """A layer's answers in floating point."""
        outputs = len(layer.scale)
        weight = self.add(
            "DequantizeLinear",
            self.constant(layer.weight.numpy()),
            self.constant(layer.scale.numpy()),
            self.constant(np.zeros(outputs, np.int8)),
            axis=1 if layer.up else 0,
        )
        bias = self.constant(layer.bias.numpy())
        if layer.up:
            return self.add("ConvTranspose", x, weight, bias, strides=[2, 2])
        return self.add("Conv", x, weight, bias)

    def rounded(self, x: str, layer: Layer) -> str:
        """The same as whole numbers of 0 to 255."""
        return self.add(
            "DequantizeLinear", self.add("QuantizeLinear", self.answer(x, layer), *self.levels), *self.levels
        )

    def pair(self, x: str, coming: Iterator[Layer]) -> str:
        for _ in range(2):
            x = self.rounded(x, next(coming))
        return x

    def part(self, x: str, start: Sequence[int], stop: Sequence[int], axes: Sequence[int]) -> str:
        """A slice, negative ends counted from the far side."""
        return self.add("Slice", x, *(self.constant(np.array(each)) for each in (start, stop, axes)))

    def model(self, config: UNetConfig) -> bytes:
        """Checked and serialised."""
        picture = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", "h", "w", config.channels])
        prob: list[str | int | None] = ["n", "oh", "ow", config.classes - 1]
        outputs = [
            helper.make_tensor_value_info(PROB, TensorProto.UINT8, prob),
            helper.make_tensor_value_info(PROB_F32, TensorProto.FLOAT, ["n", config.classes, "oh", "ow"]),
        ]
        graph = helper.make_graph(self._nodes, "int8", [picture], outputs, self._constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString()
        return data
