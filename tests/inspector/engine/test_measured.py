"""Candidate plans by cost, and the measurement that decides and is remembered."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inspector.config import ModelConfig
from inspector.engine import measured
from inspector.engine.measured import fastest, kept_plan, measured_plan
from inspector.engine.memory import MB, MemoryModel
from inspector.engine.open import open_engine
from inspector.engine.planner import (
    candidate_plans,
    choose_plan,
    computed_tiles,
    estimated_cost,
    tiles_at_once,
)
from inspector.engine.segment import segment
from inspector.package import ModelPackage
from inspector.tiling import TilePlan, plan_tiles
from inspector.zones import Area, Zones

FRAME = (700, 900)
F32 = ModelConfig(precision="f32")
SMALL_CACHE = 1 << 20


@pytest.fixture(autouse=True)
def small_cache(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "last_cache_bytes", lambda: SMALL_CACHE)


class Watch:
    """A stopwatch that says what it was told, by the tiles of the plan, and counts."""

    def __init__(self, seconds: Callable[[TilePlan], float]) -> None:
        self.asked: list[TilePlan] = []
        self._seconds = seconds

    def __call__(self, plan: TilePlan) -> float:
        self.asked.append(plan)
        return self._seconds(plan)


def small_is_fast(plan: TilePlan) -> float:
    """Seconds a tile, such that more tiles a frame are faster."""
    return 1.0 / len(plan.tiles) ** 2


def test_candidates_are_legal_few_within_memory_and_begin_with_the_fewest_pixels(
    tiny_package: ModelPackage,
) -> None:
    settings = ModelConfig(memory_mb=600, precision="f32")
    plans = candidate_plans(tiny_package, FRAME, settings, SMALL_CACHE)
    assert plans[0] == choose_plan(tiny_package, FRAME, settings)
    assert 2 <= len(plans) <= 4 and len({plan.out for plan in plans}) == len(plans)
    model = MemoryModel(tiny_package, "f32")
    for plan in plans:
        assert plan == plan_tiles(FRAME, plan.out, tiny_package.geometry)
        assert model.resident_bytes(FRAME, plan.input) <= 600 * MB


def test_a_frame_that_fits_the_cache_needs_no_measurement(tiny_package: ModelPackage) -> None:
    assert len(candidate_plans(tiny_package, FRAME, F32, 1 << 40)) == 1
    watch = Watch(small_is_fast)
    measured_plan(tiny_package, (40, 50), F32, stopwatch=watch)
    assert not watch.asked


def test_cost_weighs_halo_against_cache(tiny_package: ModelPackage) -> None:
    model = MemoryModel(tiny_package, "f32")
    whole = choose_plan(tiny_package, FRAME, F32)
    tiles = plan_tiles(FRAME, (100, 100), tiny_package.geometry)
    assert estimated_cost(whole, 1, model, 1 << 40) < estimated_cost(tiles, len(tiles.tiles), model, 1 << 40)
    assert estimated_cost(whole, 1, model, SMALL_CACHE) > estimated_cost(whole, 1, model, 1 << 40)


def test_the_fastest_is_taken_said_and_remembered(
    tiny_package: ModelPackage, fresh_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "inspector")
    watch = Watch(small_is_fast)
    plan = measured_plan(tiny_package, FRAME, F32, stopwatch=watch)
    assert len(plan.tiles) == max(len(one.tiles) for one in watch.asked) > 1
    assert "Measuring" in caplog.text and "taken" in caplog.text
    caplog.clear()
    assert measured_plan(tiny_package, FRAME, F32, stopwatch=lambda _: pytest.fail("measured again")) == plan
    assert "Measuring" not in caplog.text
    (kept,) = fresh_cache.glob("plans/*/*.json")
    fields = json.loads(kept.read_text())
    assert fields["key"]["package"] == tiny_package.id and len(fields["measured"]) == len(watch.asked)


@pytest.mark.parametrize(
    "other", [{"precision": "bf16"}, {"hint": "throughput"}, {"threads": 1}, {"memory_mb": 3000}]
)
def test_other_settings_are_measured_for_themselves(
    other: dict[str, object], tiny_package: ModelPackage
) -> None:
    measured_plan(tiny_package, FRAME, F32, stopwatch=small_is_fast)
    watch = Watch(small_is_fast)
    measured_plan(tiny_package, FRAME, F32.model_copy(update=other), stopwatch=watch)
    assert watch.asked


def test_whole_wins_unless_another_is_clearly_faster(tiny_package: ModelPackage) -> None:
    plan = measured_plan(tiny_package, FRAME, F32, stopwatch=lambda plan: 0.99 / computed_tiles(plan, None))
    assert plan == choose_plan(tiny_package, FRAME, F32)
    assert [fastest([10, 9.8, 9.6]), fastest([10, 9.8, 9.0]), fastest([10, 9, 8.9])] == [2, 2, 1]


def test_a_damaged_memory_is_measured_again(
    tiny_package: ModelPackage, fresh_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = measured_plan(tiny_package, FRAME, F32, stopwatch=small_is_fast)
    (kept,) = fresh_cache.glob("plans/*/*.json")
    good = json.loads(kept.read_text())
    for damage in ("{", "[]", "{}", json.dumps({**good, "tile": [61, 61]}), json.dumps({**good, "key": {}})):
        kept.write_text(damage)
        watch = Watch(small_is_fast)
        assert measured_plan(tiny_package, FRAME, F32, stopwatch=watch) == plan
        assert watch.asked
    assert "measured again" in caplog.text


def test_an_asked_tile_and_other_engines_are_not_measured(tiny_package: ModelPackage) -> None:
    for settings in (ModelConfig(tile="whole"), ModelConfig(tile="140x180"), ModelConfig(engine="fake")):
        watch = Watch(small_is_fast)
        assert measured_plan(tiny_package, FRAME, settings, stopwatch=watch) == choose_plan(
            tiny_package, FRAME, settings
        )
        assert not watch.asked


def test_what_the_budget_does_not_reach_is_taken_to_cost_as_much_a_pixel(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small tiles are measured first; with one rate for all, the fewest pixels win."""
    monkeypatch.setattr(measured, "BUDGET_S", 0.0)
    watch = Watch(lambda plan: plan.input[0] * plan.input[1] * 1e-6)
    plan = measured_plan(tiny_package, FRAME, F32, stopwatch=watch)
    candidates = candidate_plans(tiny_package, FRAME, F32, SMALL_CACHE)
    assert watch.asked == [min(candidates, key=lambda one: one.input[0] * one.input[1])]
    assert plan == candidates[0]


