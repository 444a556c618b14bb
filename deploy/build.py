"""The one way from a package to a plan, for TensorRT 10, 11 and TensorRT-RTX: the library is a parameter."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deploy.network import audit, fix_tile, parsed
from deploy.progress import Report, monitor_of
from inspector.engine.compiled import IMAGE, Batch, BuilderOptions, IoTensor
from inspector.engine.tensorrt_api import ERRORS, Builder, BuilderConfig, TensorRt, logger_of
from inspector.errors import CompileCancelled, CompileError
from inspector.package import ModelPackage

_NO_MEMORY = re.compile(r"out of memory|insufficient memory|OutOfMemory|cudaError 2\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the builder is asked for beside the network."""

    tile: tuple[int, int]
    """Input size (height, width)."""
    batch: Batch
    options: BuilderOptions


@dataclass(frozen=True, slots=True)
class Plan:
    """What the builder made, not yet written."""

    data: bytes
    wish: Wish
    tensors: tuple[IoTensor, ...]
    layers: dict[str, dict[str, int]]
    seconds: float


def build(trt: TensorRt, package: ModelPackage, wish: Wish, report: Report) -> Plan:
    """Compile the package's fp16 graph for one tile and a batch of any size up to the wished one.

    report: called with each step; returning False cancels. The caller has seen that there is a GPU,
    unless the library is TensorRT-RTX, which needs none. Raises CompileError with TensorRT's words,
    CompileCancelled, PackageError for a graph that is no release graph, Refused when the audit fails.
    """
    began = time.monotonic()
    cancelled = False

    def watched(fraction: float, phase: str) -> bool:
        nonlocal cancelled
        cancelled = cancelled or not report(fraction, phase)
        return not cancelled

    builder = _builder(trt)
    network = parsed(trt, builder, package)
    tensors = fix_tile(trt, network, package, wish.tile)
    layers = audit(network)
    config = _config(trt, builder, wish.options, watched)
    _add_profile(builder, config, (*wish.tile, package.manifest.channels), wish.batch)
    ERRORS.take()
    memory = builder.build_serialized_network(network, config)
    if cancelled:
        raise CompileCancelled("The compilation was stopped; nothing was kept.")
    if memory is None:
        raise CompileError(f"TensorRT gives no engine: {_reason(wish)}")
    # Every memory that pybind gives out is a buffer; its Protocol here has only a size.
    data: Any = memory
    return Plan(bytes(data), wish, tensors, layers, time.monotonic() - began)


def _builder(trt: TensorRt) -> Builder:
    ERRORS.take()
    try:
        return trt.Builder(logger_of(trt))
    except TypeError as error:  # what pybind makes of a constructor that returns nothing
        raise CompileError(
            f"TensorRT's builder does not start: {ERRORS.take()}; look with `nvidia-smi`."
        ) from error


def _config(
    trt: TensorRt, builder: Builder, options: BuilderOptions, report: Callable[[float, str], bool]
) -> BuilderConfig:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    config.builder_optimization_level = options.optimization_level
    config.progress_monitor = monitor_of(trt, report)
    return config


def _add_profile(builder: Builder, config: BuilderConfig, picture: tuple[int, ...], batch: Batch) -> None:
    """The engine's one profile: fixed pictures, 1 to `most` of them."""
    profile = builder.create_optimization_profile()
    least, usual, most = ((count, *picture) for count in (batch.least, batch.usual, batch.most))
    profile.set_shape(IMAGE, least, usual, most)
    if config.add_optimization_profile(profile) < 0:
        raise CompileError(
            f"TensorRT refuses the profile {least} to {most}, usually {usual}: {ERRORS.take()}."
        )


def _reason(wish: Wish) -> str:
    words = ERRORS.take()
    if _NO_MEMORY.search(words):
        return (
            f"{words}; the GPU's memory is too small for {wish.batch.most} tile(s) of"
            f" {wish.tile[0]}x{wish.tile[1]} with a workspace of {wish.options.workspace_bytes >> 20} MB:"
            " free it, or give a smaller --tile, --batch or --workspace-mb."
        )
    return f"{words}; check the graph with `inspector models compile PACKAGE --engine tensorrt-rtx`."
