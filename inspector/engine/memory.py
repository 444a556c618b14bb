"""How much memory a plan will take, known before anything is allocated.

Beside the frames under way a frame costs 2 bytes a pixel, whatever its classes, and one tile. The
figures were fitted to measurements on OpenVINO 2026.4 and are held against new ones by
`benchmarks/memory.py`. They are meant to be a little too high: a plan that was allowed must fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from inspector.package import ModelPackage

MB = 1_000_000
PROCESS_BYTES = 300 * MB
"""The station with all its libraries, before an engine is open."""
RECENT_BYTES = 135 * MB
"""Frames of a moment ago that the recorder holds in case one is flagged: 128 MiB, or the last frame."""
ENGINE_BYTES = 60 * MB
"""OpenVINO itself, once a first graph is compiled."""
MOST_WAITING = 32
"""Records that wait for the recorder, and records that one commit takes at most."""
# The file holds fp16. Kept are the file's constants, and a copy laid out for the processor.
_WEIGHT_COPIES = {"f32": 3.0, "bf16": 2.0, "int8": 3.0}
_ITEM_BYTES = {"f32": 4, "bf16": 2, "int8": 1}  # int8 measured: 40, 69, 130 bytes a pixel at base 8, 16, 32
# At its widest, the last level up, four maps of `base` channels live at full size: the skip, the
# map that came up, and both joined. 12 bytes are the picture and what softmax needs beside them.
# torch keeps a little more of what it no longer needs.
_WIDEST_MAPS = {"openvino": 4.0, "torch": 4.7}
_OTHER_BYTES_PER_PX = 12
_RAW_BYTES_PER_PX = 3  # a colour picture that is being made gray, or one more for a colour model
_FAIR_TILE_PX = 500_000  # smaller ones spend more on their halo than on what they give
# Mask and certainty of a large frame take memory only where there is damage.
_DAMAGED = 0.25


@dataclass(frozen=True, slots=True)
class UnderWay:
    """How many frames may be between camera and ledger at a time; by default as few as can be."""

    ahead: int = 1
    """Frames of a file that are read ahead of the engine."""
    judging: int = 1
    """Frames from the engine to the recorder: 3 are one computed, one judged and one between; 1 is
    one that the judge is done with before the engine begins the next."""
    waiting: int = 1
    """Records that may wait for the recorder, and again that one commit takes."""

    def bytes_per_px(self, channels: int, damaged: float) -> float:
        """Of all their pictures, and of masks and certainties on the damaged share of them."""
        pictures = self.ahead + self.judging + 2 * self.waiting
        found = 2 * self.judging + 2 * self.waiting
        return channels * pictures + damaged * found


_FEWEST = UnderWay()


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """Predicted resident bytes of a station with this package in this precision (f32, bf16 or int8)."""

    package: ModelPackage
    precision: str
    engine: str = "openvino"
    """openvino, or torch on the CPU."""
    areas: int = 0
    """Zones of the recipe: a plane of the frame each, and one more for what they leave."""

    @property
    def bytes_per_input_px(self) -> float:
        """What each input pixel of one tile adds."""
        planes = len(self.package.classes) + 1
        body = _WIDEST_MAPS[self.engine] * self.package.manifest.base * _ITEM_BYTES[self.precision]
        return max(body, 3 * 4 * planes) + _OTHER_BYTES_PER_PX

    def fixed_bytes(self, frame: tuple[int, int]) -> float:
        """What is needed whatever the tile: process, weights, zones, and the fewest frames under way.

        Masks and certainties of those are counted as if a quarter of each frame were damaged.
        """
        weights = self.package.onnx.stat().st_size * _WEIGHT_COPIES[self.precision]
        px, channels = frame[0] * frame[1], self.package.manifest.channels
        zones = self.areas + 1 if self.areas else 0
        per_px = _FEWEST.bytes_per_px(channels, _DAMAGED) + _RAW_BYTES_PER_PX + zones
        recent = max(RECENT_BYTES, px * (channels + _DAMAGED))
        return PROCESS_BYTES + ENGINE_BYTES + weights + recent + px * per_px

    def resident_bytes(self, frame: tuple[int, int], tile: tuple[int, int]) -> float:
        """The whole station, on frames of (height, width) in tiles of (height, width) input pixels."""
        return self.fixed_bytes(frame) + tile[0] * tile[1] * self.bytes_per_input_px

    def tile_px_within(self, frame: tuple[int, int], limit_bytes: float) -> int:
        """The largest tile, in input pixels, that keeps the station within the limit; 0 if none does."""
        return max(0, int((limit_bytes - self.fixed_bytes(frame)) / self.bytes_per_input_px))

    def frame_px_within(self, limit_bytes: float) -> int:
        """The largest frame, in pixels, that fits beside a tile of half a megapixel; 0 if none does."""
        tile = _FAIR_TILE_PX * self.bytes_per_input_px
        fits, does_not = 0, int(limit_bytes)  # a pixel takes more than a byte
        while does_not - fits > 1:
            px = (fits + does_not) // 2
            fits, does_not = (px, does_not) if self.fixed_bytes((1, px)) + tile <= limit_bytes else (fits, px)
        return fits

    def under_way(self, frame: tuple[int, int], tile: tuple[int, int], limit_bytes: float) -> UnderWay:
        """As many frames as the limit leaves room for, beside tiles of this size, and no more than help.

        Half of what is left is for records that wait, so that a disk may hesitate.
        """
        px, channels = frame[0] * frame[1], self.package.manifest.channels
        usual = UnderWay(ahead=2, judging=3)
        more = usual.bytes_per_px(channels, 1.0) - _FEWEST.bytes_per_px(channels, _DAMAGED)
        left = limit_bytes - self.resident_bytes(frame, tile) - px * more
        if left < 0:
            return _FEWEST
        waiting = 1 + int(left / 2 / (2 * px * (channels + 1)))
        return replace(usual, waiting=min(MOST_WAITING, waiting))
