"""Runs that are killed with `kill -9`: is every frame accounted for?

    python -m benchmarks.frames_accounted [--model PACKAGE] [--runs 20] [--engine NAME]

Each run is `inspector run` on a live 30 fps `sim:` that keeps its own log. At a random moment
after the first verdict reached the outputs the process is killed. Then, for each run:

    open       the database passes `integrity_check` as the kill left it, and opens clean
    audit      `inspector audit` balances counter, rows, files and the simulator's own log
    images     every reject and review row names its image, every named file has the named sha256
    outputs    every line that was told has its row, with the same verdict
    pragmas    WAL, synchronous=FULL, foreign keys, an SQLite after 3.51.2

The rows, files and lines are read here with sqlite3 and hashlib, past the product's own code.
`benchmarks.wal_cut` follows: database and WAL cut at random offsets.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import wal_cut
from benchmarks.rows import append_row, verdict
from inspector.db.connect import open_ledger

ROOT = Path(__file__).parent.parent
CONFIG = """
[camera]
frozen_frames = 5
[recording]
keep = ["reject", "review", "uninspected"]
pass_every = 10
[[outputs]]
kind = "jsonl"
path = "out.jsonl"
"""
SIM = "fps=30&seed={seed}&log={log}&fault=black@40-44,lost@25-27,broken@60"


@dataclass
class Found:
    """What one run, or all of them together, came to."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def killed_run(folder: Path, log: Path, options: list[str], rng: random.Random) -> float:
    """Run the line in `folder` and kill it; returns the seconds it lived after its first verdict."""
    camera = f"sim:?{SIM.format(seed=rng.randrange(1000), log=log)}"
    command = [sys.executable, "-m", "inspector", "run", "--headless", "--camera", camera, *options]
    told = folder / "out.jsonl"
    before = told.stat().st_size if told.exists() else 0
    with (folder / "stderr.log").open("ab") as words:
        line = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=words)
    try:
        deadline = time.monotonic() + 300
        while not told.exists() or told.stat().st_size <= before:
            if line.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The line gave no verdict (exit code {line.poll()}); see {words.name}.")
            time.sleep(0.002)
        delay = rng.uniform(0.0, 3.0)
        time.sleep(delay)
    finally:
        line.send_signal(signal.SIGKILL)
        line.wait()
    return delay


def check(folder: Path, log: Path) -> Found:
    """Everything that must hold after the kill of the newest run."""
    found = Found()
    connection = sqlite3.connect(folder / "ledger.db")
    integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    if integrity != "ok":
        found.problems.append(f"integrity_check says {integrity}")
    audit = subprocess.run(
        [sys.executable, "-m", "inspector", "audit", "--db", "ledger.db", "--sim-log", str(log), "--json"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    if audit.returncode != 0:
        said = audit.stdout.splitlines()[-1:] or audit.stderr.splitlines()[-1:]
        found.problems.append(f"audit: {json.loads(said[0])['problems'] if audit.stdout else said}")
    _check_rows(folder, log, found)
    found.problems += pragma_problems(f"sqlite:///{folder / 'ledger.db'}")
    return found


def _check_rows(folder: Path, log: Path, found: Found) -> None:
    """Rows of the newest run against the simulator's log, the files and the outputs."""
    connection = sqlite3.connect(folder / "ledger.db")
    run = connection.execute("SELECT max(id) FROM runs").fetchone()[0]
    columns = "number, verdict, reason_code, image_path, image_sha256, mask_path, mask_sha256"
    rows = connection.execute(
        f"SELECT {columns} FROM inspections WHERE run_id = ? ORDER BY number", (run,)
    ).fetchall()
    connection.close()
    emitted = sum(json.loads(line)["event"] == "emitted" for line in log.read_text().splitlines())
    if [row[0] for row in rows] != list(range(1, len(rows) + 1)) or not emitted - 1 <= len(rows) <= emitted:
        found.problems.append(f"{len(rows)} rows for {emitted} frames that the simulator emitted")
    for number, word, code, image, image_sha, mask, mask_sha in rows:
        found.counts[word] += 1
        found.counts["crash"] += code == "crash"
        if word in ("REJECT", "REVIEW") and image is None:
            found.problems.append(f"frame {number} is {word} and has no image")
        for path, sha in ((image, image_sha), (mask, mask_sha)):
            if path is not None:
                found.counts["files"] += 1
                if not _is(folder / path, sha):
                    found.problems.append(f"frame {number} names {path}, which is missing or changed")
    words = {number: word for number, word, *_ in rows}
    for line in (folder / "out.jsonl").read_bytes().split(b"\n")[:-1]:
        told = json.loads(line)
        if told["run"] == run:
            found.counts["told"] += 1
            if words.get(told["frame"]) != told["verdict"]:
                found.problems.append(
                    f"frame {told['frame']} was told as {told['verdict']} without such a row"
                )
    found.counts["frames"] += emitted


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def pragma_problems(url: str) -> list[str]:
    """What the ledger's own connections say that they must not say."""
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    ledger = open_ledger(url)
    with ledger.connect() as connection:
        said = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
        version = str(connection.exec_driver_sql("SELECT sqlite_version()").scalar())
    ledger.dispose()
    problems = [
        f"PRAGMA {name} is {said[name]}, not {value}" for name, value in wanted.items() if said[name] != value
    ]
    if tuple(int(part) for part in version.split(".")) <= (3, 51, 2):
        problems.append(f"SQLite is {version}")
    return problems


def killed_runs(folder: Path, runs: int, options: list[str], seed: int) -> Found:
    """All runs on one ledger, each killed and checked."""
    rng, total = random.Random(seed), Found()
    (folder / "line.toml").write_text(CONFIG)
    for number in range(1, runs + 1):
        log = folder / f"sim{number}.jsonl"
        delay = killed_run(folder, log, options, rng)
        found = check(folder, log)
        total.counts += found.counts
        total.problems += [f"run {number}: {text}" for text in found.problems]
        words = ", ".join(f"{count} {name}" for name, count in sorted(found.counts.items()))
        print(
            f"run {number:2d}: killed {delay:.2f} s after its first verdict; {words};"
            f" {len(found.problems)} problems"
        )
    return total


def main() -> int:
    """Print the counts beside the bar, append a row, then run the power cuts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=ROOT / "data_samples" / "demo_model")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    options = ["--model", str(args.model.absolute()), "--engine", args.engine]
    with tempfile.TemporaryDirectory() as folder:
        found = killed_runs(Path(folder), args.runs, options, args.seed)
    for problem in found.problems:
        print(problem)
    counts = dict(sorted(found.counts.items()))
    holds = not found.problems and args.runs >= 20 and found.counts["told"] > 0
    print(
        f"{args.runs} runs at 30 fps, 720x1280, engine {args.engine}: {counts['frames']} frames emitted,"
        f" {counts};"
        f" {len(found.problems)} problems. Bar: 0 problems in 20 runs: {verdict(holds)}"
    )
    row = {
        "runs": args.runs,
        "engine": args.engine,
        "package": args.model.name,
        "seed": args.seed,
        "counts": counts,
    }
    append_row("frames_accounted", {**row, "problems": len(found.problems), "holds": holds})
    return max(0 if holds else 1, wal_cut.main())


if __name__ == "__main__":
    sys.exit(main())
