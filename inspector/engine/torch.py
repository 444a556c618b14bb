"""The torch engine: the float32 reference on a CPU, and half precision on an NVIDIA GPU.

The network is built from the package's own graph, so it needs no file beside the package. On a
GPU it runs in fp16 with channels last, by `inspector.engine.torch_cuda`. Imported only when it is
asked for: the line needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.engine.onnx_weights import Convolution, UNetWeights, unet_weights
from inspector.engine.openvino import cpu_name
from inspector.engine.protocol import EngineInfo
from inspector.engine.torch_cuda import CudaLoop, Network, device_errors
from inspector.errors import EngineError, GpuMissing, UsageError
from inspector.package import ModelPackage, Normalisation, load_package
from inspector.types import Image, ProbMap

_DTYPES = {"f32": torch.float32, "fp16": torch.float16}
_SHARE_OF_MEMORY = 0.6
# Maps of `base` channels at full size that live at once on a GPU, work space of cuDNN included.
_GPU_MAPS = 8
_MOST_ITEMS = 1 << 31  # of one map: cuDNN counts in 32 bits


@dataclass(frozen=True, slots=True)
class TorchOptions:
    """How the network is run."""

    precision: str = "auto"
    """f32 or fp16; `auto` is fp16 on a GPU and f32 on a CPU."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` is the first GPU that CUDA shows, and the CPU where there is none."""
    threads: int = 0
    """Threads of the CPU, for the whole process; 0 = as torch finds best."""
    graphs: bool = False
    """On a GPU: replay CUDA graphs, after a test that they change nothing."""


