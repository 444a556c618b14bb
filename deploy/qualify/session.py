"""The whole qualification: which trials, in which order, and what their figures mean together."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from deploy.qualify.candidates import Candidate, candidates, this_machine
from deploy.qualify.sample import package_flop_per_px
from deploy.qualify.trial import Trial
from inspector import __version__
from inspector.counting import counted
from inspector.defects import mask_of
from inspector.engine.certificate import LIMITS
from inspector.engine.openvino import cpu_name
from inspector.package import ModelPackage

Figures = dict[str, Any]
Say = Callable[[str], None]

MOST_GROWTH = 0.10
"""Share by which the memory of a soak may grow after its first tenth."""
_PATIENCE_S = 3600.0
"""How long a trial may take beyond the time that it measures: compiling, opening, one slow frame."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is measured."""

    frames: tuple[tuple[int, int], ...]
    seconds: float
    """How long each engine is timed on each frame."""
    soak_minutes: float
    memory_mb: int


def qualify(packages: list[ModelPackage], scope: Scope, say: Say) -> Figures:
    """Every engine on every package and frame, each in a process of its own. say: told what begins."""
    found = this_machine()
    engines: list[Figures] = []
    for candidate in candidates(found):
        lacks = found.lacks(candidate)
        rate = {} if lacks else matrix_product(candidate, scope, say)
        engines.append({"name": candidate.name, "lacks": lacks, "rate": rate})
    able = [one for one in candidates(found) if found.lacks(one) is None]
    rates = {engine["name"]: engine["rate"].get("flop_per_s") for engine in engines}
    names = names_of(packages)
    rows = [
        {**row, "network": names[package.id], "share": share_of(row, rates)}
        for package in packages
        for frame in scope.frames
        for row in side_by_side(able, package, frame, scope, say)
    ]
    soaked = _soak(rows, able, packages, scope, say)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "command": " ".join(["python -m deploy.qualify", *sys.argv[1:]]),
        "machine": _machine(),
        "engines": engines,
        "rows": rows,
        "soak": soaked,
        "verdict": verdict(rows, soaked),
    }


def verdict(rows: list[Figures], soaked: Figures) -> str:
    """One sentence: what ran, and whether anything that ran was wrong."""
    ran = [row for row in rows if row["outcome"] == "ran"]
    wrong = [row for row in rows if row["outcome"] in ("refused", "failed") or not _equal(row)]
    if soaked["outcome"] in ("refused", "failed") or soaked.get("wrong"):
        return "FALLS SHORT: the soak failed or gave another answer than at its start."
    before, after = soaked.get("rss_first_mb", 0), soaked.get("rss_last_mb", 0)
    if after > (1 + MOST_GROWTH) * before:
        return f"FALLS SHORT: the soak began with {before} MB and ended with {after} MB."
    if wrong:
        names = ", ".join(sorted({f"{row['engine_name']} on {row['network']}" for row in wrong}))
        return f"FALLS SHORT: {names}; see the rows."
    if not ran:
        return "NOTHING RAN; see the reasons."
    runs = counted(len(ran), "run")
    return f"HOLDS: {runs}, each with its certificate and within the limits of its precision."


def names_of(packages: list[ModelPackage]) -> dict[str, str]:
    """Package id -> what rows call it: its name, with its id where several have that name."""
    count = Counter(package.manifest.name for package in packages)
    return {
        one.id: one.manifest.name if count[one.manifest.name] == 1 else f"{one.manifest.name} {one.id[:12]}"
        for one in packages
    }


