"""`trainer synth`: pictures of a line whose defects are known to the pixel."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypedDict, Unpack

import click
from click.core import ParameterSource

from inspector.errors import UsageError
from inspector.size import parse_size
from trainer.synth.line import LineSpec
from trainer.synth.nuisances import NUISANCES
from trainer.synth.surfaces import SURFACES
from trainer.synth.write import classes_lacking, truth_folder, write_dataset, write_video

DATASETS_ONLY = ("gray", "drift", "ignore_below")
VIDEOS_ONLY = ("speed", "fps")
_WITHOUT = {"train": "no network learns it here", "test": "nothing can be measured of it"}


class Chosen(TypedDict):
    """What the options of `trainer synth` hold."""

    size: str
    seed: int
    surfaces: tuple[str, ...]
    nuisances: str
    clean_share: float
    defects: int
    contrast: float
    drift: float
    gray: bool
    ignore_below: float
    video: bool
    speed: int | None
    fps: float


def parse_nuisances(text: str) -> tuple[str, ...]:
    """The nuisances of a comma list, `all` or `none`."""
    if text == "all":
        return NUISANCES
    return () if text == "none" else tuple(name.strip() for name in text.split(","))


def _spec(chosen: Chosen) -> LineSpec:
    """The line that the options describe. Raises UsageError for what cannot be generated."""
    return LineSpec(
        size=parse_size(chosen["size"]),
        seed=chosen["seed"],
        surfaces=chosen["surfaces"] or tuple(SURFACES),
        nuisances=parse_nuisances(chosen["nuisances"]),
        clean_share=chosen["clean_share"],
        contrast=chosen["contrast"],
        defects=chosen["defects"],
        drift=chosen["drift"],
    ).checked()


def _refuse_idle(video: bool) -> None:
    """Raises UsageError for an option that was given and that this kind of output would pass over."""
    context = click.get_current_context()
    kind, others = ("video", DATASETS_ONLY) if video else ("dataset", VIDEOS_ONLY)
    for name in others:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"A {kind} cannot have --{name.replace('_', '-')}; leave that option out.")


def _show(done: int, frames: int) -> None:
    """One line of progress on stderr, rewritten in place on a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r{done}/{frames} frames", err=True, nl=done == frames)
    elif done == frames or done % 50 == 0:
        click.echo(f"{done}/{frames} frames", err=True)


@click.command(short_help="Generate a line with defects known to the pixel.")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--frames", type=click.IntRange(1), required=True, help="How many frames.")
@click.option("--size", default="720x1280", show_default=True, help="HEIGHTxWIDTH, up to 12 megapixels.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same pixels.")
@click.option(
    "--surface",
    "surfaces",
    multiple=True,
    type=click.Choice(list(SURFACES)),
    help="May be repeated; default all.",
)
@click.option(
    "--nuisances", default="all", show_default=True, help=f"all, none, or some of {','.join(NUISANCES)}."
)
@click.option(
    "--clean-share", type=float, default=0.5, show_default=True, help="Share of parts without a defect."
)
@click.option(
    "--defects", type=int, default=3, show_default=True, help="Mean number of defects on a damaged part."
)
@click.option("--contrast", type=float, default=1.0, show_default=True, help="Strength of the defects.")
@click.option(
    "--drift",
    type=float,
    default=0.13,
    show_default=True,
    help="How far a part may stand from the middle, as a share of the width (datasets only);"
    " across the belt 5/13 of that.",
)
@click.option(
    "--ignore-below",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Label defects of less contrast-to-noise as ignore, 255 (datasets only).",
)
@click.option("--gray", is_flag=True, help="One channel instead of BGR (datasets only).")
@click.option(
    "--video", is_flag=True, help="Write a moving line as OUT (or OUT.mp4) with its truth beside it."
)
@click.option(
    "--speed", type=click.IntRange(1), help="Video: pixels that parts move in a frame; default width / 20."
)
@click.option(
    "--fps", type=click.FloatRange(1, 240), default=30.0, show_default=True, help="Video: frames a second."
)
def synth(out: Path, frames: int, **chosen: Unpack[Chosen]) -> int:
    """Generate a line with known defects into the dataset folder OUT.

    OUT gets images, masks, instances, parts, a split by part and truth.jsonl with class, box,
    size and contrast of every defect. A name ending in .mp4 makes a video of the moving line
    instead, with the truth of each frame in a folder beside it (line.truth for line.mp4).

    \b
    Example:  trainer synth data/line --frames 200 --size 720x1280 --seed 1
              trainer synth line.mp4 --frames 150 --seed 7 --surface brushed
    """
    spec = _spec(chosen)
    named_so = out.suffix.lower() == ".mp4"
    video = chosen["video"] or named_so
    _refuse_idle(video)
    if video:
        out = out if named_so else out.with_name(out.name + ".mp4")
        speed = chosen["speed"] or max(1, spec.size[1] // 20)
        found = write_video(out, spec, frames, speed=speed, fps=chosen["fps"], progress=_show)
        click.echo(f"{out}: {frames} frames, {found} defects in them, truth in {truth_folder(out)}")
    else:
        found = write_dataset(
            out, spec, frames, gray=chosen["gray"], ignore_below=chosen["ignore_below"], progress=_show
        )
        click.echo(f"{out}: {frames} frames with {found} defects")
        _warn_of_classes(out, chosen["ignore_below"])
    return 0


def _warn_of_classes(out: Path, ignore_below: float) -> None:
    """A class that one side of the split lacks is not learned, or not measured."""
    for name, lacking in classes_lacking(out, ignore_below).items():
        if lacking:
            click.echo(
                f"No {name} frame shows {' or '.join(lacking)}, so {_WITHOUT[name]}; give more --frames or"
                f" --defects, or move a part in {out / 'split.json'}.",
                err=True,
            )
