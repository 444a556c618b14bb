"""`trainer import`: labels of other tools in, and our folders out to them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click
from click.core import ParameterSource

from inspector.errors import UsageError

if TYPE_CHECKING:
    from trainer.formats.convert import Conversion

KINDS = ("coco", "cvat", "labelstudio", "labelme", "voc")
"""The formats of trainer.formats.convert, named here so that --help loads nothing heavy."""
IMPORTS_ONLY = ("images", "classes", "like", "unlabelled_good")


class Chosen(TypedDict):
    """What the options of `trainer import` hold."""

    kind: str | None
    to: str | None
    images: Path | None
    classes: Path | None
    like: Path | None
    unlabelled_good: bool
    polygons: bool


@click.command("import", short_help="Turn labels of another tool into a dataset, or back.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--from", "kind", type=click.Choice(KINDS), help="SOURCE has labels of this format; OUT is ours."
)
@click.option("--to", type=click.Choice(KINDS), help="SOURCE is ours; OUT gets labels of this format.")
@click.option(
    "--images", type=click.Path(path_type=Path), help="Where the pictures are, if not beside the labels."
)
@click.option(
    "--classes",
    type=click.Path(path_type=Path),
    help="A classes.json, or a text with one class a line: the ids, and what is not in it is refused.",
)
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    help="A dataset folder whose class ids, split and parts are kept; new pictures go to train.",
)
@click.option("--unlabelled-good", is_flag=True, help="Pictures without any label file show good parts.")
@click.option("--polygons", is_flag=True, help="With --to: outlines instead of masks.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
def import_labels(source: Path, out: Path, as_json: bool, **chosen: Unpack[Chosen]) -> int:
    """Turn SOURCE into OUT: labels of another tool into a dataset folder, or back with --to.

    coco: JSON with run lengths or polygons. cvat: annotations.xml of "CVAT for images 1.1".
    labelstudio: JSON export, brush or polygon. labelme: a folder of JSON files. voc: a folder with
    SegmentationClass/. Boxes are refused: a box is no mask. Pictures are copied as they are and
    nothing is resized. A label `ignore` (or `__ignore__`) is 255. OUT must be new.

    Masks come and go without a changed pixel, with the objects of instances/, as masks and with
    --polygons alike; voc has no polygons. Class pixels that belong to no instance stay so in coco and
    voc; elsewhere each piece becomes an object, and the frames are named. Every export is read back.

    Class ids, split and parts lie in dataset.json beside an export; a tool's own export comes
    without. --like DATASET keeps them, else what is missing is said.

    \b
    Examples:
      trainer import cvat-export parts --from cvat
      trainer import instances_train.json parts --from coco --images train2017
      trainer import parts for-cvat --to cvat          # correct them there, export, then
      trainer import from-cvat parts-2 --from cvat --like parts
    """
    if (chosen["kind"] is None) == (chosen["to"] is None):
        raise UsageError(
            "Say the direction: --from FORMAT makes a dataset folder, --to FORMAT labels for a tool."
        )
    _refuse_idle(exporting=chosen["to"] is not None)
    done = _exported(source, out, chosen) if chosen["to"] else _imported(source, out, chosen)
    for words in [*done.notes, *(f"Warning: {words}" for words in done.warnings)]:
        click.echo(words, err=True)
    classes = ", ".join(f"{number} {name}" for number, name in done.classes.items())
    click.echo(f"{out}: frames {done.frames}, objects {done.objects}, classes {classes}")
    if as_json:
        click.echo(json.dumps({"out": str(out), **done.json()}))
    return 0


def _imported(source: Path, out: Path, chosen: Chosen) -> Conversion:
    # Imported here: --help must not wait for numpy.
    from trainer.formats.convert import ImportRequest, import_labels
    from trainer.formats.source import ReadOptions

    if chosen["like"] and chosen["classes"]:
        raise UsageError("--like has its own classes; leave --classes out.")
    options = ReadOptions(chosen["images"], chosen["unlabelled_good"])
    request = ImportRequest(chosen["kind"] or "", source, out, chosen["classes"], chosen["like"], options)
    return import_labels(request, _show)


def _exported(source: Path, out: Path, chosen: Chosen) -> Conversion:
    from trainer.formats.convert import export_labels

    return export_labels(chosen["to"] or "", source, out, polygons=chosen["polygons"], progress=_show)


def _refuse_idle(*, exporting: bool) -> None:
    """Raises UsageError for an option that the other direction has and this one would pass over."""
    context = click.get_current_context()
    for name in IMPORTS_ONLY if exporting else ("polygons",):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            direction = "--to" if exporting else "--from"
            raise UsageError(f"--{name.replace('_', '-')} does nothing with {direction}; leave it out.")


def _show(done: int, pictures: int) -> None:
    """One line of progress, rewritten in place, where a person watches."""
    if sys.stderr.isatty():
        click.echo(f"\r{done}/{pictures} pictures", err=True, nl=done == pictures)
