"""The tables of the ledger, the same on SQLite and on any other database of SQLAlchemy.

Times of a frame are integer nanoseconds (`_utc_ns` for people, `_mono_ns` for differences);
all other times are `_at`, aware and in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from inspector.types import VerdictWord


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, also where the database forgets the zone (SQLite does)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Raises ValueError for a time without a zone: nobody could say later what it meant."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite counts up by itself only for a plain INTEGER key.
BigKey = BigInteger().with_variant(Integer(), "sqlite")
Word = Enum(VerdictWord, native_enum=False, length=16, create_constraint=True, name="verdict_word")


class Ledger(DeclarativeBase):
    """All tables; constraints have names, so that a later migration can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        str: String(255),
        int: BigInteger,
        datetime: UtcTime,
        dict[str, Any]: JSON,
    }


class PackageRow(Ledger):
    """A model package that served at least once."""

    __tablename__ = "packages"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str]
    version: Mapped[str]
    path: Mapped[str] = mapped_column(Text)
    manifest: Mapped[dict[str, Any]]
    seen_at: Mapped[datetime]


class RecipeRow(Ledger):
    """The full text of a recipe that judged at least one run."""

    __tablename__ = "recipes"
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str]
    text: Mapped[str] = mapped_column(Text)
    seen_at: Mapped[datetime]


class RunRow(Ledger):
    """One start of the line. `ended_at` is empty while it runs, and after a crash until the next open."""

    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    camera_id: Mapped[str]
    lot: Mapped[str | None]
    package_id: Mapped[str] = mapped_column(ForeignKey("packages.id"))
    recipe_hash: Mapped[str] = mapped_column(ForeignKey("recipes.hash"))
    engine: Mapped[str]
    engine_version: Mapped[str]
    precision: Mapped[str]
    device: Mapped[str]
    certificate: Mapped[str]
    tile_h: Mapped[int] = mapped_column(Integer)
    tile_w: Mapped[int] = mapped_column(Integer)
    mm_per_px_y: Mapped[float | None]
    mm_per_px_x: Mapped[float | None]
    evidence: Mapped[str] = mapped_column(Text)
    host: Mapped[str]
    boot_id: Mapped[str]
    pid: Mapped[int] = mapped_column(Integer)
    code_version: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end: Mapped[str | None] = mapped_column(String(16))
    """closed: the recorder drained and said so; crash: the run was found dead at a later open."""
    counted: Mapped[int | None]
    """The frame counter when the run ended: so many frames were grabbed."""


class InspectionRow(Ledger):
    """One grabbed frame: exactly one row for each number that the grabber gave out."""

    __tablename__ = "inspections"
    __table_args__ = (
        UniqueConstraint("run_id", "number"),
        Index("ix_inspections_run_id_verdict_number", "run_id", "verdict", "number"),
    )
    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    number: Mapped[int]
    camera_id: Mapped[str]
    part_id: Mapped[str | None]
    lot: Mapped[str | None]
    source: Mapped[str] = mapped_column(Text)
    grab_utc_ns: Mapped[int | None]
    grab_mono_ns: Mapped[int | None]
    judged_utc_ns: Mapped[int | None]
    judged_mono_ns: Mapped[int | None]
    committed_utc_ns: Mapped[int]
    """When the row was handed to the ledger, just before COMMIT: the disk confirms it after that."""
    committed_mono_ns: Mapped[int]
    verdict: Mapped[VerdictWord] = mapped_column(Word)
    reason_code: Mapped[str | None] = mapped_column(String(32))
    reason_words: Mapped[str | None] = mapped_column(Text)
    reasons: Mapped[list[Any]] = mapped_column(JSON)
    package_id: Mapped[str] = mapped_column(ForeignKey("packages.id"))
    engine: Mapped[str]
    precision: Mapped[str]
    certificate: Mapped[str]
    recipe_hash: Mapped[str] = mapped_column(ForeignKey("recipes.hash"))
    mm_per_px_y: Mapped[float | None]
    mm_per_px_x: Mapped[float | None]
    coverage: Mapped[float]
    stages_ms: Mapped[dict[str, Any]]
    defect_count: Mapped[int] = mapped_column(Integer)
    image_path: Mapped[str | None] = mapped_column(Text)
    """Relative to the ledger's folder where it lies inside it; empty when not kept or evicted."""
    image_sha256: Mapped[str | None] = mapped_column(String(64))
    mask_path: Mapped[str | None] = mapped_column(Text)
    mask_sha256: Mapped[str | None] = mapped_column(String(64))
    evicted_at: Mapped[datetime | None]


class DefectRow(Ledger):
    """One defect of one inspection, in the order of the inspection (largest first)."""

    __tablename__ = "defects"
    __table_args__ = (UniqueConstraint("inspection_id", "position"),)
    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    inspection_id: Mapped[int] = mapped_column(BigKey, ForeignKey("inspections.id"))
    position: Mapped[int] = mapped_column(Integer)
    class_id: Mapped[int] = mapped_column(Integer)
    class_name: Mapped[str]
    y0: Mapped[int] = mapped_column(Integer)
    x0: Mapped[int] = mapped_column(Integer)
    y1: Mapped[int] = mapped_column(Integer)
    x1: Mapped[int] = mapped_column(Integer)
    area_px: Mapped[int] = mapped_column(Integer)
    length_px: Mapped[float]
    width_px: Mapped[float]
    confidence: Mapped[float]
    zones: Mapped[list[Any]] = mapped_column(JSON)
    area_mm2: Mapped[float | None]
    length_mm: Mapped[float | None]
    width_mm: Mapped[float | None]


class GapRow(Ledger):
    """Frames that the camera itself lost: they never had a number."""

    __tablename__ = "gaps"
    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)
    after_number: Mapped[int]
    count: Mapped[int]
    words: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class EventRow(Ledger):
    """Something that happened to a run: a pause, a reconnect, a recovery."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(64))
    words: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]]


class FlagRow(Ledger):
    """A frame that a person doubts: false_reject, missed or unsure."""

    __tablename__ = "flags"
    __table_args__ = (Index("ix_flags_run_id_frame_number", "run_id", "frame_number"),)
    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    frame_number: Mapped[int]
    operator: Mapped[str]
    kind: Mapped[str] = mapped_column(String(32))
    note: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class RequestRow(Ledger):
    """What somebody asks of a running station; the station decides and answers here."""

    __tablename__ = "requests"
    __table_args__ = (Index("ix_requests_run_id_state", "run_id", "state"),)
    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    kind: Mapped[str] = mapped_column(String(32))
    by: Mapped[str]
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16))
    """pending, done or refused."""
    answer: Mapped[str] = mapped_column(Text)
    finished_at: Mapped[datetime | None]


class HealthRow(Ledger):
    """The last sign of life of a run, overwritten by each beat."""

    __tablename__ = "health"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    utc_ns: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    beat: Mapped[dict[str, Any]]
