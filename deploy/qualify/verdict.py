"""What the figures of a qualification mean together: are the answers right, and may the speeds be trusted?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inspector.counting import counted
from inspector.engine.trust import speed_doubts

Figures = dict[str, Any]

MOST_GROWTH = 0.10
"""Share by which the memory of a soak may grow after its first tenth."""
MOST_DRIFT = 1.25
"""Factor between the times of a frame at the begin and at the end of a soak that is no chance."""
_FEWEST_FRAMES = 50
"""Of a soak; of fewer a tenth is too little to tell a drift from chance."""


def ran(rows: list[Figures]) -> list[Figures]:
    """Those that give figures."""
    return [row for row in rows if row["outcome"] == "ran"]


def equal(row: Figures) -> bool:
    """Whether its answer is within the limits, as far as there is one to hold it against."""
    parity = row.get("parity")
    return parity is None or parity["verdict"] != "FALLS SHORT"


def run_name(row: Figures) -> str:
    """Engine, network and frame of a row or a soak."""
    return f"{row['engine_name']} on {row['network']}, {row['frame'][0]}x{row['frame'][1]}"


def faults(rows: list[Figures], soaked: Figures | None, memory_mb: int) -> list[str]:
    """What ran and was wrong, one clause each; empty where all answers hold.

    soaked: None while it is still to come. memory_mb: the limit that the line was given.
    """
    found = [f"{run_name(row)}: {row['outcome']}" for row in rows if row["outcome"] in ("refused", "failed")]
    found += [f"{run_name(row)} gives another answer" for row in rows if not equal(row)]
    found += [
        f"{run_name(row)} took {row['rss_mb']} MB, limit {memory_mb} MB"
        for row in ran(rows)
        # Beside a GPU the limit is not the engine's: its maps lie there, and CUDA itself takes gigabytes.
        if not row["on_gpu"] and row.get("rss_mb", 0) > memory_mb
    ]
    return found + (_soak_faults(soaked) if soaked is not None else [])


def _soak_faults(soaked: Figures) -> list[str]:
    if soaked["outcome"] in ("refused", "failed"):
        return [f"the soak {soaked['outcome']}"]
    if soaked["outcome"] != "ran":
        return []
    found = [f"{counted(soaked['wrong'], 'answer')} of the soak changed"] if soaked["wrong"] else []
    before, after = soaked["rss_first_mb"], soaked["rss_last_mb"]
    if after > (1 + MOST_GROWTH) * before:
        found.append(f"the soak began with {before} MB and ended with {after} MB")
    return found


def row_doubts(row: Figures) -> list[str]:
    """Why the speeds of a row that ran are not to be trusted, one clause each."""
    return speed_doubts(row["others_share"], row["end_to_end"], row["share"])


def soak_doubts(soaked: Figures) -> list[str]:
    """The same of a soak."""
    if soaked["outcome"] != "ran":
        return []
    first, last = soaked["first_ms"]["p50"], soaked["last_ms"]["p50"]
    tells = soaked["frames"] >= _FEWEST_FRAMES
    drifts = tells and max(first, last) > MOST_DRIFT * min(first, last)
    words = [f"a frame took {first} ms at first and {last} ms at last"] if drifts else []
    return speed_doubts(soaked["others_share"]) + words


def verdict(rows: list[Figures], soaked: Figures | None, memory_mb: int) -> Figures:
    """`verdict` in words, `answers_hold`, and `doubts` about the speeds, one a run.

    See `faults` for the parameters. answers_hold: None where nothing ran.
    """
    wrong, good = faults(rows, soaked, memory_mb), ran(rows)
    doubts = [f"{run_name(row)}: {'; '.join(row['doubts'])}" for row in good if row["doubts"]]
    of_soak = "; ".join(soaked.get("doubts", [])) if soaked is not None else ""
    found = {"answers_hold": not wrong, "doubts": [*doubts, *([f"the soak: {of_soak}"] if of_soak else [])]}
    if not good and not wrong:
        return {**found, "verdict": "NOTHING RAN; see the reasons.", "answers_hold": None}
    if wrong:
        head = f"FALLS SHORT: {'; '.join(wrong)}."
    else:
        trusted = "ANSWERS HOLD, SPEEDS ARE NOT TO BE TRUSTED" if doubts else "HOLDS"
        runs = counted(len(good), "run")
        head = f"{trusted}: {runs}, each with its certificate and within the limits of its precision."
    return {**found, "verdict": " ".join([head, *_speed_words(good, doubts, of_soak)])}


def _speed_words(good: list[Figures], doubts: list[str], of_soak: str) -> Iterator[str]:
    """Sentences on whether the speeds may be trusted, and the remedy."""
    shares = [one["others_share"] for one in good]
    if doubts:
        more = ", the others in the table" if len(doubts) > 1 else ""
        yield f"The speeds of {len(doubts)} of {counted(len(good), 'run')} are not to be trusted"
        yield f"({doubts[0]}{more})."
    elif None in shares:
        yield "What other programs took of the processor meanwhile was not measured."
    elif shares:
        yield f"Other programs took at most {max(shares):.0%} of the processor meanwhile."
    if of_soak:
        yield f"The times of the soak are not to be trusted ({of_soak})."
    if doubts or of_soak:
        yield "Measure again with `--again` while the machine is quiet."
