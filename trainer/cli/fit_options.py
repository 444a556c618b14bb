"""The options of `trainer fit`, and what each is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


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


_RUN = (
    click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path)),
    click.option(
        "--out", required=True, type=click.Path(path_type=Path), help="RUN folder to write; must be new."
    ),
    click.option(
        "--minutes", type=click.FloatRange(min=0, min_open=True),
        help="Train this long, loading included; a run needs either --minutes or --steps. Calibration and the"
        " choice of thresholds come on top: seconds for small pictures, some minutes for a hundred"
        " validation frames of 720x1280.",
    ),
    click.option(
        "--steps", type=click.IntRange(1),
        help="Train this many steps instead: a busy machine then changes nothing but the time.",
    ),
    click.option(
        "--recipe", type=click.Choice(["modern", "paper"]),
        help="Settings to start from; paper: as Ronneberger 2015.  [default: modern]",
    ),
    click.option(
        "--config", type=click.Path(path_type=Path),
        help="TOML file with any of the settings that RUN/config.toml lists and explains; options given here"
        " win over it.",
    ),
    click.option(
        "--init", type=click.Path(path_type=Path),
        help="Go on from the network of this model package: with new data, or for longer. Of a RUN, pack it"
        " with trainer export first.",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**32 - 1), help="Of weights, tiles and validation.  [default: 0]"
    ),
)  # fmt: skip
_NETWORK = (
    click.option(
        "--base", type=click.IntRange(1),
        help="Feature maps of the first level. Twice as many tell finer differences, and take about four"
        " times as long here and on the line.  [default: 16]",
    ),
    click.option(
        "--depth", type=click.IntRange(2, 6),
        help="Levels. At 3, 4 and 5 the network sees 20, 44 and 92 px around each pixel: take more for"
        " defects that are told only by what lies farther off.  [default: 4]",
    ),
    click.option("--channels", type=click.Choice(["1", "3"]), help="Gray or colour.  [default: as stored]"),
    click.option(
        "--skip", type=click.Choice(["concat", "sum"]),
        help="How a level's maps join those from below. sum is the older way, kept to compare with."
        "  [default: concat]",
    ),
)  # fmt: skip
_LEARNING = (
    click.option(
        "--border", type=click.Choice(["weight", "ignore", "none"]),
        help="Loss between instances. weight parts defects that touch, where they are counted one by one;"
        " ignore leaves the outlines out, where masks are drawn roughly.  [default: weight with instances/ or"
        " --recipe paper, else none]",
    ),
    click.option(
        "--augmentation", type=click.Choice(["usual", "strong"]),
        help="How far training tiles differ from your pictures; strong: for few pictures from many places."
        "  [default: usual]",
    ),
    click.option(
        "--quarter-turns/--no-quarter-turns", default=None,
        help="Turn tiles by 90 degrees as well: right where damage runs in any direction.  [default: no]",
    ),
    click.option(
        "--even-places/--no-even-places", default=None,
        help="Train on all places of your pictures as often, not on all pictures: right where large pictures"
        " show what small ones do not.  [default: no]",
    ),
    click.option(
        "--learning-rate", type=click.FloatRange(min=0, min_open=True),
        help="Highest learning rate; lower it when the loss explodes.  [default: 0.008; strong"
        " 0.004; paper 0.001; with --init 0.0003]",
    ),
    click.option(
        "--weight-cap", type=click.FloatRange(min=0, min_open=True),
        help="Largest class weight. Raise it when a rare class is not found, lower it when rare classes"
        " make false alarms.  [default: 20; paper 10]",
    ),
    click.option(
        "--false-alarm-share", type=click.FloatRange(0, 1, max_open=True),
        help="Share of tiles aimed at what the network falsely calls a defect in DATA: from the start with"
        " --init, else from 60 % of the run on.  [default: 0]",
    ),
    click.option(
        "--edge-share", type=click.FloatRange(0, 1),
        help="Share of tiles that see the frame end at one of their sides. Take 0.25 or so where parts move"
        " into and out of view and defects are missed, or invented, at the frame's edge.  [default: 0]",
    ),
)  # fmt: skip
_PACKAGE = (
    click.option(
        "--mm-per-px", type=click.FloatRange(min=0, min_open=True), nargs=2,
        help="Scale of the pictures, Y X, for the package.",
    ),
    click.option(
        "--escape-target", type=click.FloatRange(0, 1, max_open=True),
        help="Share of defects that may be missed on the validation frames, such as 0.02; thresholds are then"
        " as high as it lets them be. With --resume also for a run that has ended.  [default: thresholds of"
        " best IoU; where instances touch, those that tell most of them apart]",
    ),
)  # fmt: skip
_MACHINE = (
    click.option(
        "--precision", type=click.Choice(["auto", "f32", "bf16"]),
        help="Arithmetic. auto: bf16 where the processor computes it natively, else f32; f32 is slower there,"
        " and exact enough to rule rounding out.  [default: auto]",
    ),
    click.option(
        "--device", default="auto", show_default=True,
        help="cpu, cuda or cuda:N; auto: an NVIDIA GPU where PyTorch finds one.",
    ),
    click.option(
        "--tensorboard", is_flag=True,
        help="Write curves and a few validation frames for TensorBoard as well; see them with"
        " tensorboard --logdir RUN.",
    ),
    click.option(
        "--resume", is_flag=True,
        help="Go on with the interrupted run in --out, with its own settings. It trains no run for longer"
        " than it began with: for that, trainer export and a new run with --init.",
    ),
    click.option(
        "--previous", is_flag=True,
        help="With --resume: from the checkpoint before the last one, previous.pt.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON line."),
)  # fmt: skip


def fit_options(command: Command) -> Command:
    """Adds them all, in the order of the help page."""
    for option in reversed((*_RUN, *_NETWORK, *_LEARNING, *_PACKAGE, *_MACHINE)):
        command = option(command)
    return command
