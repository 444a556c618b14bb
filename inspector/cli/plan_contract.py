"""The contract with this machine's figures in it: tiles of the plan are run on the line's own engine."""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.errors import UsageError
from inspector.speed import Condition, LineFacts, conclusion, conditions
from inspector.units import shown

if TYPE_CHECKING:
    from inspector.config import LineConfig
    from inspector.engine.protocol import Engine, EngineInfo
    from inspector.package import ModelPackage
    from inspector.tiling import TilePlan

MEASURE_S = 2.0
FEWEST_TILES, MOST_TILES = 3, 50


@dataclass(frozen=True, slots=True)
class TileTime:
    """What a tile takes on this machine, and how much that can be trusted."""

    ms: float
    tiles: int
    """Tiles that were run, after the ones that warm up."""
    others: float
    """Share of the processor that other programs took meanwhile, 0 to 1."""


def measured_tile(engine: Engine, plan: TilePlan, channels: int) -> TileTime:
    """The time of a tile of this plan's size."""
    from inspector.engine.rivals import Rivals

    colours = () if channels == 1 else (channels,)
    tile = np.random.default_rng(0).integers(90, 160, plan.input + colours, np.uint8)

    def seconds(count: int) -> float:
        began = time.perf_counter()
        engine.run(itertools.repeat(tile, count), lambda _index, _probs: None)
        return time.perf_counter() - began

    seconds(1)
    count = min(MOST_TILES, max(FEWEST_TILES, int(MEASURE_S / max(seconds(1), 1e-6))))
    rivals = Rivals()
    return TileTime(1000 * seconds(count) / count, count, rivals.share())


def contract(
    facts: LineFacts, config: LineConfig, package: ModelPackage, *, again: bool = False
) -> dict[str, Any]:
    """What `inspector plan --json` prints, with frames measured on this machine.

    again: also the tiles that an earlier measurement chose.
    """
    from inspector.engine.measured import measured_plan
    from inspector.engine.planner import predicted_mb
    from inspector.needed import needed_tiles
    from inspector.zones import Zones

    zones = Zones(facts.frame, config.recipe.areas)
    plan = measured_plan(package, facts.frame, config.model, zones, again=again)
    tiles = needed_tiles(plan, zones.counted) if zones.areas else plan.tiles
    if not tiles:
        raise UsageError(f"The zones of recipe {config.recipe.name} leave nothing of {_size(facts.frame)}.")
    time_of, info = _measured_engine(package, plan, config)
    frame_ms, memory = time_of.ms * len(tiles), predicted_mb(package, plan, config.model, zones)
    found = (
        *conditions(facts, frame_ms), *quiet_condition(time_of.others), *scale_condition(facts, package),
        *engine_condition(info),
    )  # fmt: skip
    return {
        "holds": conclusion(found) == "holds",
        "conclusion": conclusion(found),
        "conditions": [asdict(one) for one in found],
        **_geometry(facts),
        **_tiles(plan, len(tiles), time_of),
        "period_ms": round(facts.period_ms, 3),
        "margin": round(1 - frame_ms / facts.period_ms, 4),
        "largest_speed_mm_s": _rounded(facts.largest_speed_mm_s(frame_ms)),
        "memory_mb": {"predicted": memory, "limit": config.model.memory_mb},
        "engine": {"name": info.name, "precision": info.precision, "device": info.device,
                   "package": info.package, "certificate": info.certificate},
    }  # fmt: skip


def _tiles(plan: TilePlan, counted: int, time_of: TileTime) -> dict[str, Any]:
    """The plan's tiles, those that are run among them, and what they take."""
    return {
        "tile": {"h": plan.input[0], "w": plan.input[1]},
        "tiles": counted,
        "tiles_all": len(plan.tiles),
        "measured_tiles": time_of.tiles,
        "others_share": round(time_of.others, 3),
        "frame_ms": round(time_of.ms * counted, 3),
        "frame_ms_all_tiles": round(time_of.ms * len(plan.tiles), 3),
    }


def _measured_engine(
    package: ModelPackage, plan: TilePlan, config: LineConfig
) -> tuple[TileTime, EngineInfo]:
    """The time of a tile on the line's own engine, and what that is."""
    from inspector.engine.open import open_engine

    engine = open_engine(package, plan, config.model)
    try:
        return measured_tile(engine, plan, package.manifest.channels), engine.info
    finally:
        engine.close()


def quiet_condition(others: float) -> tuple[Condition, ...]:
    """A warning where other programs slowed the measurement; nothing on a machine that was quiet."""
    from inspector.engine.rivals import BUSY_SHARE

    if others < BUSY_SHARE:
        return ()
    words = (
        f"other programs took {others:.0%} of the processor while this was measured, so the time is too long;"
        " measure again without them"
    )
    return (Condition("quiet", "warn", words),)


def scale_condition(facts: LineFacts, package: ModelPackage) -> tuple[Condition, ...]:
    """Whether the line would take the package at this scale; nothing for one that knows no scale."""
    from inspector.pipeline import LARGEST_SCALE_DIFFERENCE

    trained = package.manifest.mm_per_px
    if trained is None:
        return ()
    here = (facts.scale.y, facts.scale.x)
    apart = max(abs(now - then) / then for now, then in zip(here, trained, strict=True))
    words = (
        f"{package.manifest.name} was trained at {shown(trained[0])} x {shown(trained[1])} mm a pixel,"
        f" {apart:.0%} away"
    )
    return (Condition("scale", "ok" if apart <= LARGEST_SCALE_DIFFERENCE else "fail", words),)


def engine_condition(info: EngineInfo) -> tuple[Condition, ...]:
    """A failure where no network was measured; nothing for an engine that can serve a line."""
    if info.name != "fake":
        return ()
    words = "the fake engine computes no network, so its time says nothing; measure the one that will serve"
    return (Condition("engine", "fail", words),)


def _geometry(facts: LineFacts) -> dict[str, Any]:
    scale = facts.scale
    return {
        "frame": {"h": facts.frame[0], "w": facts.frame[1]},
        "mm_per_px": {"y": round(scale.y, 6), "x": round(scale.x, 6)},
        "defect_px": round(facts.defect_px, 3),
        "blur_px": round(facts.blur_px, 3),
        "advance_mm": round(facts.advance_mm, 4),
        "shared_mm": round(facts.shared_mm, 4),
    }


def _rounded(speed: float | None) -> float | None:
    return None if speed is None else round(speed, 3)


def _size(frame: tuple[int, int]) -> str:
    return f"a frame of {frame[0]}x{frame[1]}"
