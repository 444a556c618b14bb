"""Everything that is read from a ledger: frozen rows, newest first, each call one moment in time."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, Select, exists, func, select

from inspector.db.connect import ledger_folder
from inspector.db.counter import counter_path, is_held
from inspector.db.health import HealthBeat
from inspector.db.rows import Event, Evictable, Flag, Gap, Row, Run
from inspector.db.schema import (
    DefectRow,
    EventRow,
    FlagRow,
    GapRow,
    HealthRow,
    InspectionRow,
    PackageRow,
    RecipeRow,
    RunRow,
)
from inspector.db.transactions import reading
from inspector.types import Defect, Reason, VerdictWord

__all__ = [
    "Event", "Evictable", "Flag", "Gap", "Row", "Run", "counts", "defects_of", "events", "evictable",
    "flagged_without_image", "flags", "gaps", "health", "inspection", "inspection_row", "is_alive",
    "latest_run", "recent", "recipe_text", "run", "runs",
]  # fmt: skip


def runs(engine: Engine, limit: int | None = None) -> list[Run]:
    """Runs, newest first."""
    with reading(engine) as connection:
        wanted = _run_select().order_by(RunRow.id.desc()).limit(limit)
        return [_run(row) for row in connection.execute(wanted)]


def latest_run(engine: Engine) -> Run | None:
    """The run that started last, None in an empty ledger."""
    return next(iter(runs(engine, 1)), None)


def run(engine: Engine, run_id: str) -> Run | None:
    """One run, None when there is none of that id."""
    with reading(engine) as connection:
        row = connection.execute(_run_select().where(RunRow.id == run_id)).first()
        return None if row is None else _run(row)


def is_alive(engine: Engine, run_id: str) -> bool:
    """True while the station of this run lives on this machine (it holds its counter's lock)."""
    return is_held(counter_path(ledger_folder(engine.url), run_id))


def _run_select() -> Select[Any]:
    return (
        select(RunRow.__table__, PackageRow.name.label("package_name"),
               PackageRow.version.label("package_version"), RecipeRow.name.label("recipe_name"))
        .join(PackageRow, PackageRow.id == RunRow.package_id)
        .join(RecipeRow, RecipeRow.hash == RunRow.recipe_hash)
    )  # fmt: skip


def _run(row: sqlalchemy.Row[Any]) -> Run:
    same = {name: getattr(row, name) for name in Run.__slots__ if name != "tile"}
    return Run(**same, tile=(row.tile_h, row.tile_w))


def health(engine: Engine, run_id: str) -> HealthBeat | None:
    """The last sign of life of a run."""
    with reading(engine) as connection:
        beat = connection.scalar(select(HealthRow.beat).where(HealthRow.run_id == run_id))
        return None if beat is None else HealthBeat(**beat)


def recent(
    engine: Engine, run_id: str, limit: int, words: Collection[VerdictWord] | None = None
) -> list[Row]:  # fmt: skip
    """The last inspections of a run, newest first; only those with one of `words`, where given."""
    wanted = select(InspectionRow.__table__).where(InspectionRow.run_id == run_id)
    if words is not None:
        wanted = wanted.where(InspectionRow.verdict.in_(list(words)))
    with reading(engine) as connection:
        found = connection.execute(wanted.order_by(InspectionRow.number.desc()).limit(limit)).all()
    folder = ledger_folder(engine.url)
    return [inspection_row(row, folder) for row in found]


def inspection(engine: Engine, run_id: str, number: int) -> Row | None:
    """One frame of a run, None when it has no row."""
    wanted = select(InspectionRow.__table__).where(
        InspectionRow.run_id == run_id, InspectionRow.number == number
    )
    with reading(engine) as connection:
        row = connection.execute(wanted).first()
    return None if row is None else inspection_row(row, ledger_folder(engine.url))


def inspection_row(row: sqlalchemy.Row[Any], folder: Path) -> Row:
    """A row of the table as a Row; folder: the ledger's folder, from which paths count."""
    special = {"latency_ms", "word", "reasons", "mm_per_px", "image_path", "mask_path"}
    same = {name: getattr(row, name) for name in Row.__slots__ if name not in special}
    grabbed = row.grab_mono_ns
    return Row(
        **same,
        latency_ms=None if grabbed is None else (row.committed_mono_ns - grabbed) / 1e6,
        word=row.verdict,
        reasons=tuple(Reason(code, words) for code, words in row.reasons),
        mm_per_px=None if row.mm_per_px_y is None else (row.mm_per_px_y, row.mm_per_px_x),
        image_path=None if row.image_path is None else folder / row.image_path,
        mask_path=None if row.mask_path is None else folder / row.mask_path,
    )


def defects_of(engine: Engine, inspection_id: int) -> tuple[Defect, ...]:
    """The defects of one inspection, largest first."""
    wanted = select(DefectRow.__table__).where(DefectRow.inspection_id == inspection_id)
    with reading(engine) as connection:
        rows = connection.execute(wanted.order_by(DefectRow.position)).all()
    return tuple(_defect(row) for row in rows)


def _defect(row: sqlalchemy.Row[Any]) -> Defect:
    same = {name: getattr(row, name) for name in Defect.__slots__ if name not in {"box", "zones"}}
    return Defect(**same, box=(row.y0, row.x0, row.y1, row.x1), zones=tuple(row.zones))


def counts(engine: Engine, run_id: str) -> dict[str, int]:
    """Frames of a run by verdict word; all four words are there."""
    wanted = select(InspectionRow.verdict, func.count()).where(InspectionRow.run_id == run_id)
    with reading(engine) as connection:
        found = {word.value: n for word, n in connection.execute(wanted.group_by(InspectionRow.verdict))}
    return {word.value: found.get(word.value, 0) for word in VerdictWord}


def flags(engine: Engine, run_id: str | None = None) -> list[Flag]:
    """Flags of one run or of all, oldest first."""
    wanted = select(*(getattr(FlagRow, name) for name in Flag.__slots__)).order_by(FlagRow.id)
    if run_id is not None:
        wanted = wanted.where(FlagRow.run_id == run_id)
    with reading(engine) as connection:
        return [Flag(*row) for row in connection.execute(wanted)]


def gaps(engine: Engine, run_id: str) -> list[Gap]:
    """What the camera lost, oldest first."""
    wanted = select(*(getattr(GapRow, name) for name in Gap.__slots__)).where(GapRow.run_id == run_id)
    with reading(engine) as connection:
        return [Gap(*row) for row in connection.execute(wanted.order_by(GapRow.id))]


def events(engine: Engine, run_id: str, limit: int | None = None) -> list[Event]:
    """What happened to a run, newest first."""
    wanted = select(*(getattr(EventRow, name) for name in Event.__slots__)).where(EventRow.run_id == run_id)
    with reading(engine) as connection:
        return [Event(*row) for row in connection.execute(wanted.order_by(EventRow.id.desc()).limit(limit))]


def recipe_text(engine: Engine, recipe_hash: str) -> str | None:
    """The full text of a recipe that judged, None when it is unknown."""
    with reading(engine) as connection:
        return connection.scalar(select(RecipeRow.text).where(RecipeRow.hash == recipe_hash))


def package_classes(engine: Engine, package_id: str) -> tuple[str, ...]:
    """The defect classes of a package that served, in the order of their ids; empty when it is unknown."""
    with reading(engine) as connection:
        manifest = connection.scalar(select(PackageRow.manifest).where(PackageRow.id == package_id))
    return tuple((manifest or {}).get("classes", ()))


def flagged_without_image(connection: Connection, run_id: str, from_number: int) -> list[int]:
    """Frames of a run that somebody flagged and whose picture is not stored."""
    wanted = (
        select(FlagRow.frame_number)
        .join(
            InspectionRow,
            (InspectionRow.run_id == FlagRow.run_id) & (InspectionRow.number == FlagRow.frame_number),
        )
        .where(
            FlagRow.run_id == run_id, FlagRow.frame_number >= from_number, InspectionRow.image_path.is_(None)
        )
        .distinct()
    )
    return list(connection.scalars(wanted))


def evictable(connection: Connection, limit: int) -> list[Evictable]:
    """The oldest rows with evidence that nobody flagged."""
    doubted = exists().where(
        FlagRow.run_id == InspectionRow.run_id, FlagRow.frame_number == InspectionRow.number
    )
    wanted = (
        select(InspectionRow.id, InspectionRow.image_path, InspectionRow.mask_path)
        .where(InspectionRow.image_path.is_not(None), ~doubted)
        .order_by(InspectionRow.id)
        .limit(limit)
    )
    return [Evictable(row[0], tuple(path for path in row[1:] if path)) for row in connection.execute(wanted)]
