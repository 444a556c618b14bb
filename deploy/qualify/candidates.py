"""Which engines a machine could have, and why it lacks the ones it does not have."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from inspector.config import ModelConfig
from inspector.engine.cuda import cuda_runtime, probe_gpu
from inspector.engine.openvino import cpu_has_bf16, cpu_name
from inspector.errors import InspectionError


@dataclass(frozen=True, slots=True)
class Candidate:
    """One engine in one precision."""

    engine: str
    precision: str
    on_gpu: bool = False

    @property
    def name(self) -> str:
        return f"{self.engine} {self.precision}{' GPU' if self.on_gpu else ''}"

    def settings(self, memory_mb: int) -> ModelConfig:
        """As the line would be configured."""
        fields = {"engine": self.engine, "precision": self.precision, "memory_mb": memory_mb}
        return ModelConfig.model_validate({**fields, "cuda_graphs": self.on_gpu})


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides which engines there are; each reason is None where the thing is there."""

    no_bf16: str | None
    no_torch: str | None
    no_gpu: str | None
    no_tensorrt: str | None

    def lacks(self, candidate: Candidate) -> str | None:
        """Why this candidate cannot run here, or None."""
        if candidate.engine == "torch":
            return self.no_torch or (self.no_gpu if candidate.on_gpu else None)
        if candidate.engine == "tensorrt":
            return self.no_gpu or self.no_tensorrt
        return self.no_bf16 if candidate.precision == "bf16" else None


def candidates(machine: Machine) -> tuple[Candidate, ...]:
    """Every engine, the reference of this machine first: float32 on the GPU where torch has one."""
    on_gpu = machine.no_torch is None and machine.no_gpu is None
    return (
        *([Candidate("torch", "f32", on_gpu=True)] if on_gpu else []),
        Candidate("openvino", "f32"),
        Candidate("openvino", "bf16"),
        Candidate("openvino", "int8"),
        *([] if on_gpu else [Candidate("torch", "f32")]),
        Candidate("torch", "fp16", on_gpu=True),
        Candidate("tensorrt", "fp16", on_gpu=True),
    )


def this_machine() -> Machine:
    """What is found here. Takes no memory on a GPU."""
    return Machine(
        no_bf16=None if cpu_has_bf16() else f"{cpu_name()} has no bf16",
        no_torch=_missing("torch") or _missing("onnx"),
        no_gpu=_no_gpu(),
        no_tensorrt=_missing("tensorrt"),
    )


def _missing(library: str) -> str | None:
    return None if importlib.util.find_spec(library) else f"{library} is not installed"


def _no_gpu() -> str | None:
    """Asked through cuda-bindings, or through torch where that is what is installed."""
    if importlib.util.find_spec("cuda") is None:
        return _no_torch_gpu()
    try:
        probe_gpu(cuda_runtime())
    except InspectionError as error:
        return str(error).rstrip(".")
    return None


def _no_torch_gpu() -> str | None:
    try:
        import torch
    except ImportError:
        return "neither cuda-bindings nor torch is installed, so no NVIDIA GPU can be found"
    return None if torch.cuda.is_available() else "torch finds no NVIDIA GPU"