def test_only_tiles_that_the_zones_need_are_counted(tiny_package: ModelPackage) -> None:
    corner = Zones(FRAME, (Area("corner", ((0, 0), (0, 60), (60, 60), (60, 0)), False),))
    tiles = plan_tiles(FRAME, (100, 100), tiny_package.geometry)
    assert computed_tiles(tiles, corner) == 1 < computed_tiles(tiles, None)
    watch = Watch(small_is_fast)
    measured_plan(tiny_package, FRAME, F32, stopwatch=small_is_fast)
    measured_plan(tiny_package, FRAME, F32, corner, stopwatch=watch)
    assert len(watch.asked) != 0 or len(candidate_plans(tiny_package, FRAME, F32, SMALL_CACHE, corner)) == 1


def test_tiles_at_once_keep_within_cores_tiles_and_memory(tiny_package: ModelPackage) -> None:
    plan = plan_tiles(FRAME, (100, 100), tiny_package.geometry)
    several = ModelConfig(hint="throughput")
    assert tiles_at_once(tiny_package, plan, ModelConfig(), 8) == 1
    assert tiles_at_once(tiny_package, plan, several, 8) == 8
    assert tiles_at_once(tiny_package, plan, several, 800) == len(plan.tiles)
    assert tiles_at_once(tiny_package, plan, several.model_copy(update={"threads": 3}), 8) == 3
    fixed = MemoryModel(tiny_package, "f32").fixed_bytes(FRAME) / MB
    tight = several.model_copy(update={"memory_mb": int(fixed) + 4})
    assert 1 <= tiles_at_once(tiny_package, plan, tight, 8) < 8


def test_measured_for_real_whatever_is_taken_gives_the_same(tiny_package: ModelPackage) -> None:
    frame = (260, 300)
    image = np.random.default_rng(0).normal(128, 50, frame).clip(0, 255).astype(np.uint8)
    plan = measured_plan(tiny_package, frame, F32)
    whole = choose_plan(tiny_package, frame, ModelConfig(tile="whole"))
    found = [segment(image, one, open_engine(tiny_package, one, F32)) for one in (plan, whole)]
    assert np.abs(found[0].astype(int) - found[1]).max() <= 1


def test_a_plan_that_was_measured_on_a_busy_machine_says_so_until_it_is_measured_again(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was kept for good, and the only way to another was to delete a file."""
    monkeypatch.setattr(measured.Rivals, "share", lambda _: 0.4)
    few = measured_plan(tiny_package, FRAME, F32, stopwatch=lambda plan: 1.0 / computed_tiles(plan, None))
    said = "ther programs took 40% of the processor while the tiles were measured"
    kept = kept_plan(tiny_package, FRAME, F32)
    assert f"O{said}" in caplog.text and "`inspector plan --again`" in caplog.text
    assert kept is not None and (kept.doubt or "").startswith(f"o{said}")
    assert (kept.tile, kept.frame_ms, kept.others) == (few.input, 1000.0, 0.4)
    caplog.clear()
    monkeypatch.setattr(measured.Rivals, "share", lambda _: 0.09)
    many = measured_plan(tiny_package, FRAME, F32, stopwatch=Watch(small_is_fast), again=True)
    kept = kept_plan(tiny_package, FRAME, F32)
    assert many != few and kept is not None and kept.tile == many.input and kept.doubt is None
    assert measured_plan(tiny_package, FRAME, F32) == many and "ther programs" not in caplog.text


def test_what_was_not_measured_or_cannot_be_read_is_not_kept(
    tiny_package: ModelPackage, fresh_cache: Path
) -> None:
    assert kept_plan(tiny_package, FRAME, F32) is None
    measured_plan(tiny_package, FRAME, F32, stopwatch=small_is_fast)
    assert kept_plan(tiny_package, FRAME, F32) is not None
    assert kept_plan(tiny_package, FRAME, ModelConfig(tile="whole")) is None
    (place,) = fresh_cache.glob("plans/*/*.json")
    for damage in ("{", "[]", "{}"):
        place.write_text(damage)
        assert kept_plan(tiny_package, FRAME, F32) is None
