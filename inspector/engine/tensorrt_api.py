"""TensorRT as this project uses it: its types, how it is found, and its log.

Only what TensorRT 10, 11 and TensorRT-RTX have in common is named here; tests hold every name
against the real bindings of 10.16 and 11.4. TensorRT reports failures as None, False or -1 and
puts the reason into its log, so each message of ours carries the log's last errors.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import re
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol, cast

from inspector.errors import Refused, UsageError

_LOG = logging.getLogger(__name__)

LIBRARIES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Engine name -> module. TensorRT-RTX compiles without a GPU; its engines never serve."""
OLDEST, NEWEST = (10, 13), (11, 999)
Shape = Sequence[int]


class Named(Protocol):
    """A value of one of TensorRT's enumerations."""

    @property
    def name(self) -> str: ...


class Tensor(Protocol):
    """ITensor."""

    name: str
    shape: Any
    dtype: Named


class Layer(Protocol):
    """ILayer."""

    type: Named
    num_outputs: int

    def get_output(self, index: int) -> Tensor: ...


class Network(Protocol):
    """INetworkDefinition."""

    num_inputs: int
    num_outputs: int
    num_layers: int

    def get_input(self, index: int) -> Tensor: ...
    def get_output(self, index: int) -> Tensor: ...
    def get_layer(self, index: int) -> Layer: ...
    def add_reduce(self, input: Tensor, op: Any, axes: int, keep_dims: bool) -> Layer | None: ...
    def mark_output(self, tensor: Tensor) -> None: ...
    def unmark_output(self, tensor: Tensor) -> None: ...


class Profile(Protocol):
    """IOptimizationProfile."""

    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None: ...


class BuilderConfig(Protocol):
    """IBuilderConfig."""

    builder_optimization_level: int
    progress_monitor: Any

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None: ...
    def add_optimization_profile(self, profile: Profile) -> int: ...


class HostMemory(Protocol):
    """IHostMemory: a buffer with its size."""

    nbytes: int


class Builder(Protocol):
    """Builder."""

    def create_network(self, flags: int) -> Network: ...
    def create_builder_config(self) -> BuilderConfig: ...
    def create_optimization_profile(self) -> Profile: ...
    def build_serialized_network(self, network: Network, config: BuilderConfig) -> HostMemory | None: ...


class ParserError(Protocol):
    """ParserError."""

    def desc(self) -> str: ...


class Parser(Protocol):
    """OnnxParser."""

    num_errors: int

    def parse(self, model: bytes) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...


class Context(Protocol):
    """IExecutionContext."""

    def set_input_shape(self, name: str, shape: Shape) -> bool: ...
    def infer_shapes(self) -> list[str]: ...
    def get_tensor_shape(self, name: str) -> Shape: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class CudaEngine(Protocol):
    """ICudaEngine."""

    num_io_tensors: int
    num_optimization_profiles: int

    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_mode(self, name: str) -> Named: ...
    def get_tensor_dtype(self, name: str) -> Named: ...
    def get_tensor_shape(self, name: str) -> Shape: ...
    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Shape]: ...
    def create_execution_context(self) -> Context | None: ...


class Runtime(Protocol):
    """Runtime."""

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> CudaEngine | None: ...


class TensorRt(Protocol):
    """The module `tensorrt` or `tensorrt_rtx`."""

    __name__: str
    __version__: str
    ILogger: Any
    IProgressMonitor: Any
    NetworkDefinitionCreationFlag: Any
    MemoryPoolType: Any
    ReduceOperation: Any

    def Builder(self, logger: Any) -> Builder: ...
    def OnnxParser(self, network: Network, logger: Any) -> Parser: ...
    def Runtime(self, logger: Any) -> Runtime: ...


def load_tensorrt(engine: str) -> TensorRt:
    """The library of `tensorrt` or `tensorrt-rtx`.

    Raises UsageError with the remedy where it is not installed, Refused for a release that this
    project was never held against.
    """
    module = LIBRARIES[engine]
    try:
        trt = cast(TensorRt, importlib.import_module(module))
    except (ImportError, OSError) as error:
        remedy = "pip install '.[tensorrt]'" if engine == "tensorrt" else "pip install tensorrt-rtx-cu13"
        raise UsageError(
            f"TensorRT cannot be imported ({_one_line(str(error))}); install it with `{remedy}`."
        ) from error
    if engine == "tensorrt":
        refuse_untested(trt.__version__)
    return trt


def installed_version() -> str | None:
    """The version of `tensorrt` as pip knows it, which loads nothing; None where pip does not have it."""
    try:
        return importlib.metadata.version("tensorrt")
    except importlib.metadata.PackageNotFoundError:
        return None


def refuse_untested(version: str) -> None:
    """Raises Refused unless this version of TensorRT is one that the code was written against."""
    found = re.match(r"(\d+)\.(\d+)", version)
    number = (int(found[1]), int(found[2])) if found else (0, 0)
    if not OLDEST <= number <= NEWEST:
        raise Refused(
            f"TensorRT {version} is none that this version works with ({OLDEST[0]}.{OLDEST[1]} to"
            f" {NEWEST[0]}); install one with `pip install '.[tensorrt]'`."
        )


class LastErrors:
    """The last errors that TensorRT told each thread."""

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._by_thread = threading.local()

    def add(self, message: str) -> None:
        """Keep one more; the oldest gives way."""
        self._lines().append(_one_line(message))

    def take(self) -> str:
        """This thread's errors as one text, and forget them. The first one is the cause: TensorRT often
        adds a line about a missing driver while it reports something else."""
        lines = self._lines()
        text = "; ".join(lines)
        lines.clear()
        return text or "TensorRT gives no reason"

    def _lines(self) -> deque[str]:
        lines: deque[str] | None = getattr(self._by_thread, "lines", None)
        if lines is None:
            lines = self._by_thread.lines = deque(maxlen=self._most)
        return lines


ERRORS = LastErrors()
_LOGGERS: dict[str, Any] = {}


def logger_of(trt: TensorRt) -> Any:
    """The one logger of this process for this library: TensorRT ignores every further one."""
    if trt.__name__ not in _LOGGERS:
        _LOGGERS[trt.__name__] = _bridge(trt)()
    return _LOGGERS[trt.__name__]


def _bridge(trt: TensorRt) -> Any:
    """An ILogger that writes to `logging` and keeps errors; its base exists only once TensorRT is loaded."""
    levels = {"INTERNAL_ERROR": logging.ERROR, "ERROR": logging.ERROR, "WARNING": logging.INFO}

    base: Any = trt.ILogger

    class Bridge(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)  # super() does not reach a pybind class

        def log(self, severity: Any, message: str) -> None:
            level = levels.get(severity.name, logging.DEBUG)
            if level == logging.ERROR:
                ERRORS.add(message)
            # An error is told in the exception that follows; warnings are mostly about skipped tactics.
            _LOG.log(min(level, logging.INFO), "TensorRT: %s", message)

    return Bridge


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]
