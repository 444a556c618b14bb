"""How much memory a plan will take, known before anything is allocated.

The figures were fitted to measurements on OpenVINO 2026.4 and are held against new ones by
`benchmarks/memory.py`. They are meant to be a little too high: a plan that was allowed must fit.
"""

from __future__ import annotations

from dataclasses import dataclass

from inspector.package import ModelPackage

MB = 1_000_000
PROCESS_BYTES = 300 * MB
"""The station with all its libraries, before an engine is open."""
RECENT_BYTES = 135 * MB
"""Frames of a moment ago that the recorder holds in case one is flagged: 128 MiB."""
ENGINE_BYTES = 60 * MB
"""OpenVINO itself, once a first graph is compiled."""
# The file holds fp16. Kept are the file's constants, and a copy laid out for the processor.
_WEIGHT_COPIES = {"f32": 3.0, "bf16": 2.0, "int8": 3.0}
_ITEM_BYTES = {"f32": 4, "bf16": 2, "int8": 2}  # int8: some of the largest maps are left in bf16
# At its widest, the last level up, four maps of `base` channels live at full size: the skip, the
# map that came up, and both joined. 12 bytes are the picture and what softmax needs beside them.
# torch keeps a little more of what it no longer needs.
_WIDEST_MAPS = {"openvino": 4.0, "torch": 4.7}
_OTHER_BYTES_PER_PX = 12


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """Predicted resident bytes of a station with this package in this precision (f32, bf16 or int8)."""

    package: ModelPackage
    precision: str
    engine: str = "openvino"
    """openvino, or torch on the CPU."""

    @property
    def bytes_per_input_px(self) -> float:
        """What each input pixel of one tile adds."""
        planes = len(self.package.classes) + 1
        body = _WIDEST_MAPS[self.engine] * self.package.manifest.base * _ITEM_BYTES[self.precision]
        return max(body, 3 * 4 * planes) + _OTHER_BYTES_PER_PX

    def fixed_bytes(self, frame: tuple[int, int]) -> float:
        """What is needed whatever the tile: process, weights, recent frames, and those on their way.

        On their way are eight pictures (two in the mailbox, one each at infer, judge, recorder and
        in its PNG, two between), three sets of probabilities, and masks.
        """
        weights = self.package.onnx.stat().st_size * _WEIGHT_COPIES[self.precision]
        per_px = 8 * self.package.manifest.channels + 3 * len(self.package.classes) + 4
        return PROCESS_BYTES + RECENT_BYTES + ENGINE_BYTES + weights + frame[0] * frame[1] * per_px

    def resident_bytes(self, frame: tuple[int, int], tile: tuple[int, int]) -> float:
        """The whole station, on frames of (height, width) in tiles of (height, width) input pixels."""
        return self.fixed_bytes(frame) + tile[0] * tile[1] * self.bytes_per_input_px

    def tile_px_within(self, frame: tuple[int, int], limit_bytes: float) -> int:
        """The largest tile, in input pixels, that keeps the station within the limit; 0 if none does."""
        return max(0, int((limit_bytes - self.fixed_bytes(frame)) / self.bytes_per_input_px))
