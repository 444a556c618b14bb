"""The frames of an evaluation, kept so that the best and the worst can be looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from inspector.defects import MatchCounts, match_defects
from inspector.types import Mask
from trainer.dataset import Sample
from trainer.metrics.intervals import ratio
from trainer.metrics.judged import Judged
from trainer.weights import IGNORE


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What came out for one frame."""

    sample: Sample
    counts: MatchCounts
    """Of all classes together."""
    iou: float
    """Pixels with the right defect class over pixels with any, in truth or prediction; NaN without any."""
    packed: bytes
    """The predicted mask as PNG."""

    @property
    def missed(self) -> int:
        """Defects that were not found."""
        return self.counts.total - self.counts.found

    @property
    def predicted(self) -> Mask:
        """The predicted mask, uint8 (H, W)."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.packed, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)


class FrameList:
    """Every frame with its counts; memory grows by the packed mask of each."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self.frames: list[FrameResult] = []

    def update(self, judged: Judged) -> None:
        """Keep one frame."""
        truth, said = judged.truth, judged.predicted
        matches = match_defects(truth, judged.instances, said, self._classes)
        any_defect = ((truth > 0) | (said > 0)) & (truth != IGNORE)
        right = np.count_nonzero((truth == said) & any_defect)
        iou = ratio(int(right), int(np.count_nonzero(any_defect)))
        packed = cv2.imencode(".png", said)[1].tobytes()
        self.frames.append(FrameResult(judged.sample, sum(matches.values(), MatchCounts()), iou, packed))

    def worst(self, count: int) -> list[FrameResult]:
        """Most missed defects first, then most false alarms, then the lowest IoU; frames with an error."""
        wrong = [frame for frame in self.frames if frame.missed or frame.counts.false_alarms]
        return sorted(wrong or self._shown(), key=_badness, reverse=True)[:count]

    def best(self, count: int) -> list[FrameResult]:
        """The best frames that show a defect, best first; those among the `count` worst are left out."""
        out = {id(frame) for frame in self.worst(count)}
        return [frame for frame in sorted(self._shown(), key=_badness) if id(frame) not in out][:count]

    def json(self) -> dict[str, Any]:
        """frame_list: the counts of every frame, in order."""
        rows = [
            {
                "stem": frame.sample.stem,
                "found": frame.counts.found,
                "total": frame.counts.total,
                "false_alarms": frame.counts.false_alarms,
                "iou": frame.iou,
            }
            for frame in self.frames
        ]
        return {"frame_list": rows}

    def _shown(self) -> list[FrameResult]:
        return [frame for frame in self.frames if frame.counts.total]


def _badness(frame: FrameResult) -> tuple[int, int, float]:
    return frame.missed, frame.counts.false_alarms, 0.0 if math.isnan(frame.iou) else 1 - frame.iou
