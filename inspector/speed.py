"""The speed contract of a line: what optics, belt and processor allow together. Pure arithmetic.

Millimetres on the part become pixels; a smallest defect must be a few pixels wide, move by less
than about one while the shutter is open, lie in some frame, and that frame must be computed before
the next one comes. Each of these is a Condition, and the contract holds when none of them fails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from inspector.errors import UsageError
from inspector.types import Scale

WARN_SHARE = 0.8
"""Above this share of the time that is allowed, a warning: the rest is for what nobody foresaw."""
FEWEST_DEFECT_PX, LEAST_DEFECT_PX = 3.0, 1.0
"""Fewer pixels across the smallest defect give a warning; below one it falls between the pixels."""


@dataclass(frozen=True, slots=True)
class LineFacts:
    """What an integrator knows before anything is bought. Raises UsageError for what cannot be."""

    frame: tuple[int, int]
    """(height, width) in pixels."""
    view_mm: tuple[float | None, float | None]
    """(height, width) of the field of view; None: as the other one says, with square pixels."""
    defect_mm: float
    """Width of the smallest defect that must be found."""
    rate: float
    """Frames a second; with `by_part` parts a second, one frame each."""
    speed_mm_s: float = 0.0
    """How fast parts move under the camera; 0: they stand still for the picture."""
    exposure_ms: float | None = None
    """None only where nothing moves."""
    along: int = 0
    """Parts move along this axis of the picture: 0 = y, 1 = x."""
    overlap_mm: float = 0.0
    """What two frames that follow each other must share, such as the longest defect."""
    by_part: bool = False
    """A frame is triggered by each part, so the belt between parts need not be seen."""
    most_blur_px: float = 1.0

    def __post_init__(self) -> None:
        if min(self.frame) < 1:
            raise UsageError(f"A frame of {self.frame[0]}x{self.frame[1]} pixels has none; give its size.")
        if self.view_mm == (None, None):
            raise UsageError("The field of view is not known; give its height, its width or both in mm.")
        named = {
            "view height": self.view_mm[0], "view width": self.view_mm[1], "smallest defect": self.defect_mm,
            "rate": self.rate, "exposure": self.exposure_ms, "blur limit": self.most_blur_px,
        }  # fmt: skip
        for name, value in named.items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"A {name} of {value:g} cannot be; give a number above 0.")
        for name, value in {"line speed": self.speed_mm_s, "overlap": self.overlap_mm}.items():
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"A {name} of {value:g} mm cannot be; give 0 or more.")
        if self.speed_mm_s and self.exposure_ms is None:
            raise UsageError("Parts move, so the exposure decides how blurred they are; give it.")
        if self.overlap_mm >= self.length_mm:
            raise UsageError(
                f"Frames of {self.length_mm:g} mm along the line cannot share {self.overlap_mm:g} mm;"
                " give a smaller overlap or a larger view."
            )

    @property
    def scale(self) -> Scale:
        """Millimetres a pixel."""
        y, x = (None if mm is None else mm / px for mm, px in zip(self.view_mm, self.frame, strict=True))
        return Scale(y or x or math.nan, x or y or math.nan)

    @property
    def length_mm(self) -> float:
        """Field of view along the movement."""
        return self._scale_along * self.frame[self.along]

    @property
    def _scale_along(self) -> float:
        return self.scale.x if self.along else self.scale.y

    @property
    def period_ms(self) -> float:
        return 1000 / self.rate

    @property
    def defect_px(self) -> float:
        """Width of the smallest defect where pixels are coarser."""
        return self.defect_mm / max(self.scale.y, self.scale.x)

    @property
    def blur_px(self) -> float:
        """How far a part moves while the shutter is open."""
        return self.speed_mm_s * (self.exposure_ms or 0.0) / 1000 / self._scale_along

    @property
    def advance_mm(self) -> float:
        """How far the line moves from one frame to the next."""
        return self.speed_mm_s / self.rate

    @property
    def shared_mm(self) -> float:
        """What two frames share along the line; below 0 the belt that none of them sees."""
        return self.length_mm - self.advance_mm

    def largest_speed_mm_s(self, frame_ms: float) -> float | None:
        """The fastest line on which blur, belt, exposure and processor hold; None: nothing limits it.

        frame_ms: what computing a frame takes. The rate may fall to what exposure and processor
        reach, as long as the belt is seen; a rate by part rises and falls with the line.
        """
        limits = []
        most_rate = 1000 / max(frame_ms, self.exposure_ms or 0.0)
        if self.exposure_ms is not None:
            limits.append(self.most_blur_px * self._scale_along * 1000 / self.exposure_ms)
        if not self.by_part:
            limits.append((self.length_mm - self.overlap_mm) * min(self.rate, most_rate))
        elif self.speed_mm_s:
            limits.append(self.speed_mm_s * most_rate / self.rate)
        return min(limits, default=None)


@dataclass(frozen=True, slots=True)
class Condition:
    """One clause of the contract."""

    name: str
    """defect, blur, belt, exposure or time."""
    state: str
    """ok, warn (it holds, barely) or fail."""
    words: str


def conditions(facts: LineFacts, frame_ms: float) -> tuple[Condition, ...]:
    """Every clause that applies, with values and limits in words; those of the optics first.

    frame_ms: milliseconds that computing one frame takes on the machine that is meant.
    Raises UsageError when that is no time.
    """
    if not (math.isfinite(frame_ms) and frame_ms > 0):
        raise UsageError(f"A frame cannot take {frame_ms:g} ms; measure again.")
    return (*optics(facts), _time(facts, frame_ms))


def optics(facts: LineFacts) -> tuple[Condition, ...]:
    """The clauses that lens, light, camera and belt decide, known before anything is measured."""
    found = [_defect(facts)]
    if facts.speed_mm_s:
        state = "ok" if facts.blur_px <= facts.most_blur_px else "fail"
        words = f"a part moves {facts.blur_px:.2f} px while exposed, limit {facts.most_blur_px:g} px"
        found.append(Condition("blur", state, words))
        if not facts.by_part:
            found.append(_belt(facts))
    if facts.exposure_ms is not None:
        state = "ok" if facts.exposure_ms <= facts.period_ms else "fail"
        words = f"exposed for {facts.exposure_ms:g} ms of the {facts.period_ms:.4g} ms between two frames"
        found.append(Condition("exposure", state, words))
    return tuple(found)


def _defect(facts: LineFacts) -> Condition:
    words = f"the smallest defect is {facts.defect_px:.1f} px wide"
    if facts.defect_px < LEAST_DEFECT_PX:
        return Condition("defect", "fail", f"{words}, less than one pixel")
    if facts.defect_px < FEWEST_DEFECT_PX:
        return Condition("defect", "warn", f"{words}; from {FEWEST_DEFECT_PX:g} px on it is found reliably")
    return Condition("defect", "ok", words)


def _belt(facts: LineFacts) -> Condition:
    words = f"{facts.advance_mm:.4g} mm from frame to frame, {facts.length_mm:.4g} mm seen"
    # A millionth of a millimetre is rounding, not belt.
    if facts.shared_mm < -1e-6:
        return Condition("belt", "fail", f"{words}: gaps of {-facts.shared_mm:.4g} mm")
    words += f": {max(0.0, facts.shared_mm):.4g} mm shared"
    if facts.shared_mm < facts.overlap_mm - 1e-6:
        return Condition("belt", "fail", f"{words}, wanted {facts.overlap_mm:g} mm")
    return Condition("belt", "ok", words)


def _time(facts: LineFacts, frame_ms: float) -> Condition:
    share = frame_ms / facts.period_ms
    words = f"computing takes {frame_ms:.4g} ms, {100 * share:.3g} % of the {facts.period_ms:.4g} ms"
    if share > 1:
        return Condition("time", "fail", f"{words} between two frames")
    if share > WARN_SHARE:
        return Condition("time", "warn", f"{words} between two frames; above {WARN_SHARE:.0%} is tight")
    return Condition("time", "ok", f"{words} between two frames")
