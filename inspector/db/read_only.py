"""A ledger for commands that only read: a full or read-only disk is no reason not to look at it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

from inspector.counting import counted
from inspector.db.connect import (
    BUSY_TIMEOUT_S,
    ledger_folder,
    ledger_url,
    open_ledger,
    require_ledger,
    sqlite_file,
    sqlite_module,
)
from inspector.db.recover import waiting_frames
from inspector.db.transactions import told
from inspector.errors import DiskRefused, LedgerError


def read_ledger(url: str, tell: Callable[[str], None]) -> Engine:
    """open_ledger's ledger, brought up to date; where the disk refuses that, as it lies there.

    tell: hears why nothing could be written, and how many frames have no row for that.
    Raises what open_ledger(url, create=False) does when it cannot be read either.
    """
    try:
        return open_ledger(url, create=False)
    except DiskRefused as refusal:
        address = ledger_url(url)
        if address.get_backend_name() != "sqlite":
            raise
        engine = _engine(sqlite_file(address))
        try:
            with told(engine.url):
                require_ledger(engine)
            waiting = waiting_frames(engine, ledger_folder(engine.url))
        except LedgerError:
            engine.dispose()
            raise refusal from None
        tell(f"{refusal} It is only read now: {_missing(waiting)}.")
        return engine


def _missing(waiting: int) -> str:
    if not waiting:
        return "nothing is missing in it"
    return f"{counted(waiting, 'frame')} without a row until it is opened and can be written"


def _engine(file: Path) -> Engine:
    """Writes nothing, not even the files that WAL needs beside the ledger."""
    module = sqlite_module()
    log = f"{file}-wal"
    # Whoever has it open keeps an index beside it, over a log that may be empty: what is immutable
    # to us would be changed under our eyes. With a log its rows are read as well.
    changing = os.path.exists(f"{file}-shm") or (os.path.exists(log) and os.path.getsize(log) > 0)
    still = "" if changing else "&immutable=1"

    def connect() -> Any:
        connection = module.connect(f"{file.as_uri()}?mode=ro{still}", uri=True, check_same_thread=False)
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={round(BUSY_TIMEOUT_S * 1000)}")
        return connection

    engine = create_engine(URL.create("sqlite", database=str(file)), module=module, creator=connect)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine
