"""Pure geometry of overlap-tiles: legal sizes, origins, who owns which pixel, and the mirrored plane.

A valid U-Net turns an input into an output that is smaller by one halo on each side. Tile origins
lie on the pooling grid, so that every pixel sees the same network wherever its tile begins, and
tiled equals whole without blending.

Source: Ronneberger, Fischer, Brox 2015, figure 2 (overlap-tile strategy).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from inspector.errors import MemoryLimitError, ShapeMismatch, UsageError

Pixel = TypeVar("Pixel", bound=np.generic)
Part: TypeAlias = tuple[slice, "slice | NDArray[np.intp]"]
"""Where a run of pixels goes in the tile, and where it comes from in the frame."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of a valid U-Net of `depth` levels, two 3x3 convolutions a level, 2x2 pooling.

    Raises UsageError for a depth outside 2 to 6.
    """

    depth: int

    def __post_init__(self) -> None:
        if not 2 <= self.depth <= 6:
            raise UsageError(f"A network of depth {self.depth} has no geometry here; use 2 to 6 levels.")

    @property
    def halo(self) -> int:
        """Pixels of context that each side of an output needs: 20, 44, 92 for depth 3, 4, 5."""
        return 6 * self.grid - 4

    @property
    def grid(self) -> int:
        """Tile origins are multiples of this: 2^(depth - 1)."""
        return 1 << (self.depth - 1)

    def output(self, size: int) -> int:
        """Output size of an input of `size` pixels. Raises ShapeMismatch naming the nearest legal inputs."""
        out = size - 2 * self.halo
        if out < 1 or (out - self._first_output) % self.grid:
            above = self.input(self.output_at_least(out))
            below = above - self.grid
            legal = f"{below} or {above}" if below - 2 * self.halo >= 1 else f"{above} at least"
            raise ShapeMismatch(f"A tile of {size} pixels does not fit depth {self.depth}; use {legal}.")
        return out

    def output_at_least(self, n: int) -> int:
        """The smallest legal output >= n."""
        first = self._first_output
        return first + max(0, -(-(n - first) // self.grid)) * self.grid

    def input(self, out: int) -> int:
        """Input size for an output of `out` pixels."""
        return out + 2 * self.halo

    @property
    def _first_output(self) -> int:
        return min(4, self.grid)  # 4 = 2 * 4 - 4 is what one level up makes of 4


@dataclass(frozen=True, slots=True)
class Tile:
    """One output tile of a plan."""

    index: int
    y: int
    x: int
    """Origin of the output in the frame, multiples of the grid."""
    owns: tuple[int, int, int, int]
    """(y0, x0, y1, x1) half-open in the frame: what this tile alone writes. Together all pixels, once."""


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Which tiles make a frame. Every pixel of the frame is owned by exactly one tile."""

    frame: tuple[int, int]
    """(height, width) of the frame."""
    geometry: Geometry
    out: tuple[int, int]
    """(height, width) of one output tile."""
    tiles: tuple[Tile, ...]

    @property
    def input(self) -> tuple[int, int]:
        """(height, width) of one input tile."""
        return self.geometry.input(self.out[0]), self.geometry.input(self.out[1])

    @property
    def input_px(self) -> int:
        """Input pixels of all tiles together: what the engine has to compute on."""
        return len(self.tiles) * self.input[0] * self.input[1]


def plan_tiles(frame: tuple[int, int], out: tuple[int, int], geometry: Geometry) -> TilePlan:
    """The tiles of size `out` that cover `frame`, row by row; the earlier tile owns what two share.

    Raises ShapeMismatch for an empty frame, an illegal output size, or one that is smaller than
    the grid and so cannot step.
    """
    _check_frame(frame)
    for size in out:
        geometry.output(geometry.input(size))
    rows, columns = (_axis(n, size, geometry) for n, size in zip(frame, out, strict=True))
    spans = [(y, y0, y1, x, x0, x1) for y, y0, y1 in rows for x, x0, x1 in columns]
    tiles = tuple(Tile(i, y, x, (y0, x0, y1, x1)) for i, (y, y0, y1, x, x0, x1) in enumerate(spans))
    return TilePlan(frame, geometry, out, tiles)


def whole_plan(frame: tuple[int, int], geometry: Geometry) -> TilePlan:
    """One tile that covers the frame. Raises ShapeMismatch for an empty frame."""
    _check_frame(frame)
    return plan_tiles(
        frame, (geometry.output_at_least(frame[0]), geometry.output_at_least(frame[1])), geometry
    )


