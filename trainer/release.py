"""The release graph: a trained network as the ONNX file that every engine compiles.

    image uint8 (n, h, w, channels) -> Cast -> float32 normalise -> fp16 network -> float32 softmax
    prob_f32 float32 (n, 1 + K, oh, ow)   the softmax, background first
    prob     uint8 (n, oh, ow, K)         Round(255 p) of the defect classes; its Cast is the last node

Batch, height and width are dynamic; a legal height is grid * k + rest, as in `inspector.tiling`.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from inspector.tiling import Geometry
from trainer.unet import UNet

INPUT, PROB, PROB_F32 = "image", "prob", "prob_f32"
LARGEST_SIDE_PX, LARGEST_BATCH = 1 << 15, 64


class ReleaseGraph(nn.Module):
    """Pictures in, probabilities out; the network between them as it is handed over."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: UNet, normalisation: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
        super().__init__()
        self.net = net
        for name, values in zip(("mean", "std"), normalisation, strict=True):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(prob, prob_f32) of uint8 pictures (n, h, w, channels)."""
        # Cast first: TensorRT knows uint8 only at the graph's two ends.
        x = image.to(torch.float32).permute(0, 3, 1, 2)
        x = ((x - self.mean) / self.std).to(self.net.head.weight.dtype)
        prob_f32 = torch.softmax(self.net(x).float(), dim=1)
        prob = torch.round(prob_f32[:, 1:].permute(0, 2, 3, 1) * 255.0).to(torch.uint8)
        return prob, prob_f32


def released(net: UNet) -> UNet:
    """The float32 network that is measured and served: batch norm folded, weights rounded to half.

    Rounding the weights once, before anything is measured, leaves engines only the arithmetic to
    differ in. The first convolution's become bfloat16, which half holds too: it reads gray values
    of 100 and more to find a scratch of 3, so there, and only there, an engine that rounds the
    weights itself changed probabilities by 0.1 to 0.4.
    `net` stays as it is. A weight beyond half becomes infinite; export refuses it.
    """
    folded = net.fold()
    with torch.no_grad():
        first = folded.get_parameter("down.0.conv1.weight")
        first.copy_(bfloat16_keeping_sums(first))
        for parameter in folded.parameters():
            parameter.copy_(parameter.half().float())
    return folded


def bfloat16_keeping_sums(kernels: Tensor) -> Tensor:
    """float32 kernels (outputs, inputs, h, w) rounded to bfloat16, each with the sum that it had.

    What a tap loses in rounding the next smaller one takes on, so that the answer to an even
    surface stays as it was to within the rounding of the smallest tap.
    """
    taps = kernels.detach().flatten(2)
    order = taps.abs().argsort(dim=2, descending=True)
    wanted = taps.gather(2, order)
    rounded = torch.empty_like(wanted)
    owed = torch.zeros_like(wanted[..., 0])
    for tap in range(wanted.shape[2]):
        owed = owed + wanted[..., tap]
        rounded[..., tap] = owed.to(torch.bfloat16).float()
        owed = owed - rounded[..., tap]
    return torch.empty_like(taps).scatter_(2, order, rounded).reshape(kernels.shape)


def release_graph(net: UNet, normalisation: tuple[tuple[float, ...], tuple[float, ...]]) -> ReleaseGraph:
    """The released network in half precision; `net` stays as it is."""
    return ReleaseGraph(copy.deepcopy(released(net)).half(), normalisation).eval()


def to_onnx(graph: ReleaseGraph) -> bytes:
    """The release graph as an ONNX file, checked by the ONNX checker.

    Initialisers keep the names of the network's state after `net.`, for example
    `net.down.0.conv1.weight`; a bias that is zero everywhere may be left out.
    """
    geometry = Geometry(graph.net.config.depth)
    smallest = geometry.input(geometry.output_at_least(1))
    rest = smallest % geometry.grid
    height, width = _side("kh", geometry.grid, rest, smallest), _side("kw", geometry.grid, rest, smallest)
    # An example of batch 1 or of equal sides would be frozen into the graph.
    side = geometry.input(geometry.output_at_least(2 * geometry.grid))
    example = torch.zeros(2, side, side + geometry.grid, graph.net.config.channels, dtype=torch.uint8)
    with _quiet_exporter():
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=[INPUT],
            output_names=[PROB, PROB_F32],
            dynamic_shapes={INPUT: {0: Dim("n", min=1, max=LARGEST_BATCH), 1: height, 2: width}},
        )
    assert program is not None  # only the TorchScript exporter returns None
    model = program.model_proto
    _forget_the_making(model)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def _forget_the_making(model: onnx.ModelProto) -> None:
    """Take out what the exporter notes of itself: stack traces with the paths of the machine that trained."""
    for part in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.initializer):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")


def _side(name: str, grid: int, rest: int, smallest: int) -> Dim:
    """A legal side: grid * name + rest, from the smallest legal size up."""
    side = grid * Dim(name, min=smallest // grid, max=LARGEST_SIDE_PX // grid)
    return side + rest if rest else side


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep back what torch 2.13's exporter says of itself and not of the graph."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")

    def not_torchvision(record: logging.LogRecord) -> bool:
        return "torchvision is not installed" not in record.getMessage()

    registration.addFilter(not_torchvision)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning
            )
            yield
    finally:
        registration.removeFilter(not_torchvision)
