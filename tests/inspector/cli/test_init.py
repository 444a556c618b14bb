"""`inspector init` writes a config that loads, and never over another one."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from inspector.cli.init import init
from inspector.config import LineConfig, load_config
from inspector.errors import UsageError


def test_it_writes_a_config_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(init, [], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, "line.toml\n")
    assert "inspector run --config line.toml" in result.stderr
    assert load_config(tmp_path / "line.toml") == LineConfig()


def test_it_never_overwrites(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text("# mine")
    with pytest.raises(UsageError, match=r"mine\.toml exists already"):
        CliRunner().invoke(init, [str(path)], catch_exceptions=False)
    assert path.read_text() == "# mine"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"gone/line\.toml cannot be written \(No such file"):
        CliRunner().invoke(init, [str(tmp_path / "gone" / "line.toml")], catch_exceptions=False)
