"""Commands of a benchmark in processes of their own, each run once and its outcome kept in a folder."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 60.0
"""How long a command may take to save what it has when it is asked to stop."""


class StepFailed(Exception):
    """A command ended with an error; its own message stands above."""


def step(folder: Path, name: str, command: Sequence[str]) -> dict[str, Any]:
    """The JSON object that `python -m COMMAND` prints last, and its `cost`; run once, then read again.

    The cost is that of the run that came to its end: of a training that was stopped and went on, the last
    sitting's alone.
    Raises StepFailed. A command that is under way when this process is stopped is asked to stop.
    """
    kept = folder / f"{name}.json"
    if not kept.exists():
        print(f"  {name}: {command[0]} {' '.join(command[1:])}", flush=True)
        began, used = time.monotonic(), _children_s()
        output = _output(folder, command)
        content = json.loads(output.strip().splitlines()[-1])
        wall, cpu = time.monotonic() - began, _children_s() - used
        content["cost"] = {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1)}
        unfinished = kept.with_suffix(".part")
        unfinished.write_text(json.dumps(content) + "\n", encoding="utf-8")
        unfinished.replace(kept)
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def _output(folder: Path, command: Sequence[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=folder, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        output = process.communicate()[0]
    except BaseException:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()
        raise
    if process.returncode:
        raise StepFailed(f"{' '.join(command[:3])} ended with {process.returncode}; see its message above.")
    return output


def _children_s() -> float:
    """Processor seconds of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def stopped_in_order() -> Iterator[None]:
    """SIGTERM ends the block like Ctrl-C, so that a training saves what it has."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def datasets() -> Path:
    """The folder of the sets: INSPECTION_DATASETS, else beside the checkout. Exits with 2 without one."""
    folder = Path(os.environ.get("INSPECTION_DATASETS", ROOT.parent / "shared" / "datasets")).resolve()
    if not folder.is_dir():
        print(
            f"{folder} is not there; set INSPECTION_DATASETS to the folder of the datasets.", file=sys.stderr
        )
        raise SystemExit(2)
    return folder
