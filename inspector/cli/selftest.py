"""`inspector selftest`: does the served model keep its promises, above all that tiles equal the whole?"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from inspector.counting import counted
from inspector.errors import UsageError
from inspector.units import shown

if TYPE_CHECKING:
    from inspector.engine.protocol import EngineInfo
    from inspector.package import ModelPackage
    from inspector.tiling import Geometry, TilePlan
    from inspector.types import Image

MOST_F32 = 1e-5
MOST_LEVELS = 1


@dataclass(frozen=True, slots=True)
class SeamCase:
    """One frame, computed as a whole and in tiles."""

    frame: tuple[int, int]
    out: tuple[int, int]
    """Output size of a tile."""


def seam_cases(geometry: Geometry, count: int, seed: int) -> list[SeamCase]:
    """Corner cases first (one pixel, one row, smaller than the halo, one off a tile), then random ones."""
    random = np.random.default_rng(seed)
    unit = geometry.output_at_least(geometry.grid + 1)
    corners = [(1, 1), (1, 3 * unit), (geometry.halo // 2, geometry.halo // 2 + 1),
               (2 * unit - 1, 2 * unit), (2 * unit + 1, 2 * unit - 1)]  # fmt: skip
    cases = [SeamCase(frame, (unit, unit)) for frame in corners]
    while len(cases) < count:
        height, width = (int(n) for n in random.integers(geometry.grid, 320, 2))
        out = tuple(
            geometry.output_at_least(int(random.integers(geometry.grid, max(n, geometry.grid + 1) + 1)))
            for n in (height // 2, width // 2)
        )
        cases.append(SeamCase((height, width), (out[0], out[1])))
    return cases[:count]


def check_seams(package: ModelPackage, cases: list[SeamCase], precision: str, seed: int) -> dict[str, Any]:
    """Tiles against the whole for each case: probabilities in float32, and what is served in `precision`.

    The graph of an int8 package computes its probabilities in whole numbers; only its softmax is float32.
    """
    from inspector.defects import mask_of
    from inspector.tiling import plan_tiles, whole_plan

    largest, levels, changed = 0.0, 0, 0
    for case, image in zip(cases, _pictures(package, cases, seed), strict=True):
        whole = whole_plan(case.frame, package.geometry)
        tiled = plan_tiles(case.frame, case.out, package.geometry)
        exact = [_softmax(package, plan, image) for plan in (whole, tiled)]
        difference = float(np.abs(exact[0] - exact[1]).max())
        largest = max(largest, difference if np.isfinite(difference) else np.inf)
        served = [_served(package, plan, image, precision) for plan in (whole, tiled)]
        levels = max(levels, int(np.abs(served[0].astype(np.int16) - served[1]).max()))
        masks = [mask_of(probs, package.thresholds) for probs in served]
        changed += int(np.count_nonzero(masks[0] != masks[1]))
    return {
        "cases": len(cases),
        "max_abs_f32": largest,
        "max_levels_release": levels,
        "mask_pixels_changed": changed,
    }


def _pictures(package: ModelPackage, cases: list[SeamCase], seed: int) -> Iterator[Image]:
    """Golden tiles, mirrored out to the frame with noise over them: the network sees what it knows."""
    from inspector.tiling import mirror_indices

    random = np.random.default_rng(seed)
    tiles = package.golden().tiles
    for number, case in enumerate(cases):
        tile = tiles[number % len(tiles)]
        rows, columns = (mirror_indices(0, n, have) for n, have in zip(case.frame, tile.shape, strict=False))
        picture = tile[rows[:, None], columns].astype(np.int16) + random.integers(-8, 9, (*case.frame, 1))
        image = picture.clip(0, 255).astype(np.uint8)
        yield image[..., 0] if image.shape[2] == 1 else image


def _softmax(package: ModelPackage, plan: TilePlan, image: Image) -> NDArray[np.float32]:
    """The frame's softmax (H, W, K + 1) in float32, by way of the plan's tiles."""
    from inspector.engine.openvino import CompileOptions, compile_graph
    from inspector.tiling import cut_tile, paste_tile

    request = compile_graph(
        package.onnx, plan.input, CompileOptions("f32"), "prob_f32"
    ).create_infer_request()
    onto = np.full((*plan.frame, len(package.classes) + 1), np.nan, np.float32)
    for tile in plan.tiles:
        into = request.get_input_tensor().data
        into[...] = cut_tile(image, plan, tile).reshape(into.shape)
        request.infer()
        probs: NDArray[np.float32] = request.get_output_tensor(0).data[0].transpose(1, 2, 0)
        paste_tile(probs, plan, tile, onto)
    return onto


def _served(package: ModelPackage, plan: TilePlan, image: Image, precision: str) -> NDArray[np.uint8]:
    from inspector.engine.openvino import CompileOptions, OpenVinoEngine
    from inspector.engine.segment import segment

    engine = OpenVinoEngine(package, plan.input, CompileOptions(precision))
    try:
        return segment(image, plan, engine)
    finally:
        engine.close()


def serving_engine(package: ModelPackage, asked: str) -> EngineInfo:
    """What a line serves on this machine's processor: opened, and held against the golden tiles, as there."""
    from inspector.config import ModelConfig
    from inspector.engine.open import open_engine

    settings = ModelConfig.model_validate({"precision": asked})
    side = package.golden().tiles.shape[1:3]
    engine = open_engine(package, (side[0], side[1]), settings)
    engine.close()
    return engine.info


