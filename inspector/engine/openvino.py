"""The engine on the CPU: OpenVINO on the release graph, compiled for one tile size."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from inspector.engine.cpu import cpu_has_bf16, cpu_has_vnni, cpu_name, openvino_version
from inspector.engine.graph import (
    CompileOptions,
    compile_graph,
    executed_layers,
    executed_precision,
    first_line,
)
from inspector.engine.protocol import EngineInfo
from inspector.engine.quantised import quantisation
from inspector.errors import EngineError, UsageError
from inspector.package import ModelPackage
from inspector.types import Image, ProbMap

_LOG = logging.getLogger(__name__)

_IN_FLIGHT = 2  # one computes, the next one waits ready: the processor never idles between tiles


class OpenVinoEngine:
    """The package's graph on the CPU. Used by one thread."""

    def __init__(
        self,
        package: ModelPackage,
        tile: tuple[int, int],
        options: CompileOptions,
    ) -> None:
        """Raises ShapeMismatch for an illegal tile, UsageError for a precision that the package or the
        processor does not have, EngineError when OpenVINO fails.
        """
        self._out = tuple(package.geometry.output(size) for size in tile)
        if options.precision == "bf16" and not cpu_has_bf16():
            raise UsageError(f'{cpu_name()} does not compute bf16; set model.precision to "auto" or "f32".')
        note = _int8_note(package, options.precision) or exact_note(options.exact)
        compiled = compile_graph(package.onnx, tile, options)
        self._expected = (1, *self._out, len(package.classes))
        if tuple(compiled.output(0).shape) != self._expected:
            raise EngineError(
                f"The graph of {package.path} gives {tuple(compiled.output(0).shape)} instead of"
                f" {self._expected}; export the package again."
            )
        at_once = min(options.at_once, int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))
        self._requests = [compiled.create_infer_request() for _ in range(max(_IN_FLIGHT, at_once + 1))]
        self.compiled: ov.CompiledModel | None = compiled
        self.info = EngineInfo(
            name="openvino",
            version=openvino_version(),
            precision=executed_precision(compiled),
            device=cpu_name(),
            package=package.id,
            certificate="none",
            tile=tile,
            layers=executed_layers(compiled),
            note=note,
        )

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        """See Engine.run. The next tile is cut while this one is computed."""
        if self.compiled is None:
            raise EngineError("The engine was closed; open it again.")
        free = list(self._requests)
        busy: deque[tuple[int, ov.InferRequest]] = deque()
        try:
            for index, tile in enumerate(tiles):
                if not free:
                    free.append(_finish(*busy[0], deliver))
                    busy.popleft()
                request = free.pop()
                _start(request, tile, self.info.tile)
                busy.append((index, request))
            while busy:
                _finish(*busy[0], deliver)
                busy.popleft()
        finally:
            _abandon(request for _, request in busy)

    def close(self) -> None:
        """See Engine.close."""
        self._requests = []
        self.compiled = None


def _int8_note(package: ModelPackage, precision: str) -> str:
    """What is to be said of an int8 package, without VNNI also that, aloud; empty for floating point.

    Raises UsageError where the package does not compute in this precision.
    """
    made = quantisation(package)
    if made is None and precision == "int8":
        raise UsageError(
            f"{package.path} is in floating point; make an int8 package of it with `{int8_command(package)}`"
            ' and serve that, or set model.precision = "auto" in line.toml.'
        )
    if made is None:
        return ""
    if precision != "int8":
        raise UsageError(
            f"{package.path} is an int8 package and does not compute in {precision}; set model.precision ="
            f' "auto" in line.toml, or serve the package that it was made from, {made.source[:12]}.'
        )
    if cpu_has_vnni():
        return made.note
    _LOG.warning(
        "%s has no VNNI: int8 runs in pairs of 16 bits, hardly faster than f32; compare with"
        " `inspector bench`.", cpu_name(),
    )  # fmt: skip
    return f"{made.note}, without VNNI"


def int8_command(package: ModelPackage) -> str:
    """What to type to make an int8 package of one in floating point."""
    return f"trainer export {package.path} --int8 DATA --out PACKAGE"


def exact_note(layers: int) -> str:
    """EngineInfo.note of an engine whose first convolutions are kept in f32."""
    if layers <= 1:
        return "first convolution in f32" if layers else ""
    return f"first {layers} convolutions in f32"


def _start(request: ov.InferRequest, tile: Image, size: tuple[int, int]) -> None:
    """Write the tile into the request's own input and let it run."""
    if tile.shape[:2] != size:
        raise EngineError(f"A tile of {tile.shape[:2]} came to an engine for {size}; open it for this plan.")
    try:
        into = request.get_input_tensor().data
        np.copyto(into, tile.reshape(into.shape))
        request.start_async()
    except (RuntimeError, ValueError) as error:
        raise EngineError(f"OpenVINO did not take a tile: {first_line(error)}") from error


def _finish(index: int, request: ov.InferRequest, deliver: Callable[[int, ProbMap], None]) -> ov.InferRequest:
    try:
        request.wait()
        probs: ProbMap = request.get_output_tensor(0).data
        check: NDArray[np.float32] = request.get_output_tensor(1).data
    except RuntimeError as error:
        raise EngineError(f"OpenVINO failed on tile {index}: {first_line(error)}") from error
    width = probs.shape[2]
    # False for NaN as well, and for a single pixel of a row of thousands whose sum is not 1 but 0.
    if not bool((np.abs(check.sum(axis=1) - width) < 1e-4 * width).all()):
        raise EngineError(
            f"OpenVINO returned nonsense on tile {index}: probabilities that do not sum to one."
        )
    deliver(index, probs[0])
    return request


def _abandon(requests: Iterable[ov.InferRequest]) -> None:
    """After a failure: nothing may still be writing when the caller reuses its buffers."""
    for request in requests:
        try:
            request.cancel()
            request.wait()
        except RuntimeError:
            continue  # a cancelled request reports just that


__all__ = [
    "CompileOptions",
    "OpenVinoEngine",
    "compile_graph",
    "cpu_has_bf16",
    "cpu_name",
    "executed_precision",
    "openvino_version",
]
