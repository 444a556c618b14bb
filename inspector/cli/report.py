"""`inspector report`: what the line said, with shares, intervals and identities."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import click
from sqlalchemy import Engine

from inspector.cli.ledger import db_option, ledger_of, ledger_to_read
from inspector.counting import counted, latency_text, lost_words, reasons_text
from inspector.db import queries
from inspector.db.figures import Figures, Share, figures, write_csv
from inspector.db.queries import Run
from inspector.durable import unwritable
from inspector.errors import UsageError
from inspector.flagged import kind_word

_TOLD = ("config_warning", "camera_ended_early", "failed")
"""Kinds of events that a report repeats."""


@click.command()
@db_option
@click.option("--run", "run_id", metavar="ID", help="Only this run, or `latest`; without it, all of them.")
@click.option(
    "--csv", "csv_path", type=click.Path(path_type=Path), metavar="FILE",
    help="Also write one line a frame into this file.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on stdout.")
def report(url: str | None, run_id: str | None, csv_path: Path | None, as_json: bool) -> int:
    """Sum up a ledger: verdicts with 95 % intervals, reasons, defects, latency, identities.

    \b
    Example:  inspector report
              inspector report --db ledger.db --run latest --csv frames.csv
    """
    url = ledger_of(url)
    with ledger_to_read(url) as engine:
        runs = _wanted_runs(engine, url, run_id)
        only = runs[0].id if run_id is not None else None
        found = figures(engine, only)
        events = {run.id: _events(engine, run.id) for run in runs}
        if csv_path is not None:
            frames = _save_csv(engine, csv_path, only)
            click.echo(f"{counted(frames, 'frame')} written to {csv_path}", err=True)
    if as_json:
        told = [words for of_run in events.values() for words in of_run]
        summary = {
            **dataclasses.asdict(found), "runs": [dataclasses.asdict(run) for run in runs], "warnings": told,
        }  # fmt: skip
        click.echo(json.dumps(summary, default=str))
    else:
        _print(runs, found, events)
    return 0


def _wanted_runs(engine: Engine, url: str, run_id: str | None) -> list[Run]:
    if run_id is None:
        return queries.runs(engine)
    found = queries.latest_run(engine) if run_id == "latest" else queries.run(engine, run_id)
    if found is None:
        raise UsageError(f"There is no run {run_id} in {url}; leave --run out to see them all.")
    return [found]


def _save_csv(engine: Engine, path: Path, run_id: str | None) -> int:
    """The whole file or none. Raises what `unwritable` gives for the path."""
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=path.name, suffix=".tmp", newline="", encoding="utf-8", delete=False
        ) as file:
            temporary = Path(file.name)
            frames = write_csv(engine, file, run_id)
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return frames


def _events(engine: Engine, run_id: str) -> list[str]:
    """What must not be overlooked of a run, oldest first."""
    found = queries.events(engine, run_id)
    return [event.words for event in reversed(found) if event.kind in _TOLD]


def _print(runs: list[Run], found: Figures, events: dict[str, list[str]]) -> None:
    for run in runs:
        ended = f"{run.ended_at:%Y-%m-%d %H:%M:%S} UTC ({run.end})" if run.ended_at else "still open"
        click.echo(f"run {run.id}  camera {run.camera_id}  {run.started_at:%Y-%m-%d %H:%M:%S} UTC to {ended}")
        click.echo(f"  package     {run.package_name} {run.package_version}  {run.package_id[:12]}")
        click.echo(f"  engine      {run.engine} {run.engine_version}, {run.precision}, {run.device}")
        click.echo(f"  certificate {run.certificate[:12]}   recipe {run.recipe_name} {run.recipe_hash[:12]}")
        for event in events[run.id]:
            click.echo(f"  event       {event}")
    click.echo(
        f"\n{counted(found.frames, 'frame')}" + ("" if found.frames else ": nothing was inspected yet")
    )
    for word, share in found.verdicts.items():
        click.echo(f"  {word:<12}{share.n:>8}  {_percent(share)}")
    reasons = reasons_text(found.reasons, found.reason_classes, found.reason_words)
    _table("Reasons (frames; one with several counts in each)", reasons)
    in_frames = {
        name: f"{n['defects']} in {counted(n['frames'], 'frame')}" for name, n in found.defects.items()
    }
    _table("Defects", in_frames)
    click.echo(f"\nLatency: {latency_text(found.latency_ms)}")
    click.echo(f"Lost by the camera: {lost_words(found.gaps) or 'no frame that is known of'}")
    flags = ", ".join(f"{n} {kind_word(kind)}" for kind, n in found.flags.items()) or "none"
    click.echo(f"Flags: {flags}")


def _table(title: str, rows: dict[str, str]) -> None:
    if rows:
        click.echo(f"\n{title}")
        for name, value in rows.items():
            click.echo(f"  {name:<16}{value}")


def _percent(share: Share) -> str:
    if share.share is None or share.low is None or share.high is None:
        return ""
    return f"{share.share:8.2%}  (95 %: {share.low:.2%} to {share.high:.2%})"
