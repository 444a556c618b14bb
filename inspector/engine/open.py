"""From settings to a plan that fits in memory and an engine that is proven: the only way to one."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace

from inspector.config import ModelConfig
from inspector.engine.cache import compiled_folder
from inspector.engine.certificate import (
    Certificate,
    ChangedCertificate,
    OverLimit,
    certify,
    kept_certificates,
)
from inspector.engine.cpu import usable_cores
from inspector.engine.fake import FakeEngine
from inspector.engine.openvino import (
    CompileOptions,
    OpenVinoEngine,
    cpu_has_bf16,
    cpu_name,
    exact_note,
)
from inspector.engine.planner import choose_plan, tiles_at_once, torch_engine
from inspector.engine.process import ProcessEngine
from inspector.engine.protocol import Engine, EngineInfo
from inspector.engine.quantised import quantisation
from inspector.engine.refusals import refusal_path, remember, remembered
from inspector.errors import CertificateError, InspectionError, UsageError
from inspector.package import ModelPackage
from inspector.tiling import TilePlan, whole_plan

_LOG = logging.getLogger(__name__)

_EXACT_STEPS = (0, 1, 4)
"""Convolutions kept in f32 where bf16 alone is over its limits: none, the first one, two levels."""
_TENSORRT = "inspector.engine.tensorrt:open_described"
_TORCH = "inspector.engine.torch:open_described"


def open_engine(package: ModelPackage, tile: TilePlan | tuple[int, int], settings: ModelConfig) -> Engine:
    """An engine for this tile, held against the golden tiles just now.

    tile: a plan, or the input size (height, width). In precision `auto` an int8 package serves in
    int8; of any other bf16 serves where the processor has it and its certificate holds, if need be with
    the first convolutions in f32, else f32; torch takes fp16 on an NVIDIA GPU and f32 on a CPU. The
    choice is logged and stands in Engine.info. Raises CertificateError when what was asked for is not
    proven or a certificate was changed, UsageError when the machine or the package does not have it or a
    library is not installed, EngineError when the engine fails, CompiledEngineError when what was
    compiled may not serve here.
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
            'fp16 needs an NVIDIA GPU; set model.engine = "tensorrt" or "torch", or model.precision = "auto"'
            " for the CPU."
        )
    plan = tile if isinstance(tile, TilePlan) else _one_tile(package, tile)
    if settings.precision == "bf16":
        return _open_bf16(package, plan, settings)
    if settings.precision != "auto":
        return _open_proven(package, plan, settings.precision, settings)
    return _open_auto(package, plan, settings)


def _open_auto(package: ModelPackage, plan: TilePlan, settings: ModelConfig) -> Engine:
    """int8 of an int8 package; else bf16 where it holds, else f32.

    What did not hold here is on file and not compiled again.
    """
    if package.in_8_bits:
        return _open_proven(package, plan, "int8", settings)
    if not cpu_has_bf16():
        _LOG.info("%s has no bf16, so f32 serves.", cpu_name())
        return _open_proven(package, plan, "f32", settings)
    file = refusal_path(package, "bf16", plan.input)
    why = remembered(file)
    if why is None:
        try:
            return _open_bf16(package, plan, settings, logging.DEBUG)
        except ChangedCertificate:
            raise  # somebody touched the proof: that is for a person to see, not to work around
        except CertificateError as error:
            why = error.short if isinstance(error, OverLimit) else str(error).partition(";")[0]
            remember(file, why)
    engine = _open_proven(package, plan, "f32", settings)
    _LOG.info(
        "Serves in f32: bf16 %s (certificate %s; remove %s to try bf16 again).",
        why, engine.info.certificate[:12], file,
    )  # fmt: skip
    return engine


def compile_options(
    package: ModelPackage, plan: TilePlan, precision: str, settings: ModelConfig
) -> CompileOptions:
    """How OpenVINO compiles for this plan, f32, bf16 or int8."""
    at_once = tiles_at_once(package, plan, settings, usable_cores())
    return CompileOptions(precision, settings.threads, compiled_folder(), settings.hint, at_once)


