"""The line end to end beside what people run today, on one frame and one set of weights, in one process.

In every round each arm runs once, in reverse order every other round, so that what the machine does
meanwhile meets all of them.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.efficiency import BareLoop
from benchmarks.networks import MEAN, STD, pictures, seeing_network
from benchmarks.speed.arms import Arm, Task, agreement, sensible
from benchmarks.speed.bars import BARE, INSTALL, OURS, PEERS, beats
from benchmarks.speed.line import BASE, FRAMES, Scope, line_mpx_per_s, megapixels, open_line, served
from benchmarks.speed.record import Row
from benchmarks.speed.tile_arms import model_api, onnx_runtime, sahi_slices
from benchmarks.speed.torch_arms import monai_sliding, torch_whole
from inspector.cli.bench import LineBench
from inspector.defects import mask_of
from inspector.engine.segment import segment
from inspector.types import Image
from trainer.export import export_package

DEPTH, FRAME = 4, "1080p"
_PAUSE_S = 0.3
"""Between arms: thread pools of some keep a processor busy for a while after their work."""
Builder = Callable[[Task], list[Arm]]
BUILDERS: dict[str, Builder] = {
    "torch": torch_whole,
    "ONNX Runtime": onnx_runtime,
    "MONAI": monai_sliding,
    "model_api": model_api,
    "SAHI": sahi_slices,
}


def measure_peers(scope: Scope, folder: Path) -> Row:
    """Medians of every arm, the line's ratio to each tool, and what was not run and why."""
    task, bench = _task(scope, folder)
    missing: dict[str, str] = {}
    try:
        arms, checks = sensible_arms([*_own(bench, task), *_theirs(task, scope.peers, missing)], missing)
        seconds = interleaved(arms, scope.rounds)
    finally:
        bench.engine.close()
    mpx = megapixels(bench.size)
    speed = {name: mpx / statistics.median(values) for name, values in seconds.items()}
    ratios = held_ratios(arms, seconds)
    held = {bar: beats(bar, ratios[bar]["ratio"]) if bar in ratios else None for bar in PEERS}
    return {
        **served(bench),
        "base": BASE,
        "depth": DEPTH,
        "frames": {"line": FRAMES, "others": 1},
        "mpx_per_s": {name: round(value, 3) for name, value in speed.items()},
        "arms": {arm.name: {"version": arm.version, "how": arm.how, **checks[arm.name]} for arm in arms},
        "ratios": ratios,
        "not_run": missing,
        "per_round": {name: [float(f"{one:.5g}") for one in values] for name, values in seconds.items()},
        "bars": PEERS,
        "held": held,
        "holds": all(held.values()),
    }


def interleaved(arms: list[Arm], rounds: int) -> dict[str, list[float]]:
    """Arm -> seconds a frame in each round. Every arm has run before, to be checked."""
    seconds: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for number in range(rounds):
        for arm in arms if number % 2 == 0 else reversed(arms):
            time.sleep(_PAUSE_S)
            seconds[arm.name].append(arm.seconds())
    return seconds


def held_ratios(arms: list[Arm], seconds: dict[str, list[float]]) -> dict[str, Row]:
    """Bar -> how many times as fast the line is as the tool's fastest form: of medians, and extremes."""
    found: dict[str, Row] = {}
    for bar in PEERS:
        forms = [arm.name for arm in arms if arm.bar == bar]
        if not forms:
            continue
        best = min(forms, key=lambda name: statistics.median(seconds[name]))
        each = [theirs / ours for theirs, ours in zip(seconds[best], seconds[OURS], strict=True)]
        ratio = statistics.median(seconds[best]) / statistics.median(seconds[OURS])
        found[bar] = {"fastest": best, "ratio": round(ratio, 3), "low": round(min(each), 3),
                      "high": round(max(each), 3)}  # fmt: skip
    return found


def _task(scope: Scope, folder: Path) -> tuple[Task, LineBench]:
    """One network for all: as a package for the line, as torch for the others."""
    network = seeing_network(BASE, DEPTH)
    tiles = pictures(4, (156, 156), 1)
    package = export_package(network, tiles, folder / "package", f"seeing-{BASE}-{DEPTH}", "1")
    size = scope.sizes[FRAME]
    task = Task(network.net, package, (MEAN, STD), spotted(size), scope.threads, folder)
    return task, open_line(package, size, scope.threads)


def spotted(size: tuple[int, int]) -> Image:
    """uint8 (H, W): mid gray with fine noise, dark and bright spots in about every 128 pixels."""
    side = 128
    laid = pictures(9, (side, side), 1)[..., 0]
    rows, columns = (-(-n // side) for n in size)
    lines = [np.hstack([laid[(y * columns + x) % len(laid)] for x in range(columns)]) for y in range(rows)]
    return np.ascontiguousarray(np.vstack(lines)[: size[0], : size[1]])


def _own(bench: LineBench, task: Task) -> list[Arm]:
    """The line, and OpenVINO on the same tile without it."""
    runs = iter(range(10**6))

    def ours() -> float:
        return megapixels(bench.size) / line_mpx_per_s(bench, task.folder / f"line{next(runs)}")

    def said() -> np.ndarray:
        return mask_of(segment(task.frame, bench.plan, bench.engine), task.package.thresholds)

    info = bench.engine.info
    bare = BareLoop(task.package.onnx, bench.plan.input, info.precision)
    tiles = len(bench.plan.tiles)
    how = f"grab to committed verdict, {FRAMES} frames a round, 5 % rejects with evidence, {info.precision}"
    alone = f"compiled with OpenVINO alone, the line's tile as often as a frame has tiles, {info.precision}"
    return [
        Arm(OURS, "", f"{info.name} {info.version}", how, ours, said),
        Arm(BARE, "", f"openvino {info.version}", alone, lambda: bare.seconds(tiles) * tiles, said),
    ]


def _theirs(task: Task, folders: tuple[Path, ...], missing: dict[str, str]) -> list[Arm]:
    """Every other tool that can be imported; `missing` is told of those that cannot."""
    # Behind the project's own packages: a copy of numpy or torch in there must not take their place.
    sys.path += [str(folder.resolve()) for folder in folders if str(folder.resolve()) not in sys.path]
    arms: list[Arm] = []
    for name, build in BUILDERS.items():
        try:
            arms += build(task)
        except ImportError as error:
            missing[name] = f"{error}; `{INSTALL}`"
            print(f"{name}: not run, {missing[name]}")
    return arms


def sensible_arms(arms: list[Arm], missing: dict[str, str]) -> tuple[list[Arm], dict[str, Row]]:
    """The arms that see what the first one sees, and how nearly; `missing` is told of the others.

    The speed of an arm that computes something else would mean nothing.
    """
    reference = arms[0].classes()
    kept, found = [], {}
    for arm in arms:
        one = agreement(arm.classes(), reference)
        if sensible(one):
            kept.append(arm)
            found[arm.name] = {"agreement": one}
        else:
            missing[arm.bar or arm.name] = f"{arm.name} does not see what the line sees: {one}"
            print(f"{arm.name}: left out, {missing[arm.bar or arm.name]}")
    return kept, found