def run_trial(trial: Trial) -> Figures:
    """The trial's outcome, from a process of its own; `failed` when that ends without a word."""
    command = [sys.executable, "-m", "deploy.qualify.trial", json.dumps(asdict(trial))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=trial.seconds + _PATIENCE_S)
    except subprocess.TimeoutExpired:
        return {"outcome": "failed", "words": f"no answer within {trial.seconds + _PATIENCE_S:.0f} s"}
    lines = done.stdout.strip().splitlines()
    try:
        found: Figures = json.loads(lines[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        return {"outcome": "failed", "words": f"the process ended with {done.returncode}: {last}"}
    return found


def matrix_product(candidate: Candidate, scope: Scope, say: Say) -> Figures:
    """What this candidate's device multiplies in its precision; the trial's outcome."""
    say(f"matrix product for {candidate.name}")
    return run_trial(Trial(candidate, "", (0, 0), min(scope.seconds, 5.0), scope.memory_mb, kind="rate"))


def side_by_side(
    able: list[Candidate], package: ModelPackage, frame: tuple[int, int], scope: Scope, say: Say
) -> list[Figures]:
    """A row for each engine on one frame; the first in float32 is what the others are held against."""
    rows: list[Figures] = []
    reference: Path | None = None
    mpx, flop = frame[0] * frame[1] / 1e6, package_flop_per_px(package)
    with tempfile.TemporaryDirectory(prefix="qualify-") as folder:
        for number, candidate in enumerate(able):
            say(f"{package.manifest.name}, {frame[0]}x{frame[1]}, {candidate.name}")
            kept = Path(folder) / f"{number}.npy"
            trial = Trial(candidate, str(package.path), frame, scope.seconds, scope.memory_mb, str(kept))
            row = {"network": package.manifest.name, "package": package.id, "frame": frame,
                   "engine_name": candidate.name, "precision": candidate.precision,
                   **run_trial(trial)}  # fmt: skip
            if row["outcome"] == "ran":
                row["mpx_per_s"] = mpx / row["frame_s"]
                row["useful_flop_per_s"] = 1e6 * row["mpx_per_s"] * flop
                row["end_to_end"] = row["engine_only_s"] / row["frame_s"]
                row["parity"] = None if reference is None else _parity(kept, reference, package, candidate)
                if reference is None and candidate.precision == "f32":
                    reference = kept
            elif "words" in row:
                row["words"] = row["words"].replace(str(package.path), package.manifest.name)
            rows.append(row)
    return rows


def _parity(found: Path, reference: Path, package: ModelPackage, candidate: Candidate) -> Figures:
    """The engine's frame against the reference's, under the limits of its precision."""
    mine, theirs = np.load(found), np.load(reference)
    difference = np.abs(mine.astype(np.int16) - theirs)
    changed = int(np.count_nonzero(mask_of(mine, package.thresholds) != mask_of(theirs, package.thresholds)))
    pixels, limits = mine.shape[0] * mine.shape[1], LIMITS[candidate.precision]
    # Both were rounded to levels, which may part two equal values by one.
    within = int(difference.max()) <= 255 * limits.max_difference + 1
    holds = within and 1 - changed / pixels >= limits.mask_equal
    return {"levels": int(difference.max()), "mean_levels": float(difference.mean()), "changed_px": changed,
            "pixels": pixels, "verdict": "holds" if holds else "FALLS SHORT"}  # fmt: skip


def _soak(
    rows: list[Figures], able: list[Candidate], packages: list[ModelPackage], scope: Scope, say: Say
) -> Figures:
    """The fastest engine that was right, on the first package and frame."""
    mine = [row for row in rows if row["outcome"] == "ran" and _equal(row)]
    mine = [row for row in mine if (row["package"], row["frame"]) == (mine[0]["package"], mine[0]["frame"])]
    if not mine or not scope.soak_minutes:
        return {"outcome": "not run", "words": "no minutes were given" if mine else "no engine ran"}
    best = max(mine, key=lambda row: float(row["mpx_per_s"]))
    candidate = next(one for one in able if one.name == best["engine_name"])
    package = next(one for one in packages if one.id == best["package"])
    say(f"soak of {scope.soak_minutes:g} minutes, {candidate.name}")
    trial = Trial(candidate, str(package.path), best["frame"], 60 * scope.soak_minutes, scope.memory_mb)
    named = {"engine_name": candidate.name, "network": best["network"], "frame": best["frame"]}
    return {**named, **run_trial(replace(trial, kind="soak"))}


def _equal(row: Figures) -> bool:
    parity = row.get("parity")
    return parity is None or parity["verdict"] == "holds"


def share_of(row: Figures, rates: dict[str, float | None]) -> float | None:
    """Useful rate over the matrix product of the same precision on the same device."""
    rate = rates[row["engine_name"]]
    return row["useful_flop_per_s"] / rate if rate and row["outcome"] == "ran" else None


def _machine() -> Figures:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    system, python = f"{platform.system()} {platform.machine()}", platform.python_version()
    return {"device": cpu_name(), "cores": os.cpu_count(), "memory_gib": round(memory / 2**30, 1),
            "system": system, "python": python}  # fmt: skip
