"""What is said of a run that died: each frame it grabbed and never judged gets its row."""

from __future__ import annotations

import hashlib
import platform
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from inspector.db.counter import counter_path, is_held, read_count, read_failure
from inspector.db.schema import InspectionRow, RunRow
from inspector.db.transactions import reading, writing
from inspector.db.writes import add_event
from inspector.types import Fault, Reason, VerdictWord

CRASHED = Reason(Fault.CRASH.value, "The station died before this frame was judged")
FAILED = "The line failed before this frame was recorded; the run's events say why"


def recover_dead_runs(engine: Engine, folder: Path) -> list[str]:
    """Give rows to the frames of all dead runs of this machine and mark them ended; returns their ids.

    The reason is what the run left behind as it failed, such as a full disk, else crash. Each run
    is mended in one transaction: rows and end together, or neither.
    folder: the ledger's folder, which holds the counters.
    """
    recovered = []
    for run_id in dead_runs(engine, folder):
        with writing(engine) as connection:
            if _recover(connection, run_id, folder):
                recovered.append(run_id)
    return recovered


def dead_runs(engine: Engine, folder: Path) -> list[str]:
    """Runs of this machine without an end whose counter's lock nobody holds.

    A run is this machine's when its counter lies here, or when it bears this machine's name: a
    container that is made again has another name, and a counter may be gone.
    """
    open_runs = select(RunRow.id, RunRow.host).where(RunRow.ended_at.is_(None))
    with reading(engine) as connection:
        candidates = [(row.id, row.host) for row in connection.execute(open_runs)]
    found = []
    for run_id, host in candidates:
        counter = counter_path(folder, run_id)
        if not is_held(counter) and (host == platform.node() or counter.exists()):
            found.append(run_id)
    return found


def waiting_frames(engine: Engine, folder: Path) -> int:
    """Frames of dead runs that have no row until the ledger can be written again."""
    waiting = 0
    for run_id in dead_runs(engine, folder):
        mine = InspectionRow.run_id == run_id
        with reading(engine) as connection:
            counted, rows = connection.execute(
                select(func.max(InspectionRow.number), func.count()).where(mine)
            ).one()
        waiting += max(read_count(counter_path(folder, run_id)) or 0, counted or 0) - rows
    return waiting


def _recover(connection: Connection, run_id: str, folder: Path) -> bool:
    run = connection.execute(select(RunRow.__table__).where(RunRow.id == run_id)).one()
    if run.ended_at is not None:
        return False  # another program was quicker
    counter = counter_path(folder, run_id)
    count, failure = read_count(counter), read_failure(counter)
    for torn in Path(run.evidence).glob("*.tmp"):
        with suppress(OSError):  # it stays, and the audit lists it
            torn.unlink()
    reason = CRASHED if failure is None else Reason(failure.code, FAILED)
    filled = fill_missing(connection, run, count, reason, folder)
    close_run(connection, run_id, "crash", filled.count)
    words = f"The run was found dead; {filled.rows} of its {filled.count} frames had no verdict"
    if count is None:
        words += " (its frame counter is gone, so later frames may be missing)"
    data = {"rows": filled.rows, "counted": filled.count, "counter": count}
    add_event(connection, run_id, "recovered", words, data)
    if failure is not None:  # the run itself could not write it any more
        add_event(connection, run_id, "failed", failure.words, None)
    return True


def close_run(connection: Connection, run_id: str, end: str, counted: int) -> None:
    """Mark a run ended; end: `closed` or `crash`."""
    values = {"ended_at": datetime.now(UTC), "end": end, "counted": counted}
    connection.execute(update(RunRow).where(RunRow.id == run_id).values(values))


class Filled:
    """How many rows were added, and up to which number the run now has them all."""

    def __init__(self, rows: int, count: int) -> None:
        self.rows = rows
        self.count = count


def fill_missing(
    connection: Connection, run: Row[Any], count: int | None, reason: Reason, folder: Path
) -> Filled:
    """Add an UNINSPECTED row with this reason for each number up to the count that has none.

    count: the frame counter; a power cut may have taken it back, so the largest number with a
    row counts as well. A picture that was stored without its row is adopted by the new row.
    """
    largest = connection.scalar(select(func.max(InspectionRow.number)).where(InspectionRow.run_id == run.id))
    last = max(count or 0, largest or 0)
    missing = missing_numbers(connection, run.id, last)
    if missing:
        connection.execute(
            insert(InspectionRow), [_filled_row(run, number, reason, folder) for number in missing]
        )
    return Filled(len(missing), last)


def missing_numbers(connection: Connection, run_id: str, last: int) -> list[int]:
    """The numbers from 1 to `last` that have no row in this run, ascending.

    Rows are counted first and else read one after the other: a month at 30 frames a second has
    78 million, more than a station has memory for when it stops.
    """
    mine = (InspectionRow.run_id == run_id, InspectionRow.number.between(1, last))
    if connection.scalar(select(func.count()).where(*mine)) == last:  # numbers are unique within a run
        return []
    numbers = select(InspectionRow.number).where(*mine).order_by(InspectionRow.number)
    missing: list[int] = []
    expected = 1
    for number in connection.scalars(numbers.execution_options(yield_per=10_000)):
        missing.extend(range(expected, number))
        expected = number + 1
    missing.extend(range(expected, last + 1))
    return missing


def _filled_row(run: Row[Any], number: int, reason: Reason, folder: Path) -> dict[str, Any]:
    image_path, image_hash = _adopted(Path(run.evidence) / f"{number:08d}.png", folder)
    mask_path, mask_hash = _adopted(Path(run.evidence) / f"{number:08d}.mask.png", folder)
    return {
        "run_id": run.id, "number": number, "camera_id": run.camera_id, "part_id": None, "lot": run.lot,
        "source": "", "grab_utc_ns": None, "grab_mono_ns": None,
        "judged_utc_ns": None, "judged_mono_ns": None,
        "committed_utc_ns": time.time_ns(), "committed_mono_ns": time.monotonic_ns(),
        "verdict": VerdictWord.UNINSPECTED, "reason_code": reason.code, "reason_words": reason.words,
        "reasons": [[reason.code, reason.words]], "package_id": run.package_id, "engine": run.engine,
        "precision": run.precision, "certificate": run.certificate, "recipe_hash": run.recipe_hash,
        "mm_per_px_y": run.mm_per_px_y, "mm_per_px_x": run.mm_per_px_x, "coverage": 0.0, "stages_ms": {},
        "defect_count": 0, "image_path": image_path, "image_sha256": image_hash,
        "mask_path": mask_path, "mask_sha256": mask_hash, "evicted_at": None,
    }  # fmt: skip


def _adopted(file: Path, folder: Path) -> tuple[str, str] | tuple[None, None]:
    """Path and sha256 of a file as a row names it, two None where there is none that can be read."""
    with suppress(OSError), file.open("rb") as opened:
        return stored_path(file, folder), hashlib.file_digest(opened, "sha256").hexdigest()
    return None, None


def stored_path(path: Path, folder: Path) -> str:
    """How a path is written in a row: relative to the ledger's folder where it lies inside it."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
