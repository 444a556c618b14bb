"""The line as a process of its own, the dashboard as another one on this terminal."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from inspector.errors import InspectionError

if TYPE_CHECKING:
    from inspector.config import LineConfig

LEAVE_S = 3.0
"""How long a line is waited for after the dashboard was left, before it is asked whether it stops."""


def run_beside_dashboard(config: LineConfig, arguments: list[str]) -> int:
    """Start the line in its own session, show it, and say how it is when the dashboard is left.

    The line outlives this process and its terminal. Returns the line's exit code where it has
    ended, else 0. Raises LedgerError when the folder of the ledger cannot be written.
    """
    from inspector.db.connect import ledger_folder
    from inspector.db.transactions import unwritable_folder

    url = config.recording.db
    logs = ledger_folder(url) / "logs"
    # Two lines of one ledger may be started in the same second.
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        log, result = logs / f"{name}.log", logs / f"{name}.json"
        line, ready = _start_line(arguments, log, result)
    except OSError as error:
        raise unwritable_folder(logs, error) from error
    click.echo(f"Starting the line (log: {log}) ...", err=True)
    try:
        run_id = _wait_until_ready(ready, log)
    except KeyboardInterrupt:
        line.send_signal(signal.SIGTERM)
        line.wait()
        raise
    if run_id is None:
        return _exit_code(line.wait())
    show = [sys.executable, "-m", "inspector", "dashboard", "--db", url, "--run", run_id]
    with _ignoring_interrupts():
        shown = subprocess.run(show, check=False)
    if shown.returncode != 0:
        click.echo(
            f"The dashboard failed (exit code {shown.returncode}); the line does not need it.", err=True
        )
    _wait_for_end(line, url, run_id)
    return _say_how_it_is(line, result, log, url, run_id)


def _start_line(arguments: list[str], log: Path, result: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The line's process and a pipe on which it names its run; its words go to files."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "inspector", "run", "--headless", "--json", "--ready-fd", str(writing)]
    try:
        with log.open("ab") as words, result.open("wb") as summary:
            line = subprocess.Popen(
                [*command, *arguments], stdin=subprocess.DEVNULL, stdout=summary, stderr=words,
                pass_fds=(writing,), start_new_session=True,
            )  # fmt: skip
    finally:
        os.close(writing)
    return line, reading


def _wait_until_ready(ready: int, log: Path) -> str | None:
    """The run's id, or None when the line ended before it had one; its words are shown meanwhile."""
    with log.open("r", encoding="utf-8", errors="replace") as words, os.fdopen(ready, "rb") as pipe:
        while True:
            readable, _, _ = select.select([pipe], [], [], 0.2)
            _show_new(words)
            if readable:
                return pipe.readline().decode().strip() or None


def _show_new(words: IO[str]) -> None:
    click.echo(words.read(), err=True, nl=False)


def _wait_for_end(line: subprocess.Popen[bytes], url: str, run_id: str) -> None:
    """Wait a moment for a line that may be ending, and for one that was told to stop until it has."""
    deadline = time.monotonic() + LEAVE_S
    while line.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if line.poll() is None and _is_stopping(url, run_id):
        click.echo("The line finishes what it has grabbed (Ctrl-C: do not wait) ...", err=True)
        line.wait()


def _is_stopping(url: str, run_id: str) -> bool:
    """Whether the line has said that it stops; False as well when its ledger does not answer."""
    from inspector.db import queries
    from inspector.db.connect import open_ledger

    try:
        ledger = open_ledger(url, create=False)
        try:
            beat = queries.health(ledger, run_id)
        finally:
            ledger.dispose()
    except InspectionError:
        return False
    return beat is not None and beat.state in ("stopping", "ended", "failed")


def _reason_words(url: str, run_id: str) -> dict[str, str]:
    """From the ledger, since the line's JSON has none; a summary does without where that does not answer."""
    from inspector.db.connect import open_ledger
    from inspector.db.figures import reason_words

    try:
        ledger = open_ledger(url, create=False)
        try:
            return reason_words(ledger, run_id)
        finally:
            ledger.dispose()
    except InspectionError:
        return {}


def _say_how_it_is(line: subprocess.Popen[bytes], result: Path, log: Path, url: str, run_id: str) -> int:
    code = line.poll()
    if code is None:
        again = f"inspector dashboard --db {url}"
        click.echo(f"The line goes on running (process {line.pid}). Look again: {again}", err=True)
        click.echo(f"Stop it: kill {line.pid}", err=True)
        return 0
    from inspector.station.summary import summary_text

    with suppress(ValueError, IndexError):  # none, or half of one: its disk was full
        # The last line alone: a library may have said something on stdout before it.
        summary = json.loads(result.read_text(encoding="utf-8", errors="replace").splitlines()[-1])
        click.echo(summary_text(summary, _reason_words(url, run_id)))
    if code != 0:
        click.echo(_why_it_failed(log, url, run_id) or f"The line ended with exit code {code}.", err=True)
    return _exit_code(code)


def _why_it_failed(log: Path, url: str, run_id: str) -> str:
    """What the line left behind of its failure, which a full disk cannot cut off, else its last words."""
    from inspector.db.connect import ledger_folder
    from inspector.db.counter import counter_path, read_failure

    failure = read_failure(counter_path(ledger_folder(url), run_id))
    if failure is not None:
        return f"inspector: {failure.words}"
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return last[-1] if last else ""


def _exit_code(code: int) -> int:
    """What this command returns for the line's: a line that a signal killed is a fault."""
    return 1 if code < 0 else code


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Ctrl-C belongs to the dashboard while it is on the screen."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
