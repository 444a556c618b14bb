"""Write and read transactions on a ledger; the database's errors become sentences with a remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from inspector.durable import WRONG_PATH, disk_remedy, try_writing
from inspector.errors import DiskRefused, InspectionError, LedgerError, UsageError

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
    """The sentence for a database error: a DiskRefused where only the disk or its rights are in the way."""
    name = ledger_name(url)
    cause = " ".join(str(getattr(error, "orig", None) or error).split())
    if url.get_backend_name() == "sqlite" and any(sign in cause.lower() for sign in _NO_ACCESS):
        return unwritable_ledger(Path(name))
    for sign, remedy in _DISK.items():
        if sign in cause.lower():
            return DiskRefused(f"The ledger {name} {remedy}.")
    for sign, remedy in _REMEDIES.items():
        if sign in cause.lower():
            return LedgerError(f"The ledger {name} {remedy}.")
    return LedgerError(
        f"The ledger {name} failed ({cause}); check the disk and the address, then start again."
    )


def unwritable_ledger(file: Path) -> DiskRefused:
    """Names what refuses: the file to be read at all, else its folder, else the file to be written."""
    # Asked, not opened: closing any descriptor of the file would free our own locks on it.
    if os.path.exists(file) and not os.access(file, os.R_OK, effective_ids=True):
        return DiskRefused(
            f"The ledger {file} cannot be opened; give this user read and write access to it and its folder."
        )
    try:
        try_writing(file.parent)
    except OSError as error:
        return DiskRefused(str(unwritable_folder(file.parent, error)))
    return DiskRefused(
        f"The ledger {file} cannot be written; give this user write access to it and to the files beside it."
    )


def unwritable_folder(folder: Path, error: OSError) -> InspectionError:
    """The error of a folder that refuses the ledger, its counters and its log, or cannot be at all."""
    elsewhere = "name a ledger elsewhere with --db or recording.db"
    if error.errno in WRONG_PATH:
        return UsageError(f"The folder {folder} of the ledger is not there and cannot be made; {elsewhere}.")
    return DiskRefused(
        f"The folder {folder} of the ledger cannot be written ({error.strerror or error});"
        f" {disk_remedy(error)}, or {elsewhere}."
    )


_NO_ACCESS = ("readonly", "read-only", "unable to open")
_DISK = {
    "full": "cannot grow because the disk is full; free some space, then start again",
    "disk i/o error": "cannot be read or written (disk I/O error); check the disk and its free space",
    "read-only": "cannot be written; give this user write access to the database",
}
_REMEDIES = {
    "locked": "is locked by another program; close that program or wait for it, then start again",
    "not a database": "is not an SQLite database; name another file, or move this one away",
    "malformed": "is damaged; restore it from a backup, or move it away to start a new one",
}
