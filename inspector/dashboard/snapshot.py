"""What one refresh of the screen is drawn from: read once, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inspector.live import Picture
from inspector.types import VerdictWord


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What stays the same through a run."""

    run_id: str
    camera: str
    engine: str
    precision: str
    device: str
    certificate: str
    package: str
    """Name and version."""
    package_id: str
    recipe: str
    recipe_hash: str
    lot: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The station's last sign of life."""

    state: str
    """starting, running, paused, blind, stopping, ended, failed."""
    words: str
    utc_ns: int
    camera_state: str
    fps: float
    latency_ms: tuple[float, float, float] | None
    """p50, p95 and the largest, from grab until the disk has the row; None before the first frame."""
    budget_ms: Mapping[str, float] = field(default_factory=dict)
    """What each stage, and all together, takes for the slowest frame in twenty."""
    budget_share: Mapping[str, float] = field(default_factory=dict)
    """The same as shares of the time between frames, and of the deadline; empty where nothing limits it."""
    warning: str = ""
    """Why frames may soon be late; empty while there is time to spare."""
    waiting: int = 0
    """Frames that are grabbed and not judged yet."""
    frame_s: float = 0.0
    """What engine and judge take for a frame, on average over the run; 0 before the first."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One row of the ledger as the screen shows it."""

    run_id: str
    number: int
    word: VerdictWord
    why: str
    """Reasons in words; empty for PASS."""
    utc_ns: int
    image_path: str | None = None
    flagged: bool = False
    committed_utc_ns: int = 0
    """When the row was written; 0 when nobody knows. On a slow line long after the grab."""
    brief: str = ""
    """The reasons in few words: a class without a limit with its size. Empty: as `why`."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything on the screen at one moment."""

    utc_ns: int
    trouble: str | None = None
    """Why the ledger could not be read; then nothing else is believed."""
    run: RunFacts | None = None
    beat: Beat | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    gaps: int = 0
    current: Judged | None = None
    """The frame on screen: committed in the ledger."""
    newest: Judged | None = None
    """The last frame with a row; a few numbers past `current` on a fast line."""
    picture: Picture | None = None
    """The picture of `current`, or None when there is none."""
    rejects: tuple[Judged, ...] = ()
    """Newest first; every word but PASS."""
    asked: tuple[str, ...] = ()
    """Kinds of requests that the station has not answered yet."""

    @property
    def beat_age_s(self) -> float:
        """Seconds since the station's last sign of life; infinite when there was none.

        One from the future counts by its distance as well: the clock was set back since, and a
        station that lives would have given another.
        """
        return abs(self.utc_ns - self.beat.utc_ns) / 1e9 if self.beat else float("inf")

    @property
    def current_age_s(self) -> float:
        """Seconds since the grab of the frame on screen, from the future as above."""
        return abs(self.utc_ns - self.current.utc_ns) / 1e9 if self.current else float("inf")

    @property
    def verdict_age_s(self) -> float:
        """Seconds since the last row was written, from the future as above."""
        newest = self.newest
        if newest is None or newest.committed_utc_ns == 0:
            return float("inf")
        return abs(self.utc_ns - newest.committed_utc_ns) / 1e9

    @property
    def newest_age_s(self) -> float:
        """Seconds since the grab of the last frame with a row, from the future as above."""
        return abs(self.utc_ns - self.newest.utc_ns) / 1e9 if self.newest else float("inf")

    @property
    def judging(self) -> bool:
        """True while verdicts keep coming, however long after the grab."""
        if self.beat is None or self.beat.waiting == 0:
            return self.verdict_age_s <= OLD_AFTER_S
        return self.verdict_age_s <= max(SLOW_AFTER_S, SLOW_FRAMES * self.beat.frame_s)

    @property
    def alive(self) -> bool:
        """True while a station answers: what is asked of it can still be done."""
        over = self.beat is None or self.beat.state in ("ended", "failed")
        return not over and self.trouble is None and self.beat_age_s <= SILENT_AFTER_S


SILENT_AFTER_S = 3.0
"""A station that gave no sign for so long is taken for dead."""
OLD_AFTER_S = 3.0
"""A verdict older than this is not the verdict of what is under the camera now."""
SLOW_AFTER_S = 10.0
"""While frames wait, the next verdict may take so long; after that the line has stopped judging."""
SLOW_FRAMES = 2.0
"""Or as long as so many frames take on this line, where that is more."""
