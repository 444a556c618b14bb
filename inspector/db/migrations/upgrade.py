"""Bringing a ledger to this program's version, from Python and without an alembic.ini."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from inspector.db.transactions import writing
from inspector.errors import LedgerError

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
"""The version that this program writes; a test compares it with the files in versions/."""
KNOWN = ("0001",)


def upgrade(engine: Engine) -> bool:
    """Make or change the tables in one transaction; nothing when they are up to date. True: made them.

    Two programs that start at once take turns: the second finds the work done.
    Raises LedgerError when a newer program made the ledger.
    """
    with engine.connect() as connection:
        if current_version(connection) == HEAD:
            return False
    with writing(engine) as connection:
        found = current_version(connection)
        if found is not None and found not in KNOWN:
            raise LedgerError(
                f"The ledger {engine.url.database} has version {found}, newer than this program's {HEAD};"
                " update the program or name another ledger."
            )
        if found != HEAD:
            _run(connection)
    return found is None


def current_version(connection: Connection) -> str | None:
    """The version of the tables, None where there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _run(connection: Connection) -> None:
    # Alembic takes a fifth of a second to import; a ledger that is up to date does not need it.
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def alembic_config() -> Config:
    """Alembic's settings for the versions beside this file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
