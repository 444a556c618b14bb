"""Where this machine keeps what can be made again: certificates and compiled models."""

from __future__ import annotations

import os
from pathlib import Path

from inspector.durable import durable_file, sync_folder

CACHE_VARIABLE = "INSPECTION_CACHE"


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
    with durable_file(path, f".{os.getpid()}.tmp") as file:
        file.write(data)
    sync_folder(path.parent)
