"""A disk of a few megabytes for one process: real ENOSPC and EROFS, with nobody else's mounts touched."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

NO_MOUNTS = "this machine lets no process mount a file system of its own (unshare --mount)"
_PRINTED = "printed by the program:"


def can_mount() -> bool:
    """Whether `on_small_disk` works here."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(_alone("true"), capture_output=True, check=False).returncode == 0


def on_small_disk(folder: Path, size: str, program: str) -> Any:
    """What the Python program prints last, as JSON, run with a tmpfs of this size mounted on `folder`.

    Its arguments: the folder. It may remount it; the disk is gone when it ends.
    """
    folder.mkdir(exist_ok=True)
    script = folder.parent / "program.py"
    script.write_text(_CALL + program)
    mounted = (
        f'mount -t tmpfs -o size={size} tmpfs "{folder}" && exec "{sys.executable}" "{script}" "{folder}"'
    )
    done = subprocess.run(
        _alone("sh", "-c", mounted), capture_output=True, text=True, check=False, timeout=120
    )
    assert _PRINTED in done.stdout, done.stdout + done.stderr
    return json.loads(done.stdout.rpartition(_PRINTED)[2])


def _alone(*command: str) -> list[str]:
    return ["unshare", "--map-root-user", "--mount", *command]


_CALL = f"""
import contextlib, io, json, logging, os, subprocess, sys
os.chdir(sys.argv[1])
from inspector.cli.group import run_group
from inspector.cli.main import inspector as group

def call(*arguments):
    "Exit code, stdout and stderr of `inspector`, as its entry point gives them."
    logging.getLogger().handlers.clear()  # else what is logged goes to the stderr of the first call
    sys.argv, out, err = ["inspector", *arguments], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_group(group, "inspector")
    return code, out.getvalue(), err.getvalue()

def remount(options):
    subprocess.run(["mount", "-o", "remount," + options, "."], check=True)

def done(result):
    print({_PRINTED!r}, json.dumps(result))
"""
