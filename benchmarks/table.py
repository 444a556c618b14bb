"""The table of the bars, made from the committed rows: `python -m benchmarks.table > benchmarks/RESULTS.md`.

Each line is the newest row of its benchmark, whatever it says. What has no row says "not run".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from benchmarks.bounds import BOUNDS, newest_row
from benchmarks.demo_model import FRAMES, PACKAGES
from benchmarks.real_data import holds as real_data_holds
from benchmarks.rows import RESULTS, verdict
from benchmarks.speed.record import newest as speed_rows
from benchmarks.speed.table import words as speed_words
from benchmarks.training_memory import words as training_memory
from inspector.engine.rivals import BUSY_SHARE
from inspector.package import load_package

Row = dict[str, Any]


def tiles_equal(row: Row) -> str:
    worst = max(row["max_abs"], row["max_abs_corners"])
    return (
        f"largest difference {worst:.1e} over {row['cases']} random shapes and {row['corner_cases']} corner"
        f" cases; a trained depth-5 network stepped by 388 differs by {row['max_abs_trained_step_388']:.2f}"
    )


def frames_accounted(row: Row) -> str:
    counts = row["counts"]
    return f"{row['problems']} problems in {row['runs']} killed runs, {counts['frames']} frames emitted"


def wal_cut(row: Row) -> str:
    cuts = row["wal_cuts"] + row["page_cuts"]
    return (
        f"{row['problems']} problems in {cuts} cuts, {row['published_rows_checked']} published rows checked"
    )


def efficiency(row: Row) -> str:
    return (
        f"line to engine {row['efficiency']:.3f}, engine to bare OpenVINO {row['engine_to_bare']:.3f}"
        f" ({row['mpx_per_s']:.2f} megapixels/s end to end, {row['engine']['precision']})"
    )


def weight_map(row: Row) -> str:
    main = next(r for r in row["table"] if (r["size"], r["instances"]) == (512, 200))
    return (
        f"{main['times']:.0f} times, error {main['error']:.1e};"
        f" {row['dense_ns_per_px']:.1f} times the time a pixel on 16 times the pixels and instances"
    )


def demo_model(row: Row) -> str:
    def share(name: str) -> str:
        one = row[name]
        return f"{name} {one['found']}/{one['total']} ({one['low']:.3f} to {one['high']:.3f})"

    alarms, frames = row["false_alarms"], row["frames"]
    names = ("overall", "scratch", "crack", "dent", "stain", "pit")
    time = f"{row['median_ms']:.0f} ms a frame"
    if row["others_share"] >= BUSY_SHARE:
        time += f" (other programs took {row['others_share']:.0%} of the processor)"
    return (
        f"{row['name']} {row['version']}, base {row['base']}, {time}; exam seeds {row['seeds'][0]} to"
        f" {row['seeds'][-1]}: recall {', '.join(share(name) for name in names)};"
        f" false alarms {alarms['count']}/{frames} frames"
        f" ({alarms['low']:.3f} to {alarms['high']:.3f} a frame; {alarms['large']} as large as what counts)"
    )


def real_data(row: Row) -> str:
    classes = ", ".join(
        f"{name} IoU {one['iou']:.3f} F1 {one['dice']:.3f}"
        for name, one in row["per_class"].items()
        if name != "background" and one["iou"] is not None
    )
    low, high = row["miou_95"]
    defects = row["per_defect"]
    alarms = defects["false_alarms_per_frame"]
    return (
        f"{row['set']}: mIoU {row['miou']:.3f} ({low:.3f} to {high:.3f}), {classes}; defects"
        f" {defects['found']}/{defects['total']}, {alarms:.2f} false alarms a frame,"
        f" {row['frames']} test frames, seed {row['seed']}"
    )


def step_time(row: Row) -> str:
    optimizer = row["parts_ms"]["clip_and_optimizer"]
    return (
        f"{row['loop_over_bare']:.2f} times ({row['loop_ms']:.0f} ms against {row['bare_ms']:.0f}), of which"
        f" clipping and optimizer {optimizer:.0f} ms"
    )


def start(row: Row) -> str:
    return f"median {row['median_s']:.2f} s, largest {row['max_s']:.2f} s of {row['rounds']} starts"


BARS: tuple[tuple[str, str, Callable[[Row], str]], ...] = (
    ("tiles_equal", "tiles equal the whole within 1e-5 in float32; stepping by 388 does not", tiles_equal),
    ("frames_accounted", "20 runs killed with `kill -9`: every frame accounted for", frames_accounted),
    ("wal_cut", "database and WAL cut at 50 offsets: opens clean, no published row missing", wal_cut),
    ("efficiency", "line >= 0.95 of engine only, engine only >= 0.95 of bare OpenVINO, 1080p", efficiency),
    ("speed", "1080p beside other tools: each bar in [SPEED.md](SPEED.md)", speed_words),
    ("weight_map", "512x512, 200 instances: >= 100 times the usual code, error < 1e-4", weight_map),
    ("demo_model", "recall >= 0.95, >= 0.90 each class, <= 0.1 false alarms a frame, 200 frames", demo_model),
    ("real_data", "12 minutes of `trainer fit` on 2 cores, test split", real_data),
    ("step_time", "a training step: <= 1.1 of the bare forward and backward pass", step_time),
    ("training_memory", "memory of a long training: <= 10 MB more over 10,000 steps", training_memory),
    *((bound.name, f"{bound.what}: {bound.least}", bound.figure) for bound in BOUNDS),
    ("start", "first verdict within 5 s of the command", start),
)


def newest(name: str) -> list[Row]:
    """The newest row of a benchmark; of real_data that of each set, of demo_model the exam of each model that
    is shipped, of speed that beside other tools."""
    if any(name == bound.name for bound in BOUNDS):
        row = newest_row(name)
        return [] if row is None else [row]
    path = RESULTS / f"{name}.jsonl"
    if not path.exists():
        return []
    if name == "speed":
        return [row for group, row in speed_rows().items() if group == "peers"]
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if name == "demo_model":
        return shipped_exams(rows)
    return list({row.get("set", ""): row for row in rows}.values())


def shipped_exams(rows: list[Row]) -> list[Row]:
    """The newest whole exam of each demo model that is shipped; none for one that sat none yet."""
    # Frames that may be looked at while training prove nothing; their rows are kept for comparison.
    exams = {
        row["package"]: row for row in rows if row.get("set") != "development" and row["frames"] == FRAMES
    }
    shipped = [load_package(path).id for path in PACKAGES]
    return [exams[id] for id in shipped if id in exams]


def main() -> None:
    """Print the table as Markdown."""
    print("# Results\n\nMade by `python -m benchmarks.table` from `benchmarks/results/`.\n")
    print("| bar | figure | | command, commit, date |\n|---|---|---|---|")
    machines = set()
    for name, bar, figure in BARS:
        for row in newest(name):
            met = real_data_holds(row) if name == "real_data" else row.get("holds")
            holds = "" if met is None else verdict(met)
            machine = row["machine"]
            machines.add(f"{machine['processor']}, {machine['cores']} cores ({', '.join(machine['isa'])})")
            where = f"`{row['command']}`, {row['commit']}, {row['date'][:10]}"
            print(f"| {bar} | {figure(row)} | {holds} | {where} |")
        if not newest(name):
            print(f"| {bar} | not run | | `python -m benchmarks.{name}` |")
    print(f"\nMachine: {'; '.join(sorted(machines))}. Not run on a GPU.")
    print(
        "\nPages of their own: [SPEED.md](SPEED.md), [ACCURACY.md](ACCURACY.md) on real pictures beside other"
        "\nrecipes, [ABLATION.md](ABLATION.md) of the method's ideas, [CHOICES.md](CHOICES.md) of the"
        "\nrecipe, [QUALIFICATION.md](QUALIFICATION.md) of this machine."
    )


if __name__ == "__main__":
    main()
