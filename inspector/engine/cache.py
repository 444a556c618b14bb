"""Where this machine keeps what can be made again: certificates and compiled models."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inspector.durable import durable_file, sync_folder
from inspector.lock_file import wait_for_lock

CACHE_VARIABLE = "INSPECTION_CACHE"
LOCK = ".lock"
"""Left in a folder that `only_writer` was used for."""


def cache_folder() -> Path:
    """$INSPECTION_CACHE, else `inspection-appliance` in the user's cache folder (XDG). May not exist yet."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user) / "inspection-appliance"


def compiled_folder() -> Path | None:
    """The folder for compiled models, made if need be; None where it cannot be written."""
    folder = cache_folder() / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that several processes may make at once: the whole of one of them. Raises OSError."""
    # Not the process' number alone: in two containers that share the cache both may be number 1.
    with durable_file(path, f".{os.getpid()}-{secrets.token_hex(4)}.tmp") as file:
        file.write(data)
    sync_folder(path.parent)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Waits until no other process is in such a block for this folder of the cache, and makes the folder.

    For what looks whether a file is there before it writes it; to be left soon. The lock goes with the
    process that holds it, however that ends; where the file system has no locks, nobody waits. Raises
    OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a", encoding="ascii") as file:
        wait_for_lock(file)
        yield
