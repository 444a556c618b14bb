"""`inspector export`: what people flagged, as a dataset to correct and train on."""

from __future__ import annotations

import json
from pathlib import Path

import click

from inspector.cli.ledger import db_option, ledger_of, ledger_to_read
from inspector.counting import counted
from inspector.flagged import export_flagged


@click.command()
@click.option(
    "--flagged",
    "out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="OUT",
    help="The dataset folder to make.",
)
@db_option
@click.option("--run", "run_id", metavar="ID", help="Only the flags of this run; without it, of all runs.")
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on stdout.")
def export(out: Path, url: str | None, run_id: str | None, as_json: bool) -> int:
    """Write the flagged frames as a dataset folder.

    images/ has the frames without loss, masks/ the model's masks: correct those in an image
    editor (class ids as gray values, 255 = ignore), then train on with trainer fit --init.
    provenance.json says who flagged what.

    \b
    Example:  inspector export --flagged doubts
              trainer fit DATA doubts --init PACKAGE --out runs/next
    """
    with ledger_to_read(ledger_of(url)) as engine:
        exported = export_flagged(engine, out, run_id)
    for words in exported.missing:
        click.echo(words, err=True)
    frames = counted(len(exported.stems), "flagged frame")
    click.echo(f"{frames} in {out}; correct {out / 'masks'} next.", err=True)
    if as_json:
        click.echo(
            json.dumps({"out": str(out), "frames": list(exported.stems), "missing": list(exported.missing)})
        )
    else:
        click.echo(out)
    return 0
