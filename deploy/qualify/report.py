"""The qualification's figures as one page that a person can read and sign."""

from __future__ import annotations

from typing import Any

Figures = dict[str, Any]


def page(figures: Figures) -> str:
    """Markdown. figures: what `python -m deploy.qualify` writes as JSON."""
    machine = figures["machine"]
    lines = [
        "# Qualification",
        "",
        f"{figures['date']}, version {figures['version']}, command `{figures['command']}`.",
        f"{machine['device']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {machine['system']},"
        f" Python {machine['python']}.",
        "",
        f"**{figures['verdict']}**",
        "",
        "## Engines",
        "",
        "| engine | here | matrix product |",
        "|---|---|---|",
    ]
    for engine in figures["engines"]:
        rate = engine.get("rate", {})
        product = _rate(rate) if rate.get("outcome") == "ran" else rate.get("words", "")
        lines.append(f"| {engine['name']} | {_state(engine)} | {product} |")
    lines += [
        "",
        "## Speed, parity and memory",
        "",
        "Useful rate = megapixels a second x the network's FLOP a pixel on an endless frame, so that the"
        " tiles' overhead counts against the engine; in brackets its share of the matrix product. `e2e` ="
        " frame with cutting and pasting against the engine alone. Parity: against the reference engine on"
        " the same frame, largest difference of a probability in 256 levels and changed mask pixels.",
        "",
        "| network | frame | engine | Mpx/s | useful GFLOP/s | e2e | parity | memory MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(row) for row in figures["rows"]]
    lines += ["", "## Soak", "", _soak(figures["soak"]), ""]
    return "\n".join(lines)


def _state(engine: Figures) -> str:
    return f"not run: {_reason(engine['lacks'])}" if engine["lacks"] else "run"


def _reason(words: str) -> str:
    """The first half of a message; its remedy stands in the JSON."""
    return words.split(";")[0].rstrip(".")


def _rate(rate: Figures) -> str:
    return f"{rate['flop_per_s'] / 1e9:.0f} GFLOP/s ({rate['tool']})"


def _row(row: Figures) -> str:
    start = f"| {row['network']} | {row['frame'][0]}x{row['frame'][1]} | {row['engine_name']} |"
    if row["outcome"] != "ran":
        return f"{start} {row['outcome']}: {_reason(row['words'])} | | | | |"
    share = f" ({row['share']:.2f})" if row["share"] is not None else ""
    gpu = f" + {row['gpu_mb']} GPU" if "gpu_mb" in row else ""
    note = f" {row['engine']['note']}" if row["engine"]["note"] else ""
    return (
        f"{start} {row['mpx_per_s']:.2f}{note} | {row['useful_flop_per_s'] / 1e9:.0f}{share} |"
        f" {row['end_to_end']:.3f} | {_parity(row)} | {row['rss_mb']}{gpu} |"
    )


def _parity(row: Figures) -> str:
    parity = row["parity"]
    if parity is None:
        return "reference" if row["precision"] == "f32" else "no reference ran"
    return f"{parity['levels']} levels, {parity['changed_px']} of {parity['pixels']} px ({parity['verdict']})"


def _soak(soak: Figures) -> str:
    if soak["outcome"] != "ran":
        return f"{soak['outcome']}: {soak['words']}"
    first, last = soak["first_ms"], soak["last_ms"]
    return (
        f"{soak['engine_name']}, {soak['network']}, {soak['frame'][0]}x{soak['frame'][1]}: {soak['frames']}"
        f" frames in {soak['minutes']} minutes, {soak['wrong']} with another answer than the first; a frame"
        f" took {first['p50']} ms (at most {first['max']}) in the first tenth and {last['p50']} ms (at most"
        f" {last['max']}) in the last; resident memory {soak['rss_first_mb']} MB after the first tenth,"
        f" {soak['rss_last_mb']} MB at the end."
    )
