"""The simulator's own account of what it emitted, as the audit reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from inspector.errors import UsageError


@dataclass(frozen=True, slots=True)
class SimLog:
    """What one simulated line did: entry k - 1 belongs to the k-th frame that it handed over."""

    emitted: tuple[int, ...]
    """When each frame was emitted, UTC in nanoseconds."""
    lost_before: tuple[int, ...]
    """How many frames the simulator lost just before it."""


def read_sim_log(path: Path) -> SimLog:
    """The last run in the file (a log goes on over several runs; each begins at frame 1).

    A last line that a kill tore apart is left out: its frame was not handed over yet.
    Raises UsageError when the file is missing or no log of the simulator.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(
            f"The simulator's log {path} cannot be read ({error.strerror}); check the path."
        ) from error
    emitted: list[int] = []
    lost_before: list[int] = []
    before, lost = 0, 0
    for at, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            number, event, utc_ns = int(entry["seq"]), str(entry["event"]), int(entry["utc_ns"])
        except (ValueError, KeyError, TypeError) as error:
            if at == len(lines):
                break
            raise UsageError(
                f"Line {at} of {path} is no line of a simulator's log; name another file."
            ) from error
        if number <= before:
            emitted, lost_before, lost = [], [], 0
        before = number
        if event == "lost":
            lost += 1
            continue
        emitted.append(utc_ns)
        lost_before.append(lost)
        lost = 0
    return SimLog(tuple(emitted), tuple(lost_before))
