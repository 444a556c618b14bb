"""`inspector plan`: the speed contract, before camera, lens, light and computer are bought."""

from __future__ import annotations

import itertools
import json
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from inspector.counting import counted
from inspector.errors import UsageError
from inspector.size import parse_size
from inspector.speed import Condition, LineFacts, conditions

if TYPE_CHECKING:
    from inspector.config import LineConfig
    from inspector.engine.protocol import Engine
    from inspector.package import ModelPackage
    from inspector.tiling import TilePlan

MEASURE_S = 2.0
FEWEST_TILES, MOST_TILES = 3, 50
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


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
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+) ?(us|ms|s)", text)
    if found is None:
        raise UsageError(f"--exposure {text} is not a duration; give for example 200us or 0.2ms.")
    return float(found[1]) * _MS[found[2]]


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


def contract(facts: LineFacts, config: LineConfig, package: ModelPackage) -> dict[str, Any]:
    """What `inspector plan --json` prints, with frames measured on this machine."""
    from inspector.engine.measured import measured_plan
    from inspector.engine.open import open_engine
    from inspector.engine.planner import predicted_mb
    from inspector.needed import needed_tiles
    from inspector.zones import Zones

    zones = Zones(facts.frame, config.recipe.areas)
    plan = measured_plan(package, facts.frame, config.model, zones)
    tiles = needed_tiles(plan, zones.counted) if zones.areas else plan.tiles
    if not tiles:
        raise UsageError(f"The zones of recipe {config.recipe.name} leave nothing of {_size(facts.frame)}.")
    engine = open_engine(package, plan, config.model)
    try:
        time_of = measured_tile(engine, plan, package.manifest.channels)
    finally:
        engine.close()
    frame_ms = time_of.ms * len(tiles)
    found = (
        *conditions(facts, frame_ms), *quiet_condition(time_of.others), *scale_condition(facts, package)
    )  # fmt: skip
    info = engine.info
    memory = predicted_mb(package, plan, config.model, zones)
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


def contract_text(facts: LineFacts, figures: dict[str, Any]) -> str:
    """The same figures as a person reads them."""
    scale, engine, most = facts.scale, figures["engine"], figures["largest_speed_mm_s"]
    some = (
        "" if figures["tiles"] == figures["tiles_all"] else f" of {figures['tiles_all']}, as the zones need"
    )
    measured = counted(figures["measured_tiles"], "tile")
    size = f"{figures['tile']['h']}x{figures['tile']['w']} pixels of input"
    rows = [
        ("scale", f"{scale.y:.4g} x {scale.x:.4g} mm a pixel (height x width)"),
        ("tiles", f"{figures['tiles']}{some}, each {size}"),
        ("time", f"{figures['frame_ms']:.4g} ms a frame, from {measured} measured here"
                 f" on {engine['name']} {engine['precision']}"),
        ("margin", _margin(figures["margin"], facts.period_ms)),
        ("memory", f"at most {figures['memory_mb']['predicted']} MB resident, the limit model.memory_mb is"
                   f" {figures['memory_mb']['limit']}"),
        ("line", "no speed limits it" if most is None else f"at most {most:.4g} mm/s on this machine"),
    ]  # fmt: skip
    if some:
        rows.append(
            ("worst", f"{figures['frame_ms_all_tiles']:.4g} ms, where damage leads through all the tiles")
        )
    lines = [f"{name:<7} {words}" for name, words in rows]
    lines += [f"{one['state']:<5} {one['name']:<9} {one['words']}" for one in figures["conditions"]]
    failed = ", ".join(one["name"] for one in figures["conditions"] if one["state"] == "fail")
    return "\n".join([*lines, f"The contract fails on: {failed}." if failed else "The contract holds."])


def _margin(margin: float, period_ms: float) -> str:
    """margin: share of the time between two frames that is left, below 0 what is lacking."""
    if margin < 0:
        return f"none, a frame takes {1 - margin:.3g} times the {period_ms:.4g} ms between two frames"
    return f"{margin:.1%} of the {period_ms:.4g} ms between two frames is left"


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
@click.option("--view-height-mm", type=float, help="Field of view; with one side alone, pixels are square.")
@click.option("--view-width-mm", type=float, help="Field of view across.")
@click.option("--defect-mm", required=True, type=float, help="Width of the smallest defect to be found.")
@click.option("--speed-mm-s", default=0.0, type=float, help="Line speed; 0: parts stand still.  [0]")
@click.option(
    "--along", default="y", type=click.Choice(["y", "x"]), help="Parts move down (y) or across.  [y]"
)
@click.option("--exposure", metavar="T", help="Time of exposure, such as 200us or 0.2ms.")
@click.option("--fps", type=float, help="Frames a second of a camera that runs freely.")
@click.option("--parts-per-s", type=float, help="Instead of --fps: parts a second, one frame each.")
@click.option(
    "--overlap-mm", default=0.0, type=float, help="What frames must share, as a defect's length.  [0]"
)
@click.option("--blur-px", default=1.0, type=float, help="Most movement while exposed.  [1]")
@click.option("--model", type=click.Path(path_type=Path), help="Model package instead of the config's.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Line config [./line.toml].")
@click.option("--engine", metavar="NAME", help="Engine instead of the config's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(
    model: Path | None, config_path: Path | None, engine: str | None, as_json: bool, **given: Any
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
    figures = contract(facts, config, load_package(config.model.package))
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
