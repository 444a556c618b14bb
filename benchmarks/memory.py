"""A 12 MP frame within 1 GB: whole it is refused, in tiles it runs, with the same result.

    python -m benchmarks.memory [--precision f32] [--limit-mb 1000]

Each figure is the largest resident memory of a process of its own. The result in tiles is held
against the whole frame, computed in another process without the limit. Also printed: predicted
against measured bytes, so that the memory model stays honest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.networks import pictures, seeing_package
from benchmarks.rows import append_row, verdict
from inspector.config import LineConfig, ModelConfig
from inspector.engine.memory import MB, MemoryModel
from inspector.engine.open import choose_plan
from inspector.errors import MemoryLimitError
from inspector.package import load_package

FRAME = (3000, 4000)
BASE, DEPTH = 16, 4


FRAMES = 16
"""Enough to fill the recorder's memory of recent frames."""


def line_in_limit(package: Path, limit_mb: int, precision: str) -> dict[str, Any]:
    """In this process: the whole line (ledger, evidence) on 12 MP frames within the limit."""
    from inspector.cli.bench import LineBench, Resident

    config = LineConfig(
        model=ModelConfig.model_validate({"package": package, "memory_mb": limit_mb, "precision": precision})
    )
    with Resident() as resident, tempfile.TemporaryDirectory() as folder:
        bench = LineBench(config, load_package(package), FRAME)
        summary, _ = bench.line(FRAMES, Path(folder), reject_every=4)
    return {"rss_mb": resident.peak / MB, "tile": bench.plan.input, "tiles": len(bench.plan.tiles),
            "frames": summary.grabbed, "verdicts": summary.json()["verdicts"]}  # fmt: skip


def segmented(package: Path, limit_mb: int, precision: str, out: Path) -> dict[str, Any]:
    """In this process: one 12 MP frame through the engine; the probabilities go to `out`."""
    from inspector.cli.bench import Resident
    from inspector.engine.open import open_engine
    from inspector.engine.segment import segment

    one = load_package(package)
    settings = ModelConfig.model_validate({"memory_mb": limit_mb, "precision": precision})
    image = pictures(1, FRAME, 1)[0, :, :, 0]
    with Resident() as resident:
        plan = choose_plan(one, FRAME, settings)
        engine = open_engine(one, plan, settings)
        probs = segment(image, plan, engine)
    np.save(out, probs)
    model = MemoryModel(one, engine.info.precision)
    return {"rss_mb": resident.peak / MB, "tile": plan.input, "tiles": len(plan.tiles),
            "predicted_mb": model.resident_bytes(FRAME, plan.input) / MB}  # fmt: skip


def in_own_process(*arguments: object) -> dict[str, Any]:
    """The JSON that this module prints when it is run again as a child."""
    command = [sys.executable, "-m", "benchmarks.memory", "--child", json.dumps([str(a) for a in arguments])]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def child(arguments: list[str]) -> dict[str, Any]:
    """One of the two measurements above, by name."""
    what, package, limit_mb, precision, *rest = arguments
    if what == "line":
        return line_in_limit(Path(package), int(limit_mb), precision)
    return segmented(Path(package), int(limit_mb), precision, Path(rest[0]))


def measured(limit_mb: int, precision: str) -> dict[str, Any]:
    """The refusal of the whole frame, the line within the limit, and tiled against whole."""
    with tempfile.TemporaryDirectory() as folder:
        package = seeing_package(Path(folder) / "base16", BASE, DEPTH)
        asked = ModelConfig.model_validate({"memory_mb": limit_mb, "tile": "whole", "precision": precision})
        try:
            choose_plan(package, FRAME, asked)
            refusal = ""
        except MemoryLimitError as error:
            refusal = str(error)
        line = in_own_process("line", package.path, limit_mb, precision)
        results = [Path(folder) / name for name in ("tiled.npy", "whole.npy")]
        tiled = in_own_process("segment", package.path, limit_mb, precision, results[0])
        whole = in_own_process("segment", package.path, 100_000, precision, results[1])
        first, second = (np.load(path) for path in results)
    levels = int(np.abs(first.astype(np.int16) - second).max())
    return {"refusal": refusal, "line": line, "tiled": tiled, "whole": whole, "levels": levels,
            "probabilities": first.size}  # fmt: skip


@click.command()
@click.option("--limit-mb", default=1000)
@click.option("--precision", default="f32", type=click.Choice(["auto", "f32", "bf16"]))
@click.option("--keep/--no-keep", default=True, help="Append the row to benchmarks/results.")
@click.option("--child", "arguments", hidden=True)
def main(limit_mb: int, precision: str, keep: bool, arguments: str | None) -> None:
    """Refuse whole, run in tiles, compare."""
    if arguments is not None:
        print(json.dumps(child(json.loads(arguments))))
        return
    row = measured(limit_mb, precision)
    line = row["line"]
    print(f"{FRAME[0]}x{FRAME[1]} gray, base {BASE}, depth {DEPTH}, {precision}, limit {limit_mb} MB")
    print(f"whole: {'refused: ' + row['refusal'] if row['refusal'] else 'NOT REFUSED'}")
    print(
        f"line in {line['tiles']} tiles of {line['tile']}: {line['frames']} frames,"
        f" largest resident {line['rss_mb']:.0f} MB"
    )
    for name in ("tiled", "whole"):
        one = row[name]
        print(
            f"{name}, engine process alone: {one['tiles']} tile(s), predicted for a station"
            f" {one['predicted_mb']:.0f} MB, measured {one['rss_mb']:.0f} MB"
        )
    print(
        f"tiled against whole: {row['levels']} of 256 levels apart over {row['probabilities']} probabilities"
    )
    holds = bool(row["refusal"]) and line["rss_mb"] <= limit_mb and row["levels"] <= 1
    print(f"bar: refused, within {limit_mb} MB, same result: {verdict(holds)}")
    if keep:
        setting = {"frame": FRAME, "base": BASE, "depth": DEPTH, "precision": precision, "limit_mb": limit_mb}
        append_row("memory", {**setting, **row, "holds": holds})


if __name__ == "__main__":
    main()
