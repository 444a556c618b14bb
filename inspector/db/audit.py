"""Whether a ledger balances: counter, rows, pictures, and the simulator's own account."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine, func, select, text

from inspector.counting import counted
from inspector.db.connect import ledger_folder
from inspector.db.counter import counter_path, is_held, read_count
from inspector.db.schema import EventRow, GapRow, InspectionRow, RunRow
from inspector.db.simlog import SimLog
from inspector.db.transactions import reading
from inspector.errors import LedgerError

SETTLED_S = 900
"""A frame of a living run whose successor was recorded so long ago is lost, not under way: a full
queue of 1024 frames waits less."""


@dataclass(slots=True)
class RunAudit:
    """What was counted and what was found of one run; it balances when `problems` is empty."""

    run_id: str
    end: str | None
    """closed, crash, or None while it runs and when it died and could not be mended."""
    alive: bool
    """A station of this machine is running it."""
    counter: int
    """Frames grabbed: the counter file, or what the ledger wrote down at the end of the run."""
    rows: int = 0
    duplicates: int = 0
    missing: list[int] = field(default_factory=list)
    """Numbers without a row."""
    under_way: int = 0
    """Frames of a living run that were grabbed and are not judged yet; no problem."""
    verdicts: dict[str, int] = field(default_factory=dict)
    crashed: int = 0
    """Rows that were filled in because the run ended before the frame had one: they have no time of grab."""
    gaps: int = 0
    """Frames that the camera lost."""
    files: int = 0
    """Pictures and masks that rows name; each was read and its sha256 compared."""
    missing_files: list[str] = field(default_factory=list)
    changed_files: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    """Files in the run's evidence that no row names: left by a crash between file and row."""
    sim: dict[str, int] | None = None
    """Emitted, grabbed and lost by the simulator's own log."""
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class LedgerAudit:
    """The audit of a whole ledger; `problems` holds those of all runs as well."""

    integrity: str
    """`ok`, what SQLite complains of, or `not checked` on another database."""
    runs: list[RunAudit]
    problems: list[str]


def audit_ledger(engine: Engine, run_id: str | None = None, sim_log: SimLog | None = None) -> LedgerAudit:
    """Check every run, or one; sim_log belongs to that one, else to the newest.

    Raises LedgerError when the ledger or a picture cannot be read.
    """
    folder = ledger_folder(engine.url)
    # Asked before the rows are read: a line that ends meanwhile is no dead one.
    held = _held_runs(engine, folder)
    with reading(engine) as connection:
        integrity = _integrity(connection)
        wanted = select(RunRow.id).order_by(RunRow.id)
        ids = [run_id] if run_id is not None else list(connection.scalars(wanted))
        audits = [_audit_run(connection, one, folder, one in held) for one in ids]
        if sim_log is not None and audits:
            _against_simulator(connection, audits[-1], sim_log)
        elif sim_log is not None and sim_log.emitted:
            emitted = counted(len(sim_log.emitted), "frame")
            return LedgerAudit(integrity, [], [f"the simulator emitted {emitted}, no run has one"])
    for audit in audits:
        _judge_files(engine, audit, folder)
    problems = [] if integrity in ("ok", "not checked") else [f"the database file is damaged: {integrity}"]
    problems += [f"run {audit.run_id}: {problem}" for audit in audits for problem in audit.problems]
    return LedgerAudit(integrity, audits, problems)


def _held_runs(engine: Engine, folder: Path) -> set[str]:
    with reading(engine) as connection:
        open_runs = list(connection.scalars(select(RunRow.id).where(RunRow.ended_at.is_(None))))
    return {run_id for run_id in open_runs if is_held(counter_path(folder, run_id))}


def _integrity(connection: Connection) -> str:
    if connection.dialect.name != "sqlite":
        return "not checked"
    found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check"))]
    for table, row_id, parent, _ in connection.execute(text("PRAGMA foreign_key_check")):
        found.append(f"row {row_id} of {table} names a missing row of {parent}")
    return "ok" if found == ["ok"] else "; ".join(item for item in found if item != "ok")


def _audit_run(connection: Connection, run_id: str, folder: Path, held: bool) -> RunAudit:
    run = connection.execute(select(RunRow.__table__).where(RunRow.id == run_id)).one()
    alive = run.ended_at is None and (held or is_held(counter_path(folder, run_id)))
    in_file = read_count(counter_path(folder, run_id))
    counter = run.counted if run.counted is not None else (in_file or 0)
    audit = RunAudit(run_id, run.end, alive, counter)
    _count_rows(connection, audit, alive)
    _check_files(connection, audit, Path(run.evidence), folder, alive)
    if run.ended_at is None and not alive:
        audit.problems.append("it has no end, and no station of this machine is running it")
    recovered = select(EventRow.data).where(EventRow.run_id == run_id, EventRow.kind == "recovered")
    if any(data.get("counter") is None for data in connection.scalars(recovered)):
        audit.problems.append(
            "its frame counter was gone when it was found dead; later frames may be missing"
        )
    if in_file is not None and run.counted is not None and in_file > run.counted:
        audit.problems.append(f"the frame counter says {in_file}, the ledger closed at {run.counted}")
    return audit


