"""Write and read transactions on a ledger; the database's errors become sentences with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from inspector.errors import LedgerError

WRITE = "ledger_write"
"""Execution option: BEGIN IMMEDIATE. Reading first and writing later fails at once when somebody
else committed in between (SQLITE_BUSY_SNAPSHOT), whatever the busy timeout says."""


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One write transaction: begins at once with the write lock, commits at the end.

    Raises LedgerError, after rolling back, when the database refuses.
    """
    with (
        told(engine.url),
        engine.connect().execution_options(**{WRITE: True}) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One read transaction: all SELECTs in it see the same moment. Raises LedgerError."""
    with told(engine.url), engine.connect() as connection:
        if engine.dialect.name != "sqlite":  # where one moment is the default
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


@contextmanager
def told(url: URL) -> Iterator[None]:
    """Turn the database's errors into one sentence with a remedy (LedgerError)."""
    try:
        yield
    except SQLAlchemyError as error:
        raise ledger_error(error, url) from error


def ledger_name(url: URL) -> str:
    """What people call it: the file, or the address without its password."""
    is_file = url.get_backend_name() == "sqlite"
    return str(url.database) if is_file else url.render_as_string(hide_password=True)


def ledger_error(error: Exception, url: URL) -> LedgerError:
    """The sentence for a database error."""
    name = ledger_name(url)
    cause = " ".join(str(getattr(error, "orig", None) or error).split())
    for sign, remedy in _REMEDIES.items():
        if sign in cause.lower():
            return LedgerError(f"The ledger {name} {remedy}.")
    return LedgerError(
        f"The ledger {name} failed ({cause}); check the disk and the address, then start again."
    )


_REMEDIES = {
    "locked": "is locked by another program; close that program or wait for it, then start again",
    "readonly": "cannot be written; give this user write access to the file and to its folder",
    "read-only": "cannot be written; give this user write access to the file and to its folder",
    "full": "cannot grow because the disk is full; free some space, then start again",
    "unable to open": "cannot be opened; check that the folder exists and that this user may write in it",
    "not a database": "is not an SQLite database; name another file, or move this one away",
    "malformed": "is damaged; restore it from a backup, or move it away to start a new one",
    "disk i/o error": "cannot be read or written (disk I/O error); check the disk and its free space",
}
