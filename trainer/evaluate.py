"""How good a network is on whole frames, through the inspector's own tiling, mask rule and matching."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from inspector.config import ModelConfig
from inspector.defects import MatchCounts, mask_of, match_defects
from inspector.engine.open import choose_plan, open_engine
from inspector.engine.protocol import Engine, EngineInfo
from inspector.engine.segment import segment
from inspector.errors import EngineError
from inspector.package import ModelPackage
from inspector.tiling import Geometry, TilePlan, cheapest_plan, plan_tiles
from inspector.types import Image, Mask, ProbMap
from trainer.checkpoint import TrainedNetwork
from trainer.dataset import Sample
from trainer.metrics import Confusion, RandError, bootstrap_iou, defect_figures, null_for_nan
from trainer.release import ReleaseGraph, released

Also = Literal["pixel_error", "rand_error"]
BACKGROUND = "background"
LARGEST_TILE_PX = 1_500_000
"""Input pixels of one tile of the torch network, which bounds its memory."""
REUSE = 1.5
"""An open engine serves a frame of another size if its tiles cost at most this much more."""


@dataclass(slots=True)
class EvaluationResult:
    """Everything that was counted over the frames of one evaluation."""

    classes: tuple[str, ...]
    """Defect classes."""
    border_px: int
    pixels: Confusion
    border: Confusion
    """The same, over the pixels within one halo of the frame's edge."""
    matches: dict[str, MatchCounts]
    frames: int = 0
    parts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Confusion matrix of each physical part."""
    rand: RandError = field(default_factory=RandError)
    also: tuple[Also, ...] = ()

    def add(self, part: str, truth: Mask, instances: NDArray[np.uint16] | None, predicted: Mask) -> None:
        """Count one frame."""
        of_frame = Confusion(len(self.classes) + 1)
        of_frame.update(truth, predicted)
        self.pixels.matrix += of_frame.matrix
        self.parts[part] = self.parts.get(part, 0) + of_frame.matrix
        self.border.update(truth, predicted, _near_edge(truth.shape, self.border_px))
        for name, counts in match_defects(truth, instances, predicted, self.classes).items():
            self.matches[name] += counts
        if "rand_error" in self.also:
            self.rand.update(truth, predicted, instances)
        self.frames += 1

    def json(self) -> dict[str, Any]:
        """The figures of `trainer evaluate --json`; a figure that nothing stands behind is null."""
        intervals = bootstrap_iou(list(self.parts.values())) if self.parts else None
        names = (BACKGROUND, *self.classes)
        per_class = {name: self.pixels.of_class(k) for k, name in enumerate(names)}
        near = self.border.iou()
        figures: dict[str, Any] = {
            "miou": self.pixels.miou(),
            "miou_95": None if intervals is None else list(intervals[-1]),
            "per_class": {
                name: {**row, "iou_95": None if intervals is None else list(intervals[k])}
                for k, (name, row) in enumerate(per_class.items())
            },
            "per_defect": defect_figures(self.matches, self.frames),
            "border": {
                "px": self.border_px,
                "miou": self.border.miou(),
                "iou": dict(zip(names, near.tolist(), strict=True)),
            },
            "frames": self.frames,
            "parts": len(self.parts),
        }
        if "pixel_error" in self.also:
            figures["pixel_error"] = self.pixels.pixel_error()
        if "rand_error" in self.also:
            figures["rand_error"] = self.rand.compute()
        cleaned: dict[str, Any] = null_for_nan(figures)
        return cleaned


def evaluate(
    samples: Iterable[Sample],
    segmenter: Callable[[Image], ProbMap],
    classes: Sequence[str],
    thresholds: Sequence[float],
    *,
    halo: int,
    also: Collection[Also] = (),
) -> EvaluationResult:
    """Count masks and defects of every sample against its truth.

    segmenter: picture -> uint8 (H, W, K). classes, thresholds: one for each defect class, in order.
    halo: pixels of the network's halo, for the figures near the frame's edge. also: figures that
    are computed only when asked for. Raises DatasetError for a sample that cannot be read.
    """
    count = len(classes) + 1
    matches = {name: MatchCounts() for name in classes}
    result = EvaluationResult(
        tuple(classes), halo, Confusion(count), Confusion(count), matches, also=tuple(also)
    )
    for sample in samples:
        image, truth, instances = sample.read()
        result.add(sample.part, truth, instances, mask_of(segmenter(image), thresholds))
    return result


class Segmenter:
    """Picture -> probabilities for frames of any size; engines stay open for frames that fit their tile."""

    def __init__(
        self,
        geometry: Geometry,
        choose: Callable[[tuple[int, int]], TilePlan],
        open_at: Callable[[TilePlan], Engine],
    ) -> None:
        """choose: frame (height, width) -> the best plan. open_at: an engine for a plan's tile."""
        self.geometry, self._choose, self._open_at = geometry, choose, open_at
        self._plans: dict[tuple[int, int], TilePlan] = {}
        self._engines: dict[tuple[int, int], Engine] = {}

    def __call__(self, image: Image) -> ProbMap:
        """uint8 (H, W, K). Raises EngineError when the engine fails."""
        frame = image.shape[0], image.shape[1]
        plan = self._plans.get(frame) or self._plans.setdefault(frame, self._plan(frame))
        if plan.input not in self._engines:
            self._engines[plan.input] = self._open_at(plan)
        return segment(image, plan, self._engines[plan.input])

    def close(self) -> None:
        """Close every engine."""
        for engine in self._engines.values():
            engine.close()

    def _plan(self, frame: tuple[int, int]) -> TilePlan:
        best = self._choose(frame)
        open_outs = [tuple(self.geometry.output(side) for side in tile) for tile in self._engines]
        grid = self.geometry.grid
        served = [
            plan_tiles(frame, (out[0], out[1]), self.geometry)
            for out in open_outs
            # A tile below the grid, opened for a tiny frame, cannot step over a larger one.
            if all(size >= min(grid, n) for size, n in zip(out, frame, strict=True))
        ]
        cheapest = min(served, key=lambda plan: plan.input_px, default=best)
        return cheapest if cheapest.input_px <= REUSE * best.input_px else best


