"""The end of a run: the best network calibrated, its thresholds chosen, its defects counted.

The validation frames pass the network twice, for the scaling and under it; all figures after that
are read from the same kept probabilities. For an escape target they may pass it once more: a
threshold of 0.99 leaves two of the 256 levels that a release graph gives, too few to choose among.
The class's score is then moved to where there are more.
"""

from __future__ import annotations

import copy
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from inspector.defects import MatchCounts, mask_of, match_defects
from inspector.tiling import Geometry
from inspector.types import ProbMap
from trainer.checkpoint import TrainedNetwork
from trainer.escapes import LEVELS, EscapeCurve, Trade
from trainer.metrics.matches import defect_figures
from trainer.thresholds import FEW, ProbabilityHistogram
from trainer.validate import Shown, segment_frame
from trainer.vector_scaling import calibrated


@dataclass(frozen=True, slots=True)
class Aim:
    """What the thresholds are chosen for."""

    prior: Sequence[float | None]
    """Thresholds towards which classes with few defects are drawn; see ProbabilityHistogram.choose."""
    escape_target: float | None
    """Share of defects that may be missed; None: the best IoU."""


class KeptMaps:
    """Probabilities of the validation frames, packed: most pixels of most classes are nearly 0."""

    def __init__(self, trained: TrainedNetwork, frames: Sequence[Shown], autocast: torch.autocast) -> None:
        self._frames, self._classes = frames, len(trained.classes)
        geometry, self._packed = Geometry(trained.config.depth), []
        for image, _, _ in frames:
            with torch.inference_mode(), autocast:
                probs = segment_frame(trained.net, image, geometry, trained.normalisation)
            self._packed.append(zlib.compress(probs.tobytes(), 1))

    def __iter__(self) -> Iterator[tuple[ProbMap, Shown]]:
        """uint8 (H, W, K) and the frame it belongs to, in order."""
        for packed, frame in zip(self._packed, self._frames, strict=True):
            flat = np.frombuffer(zlib.decompress(packed), np.uint8)
            yield flat.reshape(*frame[0].shape[:2], self._classes), frame


CROWDED = LEVELS[0], 230
"""Levels of 255 (0.1 and 0.9) from which on too few are left to choose among."""
SURE = 0.998
"""Calibrated probability beyond which no threshold is tried: a handful of validation pixels would decide."""
MOVE = math.log(SURE / (1 - SURE)) - math.log(0.9 / 0.1)
"""By so much a score is moved, so that 0.9 then stands where 0.998 stood, or 0.1 where 0.002 did."""

LogTrades = Callable[[str, tuple[Trade, ...]], None]
"""Called with each class's escape curve."""


def finish(
    best: TrainedNetwork, frames: Sequence[Shown], aim: Aim, autocast: torch.autocast, log: LogTrades
) -> TrainedNetwork:
    """The network as it is served: calibrated, with its thresholds and what they find on these frames."""
    best = calibrated(best, frames, autocast)
    maps = KeptMaps(best, frames, autocast)
    trades: tuple[Trade | None, ...] = (None,) * len(best.classes)
    if aim.escape_target is not None:
        curve = _curve(maps, best.classes)
        trades = curve.choose(aim.escape_target, FEW)
        moved = _uncrowded(best, trades)
        if moved is not best:
            best, maps = moved, KeptMaps(moved, frames, autocast)
            curve = _curve(maps, best.classes)
        if best.moved:
            trades = curve.choose(aim.escape_target, FEW, CROWDED[1])
        for name in best.classes:
            log(name, curve.trades(name))
    histogram = ProbabilityHistogram(len(best.classes))
    for probs, (_, truth, _) in maps:
        histogram.add(probs, truth)
    choices = tuple(
        choice if trade is None else replace(choice, threshold=trade.threshold, iou=trade.iou)
        for choice, trade in zip(histogram.choose(aim.prior), trades, strict=True)
    )
    thresholds = tuple(choice.threshold for choice in choices)
    counts = defect_figures(_matches(maps, best.classes, thresholds), len(frames))
    figures = best.metrics["validation"] | {
        "score": histogram.score(),
        "classes": {name: asdict(choice) for name, choice in zip(best.classes, choices, strict=True)},
        "per_defect": counts,
    }
    return replace(
        best,
        thresholds=thresholds,
        metrics={**best.metrics, "validation": figures},
        escape_target=aim.escape_target,
    )


def _curve(maps: KeptMaps, classes: Sequence[str]) -> EscapeCurve:
    curve = EscapeCurve(classes)
    for probs, (_, truth, instances) in maps:
        curve.add(probs, truth, instances)
    return curve


def _uncrowded(trained: TrainedNetwork, trades: Sequence[Trade | None]) -> TrainedNetwork:
    """The network with scores moved off 0 or 1 where a class has its threshold.

    The same network where no class has, or where they have been moved before. Pixels of one class
    keep their order. A class of which no threshold finds anything is at 0.
    """
    moves = []
    for trade in trades:
        if trade is None:
            moves.append(0.0)
            continue
        level = round(255 * trade.threshold) if trade.found else 0
        moves.append(-MOVE if level >= CROWDED[1] else MOVE if level <= CROWDED[0] else 0.0)
    if trained.moved or not any(moves):
        return trained
    net = copy.deepcopy(trained.net)
    with torch.no_grad():
        assert net.head.bias is not None
        net.head.bias[1:] += net.head.bias.new_tensor(moves)
    return replace(trained, net=net, moved=True)


def _matches(maps: KeptMaps, classes: Sequence[str], thresholds: Sequence[float]) -> dict[str, MatchCounts]:
    """True defects found and false alarms by class, with the line's own mask."""
    matches = {name: MatchCounts() for name in classes}
    for probs, (_, truth, instances) in maps:
        predicted = mask_of(probs, thresholds)
        for name, counts in match_defects(truth, instances, predicted, classes).items():
            matches[name] += counts
    return matches
