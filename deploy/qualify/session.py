"""The whole qualification: which trials, in which order, each kept as soon as it is finished."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from deploy.qualify.candidates import Candidate, candidates, this_machine
from deploy.qualify.kept import Kept
from deploy.qualify.row import Group, row_of, run_trial
from deploy.qualify.scope import Scope, Subject
from deploy.qualify.trial import Trial
from deploy.qualify.verdict import equal, ran, soak_doubts, verdict
from inspector.engine.openvino import cpu_name

Figures = dict[str, Any]
Say = Callable[[str], None]


def qualify(subjects: list[Subject], scope: Scope, kept: Kept, say: Say) -> None:
    """Every engine on every network and frame, each in a process of its own; what is kept is not run again.

    say: told what begins. Raises what Kept.save raises.
    """
    machine = this_machine()
    engines = [{"name": one.name, "lacks": machine.lacks(one)} for one in candidates(machine)]
    able = [one for one in candidates(machine) if machine.lacks(one) is None]
    groups = [Group(subject, frame, kept.out) for subject in subjects for frame in scope.frames]
    total = len(groups) * len(able) + 1
    if kept.finished:
        say(f"finished on {kept.figures['finished']}, nothing is left to measure; --again measures anew")
        return
    _save(kept, scope, engines=engines, total=total, notes=[*kept.figures["notes"], *_went_on(kept, total)])
    for group in groups:
        for candidate in missing(able, group, kept):
            done = len(kept.figures["rows"]) + 1
            size = f"{group.frame[0]}x{group.frame[1]}"
            say(f"{done} of {total}: {group.subject.name}, {size}, {candidate.name}")
            _save(kept, scope, rows=kept.with_row(row_of(group, candidate, scope)))
        group.reference.unlink(missing_ok=True)
    soaked = _soak(kept.figures["rows"], able, subjects, scope, say)
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    _save(kept, scope, soak={**soaked, "doubts": soak_doubts(soaked)}, finished=finished)


def _went_on(kept: Kept, total: int) -> list[str]:
    """A note where an earlier go was stopped."""
    if not kept.figures["rows"]:
        return []
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [f"Stopped after {len(kept.figures['rows'])} of {total} measurements, and gone on with at {now}."]


def _save(kept: Kept, scope: Scope, **changes: Any) -> None:
    figures = {**kept.figures, **changes}
    kept.save(**changes, **verdict(figures["rows"], figures["soak"], scope.memory_mb))


def missing(able: list[Candidate], group: Group, kept: Kept) -> list[Candidate]:
    """The candidates without a row, in order; first the reference, where others are still to be held
    against an answer of which only the row is left."""
    rows = {one: kept.row(group.subject.name, group.frame, one.name) for one in able}
    left = [one for one, row in rows.items() if row is None]
    if left and group.reference_answer() is None:
        lost = [one for one, row in rows.items() if row is not None and row.get("reference")]
        return lost + left
    return left


def _soak(
    rows: list[Figures], able: list[Candidate], subjects: list[Subject], scope: Scope, say: Say
) -> Figures:
    """The fastest engine that was right, on the first network and frame."""
    mine = [row for row in ran(rows) if equal(row)]
    mine = [row for row in mine if (row["network"], row["frame"]) == (mine[0]["network"], mine[0]["frame"])]
    if not mine or not scope.soak_minutes:
        return {"outcome": "not run", "words": "no minutes were given" if mine else "no engine ran"}
    best = max(mine, key=lambda row: float(row["mpx_per_s"]))
    candidate = next(one for one in able if one.name == best["engine_name"])
    package = next(one for one in subjects if one.name == best["network"]).runs(candidate)
    assert package is not None  # it ran
    say(f"last: soak of {scope.soak_minutes:g} minutes, {candidate.name}")
    frame = best["frame"][0], best["frame"][1]
    trial = Trial(candidate, str(package.path), frame, 60 * scope.soak_minutes, scope.memory_mb)
    named = {"engine_name": candidate.name, "network": best["network"], "frame": frame}
    return {**named, **run_trial(replace(trial, kind="soak"))}


def machine_facts() -> Figures:
    """What is measured: processor, cores, memory, system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    system, python = f"{platform.system()} {platform.machine()}", platform.python_version()
    return {"device": cpu_name(), "cores": os.cpu_count(), "memory_gib": round(memory / 2**30, 1),
            "system": system, "python": python}  # fmt: skip