def run_segmenter(trained: TrainedNetwork) -> Segmenter:
    """A RUN's network in float32 on the processor."""
    geometry = Geometry(trained.config.depth)
    return Segmenter(
        geometry,
        lambda frame: cheapest_plan(frame, geometry, LARGEST_TILE_PX),
        lambda plan: network_engine(trained, plan.input),
    )


def package_segmenter(package: ModelPackage, settings: ModelConfig) -> Segmenter:
    """A package on the engine that the line would open for it."""
    return Segmenter(
        package.geometry,
        lambda frame: choose_plan(package, frame, settings),
        lambda plan: open_engine(package, plan, settings),
    )


def is_package(path: Path) -> bool:
    """Whether a folder is a model package rather than a RUN."""
    return (path / "manifest.json").exists()


class NetworkEngine:
    """A torch network behind the line's Engine protocol, in float32 on the processor."""

    def __init__(self, trained: TrainedNetwork, tile: tuple[int, int]) -> None:
        """Raises ShapeMismatch for an illegal tile."""
        geometry = Geometry(trained.config.depth)
        geometry.output(tile[0]), geometry.output(tile[1])
        self._graph = ReleaseGraph(released(trained.net), trained.normalisation).eval()
        self.info = EngineInfo("torch", torch.__version__, "f32", "cpu", "none", "none", tile)

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        """See Engine.run."""
        for index, tile in enumerate(tiles):
            if tile.shape[:2] != self.info.tile:
                raise EngineError(f"A tile of {tile.shape[:2]} came to an engine for {self.info.tile}.")
            picture = tile if tile.ndim == 3 else tile[:, :, None]
            with torch.inference_mode():
                prob, _ = self._graph(torch.from_numpy(picture[None]))
            deliver(index, prob[0].numpy())

    def close(self) -> None:
        """See Engine.close."""


def network_engine(trained: TrainedNetwork, tile: tuple[int, int]) -> Engine:
    """The trained network as an Engine for tiles of `tile` (height, width)."""
    return NetworkEngine(trained, tile)


def _near_edge(shape: tuple[int, ...], width: int) -> NDArray[np.bool_]:
    near = np.ones(shape, bool)
    near[width : shape[0] - width, width : shape[1] - width] = False
    return near
