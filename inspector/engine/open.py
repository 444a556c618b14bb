"""From settings to a plan that fits in memory and an engine that is proven: the only way to one."""

from __future__ import annotations

import logging
from dataclasses import replace

from inspector.config import ModelConfig
from inspector.engine.cache import compiled_folder
from inspector.engine.certificate import ChangedCertificate, certify
from inspector.engine.fake import FakeEngine
from inspector.engine.memory import MB, MemoryModel
from inspector.engine.openvino import CompileOptions, OpenVinoEngine, cpu_has_bf16, cpu_name
from inspector.engine.protocol import Engine
from inspector.errors import CertificateError, ConfigError, InspectionError, MemoryLimitError
from inspector.package import ModelPackage
from inspector.tiling import TilePlan, cheapest_plan, plan_tiles, whole_plan
from inspector.zones import Zones

_LOG = logging.getLogger(__name__)


def choose_plan(
    package: ModelPackage, frame: tuple[int, int], settings: ModelConfig, zones: Zones | None = None
) -> TilePlan:
    """The tiles for frames of (height, width), within settings.memory_mb.

    settings.tile: `auto` for the fewest input pixels that fit, `whole`, or `HxW`, the input size
    of a tile. zones: where the recipe looks; `auto` then takes the tiles that cost least there.
    Raises MemoryLimitError when what was asked does not fit (predicted size, limit
    and remedy named), ShapeMismatch for a size the network cannot take.
    """
    # In auto the engine may have to run in f32, so that is what has to fit.
    model = MemoryModel(package, "bf16" if settings.precision == "bf16" else "f32")
    limit = settings.memory_mb * MB
    if settings.tile == "auto":
        try:
            wanted = zones.counted if zones is not None and zones.areas else None
            return cheapest_plan(frame, package.geometry, model.tile_px_within(frame, limit), wanted)
        except MemoryLimitError as error:
            needed = model.fixed_bytes(frame) / MB
            raise MemoryLimitError(
                f"Frames of {frame[0]}x{frame[1]} need {needed:.0f} MB before the first tile, and the limit"
                f" model.memory_mb = {settings.memory_mb} leaves no room for the smallest one; raise it."
            ) from error
    plan = _asked_plan(package, frame, settings.tile)
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
    processor has it and its certificate holds, else f32; the choice is logged and stands in
    Engine.info. Raises CertificateError when what was asked for is not proven or a certificate was
    changed, UsageError when the processor does not have it, EngineError when OpenVINO fails.
    """
    size = tile.input if isinstance(tile, TilePlan) else tile
    if settings.engine == "fake":
        _LOG.warning("The fake engine runs: it looks for dark and bright pixels, not for damage.")
        return FakeEngine(len(package.classes), package.geometry, size, package=package.id)
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
        certificate = certify(engine, package)
    except InspectionError:
        engine.close()
        raise
    engine.info = replace(engine.info, certificate=certificate.id())
    _LOG.info(
        "Engine openvino %s serves in %s on %s, tile %dx%d, certificate %s.",
        engine.info.version, precision, engine.info.device, *tile, certificate.id()[:12],
    )  # fmt: skip
    return engine
