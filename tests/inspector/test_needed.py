"""Tiles outside the zones are skipped, and nothing that anybody says of the frame changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pipeline import package

from inspector import pipeline as pipeline_module
from inspector.config import Recipe
from inspector.engine.fake import FakeEngine
from inspector.engine.segment import find_damage
from inspector.errors import ShapeMismatch
from inspector.needed import inspected_pixels, needed_tiles, reached_tiles
from inspector.pipeline import Pipeline
from inspector.tiling import Geometry, Tile, cheapest_plan, plan_tiles
from inspector.types import Frame, Image, ProbMap, VerdictWord
from inspector.zones import Area, Zones

GEOMETRY = Geometry(3)
SIZE = (90, 110)
PLAN = plan_tiles(SIZE, (16, 16), GEOMETRY)
Y, X = st.integers(-5, SIZE[0] + 5), st.integers(-5, SIZE[1] + 5)


class Counting(FakeEngine):
    """Remembers how many tiles it computed."""

    computed = 0

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        def counted() -> Iterable[Image]:
            for tile in tiles:
                self.computed += 1
                yield tile

        super().run(counted(), deliver)


def engine() -> Counting:
    return Counting(2, GEOMETRY, PLAN.input)


def line(fake: FakeEngine, *zones: dict[str, object], **recipe: object) -> Pipeline:
    return Pipeline(package(), fake, PLAN, Recipe.model_validate({"zones": zones, **recipe}))


def zone(name: str, y0: float, x0: float, y1: float, x1: float, kind: str = "include") -> dict[str, object]:
    corners = [[max(0, y), max(0, x)] for y, x in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))]
    return {"name": name, "kind": kind, "polygon_px": corners}


def frame(image: Image) -> Frame:
    return Frame(1, image, time.time_ns(), time.monotonic_ns(), "cam")


def gray() -> Image:
    return np.full(SIZE, 128, np.uint8)


@st.composite
def polygons(draw: st.DrawFn) -> list[dict[str, object]]:
    """Up to four zones of three to five random corners, some of them outside the frame."""
    corner = st.tuples(st.floats(0, SIZE[0] + 20), st.floats(0, SIZE[1] + 20))
    made = draw(
        st.lists(
            st.tuples(st.sampled_from(["include", "exclude"]), st.lists(corner, min_size=3, max_size=5)),
            min_size=1,
            max_size=4,
        )
    )
    return [{"name": f"z{i}", "kind": kind, "polygon_px": corners} for i, (kind, corners) in enumerate(made)]


@st.composite
def damaged(draw: st.DrawFn) -> Image:
    """Dark and bright bars of any length, also broken ones and ones through many tiles."""
    image = gray()
    for _ in range(draw(st.integers(0, 6))):
        y, x = draw(st.integers(0, SIZE[0] - 1)), draw(st.integers(0, SIZE[1] - 1))
        height, width = draw(st.sampled_from([(1, 60), (50, 1), (3, 3), (1, 1), (2, 30), (70, 2)]))
        image[y : y + height, x : x + width] = draw(st.sampled_from([0, 255]))
    for _ in range(draw(st.integers(0, 3))):  # gaps, for join_gap_px
        x = draw(st.integers(0, SIZE[1] - 3))
        image[:, x : x + draw(st.integers(1, 3))] = 128
    return image


@settings(max_examples=300, deadline=None)
@given(polygons(), damaged(), st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0]))
def test_verdict_and_defects_are_those_of_the_full_computation(
    zones: list[dict[str, object]], image: Image, gap: int, least: float
) -> None:
    rule = {"class": "scratch", "measure": "length_px", "review_above": 5, "reject_above": 20}
    fake = engine()
    judged = line(fake, *zones, join_gap_px=gap, min_coverage=least, rules=[rule])
    said = judged.inspect(frame(image))
    full = judged.judge(frame(image), find_damage(image, PLAN, engine(), (0.5, 0.5)))
    assert said.verdict == full.verdict
    assert said.defects == full.defects
    assert fake.computed <= len(PLAN.tiles)
    areas = Recipe.model_validate({"zones": zones}).areas
    assert said.coverage == Zones(SIZE, areas).coverage()  # the included area is inspected in full


def test_tiles_outside_the_zones_are_not_computed_and_are_zero() -> None:
    image, fake = gray(), engine()
    image[60:70, 80:90] = 0
    judged = line(fake, zone("face", 0, 0, 30, 30))
    said = judged.inspect(frame(image))
    assert (fake.computed, len(PLAN.tiles)) == (4, 42)
    assert (said.verdict.word, said.coverage, said.defects) == (VerdictWord.PASS, 1.0, ())
    assert said.mask is not None and not said.mask.any()
    assert not judged.segment(frame(image)).mask[32:].any()


def test_a_defect_that_leaves_the_zone_is_followed_and_measured_whole() -> None:
    image, fake = gray(), engine()
    image[10:12, 20:100] = 0
    (defect,) = line(fake, zone("face", 0, 0, 30, 30)).inspect(frame(image)).defects
    assert defect.box == (10, 20, 12, 100)
    assert 4 < fake.computed < len(PLAN.tiles)


def test_a_gap_that_joins_is_followed_and_a_wider_one_is_not() -> None:
    image = gray()
    image[10:12, 20:32] = 0  # up to the edge of the last needed tile
    image[10:12, 35:60] = 0
    joined, apart = engine(), engine()
    face = zone("face", 0, 0, 30, 30)
    (defect,) = line(joined, face, join_gap_px=3).inspect(frame(image)).defects
    assert defect.box == (10, 20, 12, 60)
    (defect,) = line(apart, face, join_gap_px=2).inspect(frame(image)).defects
    assert defect.box == (10, 20, 12, 32)


def test_a_needed_tile_that_is_skipped_is_never_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    face = zone("face", 0, 0, 30, 30)
    assert line(engine(), face).inspect(frame(gray())).verdict.word is VerdictWord.PASS
    monkeypatch.setattr(pipeline_module, "needed_tiles", lambda *given: needed_tiles(*given)[:-1])
    said = line(engine(), face).inspect(frame(gray()))
    assert said.verdict.word is VerdictWord.UNINSPECTED
    assert said.verdict.reasons[0].code == "coverage" and said.coverage < 1.0


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_zones_that_leave_nothing_are_uninspected_whatever_the_limit(least: float) -> None:
    fake = engine()
    everything = zone("all", 0, 0, *SIZE, kind="exclude")
    said = line(fake, everything, min_coverage=least).inspect(frame(gray()))
    assert fake.computed == 0
    assert said.verdict.word is VerdictWord.UNINSPECTED
    assert (said.verdict.reasons[0].code, said.coverage) == ("coverage", 0.0)


def test_an_engine_that_leaves_out_a_needed_tile_is_uninspected() -> None:
    fake = FakeEngine(2, GEOMETRY, PLAN.input, missing_runs={1})
    said = line(fake, zone("face", 0, 0, 30, 30)).inspect(frame(gray()))
    assert (said.verdict.word, said.verdict.reasons[0].code) == (VerdictWord.UNINSPECTED, "engine")


def test_needed_tiles_own_every_counted_pixel_and_no_other_tile_owns_one() -> None:
    zones = Zones(
        SIZE, (Area("a", ((3, 5), (70, 20), (40, 100))), Area("b", ((0, 0), (50, 0), (9, 60)), True))
    )
    tiles = needed_tiles(PLAN, zones.counted)
    assert 0 < len(tiles) < len(PLAN.tiles)
    assert not (zones.counted & ~inspected_pixels(PLAN, tiles)).any()
    for tile in set(PLAN.tiles) - set(tiles):
        assert not (zones.counted & inspected_pixels(PLAN, [tile])).any()
    with pytest.raises(ShapeMismatch, match="plan for"):
        needed_tiles(PLAN, np.ones((3, 3), bool))


@pytest.mark.parametrize("corner", [(15, 15), (32, 32), (15, 32), (32, 15)])
def test_reach_goes_around_corners(corner: tuple[int, int]) -> None:
    mask = np.zeros(SIZE, np.uint8)
    tile = Tile(0, 16, 16, (16, 16, 32, 32))
    mask[corner] = 1
    assert reached_tiles(mask, [tile], 1) == (tile,)
    moved = np.roll(mask, [1 if c > 20 else -1 for c in corner], (0, 1))
    assert reached_tiles(moved, [tile], 1) == ()
    assert reached_tiles(moved, [tile], 2) == (tile,)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), st.integers(30, 260), st.integers(30, 260), st.data())
def test_the_cheapest_plan_counts_needed_tiles_as_they_are(
    depth: int, height: int, width: int, data: st.DataObject
) -> None:
    geometry = Geometry(depth)
    wanted = np.zeros((height, width), bool)
    y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    wanted[y : y + data.draw(st.integers(1, 90)), x : x + data.draw(st.integers(1, 90))] = True
    plan = cheapest_plan((height, width), geometry, None, wanted)
    whole = cheapest_plan((height, width), geometry)
    tile_px = plan.input[0] * plan.input[1]
    assert len(needed_tiles(plan, wanted)) * tile_px <= whole.input_px
    one = cheapest_plan((height, width), geometry, None, np.ones((height, width), bool))
    assert (one.out, one.input_px) == (whole.out, whole.input_px)


def test_a_small_zone_makes_small_tiles_and_the_map_must_fit() -> None:
    wanted = np.zeros((1080, 1920), bool)
    wanted[400:600, 800:1100] = True
    geometry = Geometry(4)
    plan = cheapest_plan(wanted.shape, geometry, None, wanted)
    cost = len(needed_tiles(plan, wanted)) * plan.input[0] * plan.input[1]
    assert cost < 0.25 * cheapest_plan(wanted.shape, geometry).input_px
    with pytest.raises(ShapeMismatch, match="does not fit a frame"):
        cheapest_plan((1080, 1921), geometry, None, wanted)
