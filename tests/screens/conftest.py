"""One small line a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_line import SmallLine


@pytest.fixture
def line(tmp_path: Path) -> Iterator[SmallLine]:
    small = SmallLine(tmp_path)
    yield small
    small.close()
