"""Committed result rows: one JSON line a finished figure, with what is needed to repeat it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Processor model, cores, the instruction sets that matter and the memory of this machine."""
    fields: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().split("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            fields[key.strip()] = value.strip()
    flags = set(fields.get("flags", "").split())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": fields.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "isa": sorted(flags & {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"}),
        "memory_gib": round(memory / 2**30, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def commit() -> str:
    """The commit that is being measured, with `+changes` when the tree differs from it."""
    root = Path(__file__).parent.parent
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True)
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=no", "--", ":!benchmarks/results"],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def command() -> str:
    """The command line as typed from the repository root; of an absolute path its last name."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = (
        f"python -m {spec.name.removesuffix('.__main__')}"
        if spec
        else f"python benchmarks/{Path(sys.argv[0]).name}"
    )
    given = (Path(each).name if each.startswith("/") else each for each in sys.argv[1:])
    return " ".join([program, *given])


def append_row(name: str, row: dict[str, Any]) -> None:
    """Append one finished row to benchmarks/results/NAME.jsonl, stamped with date, commit, command, machine.

    A row that knows one of these better, such as the commit that an hour of work began with, keeps its own.
    """
    RESULTS.mkdir(exist_ok=True)
    stamp = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "command": command(),
        "machine": machine(),
    }
    with (RESULTS / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({**stamp, **row}) + "\n")


def verdict(holds: bool) -> str:
    """The word beside a bar."""
    return "HOLDS" if holds else "FALLS SHORT"
