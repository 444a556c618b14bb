"""The plan of a line, confirmed by a short measurement that is remembered for machine and package.

Whatever the measurement says, results stay the same: tiles equal the whole.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from inspector.config import ModelConfig
from inspector.engine.cache import cache_folder, write_whole
from inspector.engine.cpu import cpu_has_bf16, cpu_name, last_cache_bytes, openvino_version, usable_cores
from inspector.engine.open import compile_options
from inspector.engine.openvino import OpenVinoEngine
from inspector.engine.planner import candidate_plans, choose_plan, computed_tiles
from inspector.engine.rivals import BUSY_SHARE, Rivals
from inspector.errors import InspectionError
from inspector.package import ModelPackage
from inspector.tiling import TilePlan
from inspector.zones import Zones

_LOG = logging.getLogger(__name__)

BUDGET_S = 3.0
"""What all measurements together may take, give or take compiling for the last one."""
CLEARLY = 0.97
"""A later candidate is taken only when it needs at most this share of the time: below is noise."""
_EACH_S = 0.4
_WARM_S = 0.3
Stopwatch = Callable[[TilePlan], float]
"""Plan -> seconds a tile."""


def measured_plan(
    package: ModelPackage,
    frame: tuple[int, int],
    settings: ModelConfig,
    zones: Zones | None = None,
    stopwatch: Stopwatch | None = None,
) -> TilePlan:
    """What choose_plan gives, but in `auto` on the processor the fastest of the best few plans.

    They are measured once, which is announced and takes about 3 s, and remembered in the cache
    for this package, machine, OpenVINO, precision, hint, threads, memory limit, frame and zones.
    stopwatch: None: runs the engine. Raises what choose_plan raises; a failing engine is left to
    the opening of the engine, which says it better.
    """
    if settings.tile != "auto" or settings.engine not in ("auto", "openvino") or settings.precision == "fp16":
        return choose_plan(package, frame, settings, zones)
    candidates = candidate_plans(package, frame, settings, last_cache_bytes(), zones)
    if len(candidates) == 1:
        return candidates[0]
    key = _key(package, frame, settings, zones)
    place = _place(package, key)
    known = _remembered(place, key, candidates)
    if known is not None:
        return known
    _LOG.info(
        "Measuring how frames of %dx%d are best cut, once for this machine and package: about %.0f s.",
        *frame, BUDGET_S,
    )  # fmt: skip
    rivals = Rivals()
    try:
        seconds = _measure(candidates, stopwatch or _Runs(package, settings, key["precision"]).seconds)
    except InspectionError as error:
        _LOG.warning("Nothing could be measured (%s); the plan with the fewest pixels is taken.", error)
        return candidates[0]
    costs = [each * computed_tiles(plan, zones) for plan, each in zip(candidates, seconds, strict=True)]
    best = fastest(costs)
    _announce(candidates, costs, best)
    if (share := rivals.share()) >= BUSY_SHARE:
        _LOG.warning(
            "Other programs took %.0f %% of the processor meanwhile, so another plan may be faster; delete %s"
            " while the machine is quiet, and it is measured again.", 100 * share, place,
        )  # fmt: skip
    _remember(place, key, candidates, costs, best)
    return candidates[best]


def fastest(costs: Sequence[float]) -> int:
    """Index of the lowest cost; an earlier one wins over a later one that is only a little lower."""
    best = 0
    for index, cost in enumerate(costs):
        if cost < CLEARLY * costs[best]:
            best = index
    return best


class _Runs:
    """Opens each plan's engine, without proof since nothing is judged, and runs a tile of noise."""

    def __init__(self, package: ModelPackage, settings: ModelConfig, precision: str) -> None:
        self._package, self._settings, self._precision = package, settings, precision

    def seconds(self, plan: TilePlan) -> float:
        """Seconds a tile, as many under way as in the line."""
        options = compile_options(self._package, plan, self._precision, self._settings)
        engine = OpenVinoEngine(self._package, plan.input, options)
        colours = () if self._package.manifest.channels == 1 else (3,)
        tile = np.random.default_rng(0).integers(90, 160, plan.input + colours, np.uint8)

        def run(count: int) -> float:
            began = time.perf_counter()
            engine.run(itertools.repeat(tile, count), lambda _index, _probs: None)
            return (time.perf_counter() - began) / count

        try:
            first = run(1)
            if first > _WARM_S and options.at_once == 1:
                return first  # so long that warming up is a small part of it
            return run(max(2, options.at_once, min(len(plan.tiles), int(_EACH_S / first))))
        finally:
            engine.close()


