"""The facts of the overlap-tile geometry, each one a test."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.errors import MemoryLimitError, ShapeMismatch, UsageError
from inspector.tiling import (
    Geometry,
    TilePlan,
    cheapest_plan,
    cut_tile,
    mirror_indices,
    paste_tile,
    plan_tiles,
    whole_plan,
)

PAPER = Geometry(5)
untimed = settings(deadline=None)


@pytest.mark.parametrize(
    ("depth", "halo", "grid"), [(2, 8, 2), (3, 20, 4), (4, 44, 8), (5, 92, 16), (6, 188, 32)]
)
def test_halo_and_grid_of_each_depth(depth: int, halo: int, grid: int):
    assert (Geometry(depth).halo, Geometry(depth).grid) == (halo, grid)


def walk(size: int, depth: int) -> int | None:
    """What the layers themselves make of an input: two valid convolutions a level, even pooling."""
    for _ in range(depth - 1):
        size -= 4
        if size < 2 or size % 2:
            return None
        size //= 2
    size -= 4
    for _ in range(depth - 1):
        size = 2 * size - 4
    return size if size > 0 else None


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6])
def test_legal_inputs_are_those_that_the_layers_take(depth: int):
    geometry = Geometry(depth)
    for size in range(1, 700):
        expected = walk(size, depth)
        if expected is None:
            with pytest.raises(ShapeMismatch):
                geometry.output(size)
        else:
            assert geometry.output(size) == expected == size - 2 * geometry.halo


@pytest.mark.parametrize(("depth", "factor", "rest"), [(3, 4, 0), (4, 8, 4), (5, 16, 12)])
def test_legal_inputs_have_the_form_of_the_design(depth: int, factor: int, rest: int):
    geometry = Geometry(depth)
    assert all(geometry.input(geometry.output_at_least(n)) % factor == rest for n in range(1, 200))


def test_the_papers_tile():
    assert PAPER.output(572) == 388
    assert PAPER.input(388) == 572
    tiles = plan_tiles((1000, 388), (388, 388), PAPER).tiles
    assert [tile.y for tile in tiles] == [0, 384, 624]


def test_an_illegal_size_names_the_nearest_legal_ones():
    with pytest.raises(ShapeMismatch, match=r"570.*depth 5.*556 or 572"):
        PAPER.output(570)
    with pytest.raises(ShapeMismatch, match="188 at least"):
        PAPER.output(10)


@pytest.mark.parametrize("depth", [1, 7])
def test_depths_without_geometry_are_refused(depth: int):
    with pytest.raises(UsageError, match=f"depth {depth}"):
        Geometry(depth)


@untimed
@given(st.integers(2, 6), st.integers(1, 2000))
def test_output_at_least_is_the_smallest_legal_one(depth: int, n: int):
    geometry = Geometry(depth)
    out = geometry.output_at_least(n)
    assert out >= n and geometry.output(geometry.input(out)) == out
    below = out - geometry.grid
    assert below < n or below < 1


@st.composite
def plans(draw: st.DrawFn) -> TilePlan:
    geometry = Geometry(draw(st.integers(2, 5)))
    frame = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    least = st.integers(geometry.grid, 180).map(geometry.output_at_least)
    return plan_tiles(frame, (draw(least), draw(least)), geometry)


@untimed
@given(plans())
def test_origins_lie_on_the_grid_and_hang_over_by_less_than_it(plan: TilePlan):
    grid = plan.geometry.grid
    for axis in (0, 1):
        size, out = plan.frame[axis], plan.out[axis]
        step = out // grid * grid
        origins = sorted({(tile.y, tile.x)[axis] for tile in plan.tiles})
        assert origins[:-1] == [step * i for i in range(len(origins) - 1)]
        last = origins[-1]
        assert last % grid == 0
        if size <= out:
            assert origins == [0]
        else:
            assert size - out <= last < size - out + grid


@untimed
@given(plans())
def test_the_earlier_tile_owns_what_two_share(plan: TilePlan):
    owner = np.full(plan.frame, -1)
    for tile in plan.tiles:
        window = owner[tile.y : tile.y + plan.out[0], tile.x : tile.x + plan.out[1]]
        window[window < 0] = tile.index
    for tile in plan.tiles:
        y0, x0, y1, x1 = tile.owns
        assert y1 > y0 and x1 > x0
        assert (owner[y0:y1, x0:x1] == tile.index).all()
        assert np.count_nonzero(owner == tile.index) == (y1 - y0) * (x1 - x0)


def mirrored(position: int, n: int) -> int:
    """Walks on the line of n pixels and turns round at each end."""
    at, direction = 0, 1
    for _ in range(abs(position)):
        if n == 1:
            return 0
        if not 0 <= at + direction < n:
            direction = -direction
        at += direction
    return at


@untimed
@given(st.integers(-60, 0), st.integers(1, 60), st.integers(1, 40))
def test_the_mirror_turns_at_every_edge(start: int, stop: int, n: int):
    # Reflect-101 is symmetric about pixel 0, so a walk to the right covers the left as well.
    assert mirror_indices(start, stop, n).tolist() == [mirrored(i, n) for i in range(start, stop)]


def test_the_mirror_of_one_pixel_is_constant_and_of_none_an_error():
    assert mirror_indices(-5, 5, 1).tolist() == [0] * 10
    with pytest.raises(ShapeMismatch):
        mirror_indices(0, 3, 0)


def test_the_edge_pixel_is_not_repeated():
    assert mirror_indices(-3, 7, 4).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]


def picture(frame: tuple[int, int], channels: int, seed: int = 0) -> np.ndarray:
    shape = frame if channels == 1 else (*frame, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@untimed
@given(plans(), st.sampled_from([1, 3]))
def test_tiles_are_cut_from_one_mirrored_plane(plan: TilePlan, channels: int):
    image, halo = picture(plan.frame, channels), plan.geometry.halo
    into = np.full(plan.input + image.shape[2:], 7, np.uint8)
    for tile in plan.tiles:
        rows = mirror_indices(tile.y - halo, tile.y - halo + plan.input[0], plan.frame[0])
        columns = mirror_indices(tile.x - halo, tile.x - halo + plan.input[1], plan.frame[1])
        cut = cut_tile(image, plan, tile, into)
        assert cut is into
        np.testing.assert_array_equal(cut, image[rows][:, columns])


@untimed
@given(plans(), st.sampled_from([1, 3]))
def test_an_identity_network_gives_the_frame_back(plan: TilePlan, channels: int):
    image, halo = picture(plan.frame, channels), plan.geometry.halo
    onto = np.zeros_like(image)
    for tile in plan.tiles:
        paste_tile(cut_tile(image, plan, tile)[halo:-halo, halo:-halo], plan, tile, onto)
    np.testing.assert_array_equal(onto, image)


def test_whole_is_one_tile_that_covers_the_frame():
    plan = whole_plan((1080, 1920), Geometry(4))
    assert len(plan.tiles) == 1 and plan.tiles[0].owns == (0, 0, 1080, 1920)
    assert plan.out == (1084, 1924) and plan.input == (1172, 2012) and plan.input_px == 1172 * 2012


def every_plan(frame: tuple[int, int], geometry: Geometry) -> list[TilePlan]:
    def outs(n: int) -> list[int]:
        whole = geometry.output_at_least(n)
        low = geometry.output_at_least(geometry.grid)
        return list(range(low, whole + 1, geometry.grid)) or [whole]

    return [plan_tiles(frame, (h, w), geometry) for h in outs(frame[0]) for w in outs(frame[1])]


@pytest.mark.parametrize("frame", [(1, 1), (50, 90), (111, 37), (97, 96)])
@pytest.mark.parametrize("limit_px", [None, 4000, 6000, 10000, 14000])
def test_no_legal_plan_within_the_limit_is_cheaper(frame: tuple[int, int], limit_px: int | None):
    geometry = Geometry(3)
    allowed = [
        plan
        for plan in every_plan(frame, geometry)
        if limit_px is None or plan.input[0] * plan.input[1] <= limit_px
    ]
    plan = cheapest_plan(frame, geometry, limit_px)
    assert plan.input_px == min(other.input_px for other in allowed)
    assert limit_px is None or plan.input[0] * plan.input[1] <= limit_px


def test_the_cheapest_tile_may_be_rectangular():
    plan = cheapest_plan((1080, 1920), Geometry(4), 1_500_000)
    assert plan.out[0] != plan.out[1] and len(plan.tiles) == 2


def test_without_a_limit_the_whole_frame_is_cheapest():
    assert cheapest_plan((721, 1283), PAPER) == whole_plan((721, 1283), PAPER)


def test_a_limit_below_the_smallest_tile_is_refused_by_name():
    with pytest.raises(MemoryLimitError, match=r"204x204 pixels.*limit of 1000 "):
        cheapest_plan((1080, 1920), PAPER, 1000)


def test_sizes_that_do_not_fit_are_named():
    plan = plan_tiles((50, 60), (20, 20), Geometry(3))
    tile, image = plan.tiles[0], picture((50, 60), 1)
    with pytest.raises(ShapeMismatch, match=r"\(50, 61\)"):
        cut_tile(picture((50, 61), 1), plan, tile)
    with pytest.raises(ShapeMismatch, match="buffer"):
        cut_tile(image, plan, tile, np.empty((60, 61), np.uint8))
    with pytest.raises(ShapeMismatch, match="tile"):
        paste_tile(np.zeros((20, 21), np.uint8), plan, tile, np.zeros((50, 60), np.uint8))
    with pytest.raises(ShapeMismatch, match="0x60"):
        plan_tiles((0, 60), (20, 20), Geometry(3))
    with pytest.raises(ShapeMismatch, match="grid of 16; use 20"):
        plan_tiles((50, 60), (4, 4), PAPER)


def test_a_tile_smaller_than_the_grid_may_cover_a_tiny_frame():
    assert len(plan_tiles((3, 4), (4, 4), PAPER).tiles) == 1
