"""The network's weights, read back from a package's release graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inspector.engine.quantised import require_float
from inspector.errors import PackageError, UsageError

if TYPE_CHECKING:
    from inspector.package import ModelPackage


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution or up-convolution as it stands in the graph."""

    weight: NDArray[np.float32]
    """(outputs, inputs, h, w); of an up-convolution (inputs, outputs, h, w)."""
    bias: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class UNetWeights:
    """All convolutions of a U-Net, in the order of computation."""

    down: tuple[tuple[Convolution, Convolution], ...]
    """The two of each level, the bottom last."""
    up: tuple[tuple[Convolution, Convolution, Convolution], ...]
    """Up-convolution and the two after it, deepest first."""
    head: Convolution
    concat: bool
    """Whether the skip map is joined by concatenation, else by addition."""

    def in_order(self) -> list[Convolution]:
        """The same convolutions in one list, as the graph computes them."""
        return [one for level in (*self.down, *self.up) for one in level] + [self.head]


def unet_weights(package: ModelPackage) -> UNetWeights:
    """The weights of the package's graph as float32, which holds the graph's own half exactly.

    Convolutions are matched by their order in the graph, which is the order of computation.
    Raises UsageError when the `onnx` library is not installed, PackageError when the graph is not
    the network that its manifest describes.
    """
    require_float(package, "torch")
    try:
        import onnx
    except ImportError as error:
        raise UsageError(
            f"The package's weights are read with onnx, which cannot be imported ({error});"
            " install it with `pip install onnx`."
        ) from error
    found = convolutions(onnx.load(str(package.onnx)).graph)
    shapes = [one.weight.shape for one in found]
    for concat in (True, False):
        if shapes == expected_shapes(package, concat):
            down_count = 2 * package.manifest.depth
            down, up = found[:down_count], found[down_count:-1]
            return UNetWeights(
                down=tuple((down[n], down[n + 1]) for n in range(0, len(down), 2)),
                up=tuple((up[n], up[n + 1], up[n + 2]) for n in range(0, len(up), 3)),
                head=found[-1],
                concat=concat,
            )
    raise PackageError(
        f"{package.onnx} holds {len(found)} convolutions that are not those of a U-Net of depth"
        f" {package.manifest.depth} and base {package.manifest.base}; export it again with `trainer export`."
    )


def expected_shapes(package: ModelPackage, concat: bool) -> list[tuple[int, ...]]:
    """Weight shapes of the manifest's network, in the order of computation."""
    manifest = package.manifest
    widths = [manifest.base << level for level in range(manifest.depth)]
    shapes: list[tuple[int, ...]] = []
    for inputs, width in zip([manifest.channels, *widths], widths, strict=False):
        shapes += [(width, inputs, 3, 3), (width, width, 3, 3)]
    for width in reversed(widths[:-1]):
        joined = 2 * width if concat else width
        shapes += [(2 * width, width, 2, 2), (width, joined, 3, 3), (width, width, 3, 3)]
    return [*shapes, (len(manifest.classes) + 1, manifest.base, 1, 1)]


def convolutions(graph: Any) -> list[Convolution]:
    """Every convolution and up-convolution of an ONNX GraphProto, in the graph's order.

    A bias that was left out of the graph is zero.
    """
    from onnx import numpy_helper

    arrays = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            arrays[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type in ("Cast", "Identity") and node.input[0] in arrays:
            arrays[node.output[0]] = arrays[node.input[0]]
        elif node.op_type in ("Conv", "ConvTranspose") and node.input[1] in arrays:
            weight = np.asarray(arrays[node.input[1]], np.float32)
            outputs = weight.shape[1 if node.op_type == "ConvTranspose" else 0]
            bias = arrays[node.input[2]] if len(node.input) > 2 else np.zeros(outputs)
            found.append(Convolution(weight, np.asarray(bias, np.float32)))
    return found
