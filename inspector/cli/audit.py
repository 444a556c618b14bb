"""`inspector audit`: does the ledger balance?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from inspector.cli.ledger import db_option, ledger_of, ledger_to_read
from inspector.counting import counted, lost_words
from inspector.db import queries
from inspector.db.audit import LedgerAudit, RunAudit, audit_ledger
from inspector.db.simlog import read_sim_log
from inspector.errors import UsageError


@click.command()
@db_option
@click.option("--run", "run_id", metavar="ID", help="Only this run; without it, all of them.")
@click.option(
    "--sim-log", type=click.Path(path_type=Path), metavar="FILE",
    help="The simulator's own log, compared with the run (without --run: the newest).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on stdout.")
def audit(url: str | None, run_id: str | None, sim_log: Path | None, as_json: bool) -> int:
    """Check that every frame is accounted for.

    Compares the frame counter with the rows, the rows with the pictures on disk (each is
    read and its sha256 compared) and checks the database itself. Runs that died are given
    their UNINSPECTED rows first; a ledger that cannot be written is only read. Exit code 1
    when it does not balance. Frames that the camera lost before they reached the line have no
    row; where the camera tells of them, their number is said.

    \b
    Example:  inspector audit
              inspector audit --db ledger.db --sim-log sim.jsonl --json
    """
    url = ledger_of(url)
    with ledger_to_read(url) as engine:
        if run_id is not None and queries.run(engine, run_id) is None:
            raise UsageError(f"There is no run {run_id} in {url}; `inspector report --db {url}` lists them.")
        result = audit_ledger(engine, run_id, read_sim_log(sim_log) if sim_log else None)
    if as_json:
        click.echo(json.dumps(_summary(result)))
    else:
        _print(result)
    return 1 if result.problems else 0


def _summary(result: LedgerAudit) -> dict[str, object]:
    def total(name: str) -> int:
        values = [getattr(run, name) for run in result.runs]
        return sum(value if isinstance(value, int) else len(value) for value in values)

    names = ("counter", "rows", "duplicates", "missing", "under_way", "crashed", "gaps", "files",
             "missing_files", "changed_files", "orphans")  # fmt: skip
    return {
        "balances": not result.problems,
        "integrity": result.integrity,
        "problems": result.problems,
        "total": {"runs": len(result.runs), **{name: total(name) for name in names}},
        "runs": [dataclasses.asdict(run) for run in result.runs],
    }


def _print(result: LedgerAudit) -> None:
    for run in result.runs:
        click.echo(_line(run))
        for orphan in run.orphans:
            click.echo(f"  no row names {orphan}")
    runs, frames = counted(len(result.runs), "run"), counted(sum(run.counter for run in result.runs), "frame")
    rows = counted(sum(run.rows for run in result.runs), "row")
    click.echo(f"{runs}, {frames} grabbed, {rows}; database file: {result.integrity}")
    if lost := lost_words(sum(run.gaps for run in result.runs)):
        click.echo(f"LOST     {lost}")
    for problem in result.problems:
        click.echo(f"PROBLEM  {problem}")
    click.echo("The ledger does not balance." if result.problems else "The ledger balances.")


def _line(run: RunAudit) -> str:
    words = ", ".join(f"{n} {word}" for word, n in sorted(run.verdicts.items())) or "nothing yet"
    rows = counted(run.rows, "row")
    parts = [f"{run.run_id}  {_state(run)}: {run.counter} grabbed, {rows} ({words})"]
    if run.crashed:
        parts.append(f"{run.crashed} found after it died")
    if run.under_way:
        parts.append(f"{run.under_way} under way")
    parts.append(f"{run.gaps} lost by the camera, {counted(run.files, 'file')}")
    if run.sim:
        parts.append(f"simulator: {run.sim['emitted']} emitted, {run.sim['lost']} lost")
    return "; ".join(parts)


def _state(run: RunAudit) -> str:
    return run.end or ("running" if run.alive else "died")
