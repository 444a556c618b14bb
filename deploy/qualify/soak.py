"""One frame again and again: does the answer stay, and the speed, and the memory?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

from inspector.types import ProbMap

MOST_LEVELS = 1
"""A GPU may round a sum otherwise from run to run: by so many of 256 levels an answer may move."""


def soak(run: Callable[[], ProbMap], seconds: float) -> dict[str, Any]:
    """Run for so long, at least ten times, and compare each answer with the first.

    Returns frames, how many answers moved by more than MOST_LEVELS, the median and largest time of
    a frame in the first and in the last tenth, and the resident memory after the first tenth and
    at the end, with that of an engine's own process.
    """
    first = run().astype(np.int16)
    me = psutil.Process()
    processes = (me, *me.children(recursive=True))
    times: list[float] = []
    resident: list[int] = []
    wrong = 0
    began = time.perf_counter()
    while len(times) < 10 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        probs = run()
        times.append(time.perf_counter() - start)
        wrong += int(np.abs(probs - first).max()) > MOST_LEVELS
        resident.append(sum(_resident(one) for one in processes))
    tenth = max(1, len(times) // 10)
    return {
        "minutes": round((time.perf_counter() - began) / 60, 2),
        "frames": len(times),
        "wrong": wrong,
        "first_ms": _milliseconds(times[:tenth]),
        "last_ms": _milliseconds(times[-tenth:]),
        "rss_first_mb": round(resident[tenth - 1] / 1e6),
        "rss_last_mb": round(resident[-1] / 1e6),
    }


def _resident(process: psutil.Process) -> int:
    """Bytes; 0 where it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _milliseconds(times: list[float]) -> dict[str, float]:
    return {"p50": round(1000 * float(np.median(times)), 1), "max": round(1000 * max(times), 1)}
