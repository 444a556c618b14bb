"""`inspector dashboard`: look at a line from any terminal."""

from __future__ import annotations

import click

from inspector.cli.ledger import db_option, ledger_of, run_option


@click.command()
@db_option
@run_option
def dashboard(url: str | None, run_id: str | None) -> int:
    """Show the running line: verdict, picture, counters, last rejects.

    Reads the ledger and the latest picture; it can neither stall nor stop the line, except
    by asking the station when you say so. Without --run it follows the newest run.
    Keys: f flags the frame on screen, p pauses, ? explains the rest, q leaves.

    \b
    Example:  inspector dashboard
              inspector dashboard --db sqlite:////var/lib/inspector/ledger.db
    """
    from inspector.dashboard.app import run_dashboard

    return run_dashboard(ledger_of(url), run_id)
