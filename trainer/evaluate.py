"""How good a network is on whole frames, through the inspector's own tiling, mask rule and matching."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from inspector.config import ModelConfig
from inspector.defects import mask_of
from inspector.engine.open import choose_plan, open_engine
from inspector.engine.protocol import Engine, EngineInfo
from inspector.engine.segment import segment
from inspector.errors import EngineError
from inspector.package import ModelPackage
from inspector.tiling import Geometry, TilePlan, cheapest_plan, plan_tiles
from inspector.types import Image, ProbMap
from trainer.checkpoint import TrainedNetwork
from trainer.dataset import Sample
from trainer.metrics.judged import Judged
from trainer.metrics.parting import Parting, partings_of
from trainer.metrics.result import Also, EvaluationResult
from trainer.release import ReleaseGraph, released

LARGEST_TILE_PX = 1_500_000
"""Input pixels of one tile of the torch network, which bounds its memory."""
REUSE = 1.5
"""An open engine serves a frame of another size if its tiles cost at most this much more."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a model's probabilities become masks and instances: one of each for each defect class, in order."""

    classes: Sequence[str]
    thresholds: Sequence[float]
    partings: Sequence[Parting] = ()
    """How regions become instances; (): as they are."""

    @classmethod
    def of(cls, model: TrainedNetwork | ModelPackage) -> Reading:
        """As `trainer fit` chose it for this model."""
        metrics = model.manifest.metrics if isinstance(model, ModelPackage) else model.metrics
        return cls(model.classes, model.thresholds, partings_of(model.classes, metrics))


def evaluate(
    samples: Iterable[Sample],
    segmenter: Callable[[Image], ProbMap],
    reading: Reading,
    *,
    halo: int,
    also: Collection[Also] = (),
) -> EvaluationResult:
    """Count masks and defects of every sample against its truth.

    segmenter: picture -> uint8 (H, W, K). halo: pixels of the network's halo, for the figures near the
    frame's edge. also: figures that are computed only when asked for. Raises DatasetError for a sample that
    cannot be read.
    """
    result = EvaluationResult(tuple(reading.classes), halo, tuple(also))
    for sample in samples:
        image, truth, instances = sample.read()
        probs = segmenter(image)
        mask = mask_of(probs, reading.thresholds)
        result.add(Judged(sample, image, truth, instances, probs, mask, tuple(reading.partings)))
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

    @property
    def engines(self) -> list[EngineInfo]:
        """What has run so far."""
        return [engine.info for engine in self._engines.values()]

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
