"""The end of a run: the network that serves calibrated, its thresholds chosen, its defects counted.

The validation frames pass the network twice, for the scaling and under it; all figures after that
are read from the same kept probabilities.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from inspector.defects import mask_of, match_defects
from inspector.tiling import Geometry
from inspector.types import ProbMap
from trainer.checkpoint import TrainedNetwork
from trainer.escapes import FEW_DEFECTS, EscapeCurve, Trade
from trainer.metrics.matches import PartMatches, defect_figures
from trainer.thresholds import ClassChoice, ProbabilityHistogram
from trainer.touching import TouchingInstances
from trainer.validate import Shown, Tell, segment_frame, told, units
from trainer.vector_scaling import calibrated


@dataclass(frozen=True, slots=True)
class Aim:
    """What the thresholds are chosen for."""

    prior: Sequence[float | None]
    """Thresholds towards which classes that few parts show are drawn; see ProbabilityHistogram.choose."""
    escape_target: float | None
    """Share of defects that may be missed; None: the best IoU, of classes that touch the most instances."""


class KeptMaps:
    """Probabilities of the validation frames, packed: most pixels of most classes are nearly 0."""

    def __init__(
        self, trained: TrainedNetwork, frames: Sequence[Shown], autocast: torch.autocast, tell: Tell
    ) -> None:
        self.frames, self._classes = frames, len(trained.classes)
        geometry, self._packed = Geometry(trained.config.depth), []
        for frame in told(frames, len(frames), "segmenting", tell):
            with torch.inference_mode(), autocast:
                probs = segment_frame(trained.net, frame.image, geometry, trained.normalisation)
            self._packed.append(zlib.compress(probs.tobytes(), 1))

    def __iter__(self) -> Iterator[tuple[ProbMap, Shown]]:
        """uint8 (H, W, K) and the frame it belongs to, in order."""
        for packed, frame in zip(self._packed, self.frames, strict=True):
            flat = np.frombuffer(zlib.decompress(packed), np.uint8)
            yield flat.reshape(*frame.image.shape[:2], self._classes), frame

    def told(self, words: str, tell: Tell) -> Iterator[tuple[ProbMap, Shown]]:
        """The same, with its progress."""
        return told(self, len(self.frames), words, tell)


LogTrades = Callable[[str, tuple[Trade, ...]], None]
"""Called with each class's escape curve."""


def finish(
    best: TrainedNetwork,
    frames: Sequence[Shown],
    aim: Aim,
    autocast: torch.autocast,
    log: LogTrades,
    tell: Tell,
) -> TrainedNetwork:
    """The network as it is served: calibrated, with its thresholds and what they find on these frames."""
    best = calibrated(best, frames, autocast, tell)
    maps = KeptMaps(best, frames, autocast, tell)
    names = units(frames)
    histogram = ProbabilityHistogram(len(best.classes), names)
    for (probs, frame), unit in zip(maps.told("choosing thresholds", tell), names, strict=True):
        histogram.add(probs, frame.mask, unit)
    choices = _told_apart(histogram.choose(aim.prior), maps, aim.prior, tell)
    if aim.escape_target is not None:
        curve = EscapeCurve(best.classes)
        for probs, frame in maps.told("trying thresholds for the escape target", tell):
            curve.add(probs, frame.mask, frame.instances)
        for name in best.classes:
            log(name, curve.trades(name))
        choices = _for_escapes(choices, curve, aim.escape_target)
    thresholds = tuple(choice.threshold for choice in choices)
    figures = best.metrics["validation"] | {
        "score": histogram.score(),
        "classes": {name: asdict(choice) for name, choice in zip(best.classes, choices, strict=True)},
        "per_defect": _per_defect(maps, best.classes, thresholds, tell),
    }
    return replace(
        best,
        thresholds=thresholds,
        metrics={**best.metrics, "validation": figures},
        escape_target=aim.escape_target,
    )


def _told_apart(
    choices: tuple[ClassChoice, ...], maps: KeptMaps, prior: Sequence[float | None], tell: Tell
) -> tuple[ClassChoice, ...]:
    """The choices, those of classes whose instances touch with what tells most of them apart."""
    touching = TouchingInstances(maps.frames, len(choices))
    if not touching.any:
        return choices
    told_apart = maps.told("trying thresholds that tell instances apart", tell)
    for (probs, frame), unit in zip(told_apart, units(maps.frames), strict=True):
        touching.add(probs, frame, unit)
    return touching.choose(choices, prior)


def _per_defect(
    maps: KeptMaps, classes: tuple[str, ...], thresholds: tuple[float, ...], tell: Tell
) -> dict[str, Any]:
    """Defects found and false alarms, with counts, and intervals by part."""
    matches = PartMatches()
    for probs, frame in maps.told("counting defects", tell):
        predicted = mask_of(probs, thresholds)
        matches.update(frame.part, match_defects(frame.mask, frame.instances, predicted, classes))
    return defect_figures(matches, classes)


def _for_escapes(
    choices: Sequence[ClassChoice], curve: EscapeCurve, target: float
) -> tuple[ClassChoice, ...]:
    """The choices with the thresholds that keep the target, for classes with enough defects to tell.

    A class of which no level finds anything keeps its choice: the highest level would silence it.
    """
    return tuple(
        choice
        if trade is None or not trade.found
        else replace(choice, threshold=trade.threshold, iou=trade.iou, escape_target=target, ap50=None)
        for choice, trade in zip(choices, curve.choose(target, FEW_DEFECTS), strict=True)
    )