def _measure(candidates: Sequence[TilePlan], stopwatch: Stopwatch) -> list[float]:
    """Seconds a tile of each candidate.

    Small tiles come first, since they are quickly measured; those that the budget does not reach
    are taken to cost as much a pixel as the largest that was measured.
    """
    began = time.monotonic()
    found: dict[tuple[int, int], float] = {}
    a_pixel = 0.0
    for plan in sorted(candidates, key=_tile_px):
        expected = a_pixel * _tile_px(plan)
        if found and time.monotonic() - began + 2 * expected > BUDGET_S:  # a first run warms up
            found[plan.out] = expected
            continue
        found[plan.out] = stopwatch(plan)
        a_pixel = found[plan.out] / _tile_px(plan)
    return [found[plan.out] for plan in candidates]


def _tile_px(plan: TilePlan) -> int:
    return plan.input[0] * plan.input[1]


def _key(
    package: ModelPackage, frame: tuple[int, int], settings: ModelConfig, zones: Zones | None
) -> dict[str, Any]:
    precision = settings.precision
    if precision == "auto":
        # What most likely serves; should bf16 fail its proof, the plan is still a legal one.
        precision = "int8" if package.in_8_bits else "bf16" if cpu_has_bf16() else "f32"
    areas = "" if zones is None or not zones.areas else hashlib.sha256(zones.counted.tobytes()).hexdigest()
    return {
        "package": package.id,
        "device": cpu_name(),
        "cores": usable_cores(),
        "openvino": openvino_version(),
        "precision": precision,
        "hint": settings.hint,
        "threads": settings.threads,
        "memory_mb": settings.memory_mb,
        "frame": list(frame),
        "zones": areas,
    }


def _place(package: ModelPackage, key: dict[str, Any]) -> Path:
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / "plans" / package.id[:16] / f"{name}.json"


def _remembered(place: Path, key: dict[str, Any], candidates: Sequence[TilePlan]) -> TilePlan | None:
    """What was measured for this very key, if it is still one of the candidates."""
    try:
        kept = json.loads(place.read_bytes())
        tile = tuple(kept["tile"]) if kept["key"] == key else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _LOG.warning("The plan in %s cannot be read (%s); it is measured again.", place, type(error).__name__)
        return None
    return next((plan for plan in candidates if plan.input == tile), None)


def _announce(candidates: Sequence[TilePlan], costs: Sequence[float], best: int) -> None:
    words = [
        f"{len(plan.tiles)} of {plan.input[0]}x{plan.input[1]}: {1000 * cost:.0f} ms"
        for plan, cost in zip(candidates, costs, strict=True)
    ]
    _LOG.info("Tiles a frame: %s; taken: %s.", ", ".join(words), words[best].split(":")[0])


def _remember(
    place: Path, key: dict[str, Any], candidates: Sequence[TilePlan], costs: Sequence[float], best: int
) -> None:
    """A cache that cannot be written is no fault; the next start measures again."""
    tried = [
        {"tile": plan.input, "tiles": len(plan.tiles), "ms": round(1000 * cost, 2)}
        for plan, cost in zip(candidates, costs, strict=True)
    ]
    fields = {
        "key": key,
        "tile": candidates[best].input,
        "measured": tried,
        "made_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, (json.dumps(fields, indent=2) + "\n").encode())
    except OSError as error:
        _LOG.warning("The plan cannot be remembered in %s (%s).", place.parent, error.strerror)
