"""`inspector plan`: the speed contract, before camera, lens, light and computer are bought."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from inspector.cli.plan_text import contract_text, optics_text
from inspector.errors import UsageError
from inspector.size import parse_size
from inspector.speed import Condition, LineFacts, conditions
from inspector.units import in_unit, remedy

if TYPE_CHECKING:
    from inspector.config import LineConfig
    from inspector.engine.protocol import Engine, EngineInfo
    from inspector.package import ModelPackage
    from inspector.tiling import TilePlan

MEASURE_S = 2.0
FEWEST_TILES, MOST_TILES = 3, 50


def plain_number(_context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """The number; one with a unit is refused with the number that was meant."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        words = remedy(option.name or "", text)
        raise click.BadParameter(
            f"{text} is not a plain number" + (f"; {words}." if words else ".")
        ) from None


_number = partial(click.option, type=str, callback=plain_number, metavar="NUMBER")


def line_facts(given: dict[str, Any]) -> LineFacts:
    """The options as facts. Raises UsageError for what cannot be."""
    if (given["fps"] is None) == (given["parts_per_s"] is None):
        raise UsageError("Give either --fps or --parts-per-s: how often a frame comes.")
    return LineFacts(
        frame=parse_size(given["size"]),
        view_mm=(given["view_height_mm"], given["view_width_mm"]),
        defect_mm=given["defect_mm"],
        rate=given["fps"] if given["parts_per_s"] is None else given["parts_per_s"],
        speed_mm_s=given["speed_mm_s"],
        exposure_ms=parse_duration_ms(given["exposure"]),
        along=0 if given["along"] == "y" else 1,
        overlap_mm=given["overlap_mm"],
        by_part=given["parts_per_s"] is not None,
        most_blur_px=given["blur_px"],
    )


def parse_duration_ms(text: str | None) -> float | None:
    """Milliseconds of `200us`, `0.2ms` or `1s`. Raises UsageError."""
    if text is None:
        return None
    found = in_unit(text, "ms")
    if found is None:
        raise UsageError(f"--exposure {text} is not a duration; give for example 200us or 0.2ms.")
    return found


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
        *conditions(facts, frame_ms), *quiet_condition(time_of.others), *scale_condition(facts, package)
    )  # fmt: skip
    return {
        "holds": all(one.state != "fail" for one in found),
        "conditions": [asdict(one) for one in found],
        **_geometry(facts),
        "tile": {"h": plan.input[0], "w": plan.input[1]},
        "tiles": len(tiles),
        "tiles_all": len(plan.tiles),
        "measured_tiles": time_of.tiles,
        "others_share": round(time_of.others, 3),
        "frame_ms": round(frame_ms, 3),
        "frame_ms_all_tiles": round(time_of.ms * len(plan.tiles), 3),
        "period_ms": round(facts.period_ms, 3),
        "margin": round(1 - frame_ms / facts.period_ms, 4),
        "largest_speed_mm_s": _rounded(facts.largest_speed_mm_s(frame_ms)),
        "memory_mb": {"predicted": memory, "limit": config.model.memory_mb},
        "engine": {"name": info.name, "precision": info.precision, "device": info.device,
                   "package": info.package, "certificate": info.certificate},
    }  # fmt: skip


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
        f"{package.manifest.name} was trained at {trained[0]:g} x {trained[1]:g} mm a pixel, {apart:.0%} away"
    )
    return (Condition("scale", "ok" if apart <= LARGEST_SCALE_DIFFERENCE else "fail", words),)


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


@click.command()
@click.option("--size", required=True, metavar="HxW", help="Frames of HEIGHTxWIDTH pixels.")
@_number("--view-height-mm", help="Field of view; with one side alone, pixels are square.")
@_number("--view-width-mm", help="Field of view across.")
@_number("--defect-mm", required=True, help="Width of the smallest defect to be found.")
@_number("--speed-mm-s", default="0", help="Line speed; 0: parts stand still.  [0]")
@click.option(
    "--along", default="y", type=click.Choice(["y", "x"]), help="Parts move down (y) or across.  [y]"
)
@click.option("--exposure", metavar="T", help="Time of exposure, such as 200us or 0.2ms.")
@_number("--fps", help="Frames a second of a camera that runs freely.")
@_number("--parts-per-s", help="Instead of --fps: parts a second, one frame each.")
@_number("--overlap-mm", default="0", help="What frames must share, as a defect's length.  [0]")
@_number("--blur-px", default="1", help="Most movement while exposed.  [1]")
@click.option("--model", type=click.Path(path_type=Path), help="Model package instead of the config's.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Line config [./line.toml].")
@click.option("--engine", metavar="NAME", help="Engine instead of the config's.")
@click.option(
    "--again", is_flag=True, help="Choose the tiles anew, as after a measurement on a busy machine."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(
    model: Path | None, config_path: Path | None, engine: str | None, again: bool, as_json: bool, **given: Any
) -> int:
    """Say whether optics, line and this computer fit together, and by how much.

    Pixels on the smallest defect, motion blur, belt seen, and time: tiles of the plan are run on this
    machine's engine, so run it, quietened, on the machine that is to be bought. Exit code 0 when the contract
    holds, 1 when a condition fails (a warning does not), 2 for what cannot be.

    \b
    Example:  inspector plan --size 1080x1920 --view-width-mm 200 --defect-mm 0.4
                  --speed-mm-s 300 --exposure 200us --fps 4 --model models/parts-1
    """
    from inspector.cli.announce import announce
    from inspector.package import load_package

    announce()
    facts = line_facts(given)
    config = _config(model, config_path, engine)
    if config.model.package is None:
        raise UsageError("No model is chosen; give --model PACKAGE, or --config with model.package.")
    package = load_package(config.model.package)
    if not as_json:
        click.echo(optics_text(facts))
    figures = contract(facts, config, package, again=again)
    click.echo(json.dumps(figures) if as_json else contract_text(facts, figures))
    return 0 if figures["holds"] else 1


def _config(model: Path | None, path: Path | None, engine: str | None) -> LineConfig:
    """The config that the line would take, with the model and engine of the command line."""
    from pydantic import ValidationError

    from inspector.cli.run import installed_config
    from inspector.config import LineConfig, ModelConfig, load_config

    path = path or installed_config()
    config = LineConfig() if path is None else load_config(path)
    chosen = {"package": model, "engine": engine}
    fields = config.model.model_dump() | {key: value for key, value in chosen.items() if value is not None}
    try:
        return config.model_copy(update={"model": ModelConfig(**fields)})
    except ValidationError as error:
        raise UsageError(f"--engine {engine} is not known here; see `inspector run --help`.") from error
