"""How long the engine takes to serve again once it is compiled and proven: the second start.

    python -m benchmarks.second_start [--rounds 5]

Each start is a process of its own: read the package and check its hashes, take the remembered plan,
read the compiled model from the cache, run the golden tiles against the trained network. The first
start, with an empty cache, is printed beside it. Bar: the largest of all second starts under 1 s; what
Python and the libraries take to load before it is printed apart.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click

from benchmarks.rows import append_row, verdict
from deploy.qualify.cache import own_cache

BAR_S = 1.0
DEMO = Path("data_samples/demo_model")
CASES = (("demo model, 720x1280", "demo", (720, 1280)),
         ("base 16 depth 4, 1080x1920", "16-4", (1080, 1920)),
         ("base 16 depth 4, 3000x4000", "16-4", (3000, 4000)))  # fmt: skip


def timed_start(package: Path, size: tuple[int, int]) -> dict[str, Any]:
    """In a fresh process: seconds of each step up to an engine that may serve."""
    laps = [time.perf_counter()]
    from inspector.config import ModelConfig
    from inspector.engine.certificate import certify
    from inspector.engine.measured import measured_plan
    from inspector.engine.open import open_engine
    from inspector.package import load_package

    proof: list[float] = []

    def timed_proof(*given: Any) -> Any:
        began = time.perf_counter()
        found = certify(*given)
        proof.append(time.perf_counter() - began)
        return found

    laps.append(time.perf_counter())
    loaded = load_package(package)
    laps.append(time.perf_counter())
    settings = ModelConfig(package=package)
    plan = measured_plan(loaded, size, settings)
    laps.append(time.perf_counter())
    with patch("inspector.engine.open.certify", timed_proof):
        engine = open_engine(loaded, plan, settings)
    laps.append(time.perf_counter())
    engine.close()
    imports, read, planned, opened = (after - before for before, after in itertools.pairwise(laps))
    return {"imports": imports, "package": read, "plan": planned, "compiled model": opened - sum(proof),
            "golden tiles": sum(proof), "start": read + planned + opened,
            "tile": plan.input, "tiles": len(plan.tiles), "precision": engine.info.precision}  # fmt: skip


def start_apart(package: Path, size: tuple[int, int]) -> dict[str, Any]:
    """`timed_start` in a process of its own."""
    program = [sys.executable, "-m", "benchmarks.second_start"]
    command = [*program, "--child", f"{size[0]}x{size[1]}", str(package)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(package: Path, size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """One first start and `rounds` second ones."""
    first = start_apart(package, size)
    again = [start_apart(package, size) for _ in range(rounds)]
    steps = ("imports", "package", "plan", "compiled model", "golden tiles")
    middle = {name: round(statistics.median(one[name] for one in again), 3) for name in steps}
    seconds = [one["start"] for one in again]
    facts = {name: again[-1][name] for name in ("tile", "tiles", "precision")}
    return {**facts, "first_s": round(first["start"], 3), "median_s": round(statistics.median(seconds), 3),
            "max_s": round(max(seconds), 3), "steps_s": middle}  # fmt: skip


@click.command()
@click.argument("package", required=False, type=click.Path(path_type=Path))
@click.option("--child", hidden=True)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--keep/--no-keep", default=True, help="Append the row to benchmarks/results.")
def main(package: Path | None, child: str | None, rounds: int, keep: bool) -> None:
    """Start the engine again and again; bar and steps."""
    if child is not None and package is not None:
        height, width = child.split("x")
        print(json.dumps(timed_start(package, (int(height), int(width)))))
        return
    from benchmarks.networks import seeing_package

    cases: dict[str, Any] = {}
    with own_cache(), tempfile.TemporaryDirectory() as folder:
        drawn = seeing_package(Path(folder) / "package", 16, 4)
        for name, which, size in CASES:
            one = measured(DEMO if which == "demo" else drawn.path, size, rounds)
            cases[name] = one
            steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in one["steps_s"].items())
            print(
                f"{name}: first {one['first_s']:.2f} s, again {one['median_s']:.2f} s, at most"
                f" {one['max_s']:.2f} s ({one['tiles']} tile(s) of {one['tile'][0]}x{one['tile'][1]},"
                f" {one['precision']}; {steps})", flush=True,
            )  # fmt: skip
    largest = max(one["max_s"] for one in cases.values())
    print(f"largest second start {largest:.2f} s (bar {BAR_S:g} s): {verdict(largest < BAR_S)}")
    if keep:
        append_row(
            "second_start", {"rounds": rounds, "cases": cases, "bar_s": BAR_S, "holds": largest < BAR_S}
        )


if __name__ == "__main__":
    main()
