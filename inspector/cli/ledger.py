"""Which ledger a command means when nobody names one."""

from __future__ import annotations

from pathlib import Path

import click

from inspector.config import RecordingConfig, load_config

db_option = click.option(
    "--db",
    "url",
    metavar="URL",
    help="The ledger: a database URL or an SQLite file; default: the one of ./line.toml.",
)
run_option = click.option("--run", "run_id", metavar="ID", help="The run; default: the newest.")


def ledger_of(url: str | None) -> str:
    """The named ledger, else the one of ./line.toml, else the default of a config. Raises ConfigError."""
    if url is not None:
        return url
    config = Path("line.toml")
    return load_config(config).recording.db if config.exists() else RecordingConfig().db
