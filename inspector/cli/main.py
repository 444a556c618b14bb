"""`inspector`: everything that runs on the line."""

from __future__ import annotations

import click

from inspector import __version__
from inspector.cli.group import LazyGroup, run_group

COMMANDS = {
    "run": "inspector.cli.run:run",
    "dashboard": "inspector.cli.dashboard:dashboard",
    "init": "inspector.cli.init:init",
    "doctor": "inspector.cli.doctor:doctor",
    "audit": "inspector.cli.audit:audit",
    "report": "inspector.cli.report:report",
    "flag": "inspector.cli.flag:flag",
    "export": "inspector.cli.export:export",
    "plan": "inspector.cli.plan:plan",
    "models": "inspector.cli.models:models",
    "bench": "inspector.cli.bench:bench",
    "selftest": "inspector.cli.selftest:selftest",
}


@click.group(cls=LazyGroup, commands_at=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="inspector")
def inspector() -> None:
    """Inspect every frame of a line: segment damage, judge it, log it, show it.

    \b
    First steps:  inspector init          write a commented line.toml
                  inspector run --camera 0
    """


def main() -> int:
    """Entry point of the `inspector` command."""
    return run_group(inspector, "inspector")
