"""The line's resident memory stays flat over 10,000 frames: its slope, with a 95 % interval.

    python -m benchmarks.flat [--frames 10000] [--warm 5000]

`inspector run` itself, in a process of its own, on gray frames of 256x256 with a small network, every
twentieth with a crack that is kept as evidence: camera, engine, rules, ledger, recorder and output all
work. Small frames, so that ten thousand take minutes; what a frame leaves behind is the same for any
size, or larger. The first frames fill what has a limit (frames kept for a late flag, the ledger's page
cache, the last seconds' times) and do not count. Bar: at most 10 MB more after 10,000 frames, by the
interval's upper end: a kilobyte a frame, less than one row that somebody forgot to let go.
"""

from __future__ import annotations

import os
import struct
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy import stats

from benchmarks.memory import picture
from benchmarks.networks import seeing_package
from benchmarks.rows import append_row, verdict
from benchmarks.watched import line_config, memory_mb, watched_run
from deploy.qualify.cache import own_cache
from inspector.png import png_parts

BASE, DEPTH, FRAME = 4, 3, (256, 256)
PICTURES = 20
"""One of them is damaged."""
FRAMES, WARM = 10_000, 5_000
BAR_MB = 10.0
BLOCKS = 20
"""Memory moves in steps and stays: neighbouring samples say the same twice, means of blocks less so."""
_EVERY_S = 0.05


@dataclass(slots=True)
class Watch:
    """What was seen of the line: frames that its camera had returned, and its resident memory."""

    folder: Path
    total: int
    """Frames that there are; looks after the last one, while the line closes, are left out."""
    frames: list[int] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)

    def look(self, process: Path) -> None:
        """One sample. The count is the line's own counter, which lies in a file."""
        counters = list((self.folder / "counters").glob("*.counter"))
        mb = memory_mb(process, "VmRSS")
        data = counters[0].read_bytes() if counters else b""
        count = struct.unpack("=8xQ", data)[0] if len(data) == 16 else self.total
        if mb and count < self.total:
            self.frames.append(count)
            self.rss_mb.append(mb)


def slope(frames: list[int], rss_mb: list[float], warm: int, blocks: int = BLOCKS) -> dict[str, float]:
    """Growth in MB over 10,000 frames with its 95 % interval, of the samples after frame `warm`.

    Raises SystemExit with fewer samples than two a block.
    """
    x, y = (np.array(values, float)[np.array(frames) > warm] for values in (frames, rss_mb))
    if len(x) < 2 * blocks:
        raise SystemExit(f"Only {len(x)} looks at the line's memory after frame {warm}; give more --frames.")
    parts = np.array_split(np.arange(len(x)), blocks)
    means = [(x[part].mean(), y[part].mean()) for part in parts]
    fit = stats.linregress(*zip(*means, strict=True))
    reach = stats.t.ppf(0.975, blocks - 2) * fit.stderr
    found = (fit.slope, fit.slope - reach, fit.slope + reach)
    return {
        name: round(10_000 * float(one), 3) for name, one in zip(("mb", "low", "high"), found, strict=True)
    }


def lay_pictures(folder: Path, count: int) -> None:
    """A folder of `count` names for a few pictures."""
    (folder / "in").mkdir()
    for number in range(PICTURES):
        with (folder / f"{number:02d}.png").open("wb") as file:
            file.writelines(png_parts(picture(FRAME, number, damaged=number == PICTURES - 1)))
    for number in range(count):
        os.link(folder / f"{number % PICTURES:02d}.png", folder / "in" / f"{number:06d}.png")


def measured(frames: int, warm: int, folder: Path) -> dict[str, Any]:
    """The run and its slope."""
    package = seeing_package(folder / "package", BASE, DEPTH)
    lay_pictures(folder, warm + frames)
    watch = Watch(folder, warm + frames)
    summary = watched_run(line_config(folder, package.path), watch.look, _EVERY_S)
    growth = slope(watch.frames, watch.rss_mb, warm)
    first = next(mb for count, mb in zip(watch.frames, watch.rss_mb, strict=True) if count > warm)
    right = (
        summary["verdicts"]["REJECT"] == (warm + frames) // PICTURES and summary["grabbed"] == warm + frames
    )
    return {"base": BASE, "depth": DEPTH, "frame": FRAME, "frames": frames, "warm": warm,
            "verdicts": summary["verdicts"], "fps": summary["fps"], "looks": len(watch.frames),
            "rss_mb": {"first": round(first, 1), "last": round(watch.rss_mb[-1], 1)},
            "growth_per_10000": growth, "bar_mb": BAR_MB,
            "holds": right and growth["high"] <= BAR_MB}  # fmt: skip


@click.command()
@click.option("--frames", default=FRAMES, show_default=True, type=click.IntRange(100), help="That count.")
@click.option("--warm", default=WARM, show_default=True, type=click.IntRange(0), help="Frames before those.")
@click.option("--keep/--no-keep", default=True, help="Append the row to benchmarks/results.")
def main(frames: int, warm: int, keep: bool) -> None:
    """Run the line and say how its memory grew."""
    with own_cache(), tempfile.TemporaryDirectory() as folder:
        row = measured(frames, warm, Path(folder))
    growth, rss = row["growth_per_10000"], row["rss_mb"]
    print(f"{warm} frames to warm up and {frames} that count, {row['verdicts']}, {row['fps']:.0f} frames/s")
    print(f"resident {rss['first']:.1f} MB after the first {warm}, {rss['last']:.1f} MB at the end")
    print(
        f"growth over 10,000 frames {growth['mb']:+.2f} MB ({growth['low']:+.2f} to {growth['high']:+.2f});"
        f" bar {BAR_MB:g} MB: {verdict(row['holds'])}"
    )
    if keep:
        append_row("flat", row)


if __name__ == "__main__":
    main()
