"""What queries hand out: frozen rows that outlive their connection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from inspector.types import Reason, VerdictWord


@dataclass(frozen=True, slots=True)
class Run:
    """One start of the line."""

    id: str
    camera_id: str
    lot: str | None
    package_id: str
    package_name: str
    package_version: str
    recipe_hash: str
    recipe_name: str
    engine: str
    engine_version: str
    precision: str
    device: str
    certificate: str
    tile: tuple[int, int]
    started_at: datetime
    ended_at: datetime | None
    end: str | None
    """closed, crash, or None while it runs."""
    counted: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """One inspection as the ledger has it."""

    id: int
    run_id: str
    number: int
    camera_id: str
    part_id: str | None
    lot: str | None
    source: str
    grab_utc_ns: int | None
    """None for a frame that was found after a crash, as are the other times but the commit's."""
    judged_utc_ns: int | None
    committed_utc_ns: int
    latency_ms: float | None
    """From grab until the row was handed to the ledger."""
    word: VerdictWord
    reasons: tuple[Reason, ...]
    package_id: str
    engine: str
    precision: str
    certificate: str
    recipe_hash: str
    mm_per_px: tuple[float, float] | None
    coverage: float
    stages_ms: dict[str, float]
    defect_count: int
    image_path: Path | None
    """Absolute; None when not kept or evicted."""
    image_sha256: str | None
    mask_path: Path | None
    mask_sha256: str | None

    @property
    def why(self) -> str:
        """The reasons as an operator reads them, `` for a PASS."""
        return "; ".join(reason.words for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class Flag:
    """A frame that a person doubts."""

    id: int
    run_id: str
    frame_number: int
    operator: str
    kind: str
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames that the camera lost after a number."""

    run_id: str
    after_number: int
    count: int
    words: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run."""

    run_id: str
    at: datetime
    kind: str
    words: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Evictable:
    """A row whose evidence may go, and the files that go with it (as the row names them)."""

    id: int
    files: tuple[str, ...]
