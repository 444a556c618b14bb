"""The memory of a long training stays flat: its slope over the second half, with a 95 % interval.

    python -m benchmarks.training_memory
    python -m benchmarks.training_memory --steps 600 --no-keep

`trainer fit` itself, in a process of its own, on the sample parts, with validations, checkpoints and log
as always. A small network and small tiles, so that thousands of steps take minutes: what a step, a
validation or a line of the log leaves behind is the same for any size, or larger. The first half, in
which everything is allocated once, does not count. Bar: at most 10 MB more after 10,000 steps, by the
interval's upper end: a kilobyte a step.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.flat import BLOCKS, slope
from benchmarks.rows import append_row, verdict
from benchmarks.steps import ROOT
from benchmarks.watched import memory_mb, watched
from trainer.journal import LOG

DATA = ROOT / "data_samples" / "parts"
BASE, DEPTH, TILE_PX = 4, 3, 48
SETTINGS = f"tile_px = {TILE_PX}\nstep_px = {4 * TILE_PX**2}\n"
"""For --config: one tile a step, of four crops with the default recipe."""
STEPS = 6000
BAR_MB = 10.0
_EVERY_S = 0.1
_TAIL = 1 << 16
"""Bytes at the end of the log that surely hold a whole line."""


@dataclass(slots=True)
class Watch:
    """What was seen of the training: steps that its log had, and its resident memory."""

    log: Path
    total: int
    """Steps of the run; looks after the last one, while thresholds are chosen, are left out."""
    steps: list[int] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)

    def look(self, process: Path) -> None:
        """One sample; of a logged step the last one counts, which no validation falls into."""
        step, mb = last_step(self.log), memory_mb(process, "VmRSS")
        if not mb or not 0 < step < self.total:
            return
        if self.steps and self.steps[-1] == step:
            self.rss_mb[-1] = mb
        else:
            self.steps.append(step)
            self.rss_mb.append(mb)


def last_step(log: Path) -> int:
    """The step of the last whole line of a run's log; 0 before there is one."""
    if not log.exists():
        return 0
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        lines = file.read().split(b"\n")[:-1]
    return int(json.loads(lines[-1])["step"]) if lines else 0


def measured(steps: int, folder: Path) -> dict[str, Any]:
    """The training and its slope. Raises SystemExit where it failed or was hardly looked at."""
    (folder / "settings.toml").write_text(SETTINGS)
    run = folder / "run"
    watch = Watch(run / LOG, steps)
    command = ["trainer", "fit", str(DATA), "--out", str(run), "--steps", str(steps), "--json"]
    command += ["--base", str(BASE), "--depth", str(DEPTH), "--config", str(folder / "settings.toml")]
    watched(command, watch.look, _EVERY_S)
    warm = steps // 2
    later = [mb for step, mb in zip(watch.steps, watch.rss_mb, strict=True) if step > warm]
    if len(later) < 2 * BLOCKS:
        raise SystemExit(f"Only {len(later)} looks at the memory after step {warm}; give more --steps.")
    growth = slope(watch.steps, watch.rss_mb, warm)
    kinds = [json.loads(line)["kind"] for line in (run / LOG).read_text(encoding="utf-8").splitlines()]
    return {"base": BASE, "depth": DEPTH, "tile_px": TILE_PX, "steps": steps, "warm": warm,
            "validations": kinds.count("validation"), "looks": len(later),
            "rss_mb": {"half": round(later[0], 1), "last": round(later[-1], 1)},
            "growth_per_10000": growth, "bar_mb": BAR_MB, "holds": growth["high"] <= BAR_MB}  # fmt: skip


def words(row: dict[str, Any]) -> str:
    """A row on one line."""
    growth, rss = row["growth_per_10000"], row["rss_mb"]
    return (
        f"{growth['mb']:+.2f} MB over 10,000 steps (95 % interval {growth['low']:+.2f} to"
        f" {growth['high']:+.2f}), {rss['half']:.0f} MB after {row['warm']:,} steps and {rss['last']:.0f} MB"
        f" at the end of {row['steps']:,}, {row['validations']} validations; base {row['base']}, depth"
        f" {row['depth']}, crops of {row['tile_px']} px"
    )


def main() -> int:
    """Train and say how the memory grew; 1 where it falls short."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of the run [{STEPS}]")
    parser.add_argument("--no-keep", action="store_true", help="append no row")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = measured(given.steps, Path(folder))
    print(f"{words(row)}; bar {BAR_MB:g} MB: {verdict(row['holds'])}")
    if not given.no_keep:
        append_row("training_memory", row)
    return 0 if row["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
