"""An engine without a network, for tests and for trying a line without a model that fits."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

import cv2
import numpy as np

from inspector import __version__
from inspector.engine.protocol import EngineInfo
from inspector.errors import EngineError
from inspector.tiling import Geometry
from inspector.types import Image, ProbMap

Rule: TypeAlias = Callable[[Image], ProbMap]
"""Picture (h, w) or (h, w, 3) -> probabilities uint8 (h, w, K), pixel by pixel."""


def dark_and_bright(classes: int) -> Rule:
    """Class 1 is what is dark, class 2 (if there is one) what is bright; mid gray is good.

    Gray 0 gives class 1 probability 255, gray 64 half of it, gray 128 none; bright likewise.
    """
    levels = np.arange(256)
    table = np.zeros((256, classes), np.uint8)
    table[:, 0] = np.clip(2 * (128 - levels), 0, 255)
    if classes > 1:
        table[:, 1] = np.clip(2 * (levels - 127), 0, 255)

    def rule(image: Image) -> ProbMap:
        gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        return table[gray]

    return rule


class FakeEngine:
    """Deterministic probabilities from pixels, and failures where a test wants them.

    rule: picture -> probabilities, dark_and_bright by default. fail_runs, missing_runs: the
    calls of `run` (the first is 1) that raise EngineError, or that leave out the last tile.
    delay_s: what each tile takes.
    """

    def __init__(
        self,
        classes: int,
        geometry: Geometry,
        tile: tuple[int, int],
        rule: Rule | None = None,
        *,
        package: str = "none",
        fail_runs: Collection[int] = (),
        missing_runs: Collection[int] = (),
        delay_s: float = 0.0,
    ) -> None:
        geometry.output(tile[0]), geometry.output(tile[1])
        self._rule = rule or dark_and_bright(classes)
        self._halo = geometry.halo
        self._fail_runs, self._missing_runs, self._delay_s = fail_runs, missing_runs, delay_s
        self.runs = 0
        self.closed = False
        self.info = EngineInfo(
            name="fake",
            version=__version__,
            precision="f32",
            device="none",
            package=package,
            certificate="none",
            tile=tile,
        )

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        """See Engine.run."""
        self.runs += 1
        if self.runs in self._fail_runs:
            raise EngineError(f"The fake engine fails on run {self.runs}, as it was told to.")
        last: tuple[int, ProbMap] | None = None
        for index, tile in enumerate(tiles):
            if tile.shape[:2] != self.info.tile:
                raise EngineError(f"A tile of {tile.shape[:2]} came to an engine for {self.info.tile}.")
            if last is not None:
                deliver(*last)
            time.sleep(self._delay_s)
            picture = tile[:, :, 0] if tile.ndim == 3 and tile.shape[2] == 1 else tile
            probs = self._rule(picture)[self._halo : -self._halo, self._halo : -self._halo]
            last = index, probs.copy()  # a rule may look at the tile itself, which is used again
        if last is not None and self.runs not in self._missing_runs:
            deliver(*last)

    def close(self) -> None:
        """See Engine.close."""
        self.closed = True
