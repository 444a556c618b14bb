"""Compiled models that are kept on the disk, so that the next start need not compile.

Each file holds its own sha256 before the model: OpenVINO would take a damaged one for what it
is not, or fall over it. A file that cannot be used is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from inspector.engine.cache import write_whole

_LOG = logging.getLogger(__name__)

KEPT = 48
"""So many models are kept; those that were not used for longest go first."""
_DIGEST_BYTES = hashlib.sha256().digest_size


def blob_path(folder: Path, graph: Path, key: Mapping[str, Any]) -> Path:
    """Where the compiled model of this graph lies. key: all else that it depends on, as JSON takes it.

    Raises OSError when the graph cannot be read.
    """
    with graph.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    text = json.dumps({"graph": content, **key}, sort_keys=True, default=str)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.model"


def read_blob(path: Path) -> bytes | None:
    """The model in this file as it was written; None where there is none, or only a damaged one."""
    try:
        data = path.read_bytes()
        os.utime(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        _LOG.warning("The compiled model %s cannot be read (%s); it is made again.", path, error.strerror)
        return None
    said, model = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(model).digest() != said:
        _LOG.warning("The compiled model %s is damaged; it is made again.", path)
        return None
    return model


def write_blob(path: Path, model: bytes) -> None:
    """Keep the model, whole or not at all; where the disk does not take it, the next start compiles."""
    try:
        write_whole(path, hashlib.sha256(model).digest() + model)
        _drop_oldest(path.parent)
    except OSError as error:
        _LOG.warning(
            "The compiled model cannot be kept in %s (%s); each start compiles it.",
            path.parent, error.strerror,
        )  # fmt: skip


def _drop_oldest(folder: Path) -> None:
    """Keep the KEPT that were used last. Another process may do the same at this moment."""
    used: dict[Path, float] = {}
    for file in folder.glob("*.model"):
        with suppress(FileNotFoundError):
            used[file] = file.stat().st_mtime
    for old in sorted(used, key=used.__getitem__)[:-KEPT]:
        old.unlink(missing_ok=True)
