"""What a `sim:` camera is told: `sim:[path]?fps=30&size=720x1280&fault=black@10,stall@40:2.5`.

fps      pictures a second (30)            size    HEIGHTxWIDTH of made pictures (720x1280)
seed     which pictures are made (1)       frames  end after so many (none: for ever, or the path's end)
loop     1: begin the path again           log     file that gets one JSON line a frame
fault    comma-separated kind@FRAME, kind@FIRST-LAST or kind@FRAME:SECONDS, frames counted from 1:
         black, frozen (repeats the picture before), broken (marked bad by the camera),
         size (half the size), lost (never arrives; the camera knows), stall (nothing comes
         for SECONDS), dead (the camera is gone and opens again after SECONDS)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from inspector.errors import UsageError

KINDS = ("black", "frozen", "broken", "size", "lost", "stall", "dead")
KEYS = ("fps", "size", "seed", "frames", "loop", "log", "fault")
_FAULT = re.compile(r"(?P<kind>[a-z]+)@(?P<first>\d+)(?:-(?P<last>\d+))?(?::(?P<seconds>\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class SimFault:
    """One thing that goes wrong on frames first to last, both included, counted from 1."""

    kind: str
    first: int
    last: int
    seconds: float = 0.0
    """How long a stall lasts, or a dead camera refuses to open."""


@dataclass(frozen=True, slots=True)
class SimSpec:
    """A simulator as asked for."""

    path: Path | None = None
    fps: float = 30.0
    size: tuple[int, int] = (720, 1280)
    seed: int = 1
    frames: int | None = None
    loop: bool = False
    log: Path | None = None
    faults: tuple[SimFault, ...] = ()

    def fault_at(self, number: int) -> SimFault | None:
        """The first fault that covers this frame number."""
        return next((f for f in self.faults if f.first <= number <= f.last), None)


def parse_sim(spec: str) -> SimSpec:
    """The SimSpec of a `sim:` text. Raises UsageError naming the part that cannot be read."""
    path, _, query = spec.removeprefix("sim:").partition("?")
    values = dict(parse_qsl(query, keep_blank_values=True))
    for key in values:
        if key not in KEYS:
            raise UsageError(f"`{key}` in {spec} is no setting of the simulator; it knows {', '.join(KEYS)}.")
    frames, log = values.get("frames"), values.get("log")
    return SimSpec(
        path=Path(path) if path else None,
        fps=_number(spec, "fps", values.get("fps", "30"), least=0.01),
        size=_size(spec, values.get("size", "720x1280")),
        seed=int(_number(spec, "seed", values.get("seed", "1"), least=0)),
        frames=int(_number(spec, "frames", frames, least=1)) if frames else None,
        loop=values.get("loop", "0") not in ("0", ""),
        log=Path(log) if log else None,
        faults=tuple(_fault(spec, text) for text in values.get("fault", "").split(",") if text),
    )


def _number(spec: str, key: str, text: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not value >= least or value == float("inf"):
        raise UsageError(f"{key}={text} in {spec} must be a number of at least {least:g}.")
    return value


def _size(spec: str, text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    height, width = (int(match[1]), int(match[2])) if match else (0, 0)
    if height < 1 or width < 1:
        raise UsageError(f"size={text} in {spec} must be HEIGHTxWIDTH in pixels, such as 720x1280.")
    return height, width


def _fault(spec: str, text: str) -> SimFault:
    match = _FAULT.fullmatch(text)
    if match is None or match["kind"] not in KINDS or int(match["first"]) < 1:
        raise UsageError(
            f"fault={text} in {spec} cannot be read; write kind@FRAME, kind@FIRST-LAST or kind@FRAME:SECONDS"
            f" with one of {', '.join(KINDS)}."
        )
    first = int(match["first"])
    return SimFault(
        match["kind"], first, max(first, int(match["last"] or first)), float(match["seconds"] or 0.0)
    )