class ReleaseNetwork(nn.Module):
    """The package's U-Net with the arithmetic of its release graph around it.

    Sixteen-bit weights, held as `dtype`; normalisation and softmax are float32 whatever it is.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: UNetWeights, normalisation: Normalisation, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.concat = dtype, weights.concat
        self.down = nn.ModuleList(_layer(one, dtype) for pair in weights.down for one in pair)
        self.up = nn.ModuleList(_layer(one, dtype) for level in weights.up for one in level)
        self.head = _layer(weights.head, dtype)
        for name, values in (("mean", normalisation.mean), ("std", normalisation.std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(probabilities uint8 (n, oh, ow, K), whether all were finite as bool ()) of uint8 (n, h, w, c)."""
        x = image.permute(0, 3, 1, 2).to(torch.float32)
        x = ((x - self.mean) / self.std).to(self.dtype)
        prob = torch.softmax(self._scores(x).to(torch.float32), dim=1)
        levels = torch.round(prob[:, 1:] * 255.0).to(torch.uint8)
        return levels.permute(0, 2, 3, 1).contiguous(), torch.isfinite(prob.sum())

    def _scores(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for n in range(0, len(self.down), 2):
            if n:
                skips.append(x)
                x = F.max_pool2d(x, 2)
            x = F.relu_(self.down[n + 1](F.relu_(self.down[n](x))))
        for n in range(0, len(self.up), 3):
            x = self.up[n](x)
            x = self._join(skips.pop(), x)
            x = F.relu_(self.up[n + 2](F.relu_(self.up[n + 1](x))))
        scores: Tensor = self.head(x)
        return scores

    def _join(self, skip: Tensor, x: Tensor) -> Tensor:
        top, left = ((skip.shape[axis] - x.shape[axis]) // 2 for axis in (2, 3))
        skip = skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        return torch.cat((skip, x), 1) if self.concat else skip + x


class TorchEngine:
    """The package's network in torch. Used by one thread."""

    def __init__(self, package: ModelPackage, tile: tuple[int, int], options: TorchOptions) -> None:
        """Raises ShapeMismatch for an illegal tile, GpuMissing where CUDA was asked for and is not
        there, UsageError for a precision that torch does not run here or without the `onnx`
        library, PackageError for a graph that is no U-Net, EngineError when the device fails."""
        out = tuple(package.geometry.output(size) for size in tile)
        device = chosen_device(options)
        precision = _precision(options, device)
        if options.threads and device.type == "cpu":
            torch.set_num_threads(options.threads)
        network = ReleaseNetwork(unet_weights(package), package.manifest.normalisation, _DTYPES[precision])
        shapes = (1, *tile, package.manifest.channels), (1, *out, len(package.classes))
        note, self.in_flight = "", 1
        self._loop: CpuLoop | CudaLoop | None
        if device.type == "cuda":
            with device_errors(device, tile):
                served: Network = network.to(device=device)
                self._loop = CudaLoop(served, shapes, device, options.graphs)
            note = self._loop.note
            self.in_flight = self._loop.in_flight
        else:
            self._loop = CpuLoop(network, shapes)
        layers = sum(isinstance(one, nn.Conv2d | nn.ConvTranspose2d) for one in network.modules())
        self.info = EngineInfo(
            name="torch",
            version=_version(device),
            precision=precision,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
            package=package.id,
            certificate="none",
            tile=tile,
            layers={precision: layers},
            note=note,
        )

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        """See Engine.run. On a GPU the next tile is cut and copied while this one is computed."""
        if self._loop is None:
            raise EngineError("The engine was closed; open it again.")
        self._loop.run(_checked(tiles, self.info.tile), deliver)

    def close(self) -> None:
        """See Engine.close."""
        if isinstance(self._loop, CudaLoop):
            self._loop.close()
        self._loop = None


class CpuLoop:
    """One tile after the other, with all threads on each."""

    def __init__(self, network: Network, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        self._network = network
        self._input = torch.empty(shapes[0], dtype=torch.uint8)

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        """See Engine.run."""
        into = self._input.numpy()
        for index, tile in enumerate(tiles):
            np.copyto(into, tile.reshape(into.shape))
            try:
                with torch.inference_mode():
                    levels, finite = self._network(self._input)
            except RuntimeError as error:
                raise EngineError(
                    f"torch failed on tile {index} ({str(error).splitlines()[0]}); where memory is short,"
                    " set model.tile to a smaller input size."
                ) from error
            if not finite:
                raise EngineError(f"torch returned nonsense on tile {index}: values that are not finite.")
            deliver(index, levels[0].numpy())


def open_described(description: dict[str, Any]) -> TorchEngine:
    """A TorchEngine from what a message can carry: package (path), tile, options (of TorchOptions).

    For `inspector.engine.process`: after a fault CUDA works only in a fresh process.
    """
    height, width = description["tile"]
    package = load_package(Path(description["package"]))
    return TorchEngine(package, (height, width), TorchOptions(**description["options"]))


def chosen_device(options: TorchOptions) -> torch.device:
    """The device of these options. Raises GpuMissing where CUDA was asked for and cannot be used."""
    if options.device == "cpu" or (options.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = f"was built for CUDA {torch.version.cuda}" if torch.version.cuda else "was built without CUDA"
        raise GpuMissing(
            f"torch {torch.__version__} {built} and finds no NVIDIA GPU; look with `nvidia-smi`, and"
            " install a build of torch for your driver's CUDA."
        )
    return torch.device("cuda", 0)


def largest_tile_px(package: ModelPackage) -> int | None:
    """Input pixels of the largest tile that the GPU's memory should hold; None where there is no GPU.

    Asks for the memory that the card has and takes none: the engine opens in another process.
    """
    if not torch.cuda.is_available():
        return None
    total = 0
    with suppress(RuntimeError):  # a card that does not answer is found out, and named, at opening
        total = torch.cuda.get_device_properties(0).total_memory
    base, planes = package.manifest.base, len(package.classes) + 1
    bytes_per_px = 2 * _GPU_MAPS * base + 12 * planes
    return min(int(_SHARE_OF_MEMORY * total / bytes_per_px), (_MOST_ITEMS - 1) // (2 * base))


def _layer(one: Convolution, dtype: torch.dtype) -> nn.Conv2d | nn.ConvTranspose2d:
    """A convolution, or the up-convolution by two that a 2x2 kernel is."""
    kernel = one.weight.shape[2]
    kind, stride = (nn.ConvTranspose2d, 2) if kernel == 2 else (nn.Conv2d, 1)
    inputs, outputs = one.weight.shape[:2] if kernel == 2 else one.weight.shape[1::-1]
    layer = kind(inputs, outputs, kernel, stride=stride, device="meta")  # nothing drawn that is not used
    weight = torch.from_numpy(one.weight).to(dtype).contiguous(memory_format=torch.channels_last)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = nn.Parameter(torch.from_numpy(one.bias).to(dtype), requires_grad=False)
    return layer


def _precision(options: TorchOptions, device: torch.device) -> str:
    if options.precision == "auto":
        return "fp16" if device.type == "cuda" else "f32"
    if options.precision not in _DTYPES:
        raise UsageError(
            f'The torch engine does not run {options.precision}; set model.precision to "f32" or "fp16".'
        )
    return options.precision


def _version(device: torch.device) -> str:
    """torch's version; on a GPU also cuDNN's, which decides how a convolution is computed."""
    if device.type == "cpu":
        return str(torch.__version__)
    cudnn: Any = torch.backends.cudnn
    return f"{torch.__version__} cudnn {cudnn.version()}"


def _checked(tiles: Iterable[Image], size: tuple[int, int]) -> Iterable[Image]:
    for tile in tiles:
        if tile.shape[:2] != size:
            raise EngineError(
                f"A tile of {tile.shape[:2]} came to an engine for {size}; open it for this plan."
            )
        yield tile
