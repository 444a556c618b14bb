"""`trainer compile`: a package's engine for the GPU of this machine, or its int8 graph for the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.command import run_compile, with_options
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.engine.quantised import QuantisedRecord

_TARGET = [
    click.option(
        "--engine",
        type=click.Choice(["tensorrt", "tensorrt-rtx", "openvino"]),
        default="tensorrt",
        show_default=True,
        help="tensorrt serves on the GPU; tensorrt-rtx only checks the graph, needs no GPU, and nothing of"
        " it is kept; openvino serves on the CPU.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["fp16", "int8"]),
        help="fp16 for TensorRT, int8 for OpenVINO, which makes f32 and bf16 by itself at the start.",
    ),
    click.option(
        "--calibrate",
        multiple=True,
        type=click.Path(path_type=Path),
        help="int8: dataset folder; it is fitted on the training frames, the validation frames show the loss."
        " Repeatable.",
    ),
    click.option(
        "--tiles",
        type=click.IntRange(8, 1024),
        default=64,
        show_default=True,
        help="int8: tiles to fit it on.",
    ),
]


def _options(command: Any) -> Any:
    return with_options(command, _TARGET)


@click.command(name="compile")
@_options
def compile_package(**given: Any) -> int:
    """Compile a PACKAGE for this machine: for its NVIDIA GPU with TensorRT, or to int8 for its CPU.

    TensorRT: the same as `inspector models compile`, for machines that train. An engine serves only
    on the GPU model and under the TensorRT version that it was compiled with.

    int8: fitted layer by layer on tiles of the dataset's training frames, with as many layers in
    floating point as a certificate asks for. It is refused (exit 3) when no choice stays within
    the limits on the golden tiles, or when it loses more than 0.2 points of mean IoU on the
    validation frames; nothing is kept then. The line loads it with model.precision = "int8".

    \b
    Examples:
      trainer compile models/tiles-1 --engine tensorrt --precision fp16 --frame 2160x3840
      trainer compile models/tiles-1 --engine openvino --precision int8 --calibrate datasets/tiles
    """
    calibrate, tiles = given.pop("calibrate"), given.pop("tiles")
    int8 = given["precision"] == "int8"
    if given["engine"] != "openvino":
        if int8 or calibrate:
            raise UsageError("int8 is made for the CPU; give --engine openvino --precision int8.")
        return run_compile(given)
    if given["precision"] == "fp16":
        raise UsageError("OpenVINO does not compute fp16 on a CPU; give --precision int8.")
    if not calibrate:
        raise UsageError("int8 is fitted on training frames; give --calibrate DATA.")
    return _compile_int8(given["package"], calibrate, tiles, given["as_json"])


def _compile_int8(path: Path, data: tuple[Path, ...], tiles: int, as_json: bool) -> int:
    # Imported here: --help must not wait for torch.
    import logging

    from inspector.cli.announce import announce
    from inspector.package import load_package
    from trainer.dataset import load_dataset
    from trainer.quantise import compile_int8

    announce()
    logging.getLogger("trainer").setLevel(logging.INFO)
    package = load_package(path)
    dataset = load_dataset(data, channels=package.manifest.channels, classes=package.classes)
    record = compile_int8(package, dataset, tiles)
    if as_json:
        outcome = {**record.model_dump(mode="json"), "id": record.id(), "iou_change": record.loss.change,
                   "miou_change": record.loss.miou_change}  # fmt: skip
        click.echo(json.dumps(outcome))
        return 0
    click.echo(_table(record))
    click.echo(f'Next: set model.precision = "int8" in the line.toml that serves {path}', err=True)
    return 0


def _table(record: QuantisedRecord) -> str:
    """What was made, and IoU before and after on the validation frames."""
    loss, calibration = record.loss, record.calibration
    same = "" if loss.held_out else ", some of which it was fitted on"
    rows = [
        f"int8 but for {len(record.float_layers)} convolutions, fitted on {calibration.tiles} tiles of"
        f" {calibration.frames} training frames; IoU on {loss.frames} validation frames{same}:",
        f"{'class':<16} {'f32':>7} {'int8':>7} {'change':>8}",
    ]
    for name, change in loss.change.items():
        rows.append(f"{name[:16]:<16} {loss.iou_f32[name]:7.4f} {loss.iou_int8[name]:7.4f} {change:+8.4f}")
    if loss.miou_change is not None:
        rows.append(f"{'mean':<16} {loss.miou_f32:7.4f} {loss.miou_int8:7.4f} {loss.miou_change:+8.4f}")
    return "\n".join(rows)
