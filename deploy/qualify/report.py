"""The qualification's figures as one page that a buyer can read and sign."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from deploy.qualify.verdict import equal, ran
from deploy.qualify.words import GLANCE, WORDS
from inspector.counting import rate_words

Figures = dict[str, Any]

_TITLES = (
    *("network", "frame", "engine", "ms a frame", "Mpx/s"),
    *("useful GFLOP/s", "of product", "end to end", "answer"),
)
"""Columns of every run; memory and what other programs took follow where they were measured."""


def page(figures: Figures) -> str:
    """Markdown. figures: what `python -m deploy.qualify` writes as JSON, finished or not."""
    machine = figures["machine"]
    lines = [
        f"# Qualification of {machine['device']}, {machine['cores']} cores",
        "",
        f"**{_verdict(figures)}**",
        "",
        f"{machine['device']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {machine['system']},"
        f" Python {machine['python']}. Version {figures['version']}, command `{figures['command']}`,"
        f" {_state(figures)}.",
        "",
        *_notes(figures),
        *_speeds(figures),
        *_runs(figures),
        *_engines(figures),
        "## Soak",
        "",
        _soak(figures["soak"]),
        "",
        *WORDS,
    ]
    return "\n".join(lines)


def _notes(figures: Figures) -> list[str]:
    """What is to be known before the figures are read, each a paragraph."""
    notes = [*([GLANCE] if figures["scope"]["quick"] else []), *figures["notes"]]
    return [line for note in notes for line in (note, "")]


def _verdict(figures: Figures) -> str:
    if figures["finished"] is not None:
        return str(figures["verdict"])
    so_far = f" So far: {figures['verdict']}" if figures["rows"] else ""
    return f"UNFINISHED, {_count(figures)}; the same command goes on.{so_far}"


def _state(figures: Figures) -> str:
    begun = f"begun {figures['began']}, " if figures["began"] is not None else ""
    if figures["finished"] is None:
        return f"{begun}not finished: {_count(figures)}"
    return f"{begun}finished {figures['finished']}, whole: {_count(figures)}"


def _count(figures: Figures) -> str:
    done = len(figures["rows"]) + (figures["soak"] is not None)
    return f"{done} of {figures['total']} measurements"


def _speeds(figures: Figures) -> list[str]:
    """Frames a second by network and size, of the fastest engine whose answers hold."""
    sizes = list(dict.fromkeys(tuple(row["frame"]) for row in figures["rows"]))
    networks = list(dict.fromkeys(row["network"] for row in figures["rows"]))
    if not networks:
        return []
    good = [row for row in ran(figures["rows"]) if equal(row)]
    lines = [
        "## What this machine can do",
        "",
        "Frames a second at each size, by the fastest engine here whose answers hold: a gray frame in memory"
        " becomes the probability of each class at each pixel. Camera, judgement and ledger come on top:"
        " `inspector bench` measures the whole line, `inspector plan` holds it against the speed of a belt.",
        "",
        f"| network | {' | '.join(_size_title(size) for size in sizes)} |",
        f"|---|{'---|' * len(sizes)}",
    ]
    for network in networks:
        mine = [row for row in good if row["network"] == network]
        cells = [_fastest(row for row in mine if tuple(row["frame"]) == size) for size in sizes]
        of = next(row for row in figures["rows"] if row["network"] == network)
        lines.append(f"| {network}: base {of['base']}, depth {of['depth']} | {' | '.join(cells)} |")
    return [*lines, ""]


def _size_title(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} ({size[0] * size[1] / 1e6:.1f} MP)"


def _fastest(rows: Iterable[Figures]) -> str:
    best = min(rows, key=lambda row: float(row["frame_s"]), default=None)
    if best is None:
        return "not measured"
    slow = f", {best['frame_s']:.2g} s each" if best["frame_s"] > 1 else ""
    return f"{rate_words(1 / best['frame_s'])}{_mark(best)} frames/s{slow} ({best['engine_name']})"


def _mark(row: Figures) -> str:
    """What stands behind a speed that is not to be trusted."""
    return " ?" if row["doubts"] else ""


def _runs(figures: Figures) -> list[str]:
    """A line for each run; engines that ran nowhere stand in their own table only."""
    names = _ran_somewhere(figures)
    rows = [row for row in figures["rows"] if row["engine_name"] in names]
    if not rows:
        return []
    # A column that nobody measured is no column.
    memory = any("rss_mb" in row for row in rows)
    others = any(row["others_share"] is not None or row["doubts"] for row in ran(rows))
    titles = [*_TITLES, *(["memory MB"] if memory else []), *(["others"] if others else [])]
    lines = [
        "## Every run",
        "",
        "A speed with ? is not to be trusted, the last column says why. What the columns mean stands below.",
        "",
        f"| {' | '.join(titles)} |",
        "|" + "---|" * len(titles),
    ]
    for row in rows:
        cells = _cells(row) if row["outcome"] == "ran" else _not_run(row)
        kept = [*cells[: len(_TITLES)], *(cells[-2:-1] if memory else []), *(cells[-1:] if others else [])]
        lines.append(f"| {' | '.join(kept)} |")
    return [*lines, ""]


def _name_cells(row: Figures) -> list[str]:
    return [row["network"], f"{row['frame'][0]}x{row['frame'][1]}", row["engine_name"]]


def _not_run(row: Figures) -> list[str]:
    why = f"{row['outcome']}: {_first_half(row['words'])}"
    return [*_name_cells(row), why, *[""] * (len(_TITLES) - 2)]


def _cells(row: Figures) -> list[str]:
    """Those of _TITLES, then memory and what others took."""
    mark, note = _mark(row), row["engine"]["note"]
    others = "not measured" if row["others_share"] is None else f"{row['others_share']:.0%}"
    return [
        *_name_cells(row),
        f"{1000 * row['frame_s']:.0f}{mark}",
        f"{row['mpx_per_s']:.2f}{mark}",
        f"{row['useful_flop_per_s'] / 1e9:.0f}{mark}",
        "" if row["share"] is None else f"{row['share']:.2f}{mark}",
        f"{row['end_to_end']:.3f}{mark}",
        "; ".join([_answer(row), *([note] if note else [])]),
        _memory(row),
        "; ".join([others, *row["doubts"]]),
    ]


def _answer(row: Figures) -> str:
    parity = row["parity"]
    if parity is None:
        return "reference" if row["precision"] == "f32" else "no reference ran"
    return (
        f"{parity['levels']} of 256 levels, {parity['changed_px']:,} of {parity['pixels']:,} px"
        f" ({parity['verdict']})"
    )


def _memory(row: Figures) -> str:
    gpu = f" + {row['gpu_mb']} GPU" if "gpu_mb" in row else ""
    return f"{row.get('rss_mb', 'not measured')}{gpu}"


def _engines(figures: Figures) -> list[str]:
    lines = ["## Engines", "", "| engine | here | matrix product |", "|---|---|---|"]
    for engine in figures["engines"]:
        rows = [row for row in figures["rows"] if row["engine_name"] == engine["name"]]
        lines.append(f"| {engine['name']} | {_here(engine, rows)} | {_product(rows)} |")
    return [*lines, ""]


def _here(engine: Figures, rows: list[Figures]) -> str:
    """Whether it ran; where it ran nowhere, why, and what to do about it."""
    if engine["lacks"]:
        return f"not run: {_first_half(engine['lacks'])}"
    if any(row["outcome"] != "not run" for row in rows):
        return "run"
    return f"not run: {rows[0]['words']}" if rows else "still to come"


def _product(rows: list[Figures]) -> str:
    """What the machine multiplied beside this engine's runs: the median, and the span over the runs."""
    found = [row["product"] for row in ran(rows)]
    rates = [one["flop_per_s"] / 1e9 for one in found if "flop_per_s" in one]
    if not rates:
        return "; ".join(sorted({one["words"] for one in found}))
    tool = next(one["tool"] for one in found if "tool" in one)
    span = f", {min(rates):.0f} to {max(rates):.0f} over {len(rates)} runs" if max(rates) > min(rates) else ""
    mark = " ?" if any(row["doubts"] for row in ran(rows)) else ""
    return f"{statistics.median(rates):.0f}{mark} GFLOP/s{span} ({tool})"