def _count_rows(connection: Connection, audit: RunAudit, alive: bool) -> None:
    mine = InspectionRow.run_id == audit.run_id
    numbers = list(connection.scalars(select(InspectionRow.number).where(mine)))
    distinct = set(numbers)
    audit.rows, audit.duplicates = len(numbers), len(numbers) - len(distinct)
    absent = sorted(set(range(1, audit.counter + 1)) - distinct)
    beyond = sorted(number for number in distinct if not 1 <= number <= audit.counter)
    settled = _settled(connection, audit.run_id) if alive else audit.counter + 1
    audit.missing = [number for number in absent if number < settled]
    audit.under_way = len(absent) - len(audit.missing)
    words = select(InspectionRow.verdict, func.count()).where(mine).group_by(InspectionRow.verdict)
    audit.verdicts = {word.value: n for word, n in connection.execute(words)}
    crashed = select(func.count()).where(mine, InspectionRow.grab_utc_ns.is_(None))
    audit.crashed = connection.scalar(crashed) or 0
    lost = connection.scalar(select(func.sum(GapRow.count)).where(GapRow.run_id == audit.run_id))
    audit.gaps = int(lost or 0)
    if audit.missing:
        frames = counted(audit.counter, "frame")
        audit.problems.append(f"{len(audit.missing)} of {frames} without a row ({_some(audit.missing)})")
    if audit.duplicates:
        audit.problems.append(f"{counted(audit.duplicates, 'frame')} with more than one row")
    if beyond:
        audit.problems.append(f"rows for frames that were never counted ({_some(beyond)})")


def _settled(connection: Connection, run_id: str) -> int:
    """The number before which each frame of a living run must have its row by now."""
    before = InspectionRow.committed_utc_ns < time.time_ns() - SETTLED_S * 1_000_000_000
    newest = select(func.max(InspectionRow.number)).where(InspectionRow.run_id == run_id, before)
    return connection.scalar(newest) or 0


def _check_files(connection: Connection, audit: RunAudit, evidence: Path, folder: Path, alive: bool) -> None:
    columns = (
        InspectionRow.image_path,
        InspectionRow.image_sha256,
        InspectionRow.mask_path,
        InspectionRow.mask_sha256,
    )
    wanted = select(*columns).where(
        InspectionRow.run_id == audit.run_id, InspectionRow.image_path.is_not(None)
    )
    named = set()
    for image, image_hash, mask, mask_hash in connection.execute(wanted):
        for name, expected in ((image, image_hash), (mask, mask_hash)):
            if name is None:
                continue
            file = folder / name
            named.add(file)
            audit.files += 1
            found = _hash_of(file)
            if found is None:
                audit.missing_files.append(str(file))
            elif found != expected:
                audit.changed_files.append(str(file))
    if evidence.is_dir() and not alive:
        audit.orphans = sorted(str(file) for file in evidence.iterdir() if file not in named)


def _hash_of(file: Path) -> str | None:
    """sha256 of a file, None where there is none (any more). Raises LedgerError when it cannot be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(
            f"{file} cannot be read ({error.strerror}); check its rights and the disk."
        ) from error


def _judge_files(engine: Engine, audit: RunAudit, folder: Path) -> None:
    """A file may have been evicted while we looked: it is missing only if a row still names it."""
    if audit.missing_files:
        columns = select(InspectionRow.image_path, InspectionRow.mask_path)
        with reading(engine) as connection:
            rows = connection.execute(columns.where(InspectionRow.run_id == audit.run_id)).all()
        named = {str(folder / name) for row in rows for name in row if name}
        audit.missing_files = [file for file in audit.missing_files if file in named]
    if audit.missing_files:
        gone = counted(len(audit.missing_files), "file")
        audit.problems.append(f"{gone} gone that rows name ({_some(audit.missing_files)})")
    if audit.changed_files:
        found = f"{counted(len(audit.changed_files), 'file')} changed ({_some(audit.changed_files)})"
        audit.problems.append(found)


def _against_simulator(connection: Connection, audit: RunAudit, log: SimLog) -> None:
    """Frame k of the ledger is the k-th that the simulator emitted; only its last may be ungrabbed."""
    wanted = (
        select(InspectionRow.number, InspectionRow.grab_utc_ns)
        .where(InspectionRow.run_id == audit.run_id)
        .order_by(InspectionRow.number)
    )
    rows = {number: utc_ns for number, utc_ns in connection.execute(wanted)}
    emitted, grabbed = len(log.emitted), audit.counter
    audit.sim = {"emitted": emitted, "grabbed": grabbed, "lost": sum(log.lost_before)}
    if not emitted - 1 <= grabbed <= emitted:
        audit.problems.append(f"the simulator emitted {counted(emitted, 'frame')}, counted: {grabbed}")
    differing = [
        number
        for number, utc_ns in enumerate(log.emitted[:grabbed], start=1)
        if rows.get(number) not in (None, utc_ns)
    ]
    if differing:
        audit.problems.append(f"rows tell of other frames than the simulator emitted ({_some(differing)})")
    gaps: dict[int, int] = {}
    for after, count in connection.execute(
        select(GapRow.after_number, GapRow.count).where(GapRow.run_id == audit.run_id)
    ):
        gaps[after] = gaps.get(after, 0) + count
    # A gap that was noted just before a run died may have died with the frame after it.
    silent = [
        number
        for number, lost in enumerate(log.lost_before[:grabbed], start=1)
        if gaps.get(number - 1, 0) != lost and rows.get(number, 0) is not None
    ]
    if silent:
        audit.problems.append(f"gaps differ from what the simulator lost, before frames {_some(silent)}")


def _some(items: Iterable[object]) -> str:
    """The first few, for a sentence."""
    shown = [str(item) for item in items]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
