"""The one writer of the ledger: evidence first, then the row, then the word to the outside."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy
from sqlalchemy import Connection, select

from inspector.db import writes
from inspector.db.connect import ledger_folder
from inspector.db.counter import FrameCounter, counter_path
from inspector.db.health import HealthBeat, write_health
from inspector.db.recover import FAILED, close_run, fill_missing
from inspector.db.schema import RunRow
from inspector.db.transactions import WRITE, told, writing
from inspector.db.writes import RunFacts
from inspector.engine.memory import MOST_WAITING
from inspector.errors import DiskRefused, InspectionError, LedgerError
from inspector.evidence import EvidenceFolder
from inspector.keeping import Keeping, Kept, evidence_error, in_time
from inspector.types import Fault, Inspection, Reason

if TYPE_CHECKING:
    from inspector.config import Recipe, RecordingConfig
    from inspector.engine.protocol import EngineInfo
    from inspector.package import ModelPackage

__all__ = ["HealthBeat", "Recorded", "Recorder", "RunStart"]

TICK_S = 0.25
MISSING = Reason(Fault.CRASH.value, "The station stopped before this frame was judged")


@dataclass(frozen=True, slots=True)
class RunStart:
    """What a run is, known before its first frame."""

    run_id: str
    """A ULID; see python-ulid."""
    camera_id: str
    package: ModelPackage
    engine: EngineInfo
    recipe: Recipe
    lot: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """An inspection whose row is committed: only now may anybody hear of it."""

    inspection_id: int
    run_id: str
    inspection: Inspection
    """As committed; differs from what was submitted where its evidence could not be stored."""
    image_path: Path | None
    committed_mono_ns: int
    row_mono_ns: int
    """The time of commit as the row has it: taken before COMMIT, which a row cannot know the end of."""


_Write: TypeAlias = Callable[[Connection], None]


class Recorder:
    """Keeps every inspection and publishes each one after its row is committed.

    One thread owns the write connection; what waits is committed together. `counter` is the
    run's frame counter, locked as long as the run lives: the grabber calls `counter.next()`
    for each frame a grab returned. When writing fails, `error` is set, nothing further is
    published and `submit` raises; frames without a row get theirs at the next open, with the
    reason that `left` says.
    """

    def __init__(
        self,
        ledger: sqlalchemy.Engine,
        start: RunStart,
        recording: RecordingConfig,
        publish: Callable[[tuple[Recorded, ...]], None],
        *,
        recent_mb: int = 128,
        waiting: int = MOST_WAITING,
    ) -> None:
        """Begin the run and start the writer thread.

        publish: called in the writer thread, after COMMIT, in the order of submission.
        recent_mb: memory for frames that were not kept, should somebody flag them.
        waiting: records that may wait, and that one commit takes; few where frames are large.
        Raises LedgerError when the ledger, the counter or the evidence folder cannot be written.
        """
        self.error: LedgerError | None = None
        self.left = MISSING
        """Why a frame that was grabbed and not committed has, or will have, its row."""
        self.run_id = start.run_id
        self._ledger, self._publish = ledger, publish
        self._folder = ledger_folder(ledger.url)
        self._facts = self._served = run_facts(start)
        self._waiting = waiting
        self._queue: queue.Queue[Inspection | _Write | RunFacts | None] = queue.Queue(waiting)
        self._beats: deque[HealthBeat] = deque(maxlen=1)
        self._deadline_ms = start.recipe.deadline_ms
        self._closing = False
        self._synced = time.monotonic()
        evidence = _evidence(self._folder, recording.folder, start.run_id)
        self._keeping = Keeping(evidence, recording, start.run_id, recent_mb * 2**20)
        self.counter = FrameCounter(counter_path(self._folder, start.run_id))
        try:
            self._begin(start)
        except InspectionError:
            self.counter.close()
            raise
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def submit(self, inspection: Inspection) -> None:
        """Hand an inspection over; waits while too many are under way.

        Raises LedgerError when the recorder failed or was closed.
        """
        self._put(inspection)

    def gap(self, after_number: int, count: int, words: str) -> None:
        """Record frames that the camera itself lost after the given number. Raises LedgerError."""
        self._put(lambda connection: writes.add_gap(connection, self.run_id, after_number, count, words))

    def event(
        self, kind: str, words: str, data: dict[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> None:
        """Record something that happened to the run.

        timeout_s: give up when there is no room for so long, as on a disk that hangs; None waits.
        Raises LedgerError.
        """
        self._put(lambda connection: writes.add_event(connection, self.run_id, kind, words, data), timeout_s)

    def health(self, beat: HealthBeat) -> None:
        """Put the sign of life in the place of the last one; never waits."""
        self._beats.append(beat)

    def serve(self, info: EngineInfo) -> None:
        """From the next inspection on, rows name this engine, its precision and its certificate.

        For the thread that submits what the engine judged; nothing happens when it is the same one.
        Raises LedgerError.
        """
        facts = replace(
            self._served, engine=info.name, precision=info.precision, certificate=info.certificate
        )
        if facts != self._served:
            self._put(facts)
            self._served = facts

    def close(self, timeout_s: float = 30.0) -> None:
        """Write all that waits, mark the run ended and stop the thread. May be called twice.

        Numbers that were given out and never submitted get UNINSPECTED(crash) rows.
        Raises LedgerError when that failed or is not done after timeout_s; the frames
        without a row then get theirs at the next open.
        """
        if self._closing:
            return
        deadline = time.monotonic() + timeout_s
        while self._thread.is_alive() and time.monotonic() < deadline:
            try:
                self._queue.put(None, timeout=TICK_S)
                break
            except queue.Full:
                continue
        self._closing = True
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            raise LedgerError(
                f"The recorder did not finish within {timeout_s:g} s and {self._queue.qsize()} records wait;"
                " check the disk: these frames are found as crashed at the next open."
            )
        self.counter.close()
        if self.error is not None:
            raise self.error

    def _put(self, item: Inspection | _Write | RunFacts, timeout_s: float | None = None) -> None:
        began = time.monotonic()
        while True:
            if self.error is not None:
                raise LedgerError(str(self.error)) from self.error
            if self._closing:
                raise LedgerError("The recorder is closed; this frame gets its row at the next open.")
            try:
                return self._queue.put(item, timeout=TICK_S)
            except queue.Full:
                if timeout_s is not None and time.monotonic() - began > timeout_s:
                    raise LedgerError(
                        f"The recorder took nothing for {timeout_s:g} s; check the disk."
                    ) from None

    def _begin(self, start: RunStart) -> None:
        info = start.engine
        with writing(self._ledger) as connection:
            manifest = start.package.manifest.model_dump(mode="json")
            writes.add_package(connection, start.package.id, start.package.path, manifest)
            writes.add_recipe(connection, start.recipe.hash(), start.recipe.name, start.recipe.text())
            writes.add_run(
                connection, self._facts, engine_version=info.version, device=info.device,
                tile_h=info.tile[0], tile_w=info.tile[1], evidence=str(self._keeping.path),
            )  # fmt: skip

    def _work(self) -> None:
        try:
            with told(self._ledger.url), self._ledger.connect() as plain:
                connection = plain.execution_options(**{WRITE: True})
                while self._step(connection):
                    pass
        except LedgerError as error:
            self._fail(error)
        except Exception as error:  # the thread's outermost edge: the station must hear of it
            words = f"The recorder failed ({type(error).__name__}: {error}); start the line again."
            self._fail(LedgerError(words))

    def _fail(self, error: LedgerError) -> None:
        fault = Fault.DISK if isinstance(error, DiskRefused) else Fault.CRASH
        self.left = Reason(fault.value, FAILED)
        self.counter.failed(Reason(fault.value, str(error)))  # the ledger cannot be told it now
        self.error = error

    def _step(self, connection: Connection) -> bool:
        """One batch: evidence, rows, COMMIT, publish. False after the last one."""
        batch, more = self._take()
        inspections = [in_time(item, self._deadline_ms) for item in batch if isinstance(item, Inspection)]
        kept, failure = self._keeping.keep(inspections)
        beat = self._beats.pop() if self._beats else None
        if batch or beat is not None:
            with connection.begin():
                rows = [
                    writes.add_inspection(connection, self._facts, one.inspection, one.stored) for one in kept
                ]
                for item in batch:
                    if isinstance(item, RunFacts):
                        self._facts = item  # the last of its batch
                    elif not isinstance(item, Inspection):
                        item(connection)
                if beat is not None:
                    write_health(connection, self.run_id, beat)
            self._tell(rows, kept)
        if failure is not None:
            raise failure
        self._keeping.keep_flagged(connection)
        self._keeping.evict(connection)
        if time.monotonic() - self._synced > 1.0:
            self.counter.sync()
            self._synced = time.monotonic()
        if not more:
            self._end(connection)
        return more

    def _take(self) -> tuple[list[Inspection | _Write | RunFacts], bool]:
        """What waits, and whether more may come; an empty batch after a quiet moment.

        Ends with other facts, so that what comes after them is written with them.
        """
        batch: list[Inspection | _Write | RunFacts] = []
        try:
            while len(batch) < self._waiting and not (batch and isinstance(batch[-1], RunFacts)):
                item = self._queue.get(timeout=TICK_S) if not batch else self._queue.get_nowait()
                if item is None:
                    return batch, False
                batch.append(item)
        except queue.Empty:
            pass
        return batch, True

    def _tell(self, rows: list[tuple[int, int]], kept: list[Kept]) -> None:
        if not rows:
            return
        now = time.monotonic_ns()
        self._publish(
            tuple(
                Recorded(
                    inspection_id=row_id,
                    run_id=self.run_id,
                    inspection=one.inspection,
                    image_path=self._folder / one.stored.image_path if one.stored.image_path else None,
                    committed_mono_ns=now,
                    row_mono_ns=row_ns,
                )
                for (row_id, row_ns), one in zip(rows, kept, strict=True)
            )
        )

    def _end(self, connection: Connection) -> None:
        with connection.begin():
            run = connection.execute(select(RunRow.__table__).where(RunRow.id == self.run_id)).one()
            filled = fill_missing(connection, run, self.counter.last, MISSING, self._folder)
            if filled.rows:
                words = f"{filled.rows} of {filled.count} frames were grabbed and never reached the recorder"
                writes.add_event(connection, self.run_id, "unaccounted", words, {"rows": filled.rows})
            close_run(connection, self.run_id, "closed", filled.count)


def _evidence(ledger: Path, folder: Path, run_id: str) -> EvidenceFolder:
    """The run's evidence folder. Raises what `evidence_error` gives where it cannot be made."""
    try:
        return EvidenceFolder(ledger / folder, run_id, ledger)
    except OSError as error:
        raise evidence_error(ledger / folder, error) from error


def run_facts(start: RunStart) -> RunFacts:
    """The columns that each row of this run shares."""
    scale = start.recipe.mm_per_px
    return RunFacts(
        run_id=start.run_id,
        camera_id=start.camera_id,
        lot=start.lot,
        package_id=start.package.id,
        engine=start.engine.name,
        precision=start.engine.precision,
        certificate=start.engine.certificate,
        recipe_hash=start.recipe.hash(),
        mm_per_px=None if scale is None else (float(scale[0]), float(scale[1])),
    )
