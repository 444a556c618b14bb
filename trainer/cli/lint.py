"""`trainer lint`: what is wrong with a dataset folder, before it costs a training run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.durable import unwritable
from inspector.errors import UsageError

if TYPE_CHECKING:
    from trainer.lint.findings import Report


@click.command(short_help="Check a dataset folder before it costs a training.")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="List every place of a finding, not the first eight.")
@click.option(
    "--write-parts",
    type=click.Path(path_type=Path),
    help="Write a parts.json that gives pictures of the same thing one part, into this new file.",
)
@click.option(
    "--write-split",
    type=click.Path(path_type=Path),
    help="Write a split.json with whole parts on one side and each class on both where it can be, with"
    " today's share of test frames (without a split a fifth), into this new file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
def lint(
    data: Path, everything: bool, write_parts: Path | None, write_split: Path | None, as_json: bool
) -> int:
    """Check the dataset folder DATA: files, sizes, classes, labels, split.

    Errors are what `trainer` would refuse, and what makes its figures wrong, such as the same part
    in train and test. Warnings want a look. Nothing in DATA is changed. Exit code 0: clean or
    warnings only; 1: errors; 2: DATA is no dataset folder.

    \b
    Examples:
      trainer lint datasets/tiles
      trainer lint datasets/tiles --all --write-parts parts.json --write-split split.json
    """
    # Imported here: --help must not wait for numpy.
    from trainer.lint.check import lint as checked
    from trainer.lint.text import json_of, text_of

    if not data.is_dir():
        raise UsageError(f"{data} is not there; name a dataset folder with images/ and masks/.")
    for path in (write_parts, write_split):
        if path is not None and path.exists():
            raise UsageError(f"{path} is already there; name a new file, so that nothing is overwritten.")
    report = checked(data, _show)
    click.echo(text_of(report, everything=everything))
    if write_parts is not None:
        _write_parts(report, write_parts)
    if write_split is not None:
        _write_split(report, write_split)
    if as_json:
        click.echo(json.dumps(json_of(report)))
    return 1 if report.of("error") else 0


def _write_parts(report: Report, path: Path) -> None:
    parts = report.proposed_parts()
    _write(path, parts)
    click.echo(
        f"{path}: {len(set(parts.values()))} parts of {len(parts)} frames (stem: name of its part);"
        f" look at it, then copy it to {report.folder / 'parts.json'}: validation and --write-split go by it",
        err=True,
    )


def _write_split(report: Report, path: Path) -> None:
    from trainer.lint.split import proposed_split

    split = proposed_split(report)
    _write(path, split)
    click.echo(
        f"{path}: {len(split['train'])} frames train, {len(split['test'])} test, each part on one side; look"
        f" at it, then copy it to {report.folder / 'split.json'} and fit anew: a network that was fitted"
        " before has seen some of these test frames",
        err=True,
    )


def _write(path: Path, content: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from error


def _show(done: int, frames: int) -> None:
    """One line of progress, rewritten in place, where a person watches."""
    if sys.stderr.isatty():
        click.echo(f"\r{done}/{frames} frames", err=True, nl=done == frames)