def chosen_model(given: Path | None) -> Path:
    """The package of the command line, else the line's. Raises UsageError where neither names one."""
    from inspector.cli.run import installed_config
    from inspector.config import load_config

    path = installed_config()
    chosen = given or (None if path is None else load_config(path).model.package)
    if chosen is None:
        raise UsageError(
            "No model is chosen; give --model PACKAGE, or name one in a line.toml of `inspector init`."
        )
    return chosen


@click.command()
@click.option(
    "--seams", is_flag=True, help="Tiled against whole on corner cases and random shapes, and nothing else."
)
@click.option("--model", type=click.Path(path_type=Path), help="Model package instead of the line's.")
@click.option("--cases", default=12, show_default=True, type=click.IntRange(1), help="Frame and tile shapes.")
@click.option(
    "--precision", default="auto", type=click.Choice(["auto", "f32", "bf16", "int8"]), show_default=True,
    help="Arithmetic; auto: what the line would serve in.",
)  # fmt: skip
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the random shapes and pictures."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def selftest(seams: bool, model: Path | None, cases: int, precision: str, seed: int, as_json: bool) -> int:
    """Check on this machine what the line promises of a model; exit 1 when it does not hold.

    Promised: a package of which no byte has changed, an engine that keeps its certificate on the golden
    tiles (either refuses with exit code 3), float32 probabilities of tiles within 1e-5 of the whole frame,
    and served ones within one of 256 levels. Of an int8 package the first are its own, before they are
    rounded to levels. With --seams only the last two are said. The engine is OpenVINO, whatever line.toml
    names: TensorRT and torch are held against the golden tiles at each start of their line.

    \b
    Example:  inspector selftest --model demo_model
              inspector selftest --seams --model demo_model --json
    """
    from inspector.cli.announce import announce
    from inspector.package import load_package

    announce()
    package = load_package(chosen_model(model))
    info = serving_engine(package, precision)
    figures = check_seams(package, seam_cases(package.geometry, cases, seed), info.precision, seed)
    holds = figures["max_abs_f32"] <= MOST_F32 and figures["max_levels_release"] <= MOST_LEVELS
    if as_json:
        known = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        # Infinity is no JSON: null is a difference that is not a number.
        click.echo(json.dumps(known if seams else {**known, **_served_json(info)}))
        return 0 if holds else 1
    if not seams:
        click.echo(_served_text(package, info))
    click.echo(_seams_text(package, figures, info.precision, holds))
    return 0 if holds else 1


def _served_json(info: EngineInfo) -> dict[str, Any]:
    return {
        "engine": {"name": info.name, "precision": info.precision, "device": info.device,
                   "package": info.package, "certificate": info.certificate},
    }  # fmt: skip


def _served_text(package: ModelPackage, info: EngineInfo) -> str:
    manifest = package.manifest
    tiles = counted(len(package.golden().tiles), "golden tile")
    return (
        f"{manifest.name} {manifest.version}, package {package.id[:12]}: every file is as exported: holds.\n"
        f"{info.name} {info.precision} on {info.device} agrees with the trained network on {tiles} within its"
        f" limits, certificate {info.certificate[:12]}: holds."
    )


def _seams_text(package: ModelPackage, figures: dict[str, Any], served: str, holds: bool) -> str:
    what = "int8 before it is rounded to levels" if package.in_8_bits else "float32"
    return (
        f"{figures['cases']} cases, tiled against whole: {what} differs by"
        f" {shown(figures['max_abs_f32'])} (promise {shown(MOST_F32)}), served in {served} by"
        f" {figures['max_levels_release']} of 256 levels (promise {MOST_LEVELS}),"
        f" {figures['mask_pixels_changed']} mask pixels changed: {'holds' if holds else 'DOES NOT HOLD'}."
    )
