"""The figures of a report: shares with their intervals, reasons, defects, latency, and one line a frame."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import ColumnElement, Connection, Engine, func, select, true
from sqlalchemy.orm import InstrumentedAttribute

from inspector.counting import Latencies, ReasonCount
from inspector.db.connect import ledger_folder
from inspector.db.queries import Row, inspection_row
from inspector.db.schema import DefectRow, FlagRow, GapRow, InspectionRow
from inspector.db.transactions import reading
from inspector.types import Reason, VerdictWord
from inspector.verdict import class_of

Z_95 = 1.959963984540054
CSV_COLUMNS = (
    "run", "number", "camera", "part", "lot", "source", "grabbed_utc", "verdict", "reason", "words",
    "defects", "coverage", "latency_ms", "package", "engine", "precision", "certificate", "recipe", "image",
    "image_sha256", "reason_classes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Share:
    """n of total, with the 95 % Wilson interval of the share; all None when the total is 0."""

    n: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What a report says of one run or of a whole ledger."""

    frames: int
    verdicts: dict[str, Share]
    reasons: dict[str, int]
    """Code -> frames that have it, as in the summary of a run; a frame with two reasons counts in both."""
    reason_classes: dict[str, dict[str, int]]
    """Code -> defect class that the reason is about -> frames."""
    reason_words: dict[str, str]
    """Code -> what it mostly said."""
    defects: dict[str, dict[str, int]]
    """Class -> defects, and frames that have at least one."""
    latency_ms: dict[str, float | None]
    """From grab until the row was handed to the ledger: p50, p95, p99, max, of the inspected frames."""
    gaps: int
    flags: dict[str, int]


def wilson(n: int, total: int) -> Share:
    """The share n / total with its 95 % interval. Source: Wilson 1927, without continuity correction."""
    if total == 0:
        return Share(n, None, None, None)
    p, z2 = n / total, Z_95**2
    middle = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    # Rounding leaves a hair of 1e-17 at the two ends, where the bounds are 0 and 1 exactly.
    return Share(
        n, p, 0.0 if n == 0 else max(0.0, middle - half), 1.0 if n == total else min(1.0, middle + half)
    )


def figures(engine: Engine, run_id: str | None = None) -> Figures:
    """The figures of one run, or of all runs together, as of one moment. Raises LedgerError."""
    mine = true() if run_id is None else InspectionRow.run_id == run_id
    with reading(engine) as connection:
        by_word = {word: n for word, n in _grouped(connection, InspectionRow.verdict, mine)}
        total = sum(by_word.values())
        reasons = _reasons(connection, mine)
        gap_sum = select(func.sum(GapRow.count)).where(true() if run_id is None else GapRow.run_id == run_id)
        return Figures(
            frames=total,
            verdicts={word.value: wilson(by_word.get(word, 0), total) for word in VerdictWord},
            reasons=reasons.frames(),
            reason_classes=reasons.classes(),
            reason_words=reasons.words(),
            defects=_defects(connection, mine),
            latency_ms=_latency(connection, mine),
            gaps=int(connection.scalar(gap_sum) or 0),
            flags=_flags(connection, run_id),
        )


def reason_words(engine: Engine, run_id: str) -> dict[str, str]:
    """Reason code -> what it mostly said in this run. Raises LedgerError."""
    with reading(engine) as connection:
        return _reasons(connection, InspectionRow.run_id == run_id).words()


def _reasons(connection: Connection, mine: ColumnElement[bool]) -> ReasonCount:
    wanted = select(InspectionRow.reasons).where(mine, InspectionRow.reason_code.is_not(None))
    counted = ReasonCount()
    streamed = connection.execution_options(yield_per=1000)
    for (reasons,) in streamed.execute(wanted.order_by(InspectionRow.id)):
        counted.add([Reason(code, words) for code, words in reasons])
    return counted


def _grouped(
    connection: Connection, column: InstrumentedAttribute[Any], mine: ColumnElement[bool]
) -> list[tuple[Any, int]]:
    wanted = select(column, func.count()).where(mine).group_by(column).order_by(func.count().desc())
    return [(row[0], row[1]) for row in connection.execute(wanted)]


def _defects(connection: Connection, mine: ColumnElement[bool]) -> dict[str, dict[str, int]]:
    frames = func.count(func.distinct(DefectRow.inspection_id))
    wanted = (
        select(DefectRow.class_name, func.count(), frames)
        .join(InspectionRow, InspectionRow.id == DefectRow.inspection_id)
        .where(mine)
        .group_by(DefectRow.class_name)
        .order_by(func.count().desc())
    )
    return {name: {"defects": n, "frames": of} for name, n, of in connection.execute(wanted)}


def _latency(connection: Connection, mine: ColumnElement[bool]) -> dict[str, float | None]:
    span = InspectionRow.committed_mono_ns - InspectionRow.grab_mono_ns
    # As in the summary of a run: what was refused without being computed says nothing of the line's speed.
    inspected = InspectionRow.verdict != VerdictWord.UNINSPECTED
    wanted = select(span).where(mine, inspected, InspectionRow.grab_mono_ns.is_not(None))
    latencies = Latencies()
    for (nanoseconds,) in connection.execute(wanted):
        latencies.add(nanoseconds / 1e6)
    return latencies.json()


def _flags(connection: Connection, run_id: str | None) -> dict[str, int]:
    mine = true() if run_id is None else FlagRow.run_id == run_id
    wanted = select(FlagRow.kind, func.count()).where(mine).group_by(FlagRow.kind)
    return {kind: n for kind, n in connection.execute(wanted)}


def write_csv(engine: Engine, file: IO[str], run_id: str | None = None) -> int:
    """One line a frame, oldest first, with a head line; returns the number of frames."""
    writer = csv.writer(file)
    writer.writerow(CSV_COLUMNS)
    count = 0
    for row in _rows(engine, run_id):
        writer.writerow(_csv_line(row))
        count += 1
    return count


def _rows(engine: Engine, run_id: str | None) -> Iterator[Row]:
    folder: Path = ledger_folder(engine.url)
    wanted = select(InspectionRow.__table__).order_by(InspectionRow.run_id, InspectionRow.number)
    if run_id is not None:
        wanted = wanted.where(InspectionRow.run_id == run_id)
    with reading(engine) as connection:
        streamed = connection.execution_options(yield_per=1000)
        for row in streamed.execute(wanted):
            yield inspection_row(row, folder)


def _csv_line(row: Row) -> tuple[object, ...]:
    grabbed = (
        "" if row.grab_utc_ns is None else datetime.fromtimestamp(row.grab_utc_ns / 1e9, UTC).isoformat()
    )
    latency = "" if row.latency_ms is None else round(row.latency_ms, 3)
    return (
        row.run_id, row.number, row.camera_id, row.part_id, row.lot, row.source, grabbed, row.word.value,
        row.reasons[0].code if row.reasons else "", row.why, row.defect_count, row.coverage, latency,
        row.package_id, row.engine, row.precision, row.certificate, row.recipe_hash, row.image_path,
        row.image_sha256, "; ".join(dict.fromkeys(name for name in map(class_of, row.reasons) if name)),
    )  # fmt: skip
