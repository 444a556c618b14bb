"""`trainer fit`: a network from defect masks."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from inspector.cli.group import INTERRUPTED
from inspector.errors import InspectionError, UsageError

if TYPE_CHECKING:
    from trainer.fit import Prepared
    from trainer.ranks import Ranks
    from trainer.validate import Validation


@dataclass(frozen=True, slots=True)
class FitOptions:
    """The command line as given."""

    data: tuple[Path, ...]
    out: Path
    recipe: Literal["modern", "paper"] | None
    init: Path | None
    config: Path | None
    resume: bool
    previous: bool
    device: str
    tensorboard: bool
    as_json: bool
    settings: dict[str, Any]
    """Fields of FitConfig; None where nothing was said."""


@click.command(short_help="Fit a U-Net to pictures with masks and keep the best in RUN.")
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="RUN folder to write; must be new."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True),
    help="Train this long, loading included. Calibration and the choice of thresholds come on top: seconds"
    " for small pictures, some minutes for a hundred validation frames of 720x1280.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(1), help="Train this many steps instead.")
@click.option(
    "--recipe", type=click.Choice(["modern", "paper"]),
    help="Settings to start from; paper: as Ronneberger 2015.  [default: modern]",
)  # fmt: skip
@click.option(
    "--config", type=click.Path(path_type=Path),
    help="TOML file with any of the settings that RUN/config.toml lists; options given here win over it.",
)  # fmt: skip
@click.option("--base", type=click.IntRange(1), help="Feature maps of the first level.  [default: 16]")
@click.option("--depth", type=click.IntRange(2, 6), help="Levels.  [default: 4]")
@click.option("--init", type=click.Path(path_type=Path), help="Go on from the network of this model package.")
@click.option("--seed", type=click.IntRange(0), help="Of weights, tiles and validation.  [default: 0]")
@click.option("--channels", type=click.Choice(["1", "3"]), help="Gray or colour.  [default: as stored]")
@click.option(
    "--border",
    type=click.Choice(["weight", "ignore", "none"]),
    help="Loss between instances.  [default: weight with instances/ or --recipe paper, else none]",
)
@click.option(
    "--augmentation",
    type=click.Choice(["usual", "strong"]),
    help="How far training tiles differ from your pictures; strong: for few pictures from many places."
    "  [default: usual]",
)
@click.option(
    "--quarter-turns/--no-quarter-turns",
    default=None,
    help="Turn tiles by 90 degrees as well: right where damage runs in any direction."
    "  [default: the recipe's]",
)
@click.option("--skip", type=click.Choice(["concat", "sum"]), help="How skip maps join.  [default: concat]")
@click.option("--learning-rate", type=float, help="Highest learning rate.  [default: the recipe's]")
@click.option("--weight-cap", type=float, help="Largest class weight.  [default: the recipe's]")
@click.option(
    "--mm-per-px",
    type=click.FloatRange(min=0, min_open=True),
    nargs=2,
    help="Scale of the pictures, Y X, for the package.",
)
@click.option(
    "--escape-target",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of defects that may be missed on the validation frames; thresholds are then as high as it"
    " lets them be. With --resume also for a run that has ended."
    "  [default: thresholds of best IoU]",
)
@click.option(
    "--false-alarm-share",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of tiles aimed at what the network falsely calls a defect in DATA: from the start with"
    " --init, else from 60 % of the run on.  [default: 0]",
)
@click.option(
    "--edge-share",
    type=click.FloatRange(0, 1),
    help="Share of tiles that see the frame end at one of their sides: for parts that move out of view."
    "  [default: 0]",
)
@click.option("--precision", type=click.Choice(["auto", "f32", "bf16"]), help="Arithmetic.  [default: auto]")
@click.option(
    "--device", default="auto", show_default=True,
    help="cpu, cuda or cuda:N; auto: an NVIDIA GPU where PyTorch finds one.",
)  # fmt: skip
@click.option(
    "--tensorboard", is_flag=True,
    help="Write curves and a few validation frames for TensorBoard as well; see them with"
    " tensorboard --logdir RUN.",
)  # fmt: skip
@click.option(
    "--resume", is_flag=True, help="Go on with the interrupted run in --out, with its own settings."
)
@click.option(
    "--previous", is_flag=True, help="With --resume: from the checkpoint before the last one, previous.pt."
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON line.")
def fit(**given: Any) -> int:
    """Fit a U-Net to dataset folders (images/ and masks/) and keep the best network in RUN.

    The best network is chosen on frames held back from the train split, never on test frames;
    so are the thresholds. Stop with Ctrl-C and go on with --resume.

    \b
    Examples:
      trainer fit datasets/tiles --out runs/tiles --minutes 12
      trainer fit datasets/tiles flagged --out runs/tiles-2 --minutes 5 --init models/tiles
      trainer fit datasets/cells --out runs/cells --minutes 60 --recipe paper --base 32 --depth 5
      torchrun --nproc-per-node 2 -m trainer fit datasets/tiles --out runs/tiles --minutes 12

    With torchrun the processes share each step's tiles, one GPU or a part of the cores each.
    """
    named = {field.name for field in fields(FitOptions)} & given.keys()
    options = {name: given.pop(name) for name in named}
    return fitted(FitOptions(**options, settings=given))


def fitted(options: FitOptions) -> int:
    """Train, show it, and say what came out; the exit code."""
    # Read by OpenMP when torch is loaded. Threads that wait by spinning take the core from the one
    # that cuts tiles: seen on two busy cores, 6.1 s a step against 1.5 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Imported here: --help must not wait for torch.
    from trainer.ranks import joined

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with joined(options.device) as ranks:
        if ranks.first:
            return _fitted(options, ranks)
        logging.disable(logging.WARNING)
        try:
            return _fitted(options, ranks)
        except InspectionError as error:
            raise type(error)(f"process {ranks.rank}: {error}") from error


def _fitted(options: FitOptions, ranks: Ranks) -> int:
    from trainer.checkpoint import load_run
    from trainer.doubts import blind, doubts
    from trainer.failures import peers_told
    from trainer.fit import run
    from trainer.interrupt import asked_to_stop
    from trainer.progress import Display, Quiet

    with peers_told(ranks, "see what it said, mend that and start all again"):
        prepared = _prepared(options, ranks)
    if not ranks.first:
        with asked_to_stop() as stop:
            return 0 if run(prepared, Quiet(), stop) else INTERRUPTED
    config, out = prepared.config, options.out
    click.echo(
        f"{prepared.frames} frames train, {prepared.validation_frames} validate; classes"
        f" {', '.join(config.classes)}; {config.recipe}, depth {config.depth}, base {config.base};"
        f" {ranks.device}{f', {ranks.world} processes' if ranks.world > 1 else ''}",
        err=True,
    )
    if options.tensorboard:
        click.echo(f"To watch it, type in another terminal: tensorboard --logdir {out}", err=True)
    found = None
    with suppress(KeyboardInterrupt), asked_to_stop() as stop, Display(config.classes) as display:
        found = run(prepared, display, stop)
    if found is None:
        click.echo(
            f"Stopped; go on with the same command and --resume. {out} keeps what was learned.", err=True
        )
        return INTERRUPTED
    trained = load_run(out)
    warnings = doubts(trained)
    if options.as_json:
        click.echo(json.dumps(_outcome(out, config.classes, found) | {"warnings": warnings}))
    useless = blind(trained.metrics["validation"]) is not None
    step = f"trainer evaluate {out} {options.data[0]}" if useless else f"trainer export {out} --out PACKAGE"
    click.echo(f"Done: {out}  (next: {step})", err=True)
    for words in warnings:
        click.echo(f"Warning: {words}", err=True)
    return 0


def _prepared(options: FitOptions, ranks: Ranks) -> Prepared:
    from trainer.fit import Request, prepare
    from trainer.resume import Resumption, prepare_resume

    data, out, board = options.data, options.out, options.tensorboard
    settings = dict(options.settings)
    if settings["channels"] is not None:
        settings["channels"] = int(settings["channels"])
    if options.resume:
        target = settings["escape_target"]
        again = settings | {"recipe": options.recipe}
        return prepare_resume(
            Resumption(data, out, target, options.previous, again, options.config, options.init, board, ranks)
        )
    if options.previous:
        raise UsageError("--previous chooses the checkpoint that --resume goes on from; give both.")
    return prepare(Request(data, out, options.recipe, options.init, settings, options.config, board, ranks))


def _outcome(out: Path, classes: tuple[str, ...], found: Validation) -> dict[str, Any]:
    thresholds = {n: round(c.threshold, 3) for n, c in zip(classes, found.choices, strict=True)}
    return {"run": str(out), "validation_iou": found.score, "thresholds": thresholds}
