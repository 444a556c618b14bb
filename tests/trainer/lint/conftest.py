"""A small dataset folder with nothing wrong, for the tests to spoil."""

from pathlib import Path

import pytest

from tests.trainer.lint.test_lint import split, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(30):
        write(tmp_path / "d", f"f{n:02}", [1] if n % 2 else [])
    (tmp_path / "d" / "classes.json").write_text('{"1": "scratch"}')
    split(tmp_path / "d", range(15, 30))
    return tmp_path / "d"
