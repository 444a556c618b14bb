"""From the command to the first verdict, with the demo model and its certificate cached.

    python -m benchmarks.start [--rounds 5] [--model data_samples/demo_model] [--camera data_samples/line.mp4]

The first run makes the certificate and is printed apart. Then each round starts `inspector run`
anew and waits for the first line of its JSON-lines output, which follows the commit. Bar: 5 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks.rows import append_row, verdict

BAR_S = 5.0
GIVE_UP_S = 120.0


def first_verdict_s(camera: str, model: Path, folder: Path) -> float:
    """Seconds from starting the process to the first published verdict."""
    folder.mkdir()
    verdicts = folder / "verdicts.jsonl"
    config = folder / "line.toml"
    config.write_text(
        f'[recording]\ndb = "sqlite:///{folder}/ledger.db"\nfolder = "{folder}/evidence"\n'
        f'[[outputs]]\nkind = "jsonl"\npath = "{verdicts}"\n'
    )
    command = [sys.executable, "-m", "inspector", "run", "--config", str(config), "--camera", camera,
               "--model", str(model), "--headless", "--frames", "5"]  # fmt: skip
    began = time.perf_counter()
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            while not (verdicts.exists() and b"\n" in verdicts.read_bytes()):
                if process.poll() not in (None, 0) or time.perf_counter() - began > GIVE_UP_S:
                    raise click.ClickException(f"No verdict came: {(folder / 'said').read_text()[-500:]}")
                time.sleep(0.005)
            seconds = time.perf_counter() - began
            process.wait(GIVE_UP_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    return seconds


@click.command()
@click.option("--rounds", default=5)
@click.option("--model", default=Path("data_samples/demo_model"), type=click.Path(path_type=Path))
@click.option("--camera", default="data_samples/line.mp4")
@click.option("--keep/--no-keep", default=True, help="Append the row to benchmarks/results.")
def main(rounds: int, model: Path, camera: str, keep: bool) -> None:
    """Start the line again and again and print the median."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = first_verdict_s(camera, model, folder / "first")
        times = [first_verdict_s(camera, model, folder / str(number)) for number in range(rounds)]
    largest = max(times)
    print(f"first run (may make the certificate): {first:.2f} s")
    print(
        f"first verdict over {rounds} starts: median {statistics.median(times):.2f} s, largest {largest:.2f}"
        f" s (bar {BAR_S} s): {verdict(largest <= BAR_S)}"
    )
    if keep:
        append_row(
            "start",
            {
                "model": str(model),
                "camera": camera,
                "rounds": rounds,
                "first_s": round(first, 3),
                "median_s": round(statistics.median(times), 3),
                "max_s": round(largest, 3),
                "holds": largest <= BAR_S,
            },
        )


if __name__ == "__main__":
    main()