def _one_tile(package: ModelPackage, tile: tuple[int, int]) -> TilePlan:
    """The plan of a frame that one tile of this input size makes."""
    out = package.geometry.output(tile[0]), package.geometry.output(tile[1])
    return whole_plan(out, package.geometry)


def _open_bf16(
    package: ModelPackage, plan: TilePlan, settings: ModelConfig, level: int = logging.WARNING
) -> Engine:
    """bf16 with as few leading convolutions in f32 as the certificate asks for; mostly none.

    The first layers read the gray values themselves and cost little; rounding there costs the most.
    level: of the log lines on steps that do not hold; `auto` has another way out and needs no alarm.
    Raises CertificateError, that of bf16 alone where it was tried, when none of the steps holds.
    """
    first: CertificateError | None = None
    for exact in _steps(package, plan.input):
        try:
            return _open_proven(package, plan, "bf16", settings, exact)
        except ChangedCertificate:
            raise
        except CertificateError as error:
            _LOG.log(level, "bf16, %s: %s", exact_note(exact) or "no layer in f32", error)
            first = first or error
    assert first is not None
    raise first


def _steps(package: ModelPackage, tile: tuple[int, int]) -> list[int]:
    """What to try, fewest layers first, but before all what a certificate says was enough here."""
    kept = {
        one.note
        for one in kept_certificates(package)
        if isinstance(one, Certificate)
        and (one.engine, one.precision, one.tile) == ("openvino", "bf16", tile)
    }
    return sorted(_EXACT_STEPS, key=lambda exact: exact_note(exact) not in kept)


def _open_proven(
    package: ModelPackage, plan: TilePlan, precision: str, settings: ModelConfig, exact: int = 0
) -> Engine:
    options = replace(compile_options(package, plan, precision, settings), exact=exact)
    engine = OpenVinoEngine(package, plan.input, options)
    try:
        _say_partly_int8(engine.info)
        if (runs := engine.info.precision) != precision:
            remedy = f'set model.precision to "{runs}"'
            if (made := quantisation(package)) is not None:
                remedy = f"serve the package in floating point that it was made from, {made.source[:12]}"
            raise CertificateError(
                f"OpenVINO was asked for {precision} and runs {runs} on {engine.info.device}; {remedy}."
            )
    except InspectionError:
        engine.close()
        raise
    return _proven(engine, package)


def _say_partly_int8(info: EngineInfo) -> None:
    """Nothing computes other numbers where OpenVINO leaves a convolution in f32, but it takes longer."""
    if info.precision == "int8" and len(info.layers) > 1:
        _LOG.warning(
            "OpenVINO runs only %d of %d convolutions in int8 on %s; compare with the package in floating"
            " point by `inspector bench`.", info.layers["int8"], sum(info.layers.values()), info.device,
        )  # fmt: skip


def _open_torch(package: ModelPackage, tile: tuple[int, int], settings: ModelConfig) -> Engine:
    """On a GPU in a process of its own, which a lost GPU may take with it."""
    torch = torch_engine()
    # Half on a CPU would take minutes a frame: where fp16 is asked for, a GPU is meant.
    device = "cuda" if settings.precision == "fp16" else "auto"
    options = torch.TorchOptions(settings.precision, device, settings.threads, settings.cuda_graphs)
    if torch.chosen_device(options).type == "cpu":
        return _proven(torch.TorchEngine(package, tile, options), package)
    description = {"package": str(package.path.absolute()), "tile": tile, "options": asdict(options)}
    return _proven(ProcessEngine(_TORCH, description, package), package)


def _open_tensorrt(package: ModelPackage, tile: tuple[int, int], settings: ModelConfig) -> Engine:
    """In a process of its own, which a lost GPU may take with it."""
    if settings.precision not in ("auto", "fp16"):
        raise UsageError(
            f'The TensorRT engine computes fp16 and not {settings.precision}; set model.precision = "auto",'
            f' or model.engine = "openvino" for {settings.precision}.'
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


__all__ = ["choose_plan", "compile_options", "open_engine"]
