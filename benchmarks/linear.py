"""The cost of a frame grows with its pixels and with nothing else: from 1 to 100 megapixels.

    python -m benchmarks.linear [--rounds 3] [--size 1 --size 12]

`Pipeline.inspect` on a gray frame in memory, base 16, depth 4, with the tiles and the precision that
the line would choose at its default memory limit. The sizes take turns, so that a busy machine
slows all of them; medians. Bar: each size's milliseconds a megapixel are within 15 % of the median
of all sizes. Beside it stands the processor time, which other programs disturb less.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from benchmarks.memory import BASE, DEPTH, picture
from benchmarks.networks import seeing_package
from benchmarks.rows import append_row, verdict
from deploy.qualify.cache import own_cache
from inspector.config import ModelConfig, Recipe
from inspector.engine.measured import measured_plan
from inspector.engine.open import open_engine
from inspector.package import ModelPackage
from inspector.pipeline import Pipeline
from inspector.tiling import cut_tile
from inspector.types import Frame, VerdictWord

SIZES = {1: (1000, 1000), 4: (2000, 2000), 12: (3000, 4000), 25: (5000, 5000), 50: (5000, 10_000),
         100: (10_000, 10_000)}  # fmt: skip
BAR = 0.15
STEADY_PX = 12_000_000
"""Smaller frames are inspected several times a round, up to so many pixels, and their mean counts."""


def frame_ms(package: ModelPackage, size: tuple[int, int]) -> dict[str, Any]:
    """Wall and processor milliseconds a frame, after a first tile that warms up."""
    settings = ModelConfig()
    plan = measured_plan(package, size, settings)
    engine = open_engine(package, plan, settings)
    pipeline = Pipeline(package, engine, plan, Recipe())
    image = picture(size, 1, damaged=True)
    engine.run([cut_tile(image, plan, plan.tiles[0])], lambda _index, _probs: None)
    count = max(1, STEADY_PX // image.size)
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(count):
        frame = Frame(number + 1, image, time.time_ns(), time.monotonic_ns(), "memory")
        said = pipeline.inspect(frame)
    seconds, busy = time.perf_counter() - began, time.process_time() - cpu
    engine.close()
    if said.verdict.word is not VerdictWord.REJECT:
        raise SystemExit(f"The frame of {size[0]}x{size[1]} is {said.verdict.word} and should be a reject.")
    return {"wall": 1000 * seconds / count, "cpu": 1000 * busy / count, "tile": plan.input,
            "tiles": len(plan.tiles), "precision": engine.info.precision}  # fmt: skip


def off_the_median(ms_per_mp: dict[int, float]) -> float:
    """How far the size that fits least is from the median of all, as a share of it."""
    middle = statistics.median(ms_per_mp.values())
    return max(abs(value / middle - 1) for value in ms_per_mp.values())


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option(
    "--size", "only", multiple=True, type=click.Choice([str(mp) for mp in SIZES]), help="Megapixels."
)
@click.option("--keep/--no-keep", default=True, help="Append the row to benchmarks/results.")
def main(rounds: int, only: tuple[str, ...], keep: bool) -> None:
    """Measure the sizes, all by default, in turn; medians of `rounds`."""
    sizes = {mp: size for mp, size in SIZES.items() if not only or str(mp) in only}
    runs: dict[int, list[dict[str, Any]]] = {mp: [] for mp in sizes}
    with own_cache(), tempfile.TemporaryDirectory() as folder:
        package = seeing_package(Path(folder) / "base16", BASE, DEPTH)
        for number in range(rounds):
            for mp, size in sizes.items():
                runs[mp].append(frame_ms(package, size))
                print(f"round {number + 1}: {mp} MP {runs[mp][-1]['wall']:.0f} ms", flush=True)
    px = {mp: size[0] * size[1] / 1e6 for mp, size in sizes.items()}
    wall, cpu = (
        {mp: statistics.median(run[what] for run in runs[mp]) / px[mp] for mp in sizes}
        for what in ("wall", "cpu")
    )
    for mp in sizes:
        last = runs[mp][-1]
        tiles = f"{last['tiles']} tiles of {last['tile'][0]}x{last['tile'][1]}, {last['precision']}"
        print(f"{mp:>4} MP  {wall[mp]:7.1f} ms/MP  {cpu[mp]:7.1f} processor ms/MP  {tiles}")
    off, off_cpu = off_the_median(wall), off_the_median(cpu)
    print(f"furthest from linear: {off:.1%}, in processor time {off_cpu:.1%}")
    print(f"bar, at most {BAR:.0%}: {verdict(off <= BAR)}")
    if keep and not only:
        row = {"base": BASE, "depth": DEPTH, "rounds": rounds, "ms_per_mp": wall, "cpu_ms_per_mp": cpu,
               "tiles": {mp: [runs[mp][-1]["tiles"], runs[mp][-1]["tile"]] for mp in SIZES},
               "precision": {mp: runs[mp][-1]["precision"] for mp in SIZES},
               "off": off, "off_cpu": off_cpu, "bar": BAR, "holds": off <= BAR}  # fmt: skip
        append_row("linear", row)


if __name__ == "__main__":
    main()
