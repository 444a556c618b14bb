import numpy as np
import pytest

from inspector.defects import mask_of
from inspector.engine.fake import FakeEngine
from inspector.engine.segment import find_damage, segment
from inspector.errors import EngineError, ShapeMismatch
from inspector.tiling import Geometry, plan_tiles, whole_plan

GEOMETRY = Geometry(3)
IMAGE = np.random.default_rng(0).integers(0, 256, (70, 90), np.uint8)
TILED = plan_tiles(IMAGE.shape, (32, 40), GEOMETRY)


def test_tiles_give_what_the_whole_frame_gives() -> None:
    whole = whole_plan(IMAGE.shape, GEOMETRY)
    expected = segment(IMAGE, whole, FakeEngine(2, GEOMETRY, whole.input))
    found = segment(IMAGE, TILED, FakeEngine(2, GEOMETRY, TILED.input))
    assert len(TILED.tiles) > 4
    assert np.array_equal(found, expected)
    assert np.array_equal(found[..., 0], np.clip(2 * (128 - IMAGE.astype(int)), 0, 255))


def test_damage_is_marked_tile_by_tile_as_the_whole_map_says() -> None:
    probs = segment(IMAGE, TILED, FakeEngine(2, GEOMETRY, TILED.input))
    found = find_damage(IMAGE, TILED, FakeEngine(2, GEOMETRY, TILED.input), (0.5, 0.8))
    mask = mask_of(probs, (0.5, 0.8))
    assert set(np.unique(mask)) == {0, 1, 2}
    assert np.array_equal(found.mask, mask)
    assert np.array_equal(found.certainty, np.choose(mask, [np.zeros_like(mask), *np.moveaxis(probs, 2, 0)]))


def test_a_frame_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeMismatch, match="planned"):
        segment(IMAGE[1:], TILED, FakeEngine(2, GEOMETRY, TILED.input))


def test_an_engine_that_fails_or_leaves_out_a_tile_is_an_error() -> None:
    engine = FakeEngine(2, GEOMETRY, TILED.input, fail_runs={1}, missing_runs={2})
    with pytest.raises(EngineError, match="told to"):
        segment(IMAGE, TILED, engine)
    with pytest.raises(EngineError, match="left out 1 of"):
        segment(IMAGE, TILED, engine)
    assert segment(IMAGE, TILED, engine).shape == (70, 90, 2)


def test_a_tile_delivered_twice_is_an_error() -> None:
    class Stutter(FakeEngine):
        def run(self, tiles, deliver):  # type: ignore[no-untyped-def]
            super().run(tiles, lambda _, probs: deliver(0, probs))

    with pytest.raises(EngineError, match="out of plan"):
        segment(IMAGE, TILED, Stutter(2, GEOMETRY, TILED.input))


def test_a_tile_of_another_size_than_planned_is_an_error() -> None:
    class Narrow(FakeEngine):
        def run(self, tiles, deliver):  # type: ignore[no-untyped-def]
            super().run(tiles, lambda index, probs: deliver(index, probs[:, :-1]))

    with pytest.raises(EngineError, match=r"delivered tile 0 of size \(32, 39\) out of plan"):
        find_damage(IMAGE, TILED, Narrow(2, GEOMETRY, TILED.input), (0.5, 0.8))


def test_probabilities_that_are_no_levels_are_an_error_not_a_clean_part() -> None:
    class Shares(FakeEngine):
        def run(self, tiles, deliver):  # type: ignore[no-untyped-def]
            super().run(tiles, lambda index, probs: deliver(index, probs / np.float32(255)))

    with pytest.raises(EngineError, match="float32"):
        segment(IMAGE, TILED, Shares(2, GEOMETRY, TILED.input))
