"""`trainer evaluate`: how good a run or a package is on frames with masks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.durable import unwritable
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.package import ModelPackage
    from trainer.checkpoint import TrainedNetwork
    from trainer.dataset import Dataset, Sample
    from trainer.evaluate import Segmenter
    from trainer.metrics.result import EvaluationResult


@dataclass(frozen=True, slots=True)
class Options:
    """The command line as given."""

    model: Path
    data: tuple[Path, ...]
    split: str
    also: tuple[str, ...]
    average: str | None
    escape_target: float | None
    report: Path | None
    as_json: bool


@click.command(short_help="Measure a RUN or a model package on frames with masks.")
@click.argument("run_or_package", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--split", type=click.Choice(["train", "test", "all"]), default="test", show_default=True,
    help="Which frames of the dataset.",
)  # fmt: skip
@click.option(
    "--also",
    multiple=True,
    type=click.Choice(
        ["pixel_error", "rand_error", "warping_error", "seg", "ap50", "widths", "curves", "frames"]
    ),
    help="More figures; repeatable. rand_error: beside it the best of ten thresholds, as the EM challenge"
    " takes it. seg, ap50: instances, with merges and splits; where trainer fit found that instances touch,"
    " parted as it chose, and beside it the regions that the line counts. widths: recall by width. curves:"
    " precision and recall. frames: every frame's counts.",
)
@click.option(
    "--average",
    type=click.Choice(["rotations", "flips"]),
    help="Average the probabilities of 7 rotations, or of 4 flips, to compare with papers. The line does"
    " not run this.",
)
@click.option(
    "--escape-target",
    type=click.FloatRange(0, 1, max_open=True),
    help="Show what it costs in false alarms to miss no more than this share of the defects. Chooses"
    " nothing; that is for trainer fit.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page with curves, best and worst frames and all identities: one HTML file, no network.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
def evaluate(run_or_package: Path, data: tuple[Path, ...], **options: Any) -> int:
    """Measure a RUN of `trainer fit`, or a model package, on the frames of dataset folders.

    Whole frames go through the inspector's own tiles and mask rule. A RUN runs in float32, a
    package on the engine that the line would open. Intervals are 95 % and by physical part:
    Wilson's for rates and Garwood's for false alarms, widened by how much the parts differ; all
    others by drawing whole parts again. Test frames that the model was trained on or validated with are
    counted and said.

    \b
    Examples:
      trainer evaluate runs/tiles datasets/tiles
      trainer evaluate models/tiles datasets/tiles --escape-target 0.01 --report tiles.html
      trainer evaluate runs/cells datasets/cells --also seg --also ap50 --split test --json
    """
    return evaluated(Options(run_or_package, data, **options))


def evaluated(options: Options) -> int:
    """Measure, write the page where one was asked for, and print; the exit code."""
    # Imported here: --help must not wait for torch.
    from trainer.dataset import load_dataset
    from trainer.report.identity import identity
    from trainer.report.notices import seen_words
    from trainer.report.text import table

    if options.report is not None:
        _check_place(options.report)
    if options.average:
        click.echo(
            f"Averages {options.average} of each frame; the line does not run this, so these are"
            " not the figures of the served model.",
            err=True,
        )
    model, segmenter, channels = _opened(options.model)
    dataset = load_dataset(options.data, channels=channels, classes=model.classes)
    samples = _samples(options, dataset)
    seen = _seen(model, samples)
    for words in seen_words(seen, len(samples)) if options.split == "test" else ():
        click.echo(f"Warning: {words}", err=True)
    try:
        result = _measured(options, model, segmenter, samples)
        about = identity(options.model, model, segmenter.engines, dataset, samples, options.split)
    finally:
        segmenter.close()
    figures = {
        "model": str(options.model),
        "split": options.split,
        "average": options.average,
        "ended": _ended(model),
        "seen": seen,
        **_asked(result, options, model),
        **about.json(),
    }
    if options.report is not None:
        _write(options.report, figures, about, result)
    click.echo(json.dumps(figures) if options.as_json else table(figures))
    return 0


def _samples(options: Options, dataset: Dataset) -> tuple[Sample, ...]:
    """Raises UsageError when there are none."""
    samples = dataset.split(options.split)  # type: ignore[arg-type]
    if not samples:
        raise UsageError(
            f"{options.data[0]} has no frames in its {options.split} split; use --split all or add"
            " split.json."
        )
    return samples


def _ended(model: TrainedNetwork | ModelPackage) -> bool:
    """Whether these are the figures that the finished network will have."""
    from inspector.package import ModelPackage
    from trainer.doubts import has_ended

    return isinstance(model, ModelPackage) or has_ended(model)


def _seen(model: TrainedNetwork | ModelPackage, samples: tuple[Sample, ...]) -> dict[str, int] | None:
    """How many of the frames trained and validated the model; None where it does not say what did."""
    from inspector.package import ModelPackage
    from trainer.seen import SEEN, SeenPictures

    if isinstance(model, ModelPackage):
        seen = SeenPictures.read(model.manifest.metrics.get(SEEN))
    else:
        seen = model.seen
    return None if seen is None else seen.among(sample.image() for sample in samples)


def _check_place(report: Path) -> None:
    """Raises UsageError when the page could not be written after minutes of measuring."""
    folder = report.parent
    if (
        report.is_dir()
        or not folder.is_dir()
        or not os.access(report if report.exists() else folder, os.W_OK)
    ):
        raise UsageError(f"{report} cannot be written; name a file in a folder that is there and writable.")


def _measured(
    options: Options, model: TrainedNetwork | ModelPackage, segmenter: Segmenter, samples: tuple[Sample, ...]
) -> EvaluationResult:
    from trainer.average import averaged
    from trainer.evaluate import Reading
    from trainer.evaluate import evaluate as measure

    segment = averaged(segmenter, options.average) if options.average else segmenter  # type: ignore[arg-type]
    also, halo = _also(options, samples), segmenter.geometry.halo
    return measure(_shown(samples), segment, Reading.of(model), halo=halo, also=also)  # type: ignore[arg-type]


def _also(options: Options, samples: tuple[Sample, ...]) -> tuple[str, ...]:
    """What was asked for, and what the page or the escape target needs."""
    wanted = list(options.also)
    if options.escape_target is not None:
        wanted.append("curves")
    if options.report is not None:
        wanted += ["widths", "curves", "frames", "pixel_error"]
        if any((sample.folder / "instances").is_dir() for sample in samples):
            wanted += ["seg", "ap50"]
    return tuple(dict.fromkeys(wanted))


def _asked(
    result: EvaluationResult, options: Options, model: TrainedNetwork | ModelPackage
) -> dict[str, Any]:
    """The figures, with the trade for the escape target."""
    from trainer.metrics.curves import DefectCurves
    from trainer.metrics.judged import null_for_nan

    figures = result.json()
    curves = result.figures.get("defect_curves")
    if options.escape_target is not None and isinstance(curves, DefectCurves):
        figures["escape"] = null_for_nan(
            curves.escapes.json(options.escape_target, model.thresholds, figures["per_defect"])
        )
    return figures


def _write(report: Path, figures: dict[str, Any], about: Any, result: EvaluationResult) -> None:
    from trainer.metrics.frames import FrameList
    from trainer.report.page import page

    frames = result.figures["frames"]
    assert isinstance(frames, FrameList)
    try:
        report.write_text(page(figures, about, frames, result.classes), encoding="utf-8")
    except OSError as error:
        raise unwritable(report, error) from error
    click.echo(f"Wrote {report}; it opens in any browser, without a network.", err=True)


def _opened(path: Path) -> tuple[TrainedNetwork | ModelPackage, Segmenter, int]:
    """(model, its segmenter, channels) of a RUN or a package. Raises UsageError when it is neither."""
    from inspector.config import ModelConfig
    from inspector.package import load_package
    from trainer.checkpoint import load_run
    from trainer.evaluate import is_package, package_segmenter, run_segmenter

    if not path.is_dir():
        raise UsageError(f"{path} is not there; name a RUN folder or a model package.")
    if is_package(path):
        package = load_package(path)
        return package, package_segmenter(package, ModelConfig()), package.manifest.channels
    trained = load_run(path)
    return trained, run_segmenter(trained), trained.channels


def _shown(samples: tuple[Sample, ...]) -> Iterator[Sample]:
    """The samples, counted on stderr where a person watches."""
    hidden = not sys.stderr.isatty()
    with click.progressbar(samples, label="frames", file=sys.stderr, hidden=hidden) as bar:
        yield from bar
