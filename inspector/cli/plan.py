"""`inspector plan`: the speed contract, before camera, lens, light and computer are bought."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.cli.plan_text import contract_text, optics_text
from inspector.errors import UsageError
from inspector.size import parse_size
from inspector.speed import LineFacts
from inspector.units import in_unit, remedy

if TYPE_CHECKING:
    from inspector.config import LineConfig


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
        square=not given["non_square_pixels"],
    )


def parse_duration_ms(text: str | None) -> float | None:
    """Milliseconds of `200us`, `0.2ms` or `1s`. Raises UsageError."""
    if text is None:
        return None
    found = in_unit(text, "ms")
    if found is None:
        raise UsageError(f"--exposure {text} is not a duration; give for example 200us or 0.2ms.")
    return found


@click.command()
@click.option("--size", required=True, metavar="HxW", help="Frames of HEIGHTxWIDTH pixels.")
@_number("--view-height-mm", help="Field of view; with one side alone, pixels are square.")
@_number("--view-width-mm", help="Field of view across.")
@click.option(
    "--non-square-pixels",
    is_flag=True,
    help="Both sides of the view are meant, though pixels are oblong then.",
)
@_number("--defect-mm", required=True, help="Width of the smallest defect to be found, where it is thinnest.")
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

    Pixels on the smallest defect (fewer than 3 fail, fewer than 5 are doubtful), motion blur, belt seen, and
    time: tiles of the plan are run on this machine's engine, so run it, quietened, on the machine that is to
    be bought. Exit code 0 when the contract holds or is doubtful, as its last line says, 1 when a condition
    fails, 2 for what cannot be.

    \b
    Example:  inspector plan --size 1080x1920 --view-width-mm 200 --defect-mm 0.6
                  --speed-mm-s 300 --exposure 200us --fps 4 --model models/parts-1
    """
    from inspector.cli.announce import announce
    from inspector.cli.plan_contract import contract
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
    return 1 if figures["conclusion"] == "fails" else 0


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
