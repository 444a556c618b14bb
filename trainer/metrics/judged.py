"""What every figure is told of a frame, and what it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inspector.types import Image, Mask, ProbMap
from trainer.dataset import Sample
from trainer.metrics.parting import Parting


@dataclass(frozen=True, slots=True)
class Judged:
    """One frame, its truth, and what the model made of it."""

    sample: Sample
    image: Image
    truth: Mask
    """Class ids, 255 = ignore."""
    instances: NDArray[np.uint16] | None
    """Ids of the true instances, where the dataset has them."""
    probs: ProbMap
    predicted: Mask
    """By the model's thresholds."""
    partings: tuple[Parting, ...] = ()
    """How each defect class's regions become instances; (): as they are."""

    @property
    def part(self) -> str:
        """The physical part that the frame shows."""
        return self.sample.part


class Figure(Protocol):
    """Something that is counted over frames."""

    def update(self, judged: Judged) -> None:
        """Count one frame."""
        ...

    def json(self) -> dict[str, Any]:
        """What is to stand in the result, by name; NaN where nothing stands behind a number."""
        ...


def null_for_nan(value: Any) -> Any:
    """The same with None for NaN and infinity, which JSON does not have, and lists for tuples."""
    if isinstance(value, dict):
        return {key: null_for_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [null_for_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
