"""`trainer fit`: a network from defect masks."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.cli.group import INTERRUPTED
from inspector.errors import InspectionError, UsageError
from trainer.cli.fit_options import FitOptions, fit_options

if TYPE_CHECKING:
    from trainer.config import FitConfig
    from trainer.fit import Prepared
    from trainer.ranks import Ranks
    from trainer.validate import Validation


@click.command(short_help="Fit a U-Net to pictures with masks and keep it in RUN.")
@fit_options
def fit(**given: Any) -> int:
    """Fit a U-Net to dataset folders (images/ and masks/) and keep it in RUN.

    It is judged on frames held back from the train split, never on test frames: the latest network
    is kept that they do not tell from the best. The thresholds are chosen on them as well.
    Stop with Ctrl-C and go on with --resume.

    \b
    Examples:
      trainer fit datasets/tiles --out runs/tiles --minutes 12
      trainer fit datasets/tiles --out runs/tiles --minutes 12 --resume     # after Ctrl-C or a crash
      trainer fit datasets/tiles flagged --out runs/tiles-2 --minutes 5 --init models/tiles
      trainer fit datasets/tiles --out runs/again --config runs/tiles/config.toml --seed 1
      trainer fit datasets/tiles --out runs/safe --minutes 12 --escape-target 0.02
      trainer fit datasets/cells --out runs/cells --minutes 60 --recipe paper --base 32 --depth 5
      torchrun --nproc-per-node 2 -m trainer fit datasets/tiles --out runs/tiles --minutes 12

    With torchrun the processes share each step's tiles, one GPU or a part of the cores each.

    A run that has ended is trained for longer by a new one that begins where it ended:

    \b
      trainer export runs/tiles --out models/tiles
      trainer fit datasets/tiles --out runs/longer --init models/tiles --minutes 30
    """
    named = {field.name for field in fields(FitOptions)} & given.keys()
    options = {name: given.pop(name) for name in named}
    return fitted(FitOptions(**options, settings=given))


def fitted(options: FitOptions) -> int:
    """Train, show it, and say what came out; the exit code."""
    _refuse_early(options)
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


def _refuse_early(options: FitOptions) -> None:
    """What is wrong with paths and settings is said before torch is loaded, which takes seconds."""
    from trainer.config_file import read_settings
    from trainer.folder import lint_named, pictures_of
    from trainer.new_folder import require_new_run
    from trainer.recipes import require_one_end

    if options.previous and not options.resume:
        raise UsageError("--previous chooses the checkpoint that --resume goes on from; give both.")
    if "RANK" in os.environ:
        return  # of several processes that torchrun started one speaks for all, later
    if not options.resume:
        require_new_run(options.out)
        file = read_settings(options.config) if options.config is not None else {}
        ends = {name: options.settings[name] for name in ("minutes", "steps")}
        require_one_end(file if set(ends.values()) == {None} else ends)
    with lint_named(options.data):
        for folder in options.data:
            pictures_of(folder)


def _fitted(options: FitOptions, ranks: Ranks) -> int:
    from trainer.failures import peers_told
    from trainer.fit import run
    from trainer.interrupt import asked_to_stop
    from trainer.progress import Display, Quiet, StillAtWork

    with ExitStack() as around:
        around.enter_context(peers_told(ranks, "see what it said, mend that and start all again"))
        if ranks.first:
            around.enter_context(StillAtWork("reading the data"))
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
    for words in _doubts_at_start(prepared, options):
        click.echo(f"Warning: {words}", err=True)
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
    _say_what_came_out(options, config, found)
    return 0


def _say_what_came_out(options: FitOptions, config: FitConfig, found: Validation) -> None:
    from trainer.checkpoint import load_run
    from trainer.doubts import blind, doubts

    out, trained = options.out, load_run(options.out)
    warnings = doubts(trained)
    if options.as_json:
        click.echo(json.dumps(_outcome(out, config.classes, found) | {"warnings": warnings}))
    useless = blind(trained.metrics["validation"]) is not None
    step = f"trainer evaluate {out} {options.data[0]}" if useless else f"trainer export {out} --out PACKAGE"
    click.echo(f"Done: {out}  (next: {step})", err=True)
    for words in warnings:
        click.echo(f"Warning: {words}", err=True)


def _prepared(options: FitOptions, ranks: Ranks) -> Prepared:
    from trainer.fit import Request, prepare
    from trainer.folder import lint_named
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
    with lint_named(data):
        return prepare(
            Request(data, out, options.recipe, options.init, settings, options.config, board, ranks)
        )


def _doubts_at_start(prepared: Prepared, options: FitOptions) -> Iterator[str]:
    """What makes the outcome doubtful before the first step; of a resumed run it was said when it began."""
    from trainer.recipes import rate_doubt
    from trainer.unshown import unshown_words

    if options.resume:
        return
    if (words := rate_doubt(prepared.config, options.init is not None)) is not None:
        yield words
    if prepared.unshown:
        yield unshown_words(prepared.unshown)


def _outcome(out: Path, classes: tuple[str, ...], found: Validation) -> dict[str, Any]:
    thresholds = {n: round(c.threshold, 3) for n, c in zip(classes, found.choices, strict=True)}
    return {"run": str(out), "validation_iou": found.score, "thresholds": thresholds}
