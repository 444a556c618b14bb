"""`trainer export`: the model package of a run, or the int8 package of a package."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.engine.quantised import Quantisation
    from inspector.package import ModelPackage


@click.command()
@click.argument("model", metavar="RUN_OR_PACKAGE", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Package folder to write; must be new."
)
@click.option("--name", help="What the model is called.  [default: the package folder's name]")
@click.option("--version", default="1.0.0", show_default=True, help="Its version.")
@click.option(
    "--int8", "calibrate", multiple=True, metavar="DATA", type=click.Path(path_type=Path),
    help="Make an int8 package of a PACKAGE: dataset folder on whose training frames it is fitted; the"
    " validation frames show the loss. Repeatable.",
)  # fmt: skip
@click.option(
    "--tiles", type=click.IntRange(8, 1024), default=64, show_default=True,
    help="int8: tiles to fit it on.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON line.")
def export(
    model: Path,
    out: Path,
    name: str | None,
    version: str,
    calibrate: tuple[Path, ...],
    tiles: int,
    as_json: bool,
) -> int:
    """Pack the best network of a RUN as a model package for the line, or a PACKAGE in int8.

    Of a RUN, batch norm is folded and the weights go to half precision. The package is refused (exit
    3) when half cannot hold them; nothing is written then. Where half changes what the network says on
    its golden tiles, a warning says so: f32 and bf16 may still serve, fp16 may not.

    With --int8, the network of a PACKAGE is fitted to 8 bits, layer by layer, at the thresholds that it
    has. It is refused (exit 3) when it loses more than 0.2 points of mean IoU on the validation
    frames. Only OpenVINO on a CPU serves an int8 package, fastest on one with VNNI.

    \b
    Examples:
      trainer export runs/tiles --out models/tiles-1 --name tiles --version 1.0.0
      trainer export models/tiles-1 --int8 datasets/tiles --out models/tiles-1-int8
    """
    if not version.strip():
        raise UsageError("--version is empty; give one, or leave the option out.")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    names = name or out.name, version
    package = _in_int8(model, calibrate, tiles, out, names) if calibrate else _of_run(model, out, names)
    from inspector.engine.quantised import quantisation

    made = quantisation(package)
    if as_json:
        outcome: dict[str, Any] = {"package": str(out), "id": package.id, "classes": list(package.classes)}
        if made is not None:
            outcome["int8"] = made.model_dump(mode="json") | {"miou_change": made.loss.miou_change}
        click.echo(json.dumps(outcome))
        return 0
    if made is not None:
        click.echo(_table(made))
    click.echo(
        f"Done: {out}, package {package.id[:12]} (next: inspector run --camera 0 --model {out})", err=True
    )
    return 0


def _of_run(run: Path, out: Path, names: tuple[str, str]) -> ModelPackage:
    # Imported here: --help must not wait for torch.
    from trainer.checkpoint import load_run
    from trainer.doubts import doubts
    from trainer.evaluate import is_package
    from trainer.export import export_package
    from trainer.golden import load_tiles

    if is_package(run):
        raise UsageError(f"{run} is a model package already; give --int8 DATA to make one in int8 of it.")
    trained = load_run(run)
    for words in doubts(trained):
        click.echo(f"Warning: {words}", err=True)
    return export_package(trained, load_tiles(run), out, *names)


def _in_int8(
    path: Path, data: tuple[Path, ...], tiles: int, out: Path, names: tuple[str, str]
) -> ModelPackage:
    from inspector.package import load_package
    from trainer.dataset import load_dataset
    from trainer.quantise import export_int8

    logging.getLogger("trainer").setLevel(logging.INFO)
    package = load_package(path)
    dataset = load_dataset(data, channels=package.manifest.channels, classes=package.classes)
    dataset.refuse_exam_frames()
    return export_int8(package, dataset, out, names, tiles)


def _table(made: Quantisation) -> str:
    """What was fitted, and IoU before and after on the validation frames."""
    loss, calibration = made.loss, made.calibration
    same = "" if loss.held_out else ", some of which it was fitted on"
    rows = [
        f"int8, fitted on {calibration.tiles} tiles of {calibration.frames} training frames; IoU on"
        f" {loss.frames} validation frames{same}:",
        f"{'class':<16} {'f32':>7} {'int8':>7} {'change':>8}",
    ]
    for name, change in loss.change.items():
        rows.append(f"{name[:16]:<16} {loss.iou_f32[name]:7.4f} {loss.iou_int8[name]:7.4f} {change:+8.4f}")
    if loss.miou_change is not None:
        rows.append(f"{'mean':<16} {loss.miou_f32:7.4f} {loss.miou_int8:7.4f} {loss.miou_change:+8.4f}")
    return "\n".join(rows)