def cheapest_plan(
    frame: tuple[int, int],
    geometry: Geometry,
    max_input_px: int | None = None,
    wanted: NDArray[np.bool_] | None = None,
) -> TilePlan:
    """The plan with the fewest input pixels whose tile has at most max_input_px; tiles may be rectangular.

    wanted: bool (H, W), the pixels that must be inspected; only tiles that own one of them are
    computed and counted, all the others come at no cost. None: every pixel.
    Of equally cheap plans the one with fewer tiles. Raises MemoryLimitError naming the smallest
    tile when not even that one fits, ShapeMismatch for an empty frame or a map of another size.
    """
    _check_frame(frame)
    cells = None if wanted is None else _Cells(wanted, frame, geometry)
    rows, columns = _sizes(frame[0], geometry), _sizes(frame[1], geometry)
    best: tuple[int, int, tuple[int, int]] | None = None
    for out_h, n_y in rows:
        for out_w, n_x in columns:
            tile_px = geometry.input(out_h) * geometry.input(out_w)
            if max_input_px is not None and tile_px > max_input_px:
                continue
            tiles = n_y * n_x if cells is None else cells.tiles(out_h, out_w)
            candidate = (tiles * tile_px, tiles, (out_h, out_w))
            best = candidate if best is None else min(best, candidate)
    if best is None:
        smallest = geometry.input(rows[0][0]), geometry.input(columns[0][0])
        raise MemoryLimitError(
            f"The smallest tile of depth {geometry.depth}, {smallest[0]}x{smallest[1]} pixels, is over"
            f" the limit of {max_input_px} pixels a tile; raise the memory limit."
        )
    return plan_tiles(frame, best[2], geometry)


def mirror_indices(start: int, stop: int, n: int) -> NDArray[np.intp]:
    """Where the pixels start..stop of the mirrored plane lie in a line of n pixels.

    Reflect-101 (the edge pixel is not repeated, period 2(n - 1)), folded as often as needed;
    n = 1 is constant. Returns intp (stop - start,), values 0..n-1. Raises ShapeMismatch for n < 1.
    """
    if n < 1:
        raise ShapeMismatch(f"A picture of {n} pixels cannot be mirrored; give one with at least one pixel.")
    period = max(1, 2 * (n - 1))
    folded = np.arange(start, stop, dtype=np.intp) % period
    return np.minimum(folded, period - folded) if n > 1 else np.zeros_like(folded)


def cut_tile(
    image: NDArray[Pixel], plan: TilePlan, tile: Tile, into: NDArray[Pixel] | None = None
) -> NDArray[Pixel]:
    """The tile's input, cut from the mirrored plane of the frame.

    image: (H, W) or (H, W, channels) of any dtype, the size of plan.frame. into: reused when
    given, C-contiguous or not, of shape plan.input + channels. Returns `into` or a new array.
    Raises ShapeMismatch when image or into has another size.
    """
    shape = plan.input + image.shape[2:]
    if image.shape[:2] != plan.frame:
        raise ShapeMismatch(
            f"A picture of {image.shape[:2]} does not fit a plan for {plan.frame}; plan again."
        )
    if into is None:
        into = np.empty(shape, image.dtype)
    elif into.shape != shape:
        raise ShapeMismatch(
            f"A buffer of shape {into.shape} cannot hold a tile of {shape}; make one of that shape."
        )
    halo = plan.geometry.halo
    columns = _parts(tile.x - halo, shape[1], image.shape[1])
    for to_y, from_y in _parts(tile.y - halo, shape[0], image.shape[0]):
        for to_x, from_x in columns:
            rows = (
                from_y[:, None]
                if isinstance(from_x, np.ndarray) and isinstance(from_y, np.ndarray)
                else from_y
            )
            into[to_y, to_x] = image[rows, from_x]
    return into


