"""Opening a ledger: pragmas, SQLite's version, migrations, recovery."""

from __future__ import annotations

import importlib
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from inspector.db.migrations.upgrade import current_version, upgrade
from inspector.db.recover import recover_dead_runs
from inspector.db.transactions import WRITE, ledger_name, told, unwritable_folder, writing
from inspector.durable import try_writing
from inspector.errors import LedgerError, UsageError

UNSAFE_SQLITE = (3, 51, 2)
"""The last SQLite whose WAL reset can lose a committed write (sqlite.org/wal.html, "WAL-reset bug")."""
BUSY_TIMEOUT_S = 5.0
_ALMOST_URL = re.compile(r"sqlite[+\w]*:|[a-z]+(\+\w+)?:/", re.IGNORECASE)


def open_ledger(
    url: str,
    *,
    create: bool = True,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    on_new: Callable[[str], None] | None = None,
) -> Engine:
    """A ledger that is made, up to date and recovered: frames of dead runs have their rows.

    url: any SQLAlchemy URL; a plain path means an SQLite file.
    create: False for commands that only look, so that a typing error makes no empty ledger and
    changes no other database.
    busy_timeout_s: how long to wait for a lock that another program holds.
    on_new: told the name of a ledger that was made just now.
    Raises UsageError for a URL that means nothing and for a ledger that is not there,
    LedgerError when it cannot be opened, written or trusted; where only the disk or its rights
    are in the way, that is a DiskRefused.
    """
    address = ledger_url(url)
    if address.get_backend_name() == "sqlite":
        engine = _sqlite_engine(address, create, busy_timeout_s)
    else:
        engine = _server_engine(address)
    with ExitStack() as on_failure:
        on_failure.callback(engine.dispose)
        with told(engine.url):
            if not create:
                require_ledger(engine)
            if upgrade(engine) and on_new is not None:
                on_new(ledger_name(engine.url))
            recover_dead_runs(engine, ledger_folder(engine.url))
            if create:  # a line would find out only after minutes of compiling
                with writing(engine):
                    pass
        on_failure.pop_all()
    return engine


def check_ledger(url: str) -> None:
    """Whether a line could record into it: its folder is tried, and a ledger that is there opened to write.

    Makes none. Raises what open_ledger would raise.
    """
    if ledger_url(url).get_backend_name() == "sqlite":
        folder = ledger_folder(url)
        try:
            try_writing(folder)
        except OSError as error:
            raise unwritable_folder(folder, error) from error
    if not would_be_new(url):
        engine = open_ledger(url, create=False)
        try:
            with writing(engine):
                pass
        finally:
            engine.dispose()


def ledger_url(url: str | URL) -> URL:
    """The parsed address. Raises UsageError when it is none."""
    if isinstance(url, URL):
        return url
    try:
        # One slash too few is no path: a ledger would be begun in a folder named `sqlite:`.
        parsed = "://" in url or _ALMOST_URL.match(url) is not None
        return make_url(url) if parsed else URL.create("sqlite", database=url)
    except (ArgumentError, ValueError) as error:  # a port that is no number is a ValueError
        raise UsageError(f"{url!r} is no database URL; write it like sqlite:///ledger.db.") from error


def ledger_folder(url: str | URL) -> Path:
    """Where counters, pictures and evidence lie: beside an SQLite file, else ~/.local/state/inspector."""
    address = ledger_url(url)
    if address.get_backend_name() == "sqlite":
        return sqlite_file(address).parent
    return Path.home() / ".local" / "state" / "inspector"


def would_be_new(url: str) -> bool:
    """Whether opening it would make a file. A server's database is there, or cannot be opened."""
    address = ledger_url(url)
    return address.get_backend_name() == "sqlite" and not os.path.exists(sqlite_file(address))


def require_safe_sqlite(version: tuple[int, ...]) -> None:
    """Raises LedgerError for an SQLite whose WAL can lose a committed write."""
    if version <= UNSAFE_SQLITE:
        found = ".".join(map(str, version))
        raise LedgerError(
            f"SQLite {found} can lose a verdict that it said was written (mended after 3.51.2);"
            " install a newer one with: pip install 'pysqlite3>=0.6.1'."
        )


def sqlite_module() -> Any:
    """The newest SQLite at hand. Raises LedgerError when even that one is unsafe."""
    try:
        module = importlib.import_module("pysqlite3")
    except ImportError:
        module = sqlite3
    require_safe_sqlite(module.sqlite_version_info)
    return module


def sqlite_file(url: URL) -> Path:
    """The file of an SQLite address, absolute. Raises UsageError for one in memory."""
    if not url.database or url.database == ":memory:":
        raise UsageError(
            "A ledger in memory would forget every verdict; name a file, like sqlite:///ledger.db."
        )
    return Path(url.database).absolute()


def _sqlite_engine(url: URL, create: bool, busy_timeout_s: float) -> Engine:
    file = sqlite_file(url)
    if url.drivername not in ("sqlite", "sqlite+pysqlite") or url.query:
        raise UsageError(f"{url} is no address of a ledger here; write sqlite:///{url.database} alone.")
    # os.path, because Path raises for a name that is too long.
    if os.path.isdir(file):
        raise UsageError(f"{file} is a folder and no ledger; name the file in it, like {file}/ledger.db.")
    if not create:
        _require_ledger_file(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable_folder(file.parent, error) from error
    engine = create_engine(url.set(database=str(file)), module=sqlite_module())

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        connection.execute(f"PRAGMA busy_timeout={round(busy_timeout_s * 1000)}")
        connection.execute("PRAGMA foreign_keys=ON")
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise LedgerError(
                f"The ledger {file} cannot be read while it is written where it lies, as on a network"
                " share; put it on a local disk."
            )
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get(WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _require_ledger_file(file: Path) -> None:
    """Looks without a trace: our own connections turn whatever they open to WAL."""
    if not os.path.exists(file):
        raise UsageError(f"There is no ledger at {file}; name the one of a run with --db.")
    module = sqlite_module()
    with suppress(module.Error), closing(module.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        if found is None:
            raise _no_ledger(str(file))


def require_ledger(engine: Engine) -> None:
    """Raises UsageError for a database without the tables of a ledger."""
    with engine.connect() as connection:
        if current_version(connection) is None:
            raise _no_ledger(ledger_name(engine.url))


def _no_ledger(name: str) -> UsageError:
    return UsageError(f"{name} is a database without a ledger; name the one of a run with --db.")


def _server_engine(url: URL) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True)
    except (NoSuchModuleError, ImportError) as error:
        name = url.drivername
        raise UsageError(
            f"No driver for {name}:// is installed; install one, or use sqlite:///ledger.db ({error})."
        ) from error
