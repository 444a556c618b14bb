"""Which tiles a frame is cut into: of legal size, within memory, at the least cost."""

from __future__ import annotations

import importlib
from types import ModuleType

from inspector.config import ModelConfig
from inspector.engine.compiled import plan_for_compiled
from inspector.engine.cuda import cuda_runtime, probe_gpu
from inspector.engine.memory import MB, MemoryModel
from inspector.engine.tensorrt_api import installed_version
from inspector.errors import ConfigError, GpuMissing, MemoryLimitError, UsageError
from inspector.needed import needed_tiles
from inspector.package import ModelPackage
from inspector.tiling import TilePlan, cheapest_plan, plan_tiles, whole_plan
from inspector.zones import Zones

CANDIDATES = 4
"""So many plans are worth measuring."""
_SHARES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
# A tile whose maps do not fit the last cache is read from memory at every layer; measured on one
# machine that is up to this much slower a pixel. The measurement decides, this only picks what for.
_SPILL = 0.3
_TILE_PX = 2000  # what starting a tile costs, in pixels of input


def choose_plan(
    package: ModelPackage, frame: tuple[int, int], settings: ModelConfig, zones: Zones | None = None
) -> TilePlan:
    """The tiles for frames of (height, width), within settings.memory_mb.

    settings.tile: `auto` for the fewest input pixels that fit, `whole`, or `HxW`, the input size
    of a tile. zones: where the recipe looks; `auto` then takes the tiles that cost least there.
    Raises MemoryLimitError when what was asked does not fit (predicted size, limit
    and remedy named), ShapeMismatch for a size the network cannot take, GpuMissing where
    tensorrt was asked for without a GPU, EngineNotCompiled where it has no engine of this package yet.
    """
    if settings.engine == "tensorrt":  # its maps lie on the GPU, and compiling saw that they fit
        chosen = settings.tile == "auto"
        return _compiled_plan(package, frame) if chosen else _asked_plan(package, frame, settings.tile)
    model = memory_model(package, settings, zones)
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


def _compiled_plan(package: ModelPackage, frame: tuple[int, int]) -> TilePlan:
    """The cheapest plan that TensorRT was compiled for; what cannot be asked here, the opening refuses.

    Raises GpuMissing first of all: without a GPU nothing was compiled, and nothing can be.
    """
    try:
        gpu = probe_gpu(cuda_runtime())
    except GpuMissing:
        raise
    except UsageError:
        gpu = None
    return plan_for_compiled(package, frame, installed_version(), gpu)


def _asked_plan(package: ModelPackage, frame: tuple[int, int], tile: str) -> TilePlan:
    geometry = package.geometry
    if tile == "whole":
        return whole_plan(frame, geometry)
    try:
        height, width = (int(part) for part in tile.lower().split("x"))
    except ValueError as error:
        raise ConfigError(f'model.tile = "{tile}" is not auto, whole or HEIGHTxWIDTH; correct it.') from error
    return plan_tiles(frame, (geometry.output(height), geometry.output(width)), geometry)


def candidate_plans(
    package: ModelPackage,
    frame: tuple[int, int],
    settings: ModelConfig,
    cache_bytes: int,
    zones: Zones | None = None,
) -> list[TilePlan]:
    """At most 4 plans that may be the fastest on the processor; first the one with the fewest pixels.

    The others trade halo for tiles whose maps fit cache_bytes, the processor's last cache, in the
    order of their estimated cost. All fit in memory. Raises what choose_plan raises in `auto`.
    """
    settings = settings.model_copy(update={"tile": "auto"})
    first = choose_plan(package, frame, settings, zones)
    model = memory_model(package, settings, zones)
    largest = first.input[0] * first.input[1]
    if settings.hint == "latency" and largest * model.bytes_per_input_px <= cache_bytes:
        return [first]  # neither halo nor cache is left to be gained
    wanted = zones.counted if zones is not None and zones.areas else None
    found = {first.out: first}
    for share in _SHARES[1:]:
        try:
            plan = cheapest_plan(frame, package.geometry, largest // share, wanted)
        except MemoryLimitError:
            break  # smaller ones do not exist
        found.setdefault(plan.out, plan)
    others = [plan for out, plan in found.items() if out != first.out]
    others.sort(key=lambda plan: estimated_cost(plan, computed_tiles(plan, zones), model, cache_bytes))
    return [first, *others[: CANDIDATES - 1]]


def estimated_cost(plan: TilePlan, tiles: int, model: MemoryModel, cache_bytes: int) -> float:
    """What `tiles` tiles of the plan cost, in pixels of input that are computed within the cache."""
    px = plan.input[0] * plan.input[1]
    spilled = max(0.0, 1 - cache_bytes / (px * model.bytes_per_input_px))
    return tiles * (px * (1 + _SPILL * spilled) + _TILE_PX)


def computed_tiles(plan: TilePlan, zones: Zones | None) -> int:
    """How many tiles of a frame without defects are computed."""
    return len(needed_tiles(plan, zones.counted)) if zones is not None and zones.areas else len(plan.tiles)


def tiles_at_once(package: ModelPackage, plan: TilePlan, settings: ModelConfig, cores: int) -> int:
    """The most tiles that may be computed at once: no more than cores, tiles, and memory has room for."""
    if settings.hint == "latency":
        return 1
    model, tile_px = memory_model(package, settings), plan.input[0] * plan.input[1]
    room = model.tile_px_within(plan.frame, settings.memory_mb * MB) // tile_px
    return max(1, min(settings.threads or cores, len(plan.tiles), room))


def memory_model(package: ModelPackage, settings: ModelConfig, zones: Zones | None = None) -> MemoryModel:
    """What has to fit: in precision auto f32, in which the engine may have to run."""
    precision = "int8" if package.in_8_bits else "bf16" if settings.precision == "bf16" else "f32"
    engine = "torch" if settings.engine == "torch" else "openvino"
    areas = 0 if zones is None else len(zones.areas)
    return MemoryModel(package, precision, engine, areas)


def predicted_mb(
    package: ModelPackage, plan: TilePlan, settings: ModelConfig, zones: Zones | None = None
) -> int:
    """The most resident memory of a station that runs this plan, in MB; what lies on a GPU is not counted."""
    model = memory_model(package, settings, zones)
    on_gpu = settings.engine == "tensorrt" or (settings.engine == "torch" and _torch_gpu_tile_px(package))
    everything = model.fixed_bytes(plan.frame) if on_gpu else model.resident_bytes(plan.frame, plan.input)
    return round(everything / MB)


def _torch_gpu_tile_px(package: ModelPackage) -> int | None:
    """Input pixels of the largest tile for torch on the GPU; None where torch runs on the CPU."""
    most: int | None = torch_engine().largest_tile_px(package)
    return most


def torch_engine() -> ModuleType:
    """inspector.engine.torch, imported now and not before. Raises UsageError where torch is not installed."""
    try:
        return importlib.import_module("inspector.engine.torch")
    except ImportError as error:
        raise UsageError(
            f"The torch engine cannot be imported ({error}); install torch with"
            " `pip install 'inspection-appliance[torch]'`."
        ) from error
