"""Which ledger a command means when nobody names one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
import sqlalchemy

from inspector.cli.run import installed_config
from inspector.config import RecordingConfig, load_config
from inspector.db.read_only import read_ledger

db_option = click.option(
    "--db",
    "url",
    metavar="URL",
    help="The ledger: a database URL or an SQLite file; default: the one that `inspector run` would write.",
)
run_option = click.option("--run", "run_id", metavar="ID", help="The run; default: the newest.")


def ledger_of(url: str | None) -> str:
    """The named ledger, else the one of the config that `inspector run` would read. Raises ConfigError."""
    if url is not None:
        return url
    config = installed_config()
    return load_config(config).recording.db if config is not None else RecordingConfig().db


@contextmanager
def ledger_to_read(url: str) -> Iterator[sqlalchemy.Engine]:
    """The ledger for a command that only reads; what a full or read-only disk left undone is said on stderr.

    Raises UsageError where there is none, LedgerError where it cannot be read.
    """
    engine = read_ledger(url, lambda words: click.echo(words, err=True))
    try:
        yield engine
    finally:
        engine.dispose()
