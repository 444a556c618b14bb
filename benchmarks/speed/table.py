"""Every bar of speed, memory and cost: `python -m benchmarks.speed.table > benchmarks/SPEED.md`.

Made from the committed rows: of each group the newest one counts, whatever it says. What has none says
"not run".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from benchmarks.bounds import BOUNDS, newest_row
from benchmarks.rows import verdict
from benchmarks.speed.bars import (
    BARE,
    DRAWN,
    EFFICIENCY,
    GPU,
    GPU_ENGINE,
    INSTALL,
    INT8,
    INT8_LOST,
    OURS,
    PEERS,
    USEFUL,
)
from benchmarks.speed.record import Row, newest

NOT_RUN = "not run"
_FRAMES = {"1080p": "1080p", "12mp": "12 MP"}
_ORDER = ("1080p", "12mp")
_GPU_BARS = {
    "useful": "useful rate over its fp16 matrix product",
    "efficiency": "end to end over engine alone",
    "masks": "mask pixels as in float32",
}


class Bar(NamedTuple):
    """One line of the first table."""

    what: str
    least: str
    figure: str
    held: bool | None
    """None: not run, or reported without a bar."""
    group: str


def bars(rows: Mapping[str, Row]) -> list[Bar]:
    """Every bar in the order of the page."""
    groups = (_useful, _int8, _peers, _pipeline, _latency, _bounds, _gpu)
    return [bar for group in groups for bar in group(rows)]


def _useful(rows: Mapping[str, Row]) -> Iterator[Bar]:
    for (depth, name), least in USEFUL.items():
        group = f"rate-{depth}-{name}"
        row = rows.get(group)
        figure = NOT_RUN
        if row is not None:
            useful, product = row["useful"], row["product_flop_per_s"] / 1e9
            figure = (
                f"{useful['line']:.3f} end to end, {useful['engine only']:.3f} engine alone"
                f" ({row['mpx_per_s']['line']:.2f} Mpx/s x {row['flop_per_px'] / 1e3:.1f} kFLOP over"
                f" {product:.0f} GFLOP/s in {row['product_of']})"
            )
        yield Bar(f"useful rate, {_FRAMES[name]}, depth {depth}", f">= {least:.2f}", figure,
                  None if row is None else row["held"]["useful"], group)  # fmt: skip


def _int8(rows: Mapping[str, Row]) -> Iterator[Bar]:
    row = rows.get("int8")
    least = f">= {INT8:g} times, at most {INT8_LOST:g} points of IoU lost"
    if row is None or "models" not in row:
        figure = NOT_RUN if row is None else f"{NOT_RUN}: {row['not_run']['int8']}"
        yield Bar("int8 against bf16, 1080p", least, figure, None, "int8")
        return
    for kind, one in row["models"].items():
        what = f"int8 against bf16, 1080p, {kind} network {one['package']}, base {one['base']}"
        reported = kind == DRAWN
        yield Bar(what, "reported" if reported else least, _int8_figure(one),
                  None if reported else row["held"]["int8"], "int8")  # fmt: skip


def _int8_figure(one: Row) -> str:
    if "refused" in one:
        return f"refused: {one['refused']}"
    ratios, speed, layers = one["ratios"], one["mpx_per_s"], one["layers"]
    return (
        f"{ratios['line']:.2f} times end to end, {ratios['engine only']:.2f} engine alone"
        f" ({speed['int8']['line']:.2f} over {speed['bf16']['line']:.2f} Mpx/s) with {layers['int8']} of"
        f" {sum(layers.values())} convolutions in int8; {_lost(one.get('iou'))}"
    )


def _lost(iou: Row | None) -> str:
    """What int8 does to the mean IoU on frames that nothing was fitted on."""
    if iou is None or iou["change"] is None:
        return "no IoU was measured"
    return f"mean IoU {100 * iou['change']:+.2f} points against f32 on {iou['frames']} frames"


def _peers(rows: Mapping[str, Row]) -> Iterator[Bar]:
    row = rows.get("peers")
    for bar, least in PEERS.items():
        ratio = row["ratios"].get(bar) if row else None
        figure = f"{NOT_RUN}: {row['not_run'][bar]}" if row and bar in row["not_run"] else NOT_RUN
        if row and ratio:
            figure = (
                f"{ratio['ratio']:.2f} times its fastest form here, {ratio['fastest']}"
                f" ({ratio['low']:.2f} to {ratio['high']:.2f} over the rounds)"
            )
        wanted = f">= {least:g} times" if least > 1 else "faster"
        yield Bar(f"the line end to end against {bar}, 1080p", wanted, figure,
                  row["held"][bar] if row else None, "peers")  # fmt: skip


def _pipeline(rows: Mapping[str, Row]) -> Iterator[Bar]:
    for name in _ORDER:
        for depth in (4, 5):
            row = rows.get(f"rate-{depth}-{name}")
            figure = NOT_RUN
            if row is not None:
                speed = row["mpx_per_s"]
                figure = (
                    f"{row['efficiency']:.3f} ({speed['line']:.2f} over {speed['engine only']:.2f} Mpx/s)"
                )
            yield Bar(f"end to end over engine alone, {_FRAMES[name]}, depth {depth}",
                      f">= {EFFICIENCY:.2f}", figure,
                      None if row is None else row["held"]["efficiency"], f"rate-{depth}-{name}")  # fmt: skip


def _latency(rows: Mapping[str, Row]) -> Iterator[Bar]:
    for name in _ORDER:
        row = rows.get(f"latency-{name}")
        figure = NOT_RUN
        if row is not None:
            each = ", ".join(f"{key} {ms:.0f}" for key, ms in row["latency_ms"].items())
            figure = f"full: {each} ms over {row['frames']} frames"
            if paced := row.get("paced"):
                each = ", ".join(f"{key} {ms:.0f}" for key, ms in paced["latency_ms"].items())
                figure += f"; at {paced['of_full']:.0%} of that rate: {each} ms over {paced['frames']} frames"
        yield Bar(f"latency, {_FRAMES[name]}, depth 4", "reported", figure, None, f"latency-{name}")


def _gpu(rows: Mapping[str, Row]) -> Iterator[Bar]:
    row = rows.get("gpu") or {}
    one = row.get("engines", {}).get(GPU_ENGINE)
    said: dict[str, str] = {}
    if one and one["outcome"] == "ran":
        parity = one["parity"]
        same = (
            "not compared"
            if parity is None
            else f"{parity['changed_px']} of {parity['pixels']} pixels differ"
        )
        said = {
            "useful": f"{one['share'] or 0:.3f} ({one['mpx_per_s']:.1f} Mpx/s)",
            "efficiency": f"{one['end_to_end']:.3f}",
            "masks": f"{same} from float32 on the same GPU",
        }
    why = next(iter(row.get("not_run", {}).values()), "").partition(";")[0]
    nothing = one["words"] if one and one["outcome"] != "ran" else f"{NOT_RUN}: {why}" if why else NOT_RUN
    for name, what in _GPU_BARS.items():
        yield Bar(f"NVIDIA GPU, torch fp16, 4K, base 64 depth 5: {what}", f">= {GPU[name]:g}",
                  said.get(name, nothing), row.get("held", {}).get(name), "gpu")  # fmt: skip


def _bounds(rows: Mapping[str, Row]) -> Iterator[Bar]:
    for bound in BOUNDS:
        row = rows.get(bound.name)
        figure = NOT_RUN if row is None else bound.figure(row)
        yield Bar(bound.what, bound.least, figure, None if row is None else row["holds"], bound.name)


def words(row: Row) -> str:
    """All that one row says, on one line."""
    return "; ".join(
        f"{bar.what} {bar.figure}" for bar in bars({row["group"]: row}) if bar.group == row["group"]
    )


def page(rows: Mapping[str, Row]) -> str:
    """The whole page in Markdown."""
    lines = [
        "# Speed",
        "",
        "Made by `python -m benchmarks.speed.table` from the rows in `benchmarks/results/`.",
        "",
        f"Machine: {_machines(rows)}.",
        "",
        "| bar | | figure | | group |",
        "|---|---|---|---|---|",
    ]
    for bar in bars(rows):
        if bar.held is not None:
            held = verdict(bar.held)
        else:
            held = NOT_RUN if bar.figure.startswith(NOT_RUN) else ""
        figure = bar.figure if bar.figure != NOT_RUN else f"`{_command(bar.group)}`"
        lines.append(f"| {bar.what} | {bar.least} | {figure} | {held} | {bar.group} |")
    return "\n".join([*lines, *_explained(), *_arms(rows.get("peers")), *_provenance(rows)])


def _command(group: str) -> str:
    """What measures it."""
    own = any(group == bound.name for bound in BOUNDS)
    return f"python -m benchmarks.{group}" if own else f"python -m benchmarks.speed {group}"


def _machines(rows: Mapping[str, Row]) -> str:
    named = {
        f"{one['processor']}, {one['cores']} cores ({', '.join(one['isa'])}), {one['memory_gib']} GiB,"
        f" Python {one['python']}, {one['system']}"
        for one in (row["machine"] for row in rows.values())
    }
    return "; ".join(sorted(named)) or NOT_RUN


def _explained() -> list[str]:
    return [
        "",
        "Gray frames of 1080x1920 and 3000x4000, base 16, 3 classes with background; int8: the"
        " packages that are named. Figures are medians of rounds in which everything that is compared ran in"
        " turn, in one process.",
        "",
        "- Useful rate: megapixels a second, grab to commit, x the network's operations a pixel on an endless"
        " frame (halo and overlap count against it) over this machine's own matrix product, which OpenVINO"
        " multiplied in the same rounds.",
        "- End to end: frames from memory, 5 % of them rejects whose evidence is written, each committed to a"
        " real ledger. Engine alone: the same compiled model and tile in a bare loop. Above 1 is noise.",
        "- Latency: from grab until the row is written, before the disk confirms it. Full: the camera is"
        " never waited for, so each frame has also waited for those that the line already held. Then frames"
        " at a rate for which the line has time.",
        "- Other tools: from a uint8 frame in memory to a class or probability at each pixel; no camera, no"
        " defects, no ledger, while the line has all of these.",
    ]


def _arms(row: Row | None) -> list[str]:
    if row is None:
        return ["", f"Other tools: {NOT_RUN}; `{INSTALL}`."]
    lines = ["", "| 1080p, same weights | Mpx/s | version | what one frame is | pixels as the line |",
             "|---|---|---|---|---|"]  # fmt: skip
    for name in sorted(row["arms"], key=lambda one: -row["mpx_per_s"][one]):
        arm = row["arms"][name]
        equal = "" if name == OURS else f"{100 * arm['agreement']['equal']:.3f} %"
        equal = "" if name == BARE else equal  # runs its tile only
        lines.append(f"| {name} | {row['mpx_per_s'][name]:.2f} | {arm['version']} | {arm['how']} | {equal} |")
    return lines


def _provenance(rows: Mapping[str, Row]) -> list[str]:
    lines = ["", "| group | frames | engine | command, commit, date |", "|---|---|---|---|"]
    for group, row in rows.items():
        where = f"`{row['command']}`, {row['commit']}, {row['date'][:10]}"
        lines.append(f"| {group} | {_frames(row)} | {_engine(row)} | {where} |")
    return lines


def _frames(row: Row) -> str:
    """How many frames stand behind the figures."""
    rounds = row.get("settings", {}).get("rounds")
    if not isinstance(row.get("frames"), dict):
        return f"{row['frames']} in one run" if "frames" in row else ""
    return f"{rounds} rounds of " + ", ".join(f"{name} {count}" for name, count in row["frames"].items())


def _engine(row: Row) -> str:
    """What served, with its tiles."""
    served = [row] if "engine" in row else []
    for one in row.get("models", {}).values():
        served += one.get("served", {}).values()
    return "; ".join(
        f"{one['engine']['name']} {one['engine']['version']} {one['engine']['precision']},"
        f" {one['tiles']} of {one['tile'][0]}x{one['tile'][1]},"
        f" certificate {one['engine']['certificate'][:12]}"
        + (f", {one['engine']['note']}" if one["engine"]["note"] else "")
        for one in served
    )


def main() -> None:
    """Print the page."""
    bounds = {bound.name: newest_row(bound.name) for bound in BOUNDS}
    print(page({**newest(), **{name: row for name, row in bounds.items() if row is not None}}))


if __name__ == "__main__":
    main()