def paste_tile(probs: NDArray[Pixel], plan: TilePlan, tile: Tile, onto: NDArray[Pixel]) -> None:
    """Write what the tile owns, and nothing else, into the frame's map.

    probs: (out_h, out_w, ...) of any dtype; onto: (H, W, ...) of plan.frame.
    Raises ShapeMismatch when either has another size.
    """
    if probs.shape[:2] != plan.out or onto.shape[:2] != plan.frame or probs.shape[2:] != onto.shape[2:]:
        raise ShapeMismatch(
            f"A tile of shape {probs.shape} and a map of shape {onto.shape} do not fit a plan of"
            f" {plan.out} tiles on {plan.frame}; the engine was compiled for another tile."
        )
    y0, x0, y1, x1 = tile.owns
    onto[y0:y1, x0:x1] = owned(probs, tile)


def owned(probs: NDArray[Pixel], tile: Tile) -> NDArray[Pixel]:
    """The part of the tile's output, (out_h, out_w, ...), that this tile alone writes; a view."""
    y0, x0, y1, x1 = tile.owns
    return probs[y0 - tile.y : y1 - tile.y, x0 - tile.x : x1 - tile.x]


def _check_frame(frame: tuple[int, int]) -> None:
    if min(frame) < 1:
        raise ShapeMismatch(f"A frame of {frame[0]}x{frame[1]} has no pixels; check the camera.")


def _axis(n: int, out: int, geometry: Geometry) -> list[tuple[int, int, int]]:
    """(origin, first owned, past the last owned) of each tile along one side of n pixels."""
    grid = geometry.grid
    step = out // grid * grid
    last = max(0, -(-(n - out) // grid) * grid)
    if last and not step:
        raise ShapeMismatch(
            f"Output tiles of {out} pixels cannot step on a grid of {grid};"
            f" use {geometry.output_at_least(grid)}."
        )
    origins = [*range(0, last, step), last] if last else [0]
    ends = [min(origin + out, n) for origin in origins]
    return list(zip(origins, [0, *ends[:-1]], ends, strict=True))


def _sizes(n: int, geometry: Geometry) -> list[tuple[int, int]]:
    """(output size, tile count) along n pixels, growing: for each count the smallest size that gives it."""
    whole = geometry.output_at_least(n)
    smallest = min(whole, geometry.output_at_least(geometry.grid))
    best: dict[int, int] = {}
    for out in range(whole, smallest - 1, -geometry.grid):
        best[len(_axis(n, out, geometry))] = out
    return sorted((out, count) for count, out in best.items())


class _Cells:
    """Counts the tiles that own a wanted pixel, quickly: tiles end on few lines, so sums between them do."""

    def __init__(self, wanted: NDArray[np.bool_], frame: tuple[int, int], geometry: Geometry) -> None:
        if wanted.shape != frame:
            raise ShapeMismatch(f"A map of {wanted.shape} does not fit a frame of {frame}.")
        # Origins are multiples of the grid and legal outputs are equal modulo the grid, so what a
        # tile owns ends at this offset from a multiple of the grid, or where the frame does.
        offset = geometry.output_at_least(1) % geometry.grid
        self._geometry, self._frame = geometry, frame
        self._lines = [sorted({0, *range(offset, n, geometry.grid)}) for n in frame]
        cells = np.logical_or.reduceat(wanted, self._lines[0], axis=0)
        cells = np.logical_or.reduceat(cells, self._lines[1], axis=1)
        self._sums = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1), np.int64)
        np.cumsum(np.cumsum(cells, axis=0), axis=1, out=self._sums[1:, 1:])

    def tiles(self, out_h: int, out_w: int) -> int:
        """How many tiles of this output size own a wanted pixel."""
        rows, columns = (self._ends(axis, out) for axis, out in enumerate((out_h, out_w)))
        return int(np.count_nonzero(np.diff(np.diff(self._sums[np.ix_(rows, columns)], axis=0), axis=1)))

    def _ends(self, axis: int, out: int) -> NDArray[np.intp]:
        """Where the sums stand before the first tile and after each one along this axis."""
        owned = _axis(self._frame[axis], out, self._geometry)
        return np.searchsorted(self._lines[axis], [0, *(end for _, _, end in owned)])


def _parts(start: int, size: int, n: int) -> list[Part]:
    """A tile's side as at most three runs: mirrored before the frame, inside it, mirrored after it."""
    before, after = max(0, -start), max(0, start + size - n)
    inside = slice(before, size - after), slice(start + before, start + size - after)
    parts: list[Part] = [inside]
    if before:
        parts.append((slice(0, before), mirror_indices(start, start + before, n)))
    if after:
        parts.append((slice(size - after, size), mirror_indices(n, n + after, n)))
    return parts
