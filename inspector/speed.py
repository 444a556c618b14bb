"""The speed contract of a line: what optics, belt and processor allow together. Pure arithmetic.

Millimetres on the part become pixels; a smallest defect must be a few pixels wide, move by less
than about one while the shutter is open, lie in some frame, and that frame must be computed before
the next one comes. Each of these is a Condition. The contract fails when one of them does, is
doubtful when one is in doubt, and holds only without either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from inspector.errors import UsageError
from inspector.types import Scale
from inspector.units import shown

WARN_SHARE = 0.8
"""Above this share of the time that is allowed, a warning: the rest is for what nobody foresaw."""
LEAST_DEFECT_PX, SURE_DEFECT_PX = 3.0, 5.0
"""Across the smallest defect, where it is thinnest: with fewer than three pixels, what machine vision takes
for the least, a defect may be one pixel or none of full contrast; below five focus and noise decide."""
MOST_BLUR_PX = 1.0
"""More movement while exposed smears a defect over its neighbours, whatever limit was set."""
MOST_OBLONG = 0.03
"""Share by which a pixel's sides may differ, as a view measured with a ruler makes them, and no more."""
_SAME = 1 + 1e-9
"""0.3 mm at 0.1 mm a pixel are three of them, whatever binary fractions make of it."""


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
    most_blur_px: float = MOST_BLUR_PX
    square: bool = True
    """Pixels are as high as wide, so that a view which says otherwise is a mistake; False: it is meant."""

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
        self._check_view()
        if self.speed_mm_s and self.exposure_ms is None:
            raise UsageError("Parts move, so the exposure decides how blurred they are; give it.")
        if self.overlap_mm >= self.length_mm:
            raise UsageError(
                f"Frames of {shown(self.length_mm)} mm along the line cannot share"
                f" {shown(self.overlap_mm)} mm; give a smaller overlap or a larger view."
            )

    def _check_view(self) -> None:
        """Raises UsageError for pixels that are oblong by mistake, and a defect larger than the view."""
        height, width = self.seen_mm
        seen = f"{shown(height)} x {shown(width)} mm"
        if self.square and self.oblong > MOST_OBLONG:
            turned = _oblong(Scale(height / self.frame[1], width / self.frame[0])) <= MOST_OBLONG
            remedy = "turn the size or the view round" if turned else "correct the size or the view"
            raise UsageError(
                f"A view of {seen} on {self.frame[0]}x{self.frame[1]} pixels makes pixels of"
                f" {shown(self.scale.y)} x {shown(self.scale.x)} mm (height x width), one side"
                f" {shown(100 * self.oblong)} % longer, and a camera's are square; {remedy}, or say with"
                " --non-square-pixels that it is meant."
            )
        if self.defect_mm > min(self.seen_mm) * _SAME:
            raise UsageError(
                f"A smallest defect {shown(self.defect_mm)} mm wide does not fit into a view of {seen}"
                " (height x width); correct the defect's width, or give a larger view."
            )

    @property
    def seen_mm(self) -> tuple[float, float]:
        """(height, width) of the field of view."""
        return self.scale.y * self.frame[0], self.scale.x * self.frame[1]

    @property
    def oblong(self) -> float:
        """Share by which a pixel's longer side exceeds the other; 0: they are square."""
        return _oblong(self.scale)

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


def _oblong(scale: Scale) -> float:
    return max(scale.y, scale.x) / min(scale.y, scale.x) - 1


@dataclass(frozen=True, slots=True)
class Condition:
    """One clause of the contract."""

    name: str
    """defect, pixels, blur, belt, exposure or time."""
    state: str
    """ok, warn (in doubt) or fail."""
    words: str


def conclusion(found: Iterable[Condition]) -> Literal["holds", "doubtful", "fails"]:
    """What the clauses say together: the worst of them."""
    states = {one.state for one in found}
    return "fails" if "fail" in states else "doubtful" if "warn" in states else "holds"


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
    if facts.oblong > MOST_OBLONG:
        words = f"one side is {shown(100 * facts.oblong)} % longer, as --non-square-pixels says"
        found.append(Condition("pixels", "ok", words))
    if facts.speed_mm_s:
        found.append(_blur(facts))
        if not facts.by_part:
            found.append(_belt(facts))
    if facts.exposure_ms is not None:
        found.append(_exposure(facts, facts.exposure_ms))
    return tuple(found)


def _defect(facts: LineFacts) -> Condition:
    across = facts.defect_px * _SAME
    words = f"the smallest defect is {shown(across)} px wide"
    if across < LEAST_DEFECT_PX:
        return Condition("defect", "fail", f"{words}, at least {LEAST_DEFECT_PX:g} are needed to find it")
    if across < SURE_DEFECT_PX:
        return Condition("defect", "warn", f"{words}; it is found reliably from {SURE_DEFECT_PX:g} on")
    return Condition("defect", "ok", words)


def _blur(facts: LineFacts) -> Condition:
    moved = facts.blur_px / _SAME
    words = f"a part moves {shown(moved)} px while exposed, limit {shown(facts.most_blur_px)} px"
    if moved > facts.most_blur_px:
        return Condition("blur", "fail", words)
    if moved > MOST_BLUR_PX:
        return Condition("blur", "warn", f"{words}; above {MOST_BLUR_PX:g} px edges and thin defects smear")
    return Condition("blur", "ok", words)


def _exposure(facts: LineFacts, exposure_ms: float) -> Condition:
    words = f"exposed for {shown(exposure_ms)} ms of the {shown(facts.period_ms)} ms between two frames"
    if exposure_ms < facts.period_ms:
        return Condition("exposure", "ok", words)
    longer = "longer than" if exposure_ms > facts.period_ms else "all"
    words = f"exposed for {shown(exposure_ms)} ms, {longer} the {shown(facts.period_ms)} ms between two"
    return Condition("exposure", "fail", f"{words} frames, so no camera gives this rate")


def _belt(facts: LineFacts) -> Condition:
    words = f"{shown(facts.advance_mm)} mm from frame to frame, {shown(facts.length_mm)} mm seen"
    # A millionth of a millimetre is rounding, not belt.
    if facts.shared_mm < -1e-6:
        return Condition("belt", "fail", f"{words}: gaps of {shown(-facts.shared_mm)} mm")
    words += f": {shown(max(0.0, facts.shared_mm))} mm shared"
    if facts.shared_mm < facts.overlap_mm - 1e-6:
        return Condition("belt", "fail", f"{words}, wanted {shown(facts.overlap_mm)} mm")
    return Condition("belt", "ok", words)


def _time(facts: LineFacts, frame_ms: float) -> Condition:
    share, period = frame_ms / facts.period_ms, f"the {shown(facts.period_ms)} ms between two frames"
    words = f"computing takes {shown(frame_ms)} ms, {shown(100 * share)} % of {period}"
    if share > 1:
        return Condition("time", "fail", words)
    if share > WARN_SHARE:
        return Condition("time", "warn", f"{words}; above {WARN_SHARE:.0%} is tight")
    return Condition("time", "ok", words)
