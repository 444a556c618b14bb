"""`inspector run`, or another command, in a process of its own, looked at from outside while it works."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inspector.engine.memory import MB


def line_config(folder: Path, package: Path, precision: str = "auto", memory_mb: int = 4096) -> Path:
    """A line that reads the pictures in folder/in and writes all it has to say below `folder`."""
    config = folder / "line.toml"
    config.write_text(
        f'[camera]\nsource = "{folder / "in"}"\n[model]\npackage = "{package}"\nprecision = "{precision}"\n'
        f'memory_mb = {memory_mb}\n[recording]\ndb = "sqlite:///{folder / "ledger.db"}"\n'
        f'[[outputs]]\nkind = "jsonl"\npath = "{folder / "out.jsonl"}"\n'
    )
    return config


def watched_run(config: Path, look: Callable[[Path], None], every_s: float) -> dict[str, Any]:
    """The summary of `inspector run`, as `watched`."""
    return watched(["inspector", "run", "--config", str(config), "--json"], look, every_s)


def watched(command: Sequence[str], look: Callable[[Path], None], every_s: float) -> dict[str, Any]:
    """The JSON object that `python -m COMMAND` prints last.

    look: given its folder in /proc, again and again. Raises SystemExit if it fails.
    """
    with subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            look(Path(f"/proc/{process.pid}"))
            time.sleep(every_s)
        said = process.stdout.read() if process.stdout is not None else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:2])} failed with exit code {process.returncode}.")
    summary: dict[str, Any] = json.loads(said.splitlines()[-1])
    return summary


def memory_mb(process: Path, field: str) -> float:
    """VmRSS, or VmHWM for the largest so far, in MB of 10^6 bytes; 0 when the process has ended."""
    try:
        lines = (process / "status").read_text().splitlines()
    except OSError:
        return 0.0
    kb = next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)
    return kb * 1024 / MB
