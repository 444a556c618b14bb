"""What the rows of memory, cost and start say, and the slope that tells a leak from noise."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bounds import BOUNDS, newest_row
from benchmarks.flat import PICTURES, Watch, lay_pictures, slope
from benchmarks.speed import table
from inspector.inputs import read_image

ROWS = {
    "memory": {
        "cases": {
            "12": {
                "line": {"rss_mb": 951.3, "frames": 16},
                "refusal": "Tiles need more",
                "defects_equal": True,
                "mask_pixels_changed": 0,
                "defects": 3,
            }
        },
        "holds": True,
    },
    "flat": {
        "growth_per_10000": {"mb": 12.0, "low": 11.0, "high": 13.0},
        "rss_mb": {"first": 200.0, "last": 212.0},
        "frames": 10_000,
        "verdicts": {"REJECT": 650},
        "holds": False,
    },
    "linear": {
        "off": 0.08,
        "off_cpu": 0.03,
        "ms_per_mp": {"1": 210.0, "100": 222.0},
        "precision": {"100": "bf16"},
        "rounds": 3,
        "holds": True,
    },
    "second_start": {
        "cases": {"demo": {"median_s": 0.4, "max_s": 0.5, "first_s": 3.0}},
        "rounds": 5,
        "holds": True,
    },
}
STAMP = {"command": "python -m benchmarks.x", "commit": "abc1234", "date": "2026-11-22T00:00:00+00:00"}
MACHINE = {
    "processor": "Some CPU",
    "cores": 2,
    "isa": [],
    "memory_gib": 8,
    "python": "3.11",
    "system": "Linux",
}


def test_the_page_shows_each_bound_with_its_verdict() -> None:
    page = table.page({name: {**row, **STAMP, "machine": MACHINE} for name, row in ROWS.items()})
    lines = {line.split(" | ")[-1].rstrip(" |"): line for line in page.splitlines() if line.startswith("| ")}
    assert "12 MP: 951 MB resident over 16 frames, as one tile refused" in lines["memory"]
    assert "| HOLDS | memory |" in lines["memory"]
    assert "+12.00 MB over 10,000 frames (95 % interval +11.00 to +13.00)" in lines["flat"]
    assert "| FALLS SHORT | flat |" in lines["flat"]
    assert "furthest from linear 8.0%" in lines["linear"] and "100 MP 222 (bf16" in lines["linear"]
    assert "0.40 s, at most 0.50 of 5 (the first 3.00)" in lines["second_start"]


def test_what_was_not_run_names_the_command_that_runs_it() -> None:
    page = table.page({})
    for bound in BOUNDS:
        assert f"| `python -m benchmarks.{bound.name}` | not run | {bound.name} |" in page


def test_each_bound_has_its_script() -> None:
    for bound in BOUNDS:
        assert Path(table.__file__).parents[1].joinpath(f"{bound.name}.py").exists()


def test_the_newest_row_counts_and_old_forms_do_not(tmp_path: Path) -> None:
    assert newest_row("memory", tmp_path) is None
    rows = [{"cases": {}, "n": 1}, {"cases": {}, "n": 2}, {"n": 3}]
    (tmp_path / "memory.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "flat.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    assert newest_row("memory", tmp_path) == rows[1]
    assert newest_row("flat", tmp_path) == {"n": 2}


@pytest.mark.parametrize("kb", [0.0, 2.0])
def test_a_slope_is_told_from_noise_and_from_what_fills_up(kb: float) -> None:
    frames = np.arange(0, 13_000, 10)
    noise = np.random.default_rng(0).normal(0, 0.5, len(frames))
    rss = 200 + np.minimum(frames, 3000) * 0.05 + kb * frames / 1000 + noise
    found = slope(frames.tolist(), rss.tolist(), warm=3000)
    assert found["low"] <= 10 * kb <= found["high"]
    assert found["high"] - found["low"] < 1.0


def test_a_run_that_was_hardly_looked_at_says_so() -> None:
    with pytest.raises(SystemExit, match="more --frames"):
        slope(list(range(30)), [1.0] * 30, warm=0)


def test_pictures_are_few_and_every_twentieth_is_damaged(tmp_path: Path) -> None:
    lay_pictures(tmp_path, 2 * PICTURES)
    names = sorted((tmp_path / "in").iterdir())
    assert len(names) == 2 * PICTURES
    dark = [int(read_image(name).min()) < 60 for name in names]
    assert dark == ([False] * (PICTURES - 1) + [True]) * 2


def test_frames_are_counted_by_the_lines_own_counter(tmp_path: Path) -> None:
    def look_at(count: int) -> None:
        (tmp_path / "counters/run.counter").write_bytes(b"FRAMES1\0" + struct.pack("=Q", count))
        watch.look(Path("/proc/self"))

    watch = Watch(tmp_path, 100)
    watch.look(Path("/proc/self"))
    assert watch.frames == []  # the line has not begun
    (tmp_path / "counters").mkdir()
    look_at(41)
    watch.look(Path("/proc/no such process"))
    look_at(100)  # the last frame: from now on the line lets go of what it holds
    assert watch.frames == [41] and watch.rss_mb[0] > 10
