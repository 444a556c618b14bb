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
from dataclasses import dataclass
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
AGAIN = "inspector plan --again"
"""The command that measures anew what is remembered."""
_BATCH_S = 0.15
_EACH_S = 0.5
_WARM_S = 0.3
Stopwatch = Callable[[TilePlan], float]
"""Plan -> seconds a tile."""


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """What was measured of the plan that serves, and how much that can be trusted."""

    tile: tuple[int, int]
    """Input of a tile as (height, width)."""
    frame_ms: float
    """What the engine takes for a frame."""
    others: float
    """Share of the processor that other programs took meanwhile, 0 to 1."""
    made_utc: str

    @property
    def doubt(self) -> str | None:
        """One clause and its remedy where the machine was busy; None for a plan to be trusted."""
        if self.others < BUSY_SHARE:
            return None
        return (
            f"other programs took {self.others:.0%} of the processor while the tiles were measured, so others"
            f" may be faster; measure them again with `{AGAIN}` while the machine is quiet"
        )


def measured_plan(
    package: ModelPackage,
    frame: tuple[int, int],
    settings: ModelConfig,
    zones: Zones | None = None,
    stopwatch: Stopwatch | None = None,
    again: bool = False,
) -> TilePlan:
    """What choose_plan gives, but in `auto` on the processor the fastest of the best few plans.

    They are measured once, which is announced and takes about 3 s, and remembered in the cache
    for this package, machine, OpenVINO, precision, hint, threads, memory limit, frame and zones.
    stopwatch: None: runs the engine. again: measure also what is remembered. Raises what choose_plan
    raises; a failing engine is left to the opening of the engine, which says it better.
    """
    if not _is_measured(settings):
        return choose_plan(package, frame, settings, zones)
    candidates = candidate_plans(package, frame, settings, last_cache_bytes(), zones)
    if len(candidates) == 1:
        return candidates[0]
    key = _key(package, frame, settings, zones)
    place = _place(package, key)
    known = None if again else _remembered(place, key, candidates)
    if known is not None:
        return known
    _LOG.info(
        "Measuring how frames of %dx%d are best cut, once for this machine and package: about %.0f s.",
        *frame, BUDGET_S,
    )  # fmt: skip
    return _chosen(
        place, key, candidates, stopwatch or _Runs(package, settings, key["precision"]).seconds, zones
    )


def kept_plan(
    package: ModelPackage, frame: tuple[int, int], settings: ModelConfig, zones: Zones | None = None
) -> KeptPlan | None:
    """What measured_plan remembers of this line; None where it measured nothing."""
    if not _is_measured(settings):
        return None
    key = _key(package, frame, settings, zones)
    try:
        kept = json.loads(_place(package, key).read_bytes())
        one = next(one for one in kept["measured"] if one["tile"] == kept["tile"] and kept["key"] == key)
        tile = (int(kept["tile"][0]), int(kept["tile"][1]))
        return KeptPlan(tile, float(one["ms"]), float(kept.get("others_share", 0.0)), str(kept["made_utc"]))
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None  # measured_plan says what is wrong with it


def _is_measured(settings: ModelConfig) -> bool:
    return (
        settings.tile == "auto" and settings.engine in ("auto", "openvino") and settings.precision != "fp16"
    )


def _chosen(
    place: Path,
    key: dict[str, Any],
    candidates: Sequence[TilePlan],
    stopwatch: Stopwatch,
    zones: Zones | None,
) -> TilePlan:
    """The fastest candidate by measurement, said and remembered with what other programs took."""
    rivals = Rivals()
    try:
        seconds = _measure(candidates, stopwatch)
    except InspectionError as error:
        _LOG.warning("Nothing could be measured (%s); the plan with the fewest pixels is taken.", error)
        return candidates[0]
    costs = [each * computed_tiles(plan, zones) for plan, each in zip(candidates, seconds, strict=True)]
    best, others = fastest(costs), rivals.share()
    _announce(candidates, costs, best)
    kept = KeptPlan(
        candidates[best].input, round(1000 * costs[best], 2), round(others, 3),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
    if kept.doubt is not None:
        _LOG.warning("%s.", kept.doubt[:1].upper() + kept.doubt[1:])
    _remember(place, key, kept, list(zip(candidates, costs, strict=True)))
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
            return time.perf_counter() - began

        try:
            first = run(1)
            if first > _WARM_S and options.at_once == 1:
                return first  # so long that warming up is a small part of it
            count = max(options.at_once, min(len(plan.tiles), int(_BATCH_S / first)), 1)
            batches: list[float] = []
            while sum(batches) < _EACH_S:
                batches.append(run(count))
            return min(batches) / count  # other programs can only make a batch slower
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
    place: Path, key: dict[str, Any], kept: KeptPlan, measured: Sequence[tuple[TilePlan, float]]
) -> None:
    """A cache that cannot be written is no fault; the next start measures again."""
    tried = [
        {"tile": plan.input, "tiles": len(plan.tiles), "ms": round(1000 * cost, 2)} for plan, cost in measured
    ]
    fields = {
        "key": key,
        "tile": kept.tile,
        "measured": tried,
        "others_share": kept.others,
        "made_utc": kept.made_utc,
    }
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, (json.dumps(fields, indent=2) + "\n").encode())
    except OSError as error:
        _LOG.warning("The plan cannot be remembered in %s (%s).", place.parent, error.strerror)
