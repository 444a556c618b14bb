"""`inspector flag`: doubt a frame from a shell."""

from __future__ import annotations

import click

from inspector.account import account_name
from inspector.cli.ledger import db_option, ledger_of, run_option
from inspector.db import queries
from inspector.db.connect import open_ledger
from inspector.db.writes import FLAG_KINDS
from inspector.errors import UsageError
from inspector.flagged import flag_frame, kind_word

KINDS = {kind_word(kind): kind for kind in FLAG_KINDS}


@click.command()
@db_option
@run_option
@click.option("--frame", "number", type=click.IntRange(1, 10**12), required=True, help="The frame's number.")
@click.option("--kind", type=click.Choice(list(KINDS)), required=True, help="In which way you doubt it.")
@click.option("--operator", default=None, help="Who doubts it; default: the account.")
@click.option("--note", default="", help="What you see.")
def flag(url: str | None, run_id: str | None, number: int, kind: str, operator: str | None, note: str) -> int:
    """Flag a frame so that it is kept, labelled and trained on.

    A running station still has its last frames in memory and stores the flagged one; exit
    code 1 when the flag is written but the picture is gone.

    \b
    Example:  inspector flag --frame 812 --kind false-reject --note "oil, no scratch"
              inspector flag --db sqlite:///ledger.db --run 01J9Z... --frame 7 --kind missed
    """
    engine = open_ledger(ledger_of(url), create=False)
    try:
        run = queries.latest_run(engine) if run_id is None else queries.run(engine, run_id)
        if run is None:
            raise UsageError(
                f"There is no run {run_id or 'yet'} in {engine.url.database}; see inspector report."
            )
        outcome = flag_frame(
            engine, run.id, number, operator=operator or account_name(), kind=KINDS[kind], note=note
        )
    finally:
        engine.dispose()
    click.echo(outcome.words, err=not outcome.kept)
    return 0 if outcome.kept else 1
