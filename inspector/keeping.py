"""What is kept as evidence, for how long, and what happens when the disk refuses."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from inspector.db import writes
from inspector.db.queries import evictable, flagged_without_image
from inspector.db.transactions import reading
from inspector.db.writes import Stored
from inspector.durable import disk_remedy
from inspector.errors import DiskRefused, LedgerError
from inspector.evidence import EvidenceFolder, RecentFrames
from inspector.types import Fault, Inspection, Reason, Verdict, VerdictWord
from inspector.units import shown

if TYPE_CHECKING:
    from inspector.config import RecordingConfig

EVICT_AT_ONCE = 50
_WITH_MASK = (VerdictWord.REJECT, VerdictWord.REVIEW)


@dataclass(frozen=True, slots=True)
class Kept:
    """An inspection as it goes into the ledger, and the evidence that its row names."""

    inspection: Inspection
    stored: Stored


class Keeping:
    """The recorder's evidence: what the config keeps, what people flag, and what must go."""

    def __init__(
        self, folder: EvidenceFolder, config: RecordingConfig, run_id: str, recent_bytes: int
    ) -> None:
        self._folder, self._config, self._run_id = folder, config, run_id
        self._recent = RecentFrames(recent_bytes)
        self._max_bytes = None if config.max_gb is None else round(config.max_gb * 1e9)
        self._said_full = False

    @property
    def path(self) -> Path:
        """The folder of this run's pictures."""
        return self._folder.path

    def keep(self, inspections: list[Inspection]) -> tuple[list[Kept], LedgerError | None]:
        """Store the evidence of a batch, on the disk when this returns.

        A frame whose evidence the disk refuses comes back as UNINSPECTED(disk): it still gets
        its row, and the error says why the line has to stop.
        """
        kept: list[Kept] = []
        failure: LedgerError | None = None
        for inspection in inspections:
            try:
                kept.append(Kept(inspection, self._store(inspection)))
            except OSError as error:
                failure = evidence_error(self._folder.path, error)
                kept.append(Kept(_unkept(inspection, error), Stored()))
        if any(one.stored.image_path for one in kept):
            try:
                self._folder.sync()
            except OSError as error:
                failure = evidence_error(self._folder.path, error)
                kept = [Kept(_unkept(one.inspection, error), Stored()) for one in kept]
        return kept, failure

    def _store(self, inspection: Inspection) -> Stored:
        image = inspection.frame.image
        if image is None:
            return Stored()
        if not self._wanted(inspection):
            self._recent.add(inspection)
            return Stored()
        with_mask = inspection.verdict.word in _WITH_MASK
        return self._folder.store(inspection.frame.number, image, inspection.mask if with_mask else None)

    def _wanted(self, inspection: Inspection) -> bool:
        every = self._config.pass_every
        if inspection.verdict.word is VerdictWord.PASS and every and inspection.frame.number % every == 0:
            return True
        return inspection.verdict.word.value.lower() in self._config.keep

    def keep_flagged(self, connection: Connection) -> None:
        """Store recent frames that somebody flagged and that the config would not have kept."""
        numbers = self._recent.numbers()
        if not numbers:
            return
        with reading(connection.engine) as reader:  # most of the time there is nothing to write
            flagged = flagged_without_image(reader, self._run_id, numbers[0])
        for number in set(flagged) & set(numbers):
            inspection = self._recent.take(number)
            assert inspection.frame.image is not None  # only frames with a picture are remembered
            try:
                stored = self._folder.store(number, inspection.frame.image, inspection.mask)
                self._folder.sync()
            except OSError as error:
                raise evidence_error(self._folder.path, error) from error
            with connection.begin():
                writes.set_evidence(connection, self._run_id, number, stored)

    def evict(self, connection: Connection) -> None:
        """Delete some of the oldest evidence that nobody flagged when the folder is over its limit.

        Only some, because frames wait for this thread: the next call goes on.
        The other way round than keeping: the row forgets first, then the file goes, so that
        no row ever points to a missing file.
        """
        if self._max_bytes is not None and self._folder.bytes > self._max_bytes:
            with connection.begin():
                oldest = evictable(connection, EVICT_AT_ONCE)
                writes.clear_evidence(connection, [row.id for row in oldest])
                if not oldest and not self._said_full:
                    words = f"Evidence in {self._folder.root} is over its limit and none of it may be deleted"
                    writes.add_event(connection, self._run_id, "evidence_full", words, None)
                    self._said_full = True
            try:
                self._folder.delete(path for row in oldest for path in row.files)
            except OSError as error:
                self._stop_evicting(connection, error)

    def _stop_evicting(self, connection: Connection, error: OSError) -> None:
        """Trying on would make one row after the other forget a file that stays."""
        self._max_bytes = None
        words = (
            f"Old evidence in {self._folder.root} cannot be deleted ({error.strerror}), so it grows over its"
            " limit; give this user write access there, then start again."
        )
        with connection.begin():
            writes.add_event(connection, self._run_id, "evidence_full", words, None)


def in_time(inspection: Inspection, deadline_ms: float | None) -> Inspection:
    """The inspection, or UNINSPECTED(late) when it waited for the disk until past the deadline."""
    age_ms = (time.monotonic_ns() - inspection.frame.mono_ns) / 1e6
    if deadline_ms is None or age_ms <= deadline_ms or inspection.verdict.word is VerdictWord.UNINSPECTED:
        return inspection
    words = f"waited for the ledger until {age_ms:.0f} ms after the grab, limit {shown(deadline_ms)} ms"
    return _uninspected(inspection, Reason(Fault.LATE.value, words))


def _unkept(inspection: Inspection, error: OSError) -> Inspection:
    words = f"Its evidence could not be kept ({error.strerror or error})"
    return _uninspected(inspection, Reason(Fault.DISK.value, words))


def _uninspected(inspection: Inspection, reason: Reason) -> Inspection:
    return replace(
        inspection, verdict=Verdict(VerdictWord.UNINSPECTED, (reason, *inspection.verdict.reasons))
    )


def evidence_error(folder: Path, error: OSError) -> LedgerError:
    """The sentence for a disk that refuses evidence."""
    return DiskRefused(
        f"Evidence cannot be written into {folder} ({error.strerror or error}); {disk_remedy(error)}, or name"
        " another with recording.folder."
    )
