"""The engine on the CPU: OpenVINO on the release graph, compiled for one tile size."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13

from inspector.engine.protocol import EngineInfo
from inspector.errors import EngineError, UsageError
from inspector.package import ModelPackage
from inspector.types import Image, ProbMap

# In the order of coarseness; OpenVINO's element types on the left.
_PRECISIONS = {"f32": "f32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
_COARSENESS = ("f32", "bf16", "fp16", "int8")
_CHECK_STEP = 8
_IN_FLIGHT = 2  # one computes, the next one waits ready: the processor never idles between tiles


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How a graph is compiled."""

    precision: str = "f32"
    """f32 or bf16."""
    threads: int = 0
    """Threads that compute; 0 = as many as OpenVINO finds best."""
    cache: Path | None = None
    """Folder for compiled models, or None to compile each time."""


def openvino_version() -> str:
    """Version of the installed OpenVINO, without its build tag."""
    return str(ov.__version__).split("-")[0]


def cpu_name() -> str:
    """The processor as OpenVINO names it."""
    return str(ov.Core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


def cpu_has_bf16() -> bool:
    """Whether the processor computes bf16 itself (AVX-512 BF16 or AMX)."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compile_graph(
    onnx: Path, tile: tuple[int, int], options: CompileOptions, output: str = "prob"
) -> ov.CompiledModel:
    """The release graph for one tile of (height, width), with one output kept.

    output: `prob` for uint8 probabilities and, as a second output, every 8th pixel of the
    softmax as a check; `prob_f32` for the softmax alone. Raises EngineError when OpenVINO
    cannot read, reshape or compile it.
    """
    config: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": options.precision,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    if options.threads:
        config["INFERENCE_NUM_THREADS"] = options.threads
    if options.cache is not None:
        config["CACHE_DIR"] = str(options.cache)
    try:
        core = ov.Core()
        model = core.read_model(onnx)
        shape = model.input("image").partial_shape
        model.reshape({"image": ov.PartialShape([1, tile[0], tile[1], shape[3].get_length()])})
        softmax = model.output("prob_f32").get_node().input_value(0)
        for result in model.get_results():
            if output not in result.output(0).get_names():
                model.remove_result(result)
        if output == "prob":
            model.add_outputs([_sampled(softmax)])
        return core.compile_model(model, "CPU", config)
    except RuntimeError as error:
        raise EngineError(
            f"OpenVINO cannot compile {onnx} for a tile of {tile}: {_first_line(error)}"
        ) from error


def _sampled(softmax: ov.Output) -> ov.Output:
    """Every 8th pixel of (1, K + 1, h, w). A cast to uint8 turns NaN into 0, which would pass as good."""
    ends = np.zeros(4, np.int64)
    node = opset13.strided_slice(
        softmax, ends, ends, np.array([1, 1, _CHECK_STEP, _CHECK_STEP]), begin_mask=[1] * 4, end_mask=[1] * 4
    )
    return node.output(0)


def executed_precision(compiled: ov.CompiledModel) -> str:
    """f32, bf16, fp16 or int8: the coarsest in which a convolution of the compiled model really runs."""
    found = set()
    for node in compiled.get_runtime_model().get_ops():
        facts = node.get_rt_info()
        if "layerType" in facts and str(facts["layerType"].astype(str)) in ("Convolution", "Deconvolution"):
            found.add(str(facts["runtimePrecision"].astype(str)))
    known = [_PRECISIONS[name] for name in found if name in _PRECISIONS]
    if not known or len(known) != len(found):
        raise EngineError(
            f"OpenVINO reports convolutions in {sorted(found)}; this precision is not known here."
        )
    return max(known, key=_COARSENESS.index)


class OpenVinoEngine:
    """The package's graph on the CPU. Used by one thread."""

    def __init__(self, package: ModelPackage, tile: tuple[int, int], options: CompileOptions) -> None:
        """Raises ShapeMismatch for an illegal tile, UsageError for a precision the CPU lacks, EngineError."""
        self._out = tuple(package.geometry.output(size) for size in tile)
        if options.precision == "bf16" and not cpu_has_bf16():
            raise UsageError(f'{cpu_name()} does not compute bf16; set model.precision to "auto" or "f32".')
        compiled = compile_graph(package.onnx, tile, options)
        self._expected = (1, *self._out, len(package.classes))
        if tuple(compiled.output(0).shape) != self._expected:
            raise EngineError(
                f"The graph of {package.path} gives {tuple(compiled.output(0).shape)} instead of"
                f" {self._expected}; export the package again."
            )
        self._requests = [compiled.create_infer_request() for _ in range(_IN_FLIGHT)]
        self.compiled: ov.CompiledModel | None = compiled
        self.info = EngineInfo(
            name="openvino",
            version=openvino_version(),
            precision=executed_precision(compiled),
            device=cpu_name(),
            package=package.id,
            certificate="none",
            tile=tile,
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


def _start(request: ov.InferRequest, tile: Image, size: tuple[int, int]) -> None:
    """Write the tile into the request's own input and let it run."""
    if tile.shape[:2] != size:
        raise EngineError(f"A tile of {tile.shape[:2]} came to an engine for {size}; open it for this plan.")
    try:
        into = request.get_input_tensor().data
        np.copyto(into, tile.reshape(into.shape))
        request.start_async()
    except (RuntimeError, ValueError) as error:
        raise EngineError(f"OpenVINO did not take a tile: {_first_line(error)}") from error


def _finish(index: int, request: ov.InferRequest, deliver: Callable[[int, ProbMap], None]) -> ov.InferRequest:
    try:
        request.wait()
        probs: ProbMap = request.get_output_tensor(0).data
        check: NDArray[np.float32] = request.get_output_tensor(1).data
    except RuntimeError as error:
        raise EngineError(f"OpenVINO failed on tile {index}: {_first_line(error)}") from error
    sums = check.sum(axis=1)
    if not bool((np.abs(sums - 1) < 1e-3).all()):  # false for NaN as well
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


def _first_line(error: Exception) -> str:
    """OpenVINO's messages are long and have source paths; the last non-empty line says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
