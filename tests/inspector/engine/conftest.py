"""What tests of engines share: a cache of their own, where a certificate of another test would tell."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this one test; nothing lies in it yet."""
    monkeypatch.setenv("INSPECTION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