def _ran_somewhere(figures: Figures) -> set[str]:
    return {row["engine_name"] for row in figures["rows"] if row["outcome"] != "not run"}


def _first_half(words: str) -> str:
    """Of a message whose remedy stands in the JSON."""
    return words.split(";")[0].rstrip(".")


def _soak(soak: Figures | None) -> str:
    if soak is None:
        return "Still to come."
    if soak["outcome"] != "ran":
        return f"{soak['outcome']}: {soak['words']}"
    first, last, doubts = soak["first_ms"], soak["last_ms"], "; ".join(soak["doubts"])
    others = "" if soak["others_share"] is None else f" Other programs took {soak['others_share']:.0%}."
    told = "" if soak.get("answers_differ", True) else (
        " Both frames look alike to this network, so that an old answer would not show."
    )  # fmt: skip
    return (
        f"{soak['engine_name']}, {soak['network']}, {soak['frame'][0]}x{soak['frame'][1]}: {soak['frames']}"
        f" frames in {soak['minutes']} minutes, {soak['wrong']} with another answer than the first; a frame"
        f" took {first['p50']} ms (at most {first['max']}) in the first tenth and {last['p50']} ms (at most"
        f" {last['max']}) in the last; resident memory {soak['rss_first_mb']} MB after the first tenth,"
        f" {soak['rss_last_mb']} MB at the end.{others}"
        f"{f' Its times are not to be trusted: {doubts}.' if doubts else ''}{told}"
    )
