"""What `inspector models compile` and `trainer compile` have in common: all but their examples."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from inspector.errors import UsageError

if TYPE_CHECKING:
    from deploy.compile import Outcome, Request

Command = TypeVar("Command", bound=Callable[..., Any])

_PACKAGE = click.argument("package", type=click.Path(path_type=Path))
_OPTIONS = [
    click.option(
        "--engine", type=click.Choice(["tensorrt", "tensorrt-rtx"]), default="tensorrt", show_default=True,
        help="tensorrt serves; tensorrt-rtx only checks the graph, needs no GPU, and nothing of it is kept.",
    ),
    click.option(
        "--precision", type=click.Choice(["fp16"]), default="fp16", show_default=True,
        help="Arithmetic: that of the package's graph.",
    ),
    click.option(
        "--frame", default="1080x1920", show_default=True,
        help="HEIGHTxWIDTH of the line's frames; the tile is the whole frame where that fits the GPU.",
    ),
    click.option("--tile", help="HEIGHTxWIDTH of a tile's input instead."),
    click.option(
        "--batch", type=click.IntRange(1, 64), default=1, show_default=True, help="Most tiles at once."
    ),
    click.option(
        "--workspace-mb", type=click.IntRange(1),
        help="GPU memory that the builder may try tactics in.  [default: half of what is free]",
    ),
    click.option(
        "--level", type=click.IntRange(0, 5), default=3, show_default=True,
        help="TensorRT's optimisation level; 5 can take an hour.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON line."),
]  # fmt: skip


def compile_options(command: Command) -> Command:
    """PACKAGE and every option of a compile command, in the order of the help page."""
    options: list[Callable[..., Any]] = [_PACKAGE, *_OPTIONS]
    for option in reversed(options):
        command = option(command)
    return command


def run_compile(given: dict[str, Any]) -> int:
    """Compile as the options say, in a process of its own, with progress on stderr; the exit code."""
    from deploy.apart import compile_apart
    from deploy.compile import Request
    from deploy.progress import ProgressLine
    from inspector.size import parse_size

    if not given["package"].is_dir():
        raise UsageError(
            f"There is no model package at {given['package']}; give the folder that `trainer export` wrote."
        )
    request = Request(
        package=given["package"],
        engine=given["engine"],
        frame=parse_size(given["frame"], "--frame"),
        tile=parse_size(given["tile"], "--tile") if given["tile"] else None,
        batch=given["batch"],
        workspace_mb=given["workspace_mb"],
        level=given["level"],
    )
    line = ProgressLine()
    try:
        outcome = compile_apart(request, line.show)
    finally:
        line.close()
    if given["as_json"]:
        click.echo(json.dumps(asdict(outcome)))
    else:
        _tell(outcome, request)
    return 0


def _tell(outcome: Outcome, request: Request) -> None:
    """The outcome for people."""
    from deploy.compile import LINT

    size, made = f"{outcome.tile[0]}x{outcome.tile[1]}", f"{outcome.plan_bytes / 1e6:.1f} MB"
    if request.engine == LINT:
        click.echo(
            f"The graph compiles under TensorRT-RTX {outcome.version}: tiles of {size}, fp16, {made} in"
            f" {outcome.build_s:.1f} s. That checks the graph; it is no engine of this product, and nothing"
            " was kept."
        )
    else:
        click.echo(
            f"Done: tiles of {size}, up to {outcome.batch} at once, fp16, {made} in {outcome.build_s:.0f} s"
            f" by TensorRT {outcome.version} on {outcome.gpu}: {outcome.record}"
        )
        served = f"inspector run --engine tensorrt --model {request.package}"
        click.echo(f'Next: set model.engine = "tensorrt", or {served}', err=True)
