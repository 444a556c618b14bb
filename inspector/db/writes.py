"""Everything that is written into a ledger: inside the caller's transaction, or in a short one of its own."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from inspector import __version__
from inspector.db.schema import (
    DefectRow,
    EventRow,
    FlagRow,
    GapRow,
    InspectionRow,
    PackageRow,
    RecipeRow,
    RequestRow,
    RunRow,
)
from inspector.db.transactions import reading, writing
from inspector.errors import UsageError
from inspector.types import Inspection

FLAG_KINDS = ("false_reject", "missed", "unsure")
REQUEST_KINDS = ("pause", "resume", "stop")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is the same in each row of a run, so that a row alone tells how it came about."""

    run_id: str
    camera_id: str
    lot: str | None
    package_id: str
    engine: str
    precision: str
    certificate: str
    recipe_hash: str
    mm_per_px: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Stored:
    """The evidence of one frame as its row names it: paths as in the row, sha256 in hex."""

    image_path: str | None = None
    image_sha256: str | None = None
    mask_path: str | None = None
    mask_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """Something asked of a running station and not answered yet."""

    id: int
    kind: str
    by: str


def add_package(connection: Connection, package_id: str, path: Path, manifest: dict[str, Any]) -> None:
    """Keep what served; nothing when it is known."""
    if connection.scalar(select(PackageRow.id).where(PackageRow.id == package_id)) is None:
        name, version = str(manifest["name"]), str(manifest["version"])
        values = {"name": name, "version": version, "path": str(path), "manifest": manifest}
        connection.execute(insert(PackageRow).values(id=package_id, seen_at=datetime.now(UTC), **values))


def add_recipe(connection: Connection, recipe_hash: str, name: str, text: str) -> None:
    """Keep the full text that judged; nothing when it is known."""
    if connection.scalar(select(RecipeRow.hash).where(RecipeRow.hash == recipe_hash)) is None:
        values = {"hash": recipe_hash, "name": name, "text": text, "seen_at": datetime.now(UTC)}
        connection.execute(insert(RecipeRow).values(**values))


def add_run(connection: Connection, facts: RunFacts, **columns: object) -> None:
    """Begin a run. columns: engine_version, device, tile_h, tile_w and evidence (a folder)."""
    scale_y, scale_x = facts.mm_per_px or (None, None)
    values = {
        "id": facts.run_id, "camera_id": facts.camera_id, "lot": facts.lot, "package_id": facts.package_id,
        "recipe_hash": facts.recipe_hash, "engine": facts.engine, "precision": facts.precision,
        "certificate": facts.certificate, "mm_per_px_y": scale_y, "mm_per_px_x": scale_x,
        "host": platform.node(), "boot_id": boot_id(), "pid": os.getpid(), "code_version": __version__,
        "started_at": datetime.now(UTC),
    }  # fmt: skip
    connection.execute(insert(RunRow).values(**values, **columns))


