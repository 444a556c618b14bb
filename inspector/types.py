"""The words of the line as types: Frame -> Tiles -> ProbMap -> Mask -> Defects -> Verdict.

A ProbMap is as large as a tile on the line; of the whole frame a Segmentation is kept.

Coordinates are (y, x), sizes (height, width), intervals half-open, all in pixels of the
full frame. Times end in `_ns`; UTC for people, monotonic for differences.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
"""uint8, (H, W) gray or (H, W, 3) BGR."""
ProbMap: TypeAlias = NDArray[np.uint8]
"""uint8 (H, W, K), one plane for each defect class (background left out); 255 = certain."""
Mask: TypeAlias = NDArray[np.uint8]
"""uint8 (H, W) of class ids; 0 = good, k = defect class k (plane k - 1 of the ProbMap)."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What segmenting a frame leaves of it, whatever the number of classes: 2 bytes a pixel."""

    mask: Mask
    certainty: NDArray[np.uint8]
    """uint8 (H, W): probability of each pixel's own class in the mask, 255 = certain; 0 where good."""

    @classmethod
    def of_nothing(cls, frame: tuple[int, int]) -> Segmentation:
        """A frame of (height, width) without damage. Large ones take memory only where damage is written."""
        return cls(np.zeros(frame, np.uint8), np.zeros(frame, np.uint8))


class VerdictWord(StrEnum):
    """The one word that the outputs act on. Only PASS lets a part through."""

    PASS = "PASS"
    REJECT = "REJECT"
    REVIEW = "REVIEW"
    UNINSPECTED = "UNINSPECTED"


class Fault(StrEnum):
    """Why a frame could not be inspected; each one gives UNINSPECTED."""

    OVERRUN = "overrun"  # a newer frame replaced it in the mailbox
    LATE = "late"  # judged after its deadline
    ENGINE = "engine"  # the engine failed or returned nonsense
    CAMERA = "camera"  # a frame that the camera marked as bad, or without a picture in it
    FORMAT = "format"  # not an image, or another size, depth or colour than the run's first
    BLACK = "black"  # nothing to see: all pixels dark, but for a hot one
    FROZEN = "frozen"  # a live camera repeats one picture bit for bit
    STALE = "stale"  # grabbed too long before it reached the engine
    COVERAGE = "coverage"  # less of the included area inspected than the recipe demands
    DATABASE = "database"  # row or evidence could not be written in time
    DISK = "disk"
    PAUSED = "paused"  # an operator paused the line
    SHUTDOWN = "shutdown"  # grabbed, then the run was stopped
    CRASH = "crash"  # grabbed by a run that died; found at the next open


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause of a verdict."""

    code: str
    """A Fault, or the rule kind that fired: area, length, width, count, total_area, unlisted."""
    words: str
    """What an operator reads: class, value, limit and unit."""


@dataclass(frozen=True, slots=True)
class Grab:
    """What a camera returned for one frame, before the grabber numbered it."""

    image: Image | None
    """None only together with a fault."""
    utc_ns: int
    mono_ns: int
    source: str = ""
    """Where it came from: a file name, `line.mp4#12`, or the camera's own frame id."""
    lost_before: int = 0
    """Frames the camera itself lost since the last grab; recorded as a gap."""
    fault: Reason | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A numbered picture. Numbers start at 1 in each run and have no gaps."""

    number: int
    image: Image | None
    """None only together with a fault."""
    utc_ns: int
    mono_ns: int
    camera_id: str
    source: str = ""
    part_id: str | None = None
    fault: Reason | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """Millimetres for one pixel under the camera, (y, x)."""

    y: float
    x: float


@dataclass(frozen=True, slots=True)
class Defect:
    """One 8-connected region of one class (or several, joined across small gaps)."""

    class_id: int
    class_name: str
    box: tuple[int, int, int, int]
    """(y0, x0, y1, x1), half-open."""
    area_px: int
    length_px: float
    """Long side of the minimal rectangle."""
    width_px: float
    """Largest width of the region, from the distance transform."""
    confidence: float
    """95th percentile of the class probability inside, 0 to 1."""
    zones: tuple[str, ...] = ()
    area_mm2: float | None = None
    length_mm: float | None = None
    width_mm: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to happen to the part, and why. PASS has no reasons, every other word has one."""

    word: VerdictWord
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """One frame and everything that was said of it: the unit that the Recorder keeps."""

    frame: Frame
    verdict: Verdict
    defects: tuple[Defect, ...] = ()
    mask: Mask | None = None
    coverage: float = 0.0
    """Inspected share of the included area, 0 to 1."""
    judged_mono_ns: int = 0
    stages_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds by stage: wait, infer, defects, judge."""
