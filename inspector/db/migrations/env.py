"""Alembic's entry: runs the versions inside the caller's transaction."""

from __future__ import annotations

from alembic import context

from inspector.db.schema import Ledger

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Ledger.metadata,
    render_as_batch=True,  # SQLite cannot alter a column in place
)
with context.begin_transaction():
    context.run_migrations()
