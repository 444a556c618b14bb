"""How fast this machine multiplies matrices in a precision: what an engine's speed is held against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from inspector.engine.cpu import core, cpu_name, openvino_version
from inspector.errors import EngineError, UsageError

_CPU_SIDE, _GPU_SIDE = 2048, 8192
_OPENVINO_NAMES = {"f32": "f32", "bf16": "bf16", "int8": "u8"}
_CHAIN = 4
"""Products in a row on a CPU, so that turning float32 into bfloat16 and back costs little beside them."""


@dataclass(frozen=True, slots=True)
class Product:
    """Matrix products of one precision that lie ready, warmed up."""

    device: str
    tool: str
    """What multiplies, and the sides of the matrices."""
    flop: float
    """Of one run; a multiplication and its sum are two, in int8 too."""
    run: Callable[[], object]


def cpu_product(precision: str) -> Product:
    """OpenVINO's on the CPU: f32, bf16 or int8, sides of 2048, all threads.

    Raises EngineError where OpenVINO runs another precision than asked.
    """
    hints = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
             "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}  # fmt: skip
    compiled = core().compile_model(_products(precision), "CPU", hints)
    runs = _executed(compiled)
    if runs != {_OPENVINO_NAMES[precision]}:
        raise EngineError(f"OpenVINO multiplies matrices in {sorted(runs)}, not in {precision}.")
    request = compiled.create_infer_request()
    request.get_input_tensor().data[:] = np.random.default_rng(0).random((_CPU_SIDE, _CPU_SIDE), np.float32)
    request.infer()
    tool = f"OpenVINO {openvino_version()}, sides of {_CPU_SIDE}"
    return Product(cpu_name(), tool, _CHAIN * 2 * _CPU_SIDE**3, request.infer)


def cpu_rate(precision: str, seconds: float) -> dict[str, Any]:
    """FLOP a second of cpu_product, median of as many runs as fit, at least three.

    Raises what cpu_product raises.
    """
    product = cpu_product(precision)
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < ends:
        began = time.perf_counter()
        product.run()
        times.append(time.perf_counter() - began)
    rate = product.flop / statistics.median(times)
    return {"device": product.device, "tool": product.tool, "flop_per_s": rate}


def _products(precision: str) -> Any:
    """An OpenVINO model of matrix products in a row; for int8 with ranges of 8 bits around each."""
    import openvino as ov
    from openvino import opset13 as ops

    random, number = np.random.default_rng(0), np.float32
    parameter = ops.parameter([_CPU_SIDE, _CPU_SIDE], number)
    x: Any = parameter
    for _ in range(_CHAIN):
        drawn = random.normal(0, _CPU_SIDE**-0.5, (_CPU_SIDE, _CPU_SIDE)).astype(number)
        weights = ops.constant(drawn)
        if precision == "int8":
            x = ops.fake_quantize(x, number(0), number(1), number(0), number(1), 256)
            top = number(np.abs(drawn).max())
            weights = ops.fake_quantize(weights, -top, top, -top, top, 255)
        x = ops.relu(ops.matmul(x, weights, False, True))
    return ov.Model([x], [parameter])


def _executed(compiled: Any) -> set[str]:
    """Precisions in which the compiled model multiplies, by OpenVINO's names."""
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    kinds = ("FullyConnected", "MatMul")
    return {
        str(one["runtimePrecision"].astype(str))
        for one in facts
        if str(one["layerType"].astype(str)) in kinds
    }


def gpu_product(precision: str) -> Product:
    """torch's on the GPU: f32 (no TF32) or fp16, sides of 8192.

    Raises UsageError where there is no torch or no GPU.
    """
    try:
        import torch
    except ImportError as error:
        raise UsageError(f"torch cannot be imported ({error}).") from error
    if not torch.cuda.is_available():
        raise UsageError("torch finds no NVIDIA GPU.")
    torch.backends.cuda.matmul.allow_tf32 = False
    dtype = torch.float16 if precision == "fp16" else torch.float32
    a, b = (torch.randn(_GPU_SIDE, _GPU_SIDE, device="cuda", dtype=dtype) for _ in range(2))
    into = torch.empty_like(a)

    def run() -> None:
        for _ in range(_CHAIN):
            torch.matmul(a, b, out=into)
        torch.cuda.synchronize()

    run()
    tool = f"torch {torch.__version__}, sides of {_GPU_SIDE}"
    return Product(torch.cuda.get_device_name(0), tool, _CHAIN * 2 * _GPU_SIDE**3, run)
