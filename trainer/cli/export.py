"""`trainer export`: the model package of a run, or the int8 package of a package."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.errors import Refused, UsageError

if TYPE_CHECKING:
    from inspector.engine.quantised import AccuracyLoss, Quantisation
    from inspector.package import ModelPackage
    from trainer.validate import Tell


@dataclass(frozen=True, slots=True)
class Options:
    """The command line as given."""

    out: Path
    name: str | None
    version: str
    calibrate: tuple[Path, ...]
    tiles: int
    force: bool
    as_json: bool

    @property
    def names(self) -> tuple[str, str]:
        """Name and version of the package."""
        return self.name or self.out.name, self.version


@click.command()
@click.argument("run_or_package", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Package folder to write; must be new."
)
@click.option("--name", help="What the model is called.  [default: the package folder's name]")
@click.option("--version", default="1.0.0", show_default=True, help="Its version.")
@click.option(
    "--int8", "calibrate", multiple=True, metavar="DATA", type=click.Path(path_type=Path),
    help="Make an int8 package of a PACKAGE: dataset folder on whose training frames it is fitted; the"
    " validation frames, which are cut from them, show the loss. Repeatable.",
)  # fmt: skip
@click.option(
    "--tiles", type=click.IntRange(8, 1024), default=64, show_default=True,
    help="int8: tiles to fit it on.",
)  # fmt: skip
@click.option(
    "--force", is_flag=True,
    help="Pack also a RUN that has not ended, or whose network hardly meets a defect.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON line.")
def export(run_or_package: Path, **options: Any) -> int:
    """Pack the network of a RUN as a model package for the line, or a PACKAGE in int8.

    A RUN that has not ended, or whose network hardly meets a defect on its validation frames, is refused
    (exit 3) unless --force is given; anything else that is doubtful is a warning.

    Of a RUN, batch norm is folded and the weights go to half precision. The package is refused (exit
    3) when half cannot hold them; nothing is written then. Where half changes what the network says on
    its golden tiles, a warning says so: f32 and bf16 may still serve, fp16 may not.

    With --int8, the network of a PACKAGE is fitted to 8 bits, layer by layer, at the thresholds that it
    has. It is refused (exit 3) when on validation frames it loses more than 0.2 points of mean IoU,
    more than 2 % of the defects, of a class or of all (one may be lost), or every defect of a class, and
    when it loses a golden defect of 9 pixels or more. What it loses within that is said with counts. Give
    the data that the PACKAGE was trained on, so that the validation frames are those of trainer fit; from 30
    of them on the counts say something. Only OpenVINO on a CPU serves an int8 package, fastest on one with
    VNNI.

    \b
    Examples:
      trainer export runs/tiles --out models/tiles-1 --name tiles --version 1.0.0
      trainer export models/tiles-1 --int8 datasets/tiles --out models/tiles-1-int8
    """
    return exported(run_or_package, Options(**options))


def exported(model: Path, options: Options) -> int:
    """Write the package and say what was written; the exit code."""
    if not options.version.strip():
        raise UsageError("--version is empty; give one, or leave the option out.")
    if options.force and options.calibrate:
        raise UsageError("--force packs a RUN; it does nothing with --int8, leave it out.")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    package = _in_int8(model, options) if options.calibrate else _of_run(model, options)
    from inspector.engine.quantised import quantisation

    out, made = options.out, quantisation(package)
    if options.as_json:
        outcome: dict[str, Any] = {"package": str(out), "id": package.id, "classes": list(package.classes)}
        if made is not None:
            outcome["int8"] = made.model_dump(mode="json") | {"miou_change": made.loss.miou_change}
        click.echo(json.dumps(outcome))
        return 0
    if made is not None:
        click.echo("\n".join(_table(made)))
    click.echo(
        f"Done: {out}, package {package.id[:12]} (next: inspector run --camera 0 --model {out})", err=True
    )
    return 0


def _of_run(run: Path, options: Options) -> ModelPackage:
    # Imported here: --help must not wait for torch.
    from trainer.checkpoint import load_run
    from trainer.doubts import doubts, unfit
    from trainer.evaluate import is_package
    from trainer.export import export_package
    from trainer.golden import load_tiles

    if is_package(run):
        raise UsageError(f"{run} is a model package already; give --int8 DATA to make one in int8 of it.")
    trained = load_run(run)
    if not options.force and (reason := unfit(trained)) is not None:
        raise Refused(f"{run} is not packed. {reason} --force packs it as it is.")
    for words in doubts(trained):
        click.echo(f"Warning: {words}", err=True)
    return export_package(trained, load_tiles(run), options.out, *options.names)


def _in_int8(path: Path, options: Options) -> ModelPackage:
    from inspector.package import load_package
    from trainer.dataset import load_dataset
    from trainer.quantise import export_int8

    logging.getLogger("trainer").setLevel(logging.INFO)
    package = load_package(path)
    dataset = load_dataset(options.calibrate, channels=package.manifest.channels, classes=package.classes)
    dataset.refuse_exam_frames()
    with _progress() as tell:
        return export_int8(package, dataset, options.out, options.names, options.tiles, tell)


@contextmanager
def _progress() -> Iterator[Tell]:
    """Shows on stderr how far each step is, a bar on a terminal."""
    from deploy.progress import ProgressLine

    lines: dict[str, ProgressLine] = {}

    def tell(words: str, done: int, count: int) -> None:
        line = lines.setdefault(words, ProgressLine())
        line.show(done / count if count else 1.0, f"{words}, {done} of {count}")
        if done == count:
            lines.pop(words).close()  # warnings may follow, each on a line of its own

    try:
        yield tell
    finally:
        for line in lines.values():
            line.close()


def _table(made: Quantisation) -> Iterator[str]:
    """What was fitted, and IoU and defects before and after on the validation frames."""
    loss, calibration = made.loss, made.calibration
    shown = f"{loss.frames} validation frames"
    if not loss.held_out:
        shown = f"{loss.frames} training frames, too few to keep some of them apart for validation"
    yield (
        f"int8, fitted on {calibration.tiles} tiles, cut from {calibration.frames} training frames; IoU and"
        f" defects found on {shown}:"
    )
    yield f"{'class':<16} {'f32':>7} {'int8':>7} {'change':>8} {'defects':>9} {'f32':>6} {'int8':>6}"
    for name, change in loss.change.items():
        iou = f"{loss.iou_f32[name]:7.4f} {loss.iou_int8[name]:7.4f} {change:+8.4f}"
        yield f"{name[:16]:<16} {iou}{_defects(loss, name)}"
    if loss.miou_change is not None:
        yield f"{'mean':<16} {loss.miou_f32:7.4f} {loss.miou_int8:7.4f} {loss.miou_change:+8.4f}"
    yield f"Golden tiles: {made.golden_words}."


def _defects(loss: AccuracyLoss, name: str) -> str:
    """Three columns: true defects of a class, and how many f32 and int8 find; empty for the background."""
    one = loss.defects.get(name)
    return "" if one is None else f" {one.total:9} {one.f32:6} {one.int8:6}"
