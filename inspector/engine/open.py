"""From settings to a plan that fits in memory and an engine that is proven: the only way to one."""

from __future__ import annotations

import importlib
import logging
from dataclasses import replace
from types import ModuleType

from inspector.config import ModelConfig
from inspector.engine.cache import compiled_folder
from inspector.engine.certificate import ChangedCertificate, certify
from inspector.engine.compiled import plan_for_compiled
from inspector.engine.fake import FakeEngine
from inspector.engine.memory import MB, MemoryModel
from inspector.engine.openvino import CompileOptions, OpenVinoEngine, cpu_has_bf16, cpu_name
from inspector.engine.process import ProcessEngine
from inspector.engine.protocol import Engine
from inspector.errors import CertificateError, ConfigError, InspectionError, MemoryLimitError, UsageError
from inspector.package import ModelPackage
from inspector.tiling import TilePlan, cheapest_plan, plan_tiles, whole_plan
from inspector.zones import Zones

_LOG = logging.getLogger(__name__)

_TENSORRT = "inspector.engine.tensorrt:open_described"


def choose_plan(
    package: ModelPackage, frame: tuple[int, int], settings: ModelConfig, zones: Zones | None = None
) -> TilePlan:
    """The tiles for frames of (height, width), within settings.memory_mb.

    settings.tile: `auto` for the fewest input pixels that fit, `whole`, or `HxW`, the input size
    of a tile. zones: where the recipe looks; `auto` then takes the tiles that cost least there.
    Raises MemoryLimitError when what was asked does not fit (predicted size, limit
    and remedy named), ShapeMismatch for a size the network cannot take, EngineNotCompiled where
    tensorrt has no engine of this package yet.
    """
    if settings.engine == "tensorrt":  # its maps lie on the GPU, and compiling saw that they fit
        chosen = settings.tile == "auto"
        return plan_for_compiled(package, frame) if chosen else _asked_plan(package, frame, settings.tile)
    # In auto the engine may have to run in f32, so that is what has to fit.
    precision = "bf16" if settings.precision == "bf16" else "f32"
    model = MemoryModel(package, precision, "torch" if settings.engine == "torch" else "openvino")
    limit = settings.memory_mb * MB
    on_gpu = _torch_gpu_tile_px(package) if settings.engine == "torch" else None
    if settings.tile == "auto":
        largest = model.tile_px_within(frame, limit) if on_gpu is None else on_gpu
        try:
            wanted = zones.counted if zones is not None and zones.areas else None
            return cheapest_plan(frame, package.geometry, largest, wanted)
        except MemoryLimitError as error:
            if on_gpu is not None:
                raise
            needed = model.fixed_bytes(frame) / MB
            raise MemoryLimitError(
                f"Frames of {frame[0]}x{frame[1]} need {needed:.0f} MB before the first tile, and the limit"
                f" model.memory_mb = {settings.memory_mb} leaves no room for the smallest one; raise it."
            ) from error
    plan = _asked_plan(package, frame, settings.tile)
    if on_gpu is not None:
        return plan  # the card says itself what does not fit, when the engine opens
    predicted = model.resident_bytes(frame, plan.input)
    if predicted > limit:
        raise MemoryLimitError(
            f"Tiles of {plan.input[0]}x{plan.input[1]} need about {predicted / MB:.0f} MB, the limit"
            f' model.memory_mb is {settings.memory_mb} MB; set model.tile = "auto" or raise the limit.'
        )
    return plan


def _asked_plan(package: ModelPackage, frame: tuple[int, int], tile: str) -> TilePlan:
    geometry = package.geometry
    if tile == "whole":
        return whole_plan(frame, geometry)
    try:
        height, width = (int(part) for part in tile.lower().split("x"))
    except ValueError as error:
        raise ConfigError(f'model.tile = "{tile}" is not auto, whole or HEIGHTxWIDTH; correct it.') from error
    return plan_tiles(frame, (geometry.output(height), geometry.output(width)), geometry)


