"""`trainer evaluate`: how good a run or a package is on frames with masks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.package import ModelPackage
    from trainer.checkpoint import TrainedNetwork
    from trainer.dataset import Sample
    from trainer.evaluate import EvaluationResult, Segmenter


@click.command()
@click.argument("run_or_package", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--split", type=click.Choice(["train", "test", "all"]), default="test", show_default=True,
    help="Which frames of the dataset.",
)  # fmt: skip
@click.option(
    "--also",
    multiple=True,
    type=click.Choice(["pixel_error", "rand_error"]),
    help="More figures; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
def evaluate(
    run_or_package: Path, data: tuple[Path, ...], split: str, also: tuple[str, ...], as_json: bool
) -> int:
    """Measure a RUN of `trainer fit`, or a model package, on the frames of dataset folders.

    Whole frames go through the inspector's own tiles and mask rule. A RUN runs in float32, a
    package on the engine that the line would open. Intervals are 95 %: of IoU by drawing whole
    parts again, of recall by Wilson, of false alarms by Poisson.

    \b
    Examples:
      trainer evaluate runs/tiles datasets/tiles
      trainer evaluate models/tiles datasets/tiles --split test --json
    """
    result = _measured(run_or_package, data, split, also)
    if as_json:
        click.echo(json.dumps({"model": str(run_or_package), "split": split, **result.json()}))
    else:
        click.echo(table(result))
    return 0


def _measured(path: Path, data: tuple[Path, ...], split: str, also: tuple[str, ...]) -> EvaluationResult:
    """Raises UsageError when the split has no frames."""
    # Imported here: --help must not wait for torch.
    from trainer.dataset import load_dataset
    from trainer.evaluate import evaluate as measure

    model, segmenter, channels = _opened(path)
    samples = load_dataset(data, channels=channels, classes=model.classes).split(split)  # type: ignore[arg-type]
    if not samples:
        raise UsageError(f"{data[0]} has no frames in its {split} split; use --split all or add split.json.")
    try:
        return measure(
            _shown(samples), segmenter, model.classes, model.thresholds,
            halo=segmenter.geometry.halo, also=also,  # type: ignore[arg-type]
        )  # fmt: skip
    finally:
        segmenter.close()


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


def table(result: EvaluationResult) -> str:
    """The figures for reading, with their counts and intervals."""
    figures = result.json()
    lines = [
        f"{figures['frames']} frames of {figures['parts']} parts",
        f"mIoU {_rate(figures['miou'])} {_interval(figures['miou_95'])}",
        "",
        f"{'pixels':<16} {'IoU':>6} {'95 %':>13} {'dice':>6} {'prec.':>6} {'recall':>6} {'true px':>11}",
    ]
    for name, row in figures["per_class"].items():
        lines.append(
            f"{name[:16]:<16} {_rate(row['iou'])} {_interval(row['iou_95'])} {_rate(row['dice'])}"
            f" {_rate(row['precision'])} {_rate(row['recall'])} {row['true_px']:>11,}"
        )
    lines += ["", f"{'defects':<16} {'recall':>6} {'95 %':>13} {'found':>11} {'false alarms a frame':>28}"]
    for name, row in {**figures["per_defect"]["classes"], "all": figures["per_defect"]}.items():
        found = f"{row['found']}/{row['total']}"
        alarms = f"{row['false_alarms']}/{row['frames']} ="
        lines.append(
            f"{name[:16]:<16} {_rate(row['recall'])} {_interval(row['recall_95'])} {found:>11} {alarms:>10}"
            f" {_rate(row['false_alarms_per_frame'])} {_interval(row['false_alarms_per_frame_95'])}"
        )
    border = figures["border"]
    lines += ["", f"mIoU within {border['px']} px of the frame's edge {_rate(border['miou'])}"]
    lines += [
        f"{name} {figures[name]:.6f}"
        for name in ("pixel_error", "rand_error")
        if figures.get(name) is not None
    ]
    return "\n".join(lines)


def _rate(value: float | None) -> str:
    return "     -" if value is None else f"{value:6.3f}"


def _interval(bounds: list[Any] | None) -> str:
    if bounds is None or None in bounds:
        return f"{'-':>13}"
    return f"{bounds[0]:.3f}..{bounds[1]:.3f}".rjust(13)


def _shown(samples: tuple[Sample, ...]) -> Iterator[Sample]:
    """The samples, counted on stderr where a person watches."""
    hidden = not sys.stderr.isatty()
    with click.progressbar(samples, label="frames", file=sys.stderr, hidden=hidden) as bar:
        yield from bar
