"""The line against its own machine: useful rate, end to end over engine alone, latency.

Useful rate = megapixels a second x the network's operations a pixel on an endless frame, so that halo,
overlap and everything around the network count against it.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.networks import seeing_package
from benchmarks.speed import bars
from benchmarks.speed.record import Row
from deploy.qualify.rate import cpu_rate
from deploy.qualify.sample import package_flop_per_px
from inspector.cli.bench import LineBench
from inspector.config import LineConfig, ModelConfig
from inspector.engine.cpu import cpu_has_bf16
from inspector.package import ModelPackage

BASE = 16
FRAMES = 20
"""Frames of one round; one of them is a reject with its evidence."""
ALONE = {"1080p": 20, "12mp": 5}
"""Frames of one round of the engine alone: it has no reject to wait for, and large ones take seconds each."""
PRODUCT_S = 2.0
PACE = 0.8
"""Frames a second that the paced run asks for, as a share of what the full line takes: where its dashboard
warns."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is measured."""

    rounds: int
    frames: int
    """Of the latency."""
    sizes: dict[str, tuple[int, int]]
    """Name of a frame -> (height, width)."""
    threads: int
    peers: tuple[Path, ...] = ()
    """Folders that other tools were installed into."""
    quick: bool = False
    """Whether it is only to be seen that it runs."""
    int8: tuple[Path, Path] | None = None
    """A second package for group int8, and the dataset folder to fit int8 on; None: only the demo model."""


def open_line(
    package: ModelPackage, size: tuple[int, int], threads: int, precision: str = "auto"
) -> LineBench:
    """The line with its engine, as it would serve. Raises what opening an engine raises."""
    settings = {"package": package.path, "threads": threads, "precision": precision}
    return LineBench(LineConfig(model=ModelConfig.model_validate(settings)), package, size)


def line_mpx_per_s(bench: LineBench, folder: Path, frames: int = FRAMES) -> float:
    """Megapixels a second from first grab to last commit. folder: for ledger and evidence, made here."""
    folder.mkdir()
    return megapixels(bench.size) * bench.line(frames, folder)[0].tally.fps()


def engine_mpx_per_s(bench: LineBench, frames: int = FRAMES) -> float:
    """Megapixels a second of the engine in a bare loop."""
    return megapixels(bench.size) / bench.engine_only(frames)[0]


def served(bench: LineBench) -> Row:
    """What ran: frame, tiles and engine."""
    info = bench.engine.info
    return {
        "frame": bench.size,
        "tile": bench.plan.input,
        "tiles": len(bench.plan.tiles),
        "engine": {"name": info.name, "version": info.version, "precision": info.precision,
                   "certificate": info.certificate, "note": info.note},
    }  # fmt: skip


def measure_rate(depth: int, name: str, scope: Scope, folder: Path) -> Row:
    """Matrix product, engine alone and the whole line in turn, in each round; medians and every round."""
    package = seeing_package(folder / "package", BASE, depth)
    bench = open_line(package, scope.sizes[name], scope.threads)
    precision = "bf16" if cpu_has_bf16() else "f32"
    found: dict[str, list[float]] = {"product": [], "engine only": [], "line": []}
    try:
        bench.engine_only(1)
        for number in range(scope.rounds):
            found["product"].append(cpu_rate(precision, PRODUCT_S)["flop_per_s"])
            found["engine only"].append(engine_mpx_per_s(bench, ALONE[name]))
            found["line"].append(line_mpx_per_s(bench, folder / str(number)))
    finally:
        bench.engine.close()
    figures = rate_figures(package_flop_per_px(package), found)
    least = {"useful": bars.USEFUL[depth, name], "efficiency": bars.EFFICIENCY}
    efficient = figures["efficiency"] >= bars.EFFICIENCY
    useful = figures["useful"]["line"] >= least["useful"] if precision == "bf16" else None
    return {
        **served(bench),
        "base": BASE,
        "depth": depth,
        "product_of": precision,
        **figures,
        "frames": {"line": FRAMES, "engine only": ALONE[name]},
        "bars": least,
        "held": {"useful": useful, "efficiency": efficient},
        "holds": efficient and useful is not False,
    }


def rate_figures(flop_per_px: float, found: dict[str, list[float]]) -> dict[str, Any]:
    """Medians over the rounds and what they mean together.

    found: FLOP a second of the product, megapixels a second of the others, one value a round.
    """
    middle = {name: statistics.median(values) for name, values in found.items()}
    of_product = 1e6 * flop_per_px / middle["product"]
    return {
        "flop_per_px": flop_per_px,
        "product_flop_per_s": round(middle["product"]),
        "mpx_per_s": {name: round(middle[name], 3) for name in ("line", "engine only")},
        "useful": {name: round(of_product * middle[name], 4) for name in ("line", "engine only")},
        "efficiency": round(middle["line"] / middle["engine only"], 4),
        "per_round": {name: [float(f"{one:.5g}") for one in values] for name, values in found.items()},
    }


def measure_latency(name: str, scope: Scope, folder: Path) -> Row:
    """Grab to commit at depth 4: of `scope.frames` frames in one run on a full line, then of a fifth as many
    that come at a rate which the line has time for.

    On the full line the camera is never waited for, so each frame has waited for those before it.
    """
    package = seeing_package(folder / "package", BASE, 4)
    bench = open_line(package, scope.sizes[name], scope.threads)
    try:
        bench.engine_only(1)
        full, fps = _summary(bench, scope.frames, folder / "full", None)
        paced, came = _summary(bench, max(20, scope.frames // 5), folder / "paced", PACE * fps)
    finally:
        bench.engine.close()
    return {
        **served(bench),
        "base": BASE,
        "depth": 4,
        "frames": scope.frames,
        "latency_ms": full["latency_ms"],
        "stages_ms": full["stages_ms"],
        "verdicts": full["verdicts"],
        "mpx_per_s": {"line": round(megapixels(bench.size) * fps, 3)},
        "paced": {
            "frames": paced["grabbed"],
            # As measured: a camera that does not keep its pace, or a line that does not, would tell.
            "fps": round(came, 3),
            "of_full": round(came / fps, 3),
            "latency_ms": paced["latency_ms"],
        },
        "bars": {},
        "held": {},
        "holds": None,
    }


def _summary(bench: LineBench, frames: int, folder: Path, fps: float | None) -> tuple[dict[str, Any], float]:
    """What a run said at its end, and its frames a second."""
    folder.mkdir()
    summary = bench.line(frames, folder, fps=fps)[0]
    return summary.json(), summary.tally.fps()


def megapixels(size: tuple[int, int]) -> float:
    """10^6 pixels of a frame."""
    return size[0] * size[1] / 1e6