def boot_id() -> str:
    """The kernel's id of this boot: monotonic times compare only within one. Empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def add_inspection(
    connection: Connection, facts: RunFacts, inspection: Inspection, stored: Stored
) -> tuple[int, int]:
    """Write one inspection with its defects; returns the row's id and its monotonic time of commit.

    That time is taken as the row is made, before COMMIT and its fsync: it stands in the row that the
    disk has yet to confirm, and a second write for it would have to be confirmed as well.
    """
    values = _inspection_values(facts, inspection, stored)
    result = connection.execute(insert(InspectionRow).values(values))
    key = result.inserted_primary_key
    assert key is not None
    row_id = int(key[0])
    if inspection.defects:
        connection.execute(insert(DefectRow), _defect_values(row_id, inspection))
    return row_id, values["committed_mono_ns"]


def _inspection_values(facts: RunFacts, inspection: Inspection, stored: Stored) -> dict[str, Any]:
    frame, verdict, judged = inspection.frame, inspection.verdict, inspection.judged_mono_ns or None
    first = verdict.reasons[0] if verdict.reasons else None
    scale_y, scale_x = facts.mm_per_px or (None, None)
    return {
        "run_id": facts.run_id, "number": frame.number, "camera_id": frame.camera_id,
        "part_id": frame.part_id, "lot": facts.lot, "source": frame.source,
        "grab_utc_ns": frame.utc_ns, "grab_mono_ns": frame.mono_ns,
        "judged_utc_ns": None if judged is None else frame.utc_ns + judged - frame.mono_ns,
        "judged_mono_ns": judged,
        "committed_utc_ns": time.time_ns(), "committed_mono_ns": time.monotonic_ns(),
        "verdict": verdict.word, "reason_code": first.code if first else None,
        "reason_words": first.words if first else None,
        "reasons": [[reason.code, reason.words] for reason in verdict.reasons],
        "package_id": facts.package_id, "engine": facts.engine, "precision": facts.precision,
        "certificate": facts.certificate, "recipe_hash": facts.recipe_hash,
        "mm_per_px_y": scale_y, "mm_per_px_x": scale_x, "coverage": inspection.coverage,
        "stages_ms": {stage: round(float(ms), 3) for stage, ms in inspection.stages_ms.items()},
        "defect_count": len(inspection.defects),
        "image_path": stored.image_path, "image_sha256": stored.image_sha256,
        "mask_path": stored.mask_path, "mask_sha256": stored.mask_sha256,
    }  # fmt: skip


def _defect_values(row_id: int, inspection: Inspection) -> list[dict[str, Any]]:
    rows = []
    for position, defect in enumerate(inspection.defects):
        y0, x0, y1, x1 = (int(edge) for edge in defect.box)
        rows.append({
            "inspection_id": row_id, "position": position, "class_id": int(defect.class_id),
            "class_name": defect.class_name, "y0": y0, "x0": x0, "y1": y1, "x1": x1,
            "area_px": int(defect.area_px), "length_px": float(defect.length_px),
            "width_px": float(defect.width_px), "confidence": float(defect.confidence),
            "zones": list(defect.zones), "area_mm2": _number(defect.area_mm2),
            "length_mm": _number(defect.length_mm), "width_mm": _number(defect.width_mm),
        })  # fmt: skip
    return rows


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)  # numpy scalars are no SQL numbers


def add_gap(connection: Connection, run_id: str, after_number: int, count: int, words: str) -> None:
    """Record frames that the camera lost after the given number."""
    values = {"run_id": run_id, "after_number": after_number, "count": count, "words": words}
    connection.execute(insert(GapRow).values(at=datetime.now(UTC), **values))


def add_event(
    connection: Connection, run_id: str, kind: str, words: str, data: dict[str, Any] | None
) -> None:
    """Record something that happened to the run."""
    values = {"run_id": run_id, "kind": kind, "words": words, "data": data or {}}
    connection.execute(insert(EventRow).values(at=datetime.now(UTC), **values))


def set_evidence(connection: Connection, run_id: str, number: int, stored: Stored) -> None:
    """Name evidence that was stored after its row, for a frame that somebody flagged."""
    values = {
        "image_path": stored.image_path, "image_sha256": stored.image_sha256,
        "mask_path": stored.mask_path, "mask_sha256": stored.mask_sha256,
    }  # fmt: skip
    same = (InspectionRow.run_id == run_id, InspectionRow.number == number)
    connection.execute(update(InspectionRow).where(*same).values(**values))


def clear_evidence(connection: Connection, ids: list[int]) -> None:
    """Take the evidence out of rows whose files are about to be deleted."""
    values = {"image_path": None, "image_sha256": None, "mask_path": None, "mask_sha256": None}
    connection.execute(
        update(InspectionRow).where(InspectionRow.id.in_(ids)).values(**values, evicted_at=datetime.now(UTC))
    )


def add_flag(
    engine: Engine, run_id: str, frame_number: int, operator: str, kind: str, note: str = ""
) -> int:  # fmt: skip
    """Doubt a frame, in a short transaction of its own; returns the flag's id.

    kind: false_reject, missed or unsure. Raises UsageError for another kind and for a frame
    that has no row, LedgerError when the ledger cannot be written.
    """
    if kind not in FLAG_KINDS:
        raise UsageError(f"There is no flag kind {kind!r}; use one of {', '.join(FLAG_KINDS)}.")
    wanted = select(InspectionRow.id).where(
        InspectionRow.run_id == run_id, InspectionRow.number == frame_number
    )
    values = {
        "run_id": run_id,
        "frame_number": frame_number,
        "operator": operator,
        "kind": kind,
        "note": note,
    }
    with writing(engine) as connection:
        if connection.scalar(wanted) is None:
            has = _frames_of(connection, run_id)
            raise UsageError(f"Run {run_id} has no frame {frame_number}; {has}.")
        result = connection.execute(insert(FlagRow).values(at=datetime.now(UTC), **values))
        return int((result.inserted_primary_key or (0,))[0])


def _frames_of(connection: Connection, run_id: str) -> str:
    """Which frames of a run may be named, in words."""
    ends = select(func.min(InspectionRow.number), func.max(InspectionRow.number))
    first, last = connection.execute(ends.where(InspectionRow.run_id == run_id)).one()
    return "it has none yet" if first is None else f"it has frames {first} to {last}"


def add_request(engine: Engine, run_id: str, kind: str, by: str) -> int:
    """Ask a running station for something, in a short transaction; returns the request's id.

    kind: pause, resume or stop. Raises UsageError for another kind, LedgerError.
    """
    if kind not in REQUEST_KINDS:
        raise UsageError(f"There is no request {kind!r}; use one of {', '.join(REQUEST_KINDS)}.")
    values = {"run_id": run_id, "kind": kind, "by": by, "state": "pending", "answer": ""}
    with writing(engine) as connection:
        result = connection.execute(insert(RequestRow).values(at=datetime.now(UTC), **values))
        return int((result.inserted_primary_key or (0,))[0])


def pending_requests(engine: Engine, run_id: str) -> list[PendingRequest]:
    """What was asked of this run and not answered yet, oldest first."""
    wanted = (
        select(RequestRow.id, RequestRow.kind, RequestRow.by)
        .where(RequestRow.run_id == run_id, RequestRow.state == "pending")
        .order_by(RequestRow.id)
    )
    with reading(engine) as connection:
        return [PendingRequest(row.id, row.kind, row.by) for row in connection.execute(wanted)]


def finish_request(engine: Engine, request_id: int, *, done: bool, answer: str = "") -> None:
    """Answer a request: done, or refused with the reason in `answer`."""
    values = {"state": "done" if done else "refused", "answer": answer, "finished_at": datetime.now(UTC)}
    with writing(engine) as connection:
        connection.execute(update(RequestRow).where(RequestRow.id == request_id).values(**values))
