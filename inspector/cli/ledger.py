"""Which ledger a command means when nobody names one."""

from __future__ import annotations

import click

from inspector.cli.run import installed_config
from inspector.config import RecordingConfig, load_config

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
