"""The network as a release graph: the ONNX file of a package, without torch.

image uint8 (n, h, w, 1) -> Cast -> float32 normalise -> fp16 network -> float32 softmax `prob_f32`
prob  uint8 (n, oh, ow, K) = Round(255 p) of the defect classes; its Cast is the last node
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.qualify.network import MEAN, STD, Network, Weights
from inspector.errors import UsageError

_OPSET = 18


def release_onnx(network: Network) -> bytes:
    """The file's bytes, its batch, height and width dynamic. Raises UsageError without the onnx library."""
    try:
        from onnx import TensorProto, checker, helper
    except ImportError as error:
        raise UsageError(
            f"A network is written with onnx, which cannot be imported ({error}); install it with"
            " `pip install onnx`, or name packages with --model."
        ) from error
    graph = _Graph()
    x = graph.node("Cast", ["image"], to=TensorProto.FLOAT)
    x = graph.node("Transpose", [x], perm=[0, 3, 1, 2])
    x = graph.node("Sub", [x, graph.constant(np.full((1, 1, 1, 1), MEAN, np.float32))])
    x = graph.node("Div", [x, graph.constant(np.full((1, 1, 1, 1), STD, np.float32))])
    x = graph.body(network, graph.node("Cast", [x], to=TensorProto.FLOAT16))
    x = graph.node("Cast", [x], to=TensorProto.FLOAT)
    probs = graph.node("Softmax", [x], output="prob_f32", axis=1)
    x = graph.node("Slice", [probs, *graph.integers([1], [1 << 30], [1])])
    x = graph.node("Transpose", [x], perm=[0, 2, 3, 1])
    x = graph.node("Round", [graph.node("Mul", [x, graph.constant(np.array(255.0, np.float32))])])
    graph.node("Cast", [x], output="prob", to=TensorProto.UINT8)
    planes = len(network.bias)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "network",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 1])],
            [
                helper.make_tensor_value_info("prob", TensorProto.UINT8, ["n", "oh", "ow", planes - 1]),
                helper.make_tensor_value_info("prob_f32", TensorProto.FLOAT, ["n", planes, "oh", "ow"]),
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=10,
    )
    checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


class _Graph:
    """Nodes and constants in the order in which they were named."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def integers(self, *values: list[int]) -> list[str]:
        return [self.constant(np.array(one, np.int64)) for one in values]

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"x{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, inputs, [output], name=f"{kind}{len(self.nodes)}", **attributes)
        )
        return output

    def body(self, network: Network, x: str) -> str:
        """The U-Net in half precision: scores of every plane."""
        skips: list[str] = []
        for level, pair in enumerate(network.down):
            if level:
                skips.append(x)
                x = self.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
            x = self._both(x, pair)
        crop = _crops(network.depth)
        for level, (lift, first, second) in zip(reversed(range(network.depth - 1)), network.up, strict=True):
            inputs = [x, self.constant(lift.astype(np.float16))]
            x = self.node("ConvTranspose", inputs, kernel_shape=[2, 2], strides=[2, 2])
            cut = crop[level]
            skip = self.node("Slice", [skips.pop(), *self.integers([cut, cut], [-cut, -cut], [2, 3])])
            x = self._both(self.node("Concat", [skip, x], axis=1), (first, second))
        head = network.head[:, :, None, None].astype(np.float16)
        inputs = [x, self.constant(head), self.constant(network.bias.astype(np.float16))]
        return self.node("Conv", inputs, kernel_shape=[1, 1])

    def _both(self, x: str, pair: tuple[Weights, Weights]) -> str:
        for kernel in pair:
            weights = self.constant(kernel.astype(np.float16))
            x = self.node("Relu", [self.node("Conv", [x, weights], kernel_shape=[3, 3])])
        return x


def _crops(depth: int) -> list[int]:
    """What the skip of each level is too large by on each side: twice what the level below lost."""
    found, excess = [0] * (depth - 1), 0
    for level in reversed(range(depth - 1)):
        excess = 2 * (excess + (4 if level == depth - 2 else 8))
        found[level] = excess // 2
    return found
