"""The first ledger: runs, inspections and everything that is said of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WORD = sa.Enum(
    "PASS", "REJECT", "REVIEW", "UNINSPECTED",
    name="verdict_word", native_enum=False, create_constraint=True, length=16,
)  # fmt: skip


def upgrade() -> None:
    _packages()
    _recipes()
    _runs()
    _events()
    _flags()
    _gaps()
    _health()
    _inspections()
    _requests()
    _defects()


def downgrade() -> None:
    op.drop_table("defects")
    op.drop_index("ix_requests_run_id_state", table_name="requests")
    op.drop_table("requests")
    op.drop_index("ix_inspections_run_id_verdict_number", table_name="inspections")
    op.drop_table("inspections")
    op.drop_table("health")
    op.drop_index(op.f("ix_gaps_run_id"), table_name="gaps")
    op.drop_table("gaps")
    op.drop_index("ix_flags_run_id_frame_number", table_name="flags")
    op.drop_table("flags")
    op.drop_index(op.f("ix_events_run_id"), table_name="events")
    op.drop_table("events")
    op.drop_table("runs")
    op.drop_table("recipes")
    op.drop_table("packages")


def _packages() -> None:
    op.create_table(
        "packages",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=255), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_packages")),
    )


def _recipes() -> None:
    op.create_table(
        "recipes",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_recipes")),
    )


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("camera_id", sa.String(length=255), nullable=False),
        sa.Column("lot", sa.String(length=255), nullable=True),
        sa.Column("package_id", sa.String(length=64), nullable=False),
        sa.Column("recipe_hash", sa.String(length=64), nullable=False),
        sa.Column("engine", sa.String(length=255), nullable=False),
        sa.Column("engine_version", sa.String(length=255), nullable=False),
        sa.Column("precision", sa.String(length=255), nullable=False),
        sa.Column("device", sa.String(length=255), nullable=False),
        sa.Column("certificate", sa.String(length=255), nullable=False),
        sa.Column("tile_h", sa.Integer(), nullable=False),
        sa.Column("tile_w", sa.Integer(), nullable=False),
        sa.Column("mm_per_px_y", sa.Double(), nullable=True),
        sa.Column("mm_per_px_x", sa.Double(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("boot_id", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("code_version", sa.String(length=255), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end", sa.String(length=16), nullable=True),
        sa.Column("counted", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name=op.f("fk_runs_package_id")),
        sa.ForeignKeyConstraint(["recipe_hash"], ["recipes.hash"], name=op.f("fk_runs_recipe_hash")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_events_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_run_id"), "events", ["run_id"], unique=False)


def _flags() -> None:
    op.create_table(
        "flags",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("frame_number", sa.BigInteger(), nullable=False),
        sa.Column("operator", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_flags_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flags")),
    )
    op.create_index("ix_flags_run_id_frame_number", "flags", ["run_id", "frame_number"], unique=False)


def _gaps() -> None:
    op.create_table(
        "gaps",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("after_number", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_gaps_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gaps")),
    )
    op.create_index(op.f("ix_gaps_run_id"), "gaps", ["run_id"], unique=False)


def _health() -> None:
    op.create_table(
        "health",
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("utc_ns", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("beat", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_health_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_health")),
    )


def _identity() -> list[sa.Column[Any]]:
    return [
        sa.Column("package_id", sa.String(length=64), nullable=False),
        sa.Column("engine", sa.String(length=255), nullable=False),
        sa.Column("precision", sa.String(length=255), nullable=False),
        sa.Column("certificate", sa.String(length=255), nullable=False),
        sa.Column("recipe_hash", sa.String(length=64), nullable=False),
        sa.Column("mm_per_px_y", sa.Double(), nullable=True),
        sa.Column("mm_per_px_x", sa.Double(), nullable=True),
    ]


def _inspections() -> None:
    op.create_table(
        "inspections",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("camera_id", sa.String(length=255), nullable=False),
        sa.Column("part_id", sa.String(length=255), nullable=True),
        sa.Column("lot", sa.String(length=255), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("grab_utc_ns", sa.BigInteger(), nullable=True),
        sa.Column("grab_mono_ns", sa.BigInteger(), nullable=True),
        sa.Column("judged_utc_ns", sa.BigInteger(), nullable=True),
        sa.Column("judged_mono_ns", sa.BigInteger(), nullable=True),
        sa.Column("committed_utc_ns", sa.BigInteger(), nullable=False),
        sa.Column("committed_mono_ns", sa.BigInteger(), nullable=False),
        sa.Column("verdict", _WORD, nullable=False),
        sa.Column("reason_code", sa.String(length=32), nullable=True),
        sa.Column("reason_words", sa.Text(), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=False),
        *_identity(),
        sa.Column("coverage", sa.Double(), nullable=False),
        sa.Column("stages_ms", sa.JSON(), nullable=False),
        sa.Column("defect_count", sa.Integer(), nullable=False),
        sa.Column("image_path", sa.Text(), nullable=True),
        sa.Column("image_sha256", sa.String(length=64), nullable=True),
        sa.Column("mask_path", sa.Text(), nullable=True),
        sa.Column("mask_sha256", sa.String(length=64), nullable=True),
        sa.Column("evicted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name=op.f("fk_inspections_package_id")),
        sa.ForeignKeyConstraint(["recipe_hash"], ["recipes.hash"], name=op.f("fk_inspections_recipe_hash")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_inspections_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inspections")),
        sa.UniqueConstraint("run_id", "number", name=op.f("uq_inspections_run_id_number")),
    )
    op.create_index(
        "ix_inspections_run_id_verdict_number", "inspections", ["run_id", "verdict", "number"], unique=False
    )


def _requests() -> None:
    op.create_table(
        "requests",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_requests_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
    )
    op.create_index("ix_requests_run_id_state", "requests", ["run_id", "state"], unique=False)


def _defects() -> None:
    op.create_table(
        "defects",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("inspection_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("class_id", sa.Integer(), nullable=False),
        sa.Column("class_name", sa.String(length=255), nullable=False),
        sa.Column("y0", sa.Integer(), nullable=False),
        sa.Column("x0", sa.Integer(), nullable=False),
        sa.Column("y1", sa.Integer(), nullable=False),
        sa.Column("x1", sa.Integer(), nullable=False),
        sa.Column("area_px", sa.Integer(), nullable=False),
        sa.Column("length_px", sa.Double(), nullable=False),
        sa.Column("width_px", sa.Double(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("zones", sa.JSON(), nullable=False),
        sa.Column("area_mm2", sa.Double(), nullable=True),
        sa.Column("length_mm", sa.Double(), nullable=True),
        sa.Column("width_mm", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["inspection_id"], ["inspections.id"], name=op.f("fk_defects_inspection_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_defects")),
        sa.UniqueConstraint("inspection_id", "position", name=op.f("uq_defects_inspection_id_position")),
    )