def open_engine(package: ModelPackage, tile: TilePlan | tuple[int, int], settings: ModelConfig) -> Engine:
    """An engine for this tile, held against the golden tiles just now.

    tile: a plan, or the input size (height, width). In precision `auto` bf16 serves where the
    processor has it and its certificate holds, else f32; torch takes fp16 on an NVIDIA GPU and f32
    on a CPU. The choice is logged and stands in Engine.info. Raises CertificateError when what was
    asked for is not proven or a certificate was changed, UsageError when the machine does not have
    it or a library is not installed, EngineError when the engine fails, CompiledEngineError when what
    was compiled may not serve here.
    """
    size = tile.input if isinstance(tile, TilePlan) else tile
    if settings.engine == "fake":
        _LOG.warning("The fake engine runs: it looks for dark and bright pixels, not for damage.")
        return FakeEngine(len(package.classes), package.geometry, size, package=package.id)
    if settings.engine == "torch":
        return _open_torch(package, size, settings)
    if settings.engine == "tensorrt":
        return _open_tensorrt(package, size, settings)
    if settings.precision == "fp16":
        raise UsageError(
            'fp16 needs an NVIDIA GPU; set model.engine = "torch", or model.precision = "auto" for the CPU.'
        )
    if settings.precision != "auto":
        return _open_proven(package, size, settings.precision, settings.threads)
    if cpu_has_bf16():
        try:
            return _open_proven(package, size, "bf16", settings.threads)
        except ChangedCertificate:
            raise  # somebody touched the proof: that is for a person to see, not to work around
        except CertificateError as error:
            _LOG.warning("bf16 does not serve, f32 does: %s", error)
    else:
        _LOG.info("%s has no bf16, so f32 serves.", cpu_name())
    return _open_proven(package, size, "f32", settings.threads)


def _open_proven(package: ModelPackage, tile: tuple[int, int], precision: str, threads: int) -> Engine:
    engine = OpenVinoEngine(package, tile, CompileOptions(precision, threads, compiled_folder()))
    try:
        if engine.info.precision != precision:
            raise CertificateError(
                f"OpenVINO was asked for {precision} and runs {engine.info.precision} on"
                f' {engine.info.device}; set model.precision to "{engine.info.precision}".'
            )
    except InspectionError:
        engine.close()
        raise
    return _proven(engine, package)


def _open_torch(package: ModelPackage, tile: tuple[int, int], settings: ModelConfig) -> Engine:
    torch = _torch_engine()
    # Half on a CPU would take minutes a frame: where fp16 is asked for, a GPU is meant.
    device = "cuda" if settings.precision == "fp16" else "auto"
    engine = torch.TorchEngine(
        package, tile, torch.TorchOptions(settings.precision, device, settings.threads)
    )
    return _proven(engine, package)


def _open_tensorrt(package: ModelPackage, tile: tuple[int, int], settings: ModelConfig) -> Engine:
    """In a process of its own, which a lost GPU may take with it."""
    if settings.precision not in ("auto", "fp16"):
        raise UsageError(
            f'The TensorRT engine computes fp16 and not {settings.precision}; set model.precision = "auto".'
        )
    path = str(package.path.absolute())
    description = {"package": path, "tile": tile, "graphs": settings.cuda_graphs}
    return _proven(ProcessEngine(_TENSORRT, description, package), package)


def _proven(engine: Engine, package: ModelPackage) -> Engine:
    """The engine with its certificate; closed when it gets none."""
    try:
        certificate = certify(engine, package)
    except InspectionError:
        engine.close()
        raise
    engine.info = replace(engine.info, certificate=certificate.id())
    info = engine.info
    _LOG.info(
        "Engine %s %s serves in %s on %s, tile %dx%d, certificate %s%s.",
        info.name, info.version, info.precision, info.device, *info.tile, certificate.id()[:12],
        f", {info.note}" if info.note else "",
    )  # fmt: skip
    return engine


def _torch_gpu_tile_px(package: ModelPackage) -> int | None:
    """Input pixels of the largest tile for torch on the GPU; None where torch runs on the CPU."""
    most: int | None = _torch_engine().largest_tile_px(package)
    return most


def _torch_engine() -> ModuleType:
    """inspector.engine.torch, imported now and not before. Raises UsageError where torch is not installed."""
    try:
        return importlib.import_module("inspector.engine.torch")
    except ImportError as error:
        raise UsageError(
            f"The torch engine cannot be imported ({error}); install torch with"
            " `pip install 'inspection-appliance[torch]'`."
        ) from error
