"""What other programs take of the processor while something is measured: its figure is too slow then."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil

BUSY_SHARE = 0.1
"""From this share of the processor on, what was measured is worth a warning."""
ONLINE = Path("/sys/devices/system/cpu/online")
"""Where Linux says which cores are switched on, such as `0,2-3`."""
_BUSY_TIMES = ("user", "nice", "system", "irq", "softirq", "steal")


class Rivals:
    """Watches the cores that this process may use, from its making on."""

    def __init__(self) -> None:
        self._began, self._others_s = time.monotonic(), _others_s()

    def share(self) -> float:
        """Share of the time of these cores that went to other programs since then, 0 to 1.

        0 also where the system does not tell. Its clock ticks 100 times a second: a span below
        0.2 s says little.
        """
        now_s = _others_s()
        if self._others_s is None or now_s is None:
            return 0.0
        spent_s = now_s - self._others_s
        most_s = (time.monotonic() - self._began) * len(_cores())
        return min(1.0, max(0.0, spent_s / most_s)) if most_s > 0 else 0.0


def _cores() -> list[int]:
    count = os.cpu_count() or 1
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(count))


def _others_s() -> float | None:
    """Seconds that these cores have worked for other programs; None where the system does not tell."""
    try:
        return _busy_s() - _own_s()
    except (OSError, psutil.Error):
        return None


def _busy_s() -> float:
    """Seconds that these cores have worked, for whomever."""
    times = psutil.cpu_times(percpu=True)
    # Cores that are switched off are left out of the list, so that places in it are no numbers of cores.
    numbered = dict(zip(_online(len(times)), times, strict=True))
    return sum(
        getattr(numbered[core], name, 0.0) for core in _cores() if core in numbered for name in _BUSY_TIMES
    )


def _online(count: int) -> list[int]:
    """Numbers of the `count` cores that are switched on, in order; the first ones where nobody tells."""
    found: list[int] = []
    try:
        for span in ONLINE.read_text().strip().split(","):
            first, _, last = span.partition("-")
            found += range(int(first), int(last or first) + 1)
    except (OSError, ValueError):
        found = []
    return found if len(found) == count else list(range(count))


def _own_s() -> float:
    """Seconds of this process and its children, such as one that serves a GPU."""
    me = psutil.Process()
    mine = me.cpu_times()
    total: float = mine.user + mine.system + mine.children_user + mine.children_system
    for child in me.children(recursive=True):
        try:
            theirs = child.cpu_times()
        except psutil.Error:  # it has ended meanwhile, and counts among the children that were waited for
            continue
        total += theirs.user + theirs.system
    return total
