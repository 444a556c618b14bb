"""What the pipeline asks of an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from inspector.types import Image, ProbMap


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What really runs: shown on the dashboard and written into each row."""

    name: str
    """openvino, tensorrt, torch or fake."""
    version: str
    precision: str
    """f32, bf16, fp16 or int8: what the engine reports it runs in, not what was asked for."""
    device: str
    """The processor or card by name."""
    package: str
    """Package id."""
    certificate: str
    """Certificate id, or `none` for the fake engine."""
    tile: tuple[int, int]
    """Input size (height, width) in pixels that it was compiled for."""
    layers: Mapping[str, int] = field(default_factory=dict, compare=False)
    """How many convolutions or layers the engine found in each precision; empty where it cannot tell."""
    note: str = ""
    """What else is unusual in how it runs, for people to see; mostly empty."""


class Engine(Protocol):
    """A compiled network for one tile size, used by one thread."""

    info: EngineInfo

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        """Run each tile and hand its probabilities over, in any order, with the tile's index.

        tiles: uint8 (h, w, channels), h and w as compiled; read lazily, so that cutting the
        next tile overlaps with computing this one, and each may be reused by the caller
        once the next one was asked for.
        deliver: called in this thread; the uint8 (out_h, out_w, K) array is valid only
        during the call.
        Raises EngineError when the device fails; then nothing more is delivered.
        """

    def close(self) -> None:
        """Free the device. May be called twice."""
