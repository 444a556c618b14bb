"""Frames again and again: do the answers stay, and the speed, and the memory?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import psutil

from inspector.engine.rivals import Rivals
from inspector.types import ProbMap

MOST_LEVELS = 1
"""A GPU may round a sum otherwise from run to run: by so many of 256 levels an answer may move."""


def soak(runs: Sequence[Callable[[], ProbMap]], seconds: float) -> dict[str, Any]:
    """Run each in turn for so long, at least ten frames, and compare each answer with its own first one.

    runs: one for each frame, at least two whose answers differ, so that an engine which hands out an old
    answer is found out. Returns frames, how many answers moved by more than MOST_LEVELS, whether the first
    answers differ, the median and largest time of a frame in the first and in the last tenth, the share of
    the processor that other programs took, and the resident memory after the first tenth and at the end,
    with that of an engine's own process.
    """
    first = [np.array(run()) for run in runs]
    me = psutil.Process()
    processes = (me, *me.children(recursive=True))
    times: list[float] = []
    resident: list[int] = []
    wrong = 0
    rivals, began = Rivals(), time.perf_counter()
    while len(times) < 10 or time.perf_counter() - began < seconds:
        turn = len(times) % len(runs)
        start = time.perf_counter()
        probs = runs[turn]()
        times.append(time.perf_counter() - start)
        wrong += _moved(probs, first[turn])
        resident.append(sum(_resident(one) for one in processes))
    tenth = max(1, len(times) // 10)
    return {
        "minutes": round((time.perf_counter() - began) / 60, 2),
        "frames": len(times),
        "wrong": wrong,
        "answers_differ": any(_moved(one, first[0]) for one in first[1:]),
        "first_ms": _milliseconds(times[:tenth]),
        "last_ms": _milliseconds(times[-tenth:]),
        "others_share": round(rivals.share(), 3),
        "rss_first_mb": round(resident[tenth - 1] / 1e6),
        "rss_last_mb": round(resident[-1] / 1e6),
    }


def _moved(probs: ProbMap, first: ProbMap) -> bool:
    return int(np.abs(np.subtract(probs, first, dtype=np.int16)).max()) > MOST_LEVELS


def _resident(process: psutil.Process) -> int:
    """Bytes; 0 where it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _milliseconds(times: list[float]) -> dict[str, float]:
    return {"p50": round(1000 * float(np.median(times)), 1), "max": round(1000 * max(times), 1)}
