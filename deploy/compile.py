"""From a package on the disk to an engine in this machine's store: what both command lines call.

Runs inside the process that `deploy.apart` starts; never in the one that inspects.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.build import Plan, Wish, build
from deploy.progress import Report
from deploy.size import plan_for_gpu, workspace_bytes
from deploy.store import compiling, store
from inspector.engine.compiled import Batch, BuilderOptions, CompiledEngine
from inspector.engine.cuda import CudaRuntime, Gpu, cuda_runtime, free_memory, probe_gpu
from inspector.engine.quantised import require_float
from inspector.engine.tensorrt_api import TensorRt, load_tensorrt
from inspector.errors import UsageError
from inspector.package import ONNX, ModelPackage, load_package

SERVES, LINT = "tensorrt", "tensorrt-rtx"
PRECISION = "fp16"


@dataclass(frozen=True, slots=True)
class Request:
    """What to compile, as given on a command line."""

    package: Path
    engine: str = SERVES
    """tensorrt, or tensorrt-rtx: a check of the graph without a GPU, from which nothing is kept."""
    frame: tuple[int, int] = (1080, 1920)
    """Size of the line's frames, from which the tile is chosen."""
    tile: tuple[int, int] | None = None
    """Input size of a tile instead."""
    batch: int = 1
    """Most tiles at once."""
    workspace_mb: int | None = None
    """None: half of the GPU memory that is free."""
    level: int = 3
    """TensorRT's optimisation level, 0 to 5."""

    def message(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "package": str(self.package)}

    @staticmethod
    def of(message: dict[str, Any]) -> Request:
        """From `message`."""
        sizes = {key: tuple(message[key]) if message[key] else None for key in ("frame", "tile")}
        return Request(**{**message, **sizes, "package": Path(message["package"])})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a compilation made."""

    package: str
    """Package id."""
    engine: str
    version: str
    precision: str
    tile: tuple[int, int]
    batch: int
    gpu: str | None
    """None for the check without one."""
    layers: dict[str, dict[str, int]]
    """Layer type -> output types -> how many."""
    plan_bytes: int
    build_s: float
    record: str | None
    """Path of the record; None where nothing was kept."""


def compile_package(
    request: Request, report: Report, trt: TensorRt | None = None, cuda: CudaRuntime | None = None
) -> Outcome:
    """Compile, audit, and with `tensorrt` keep the engine for this machine.

    trt, cuda: the libraries; the installed ones by default. Raises GpuMissing before all else that is
    missing, UsageError where a library is, a size is wrong or the package is one in int8, PackageError,
    Refused when the audit fails, CompileError, CompileCancelled; then nothing is kept.
    """
    package = load_package(request.package)
    require_float(package, "TensorRT")
    if request.engine == LINT:
        trt = trt or load_tensorrt(LINT)
        plan = build(trt, package, _wish(request, package, None), report)
        return _outcome(request, package, trt, plan)
    cuda = cuda or cuda_runtime()
    gpu = probe_gpu(cuda)  # before TensorRT is touched: without a GPU it ends the process
    trt = trt or load_tensorrt(SERVES)
    with compiling():
        plan = build(trt, package, _wish(request, package, free_memory(cuda)), report)
        stored = store(package, record_of(package, trt, gpu, plan), plan.data)
    return _outcome(request, package, trt, plan, gpu, stored.path)


def record_of(package: ModelPackage, trt: TensorRt, gpu: Gpu, plan: Plan) -> CompiledEngine:
    """The record of a plan that was just built on this GPU."""
    wish, digest = plan.wish, hashlib.sha256(plan.data).hexdigest()
    record = CompiledEngine(
        package=package.id,
        onnx_sha256=package.manifest.files[ONNX],
        engine=SERVES,
        module=trt.__name__,
        version=trt.__version__,
        precision=PRECISION,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
        tile=wish.tile,
        batch=wish.batch,
        tensors=plan.tensors,
        layers=plan.layers,
        options=wish.options,
        build_s=round(plan.seconds, 3),
        built_utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
        plan="unnamed.plan",
        plan_sha256=digest,
        plan_bytes=len(plan.data),
    )
    return record.model_copy(update={"plan": f"{record.key()}-{digest[:12]}.plan"})


def _wish(request: Request, package: ModelPackage, free: int | None) -> Wish:
    """free: bytes of GPU memory, None without one."""
    if request.batch < 1:
        raise UsageError(f"--batch {request.batch} is no number of tiles; give 1 or more.")
    tile = request.tile or plan_for_gpu(package, request.frame, request.batch, free).input
    batch = Batch(least=1, usual=request.batch, most=request.batch)
    workspace = workspace_bytes(request.workspace_mb, free)
    return Wish(tile, batch, BuilderOptions(workspace_bytes=workspace, optimization_level=request.level))


def _outcome(
    request: Request,
    package: ModelPackage,
    trt: TensorRt,
    plan: Plan,
    gpu: Gpu | None = None,
    record: Path | None = None,
) -> Outcome:
    return Outcome(
        package=package.id,
        engine=request.engine,
        version=trt.__version__,
        precision=PRECISION,
        tile=plan.wish.tile,
        batch=plan.wish.batch.most,
        gpu=None if gpu is None else gpu.name,
        layers=plan.layers,
        plan_bytes=len(plan.data),
        build_s=round(plan.seconds, 3),
        record=None if record is None else str(record),
    )
