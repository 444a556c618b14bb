"""How fast the line is, against its machine and beside what people run today; a row a finished group.

    python -m benchmarks.speed [GROUP ...] [--peers FOLDER] [--rounds 10] [--frames 1000]
    python -m benchmarks.speed.table > benchmarks/SPEED.md

Gray frames of 1080x1920 and 3000x4000, base 16, 3 classes with background. What is compared runs in
turn in one process, `rounds` times; figures are medians. MONAI, model_api and SAHI are not
dependencies: install them into a folder (the command is shown where one is missing) and name it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.rows import verdict
from benchmarks.speed.gpu import measure_gpu
from benchmarks.speed.int8 import measure_int8
from benchmarks.speed.line import Scope, measure_latency, measure_rate
from benchmarks.speed.peers import measure_peers
from benchmarks.speed.record import Row, finished, keep
from benchmarks.speed.table import words
from deploy.qualify.cache import own_cache
from inspector.engine.cpu import usable_cores
from inspector.package import load_package

SIZES = {"1080p": (1080, 1920), "12mp": (3000, 4000)}
QUICK_SIZES = {"1080p": (520, 640), "12mp": (300, 400)}
QUICK_ROUNDS, QUICK_FRAMES = 1, 20
GROUPS: dict[str, Callable[[Scope, Path], Row]] = {
    "peers": measure_peers,
    **{
        f"rate-{depth}-{name}": partial(measure_rate, depth, name)
        for depth, name in ((4, "1080p"), (5, "1080p"), (4, "12mp"), (5, "12mp"))
    },
    "int8": measure_int8,
    "gpu": measure_gpu,
    "latency-1080p": partial(measure_latency, "1080p"),
    "latency-12mp": partial(measure_latency, "12mp"),
}
"""What was measured last is what a run that is stopped does without."""


def settings_of(group: str, scope: Scope) -> Row:
    """What decides whether two rows of a group mean the same."""
    if group == "gpu":
        return {}
    if group.startswith("latency"):
        return {"frames": scope.frames}
    if group == "int8":
        package = load_package(scope.int8[0]).id if scope.int8 else "demo model"
        return {"rounds": scope.rounds, "package": package}
    if group == "peers":
        return {"rounds": scope.rounds, "installed": bool(scope.peers)}
    return {"rounds": scope.rounds}


def run_group(group: str, scope: Scope) -> Row:
    """The group's figures, with a cache of its own."""
    with own_cache(), tempfile.TemporaryDirectory(prefix=f"speed-{group}-") as folder:
        return GROUPS[group](scope, Path(folder))


@click.command()
@click.argument("groups", nargs=-1, type=click.Choice(list(GROUPS)), metavar="[GROUP]...")
@click.option(
    "--peers", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that other tools were installed into; repeatable.",
)  # fmt: skip
@click.option(
    "--int8", type=(Path, Path), metavar="PACKAGE DATA", default=None,
    help="A second package for group int8, in floating point, and the dataset to fit int8 on.",
)  # fmt: skip
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(1))
@click.option("--frames", default=1000, show_default=True, type=click.IntRange(20), help="Of the latency.")
@click.option("--again", is_flag=True, help="Measure what already has a row of this very line as well.")
@click.option("--quick", is_flag=True, help="Small frames, one round, no row: to see that it runs.")
def main(groups: tuple[str, ...], rounds: int, frames: int, again: bool, quick: bool, **given: Any) -> None:
    """Measure the GROUPs, all of them by default, that have no row of this line and these settings yet."""
    scope = Scope(rounds, frames, SIZES, usable_cores(), **given)
    if quick:
        scope = replace(scope, rounds=QUICK_ROUNDS, frames=QUICK_FRAMES, sizes=QUICK_SIZES, quick=True)
    for group in groups or GROUPS:
        settings = settings_of(group, scope)
        if not (again or quick) and finished(group, settings):
            print(f"{group}: has its row; --again measures it again.", flush=True)
            continue
        began = time.monotonic()
        row = run_group(group, scope)
        minutes = (time.monotonic() - began) / 60
        held = "" if row["holds"] is None else f" {verdict(row['holds'])}"
        print(f"{group} ({minutes:.1f} min): {words({'group': group, **row})}{held}", flush=True)
        if not quick:
            keep(group, settings, row)


if __name__ == "__main__":
    main()
