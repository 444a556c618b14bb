"""A cache of the measurement's own: no plan of a busy machine is taken over, and nothing is left behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inspector.engine.cache import CACHE_VARIABLE


@contextmanager
def own_cache() -> Iterator[Path]:
    """This process and its children keep certificates, plans and compiled models in a folder of their own."""
    kept = os.environ.get(CACHE_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="measured-") as folder:
        os.environ[CACHE_VARIABLE] = folder
        try:
            yield Path(folder)
        finally:
            if kept is None:
                del os.environ[CACHE_VARIABLE]
            else:
                os.environ[CACHE_VARIABLE] = kept
