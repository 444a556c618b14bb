"""Container files, read and not built: bases are pinned, sources exist, and commands are known."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from small_house import small_wheelhouse

from inspector.cli.main import inspector
from inspector.config import RecordingConfig

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "deploy/containers").glob("*.Containerfile"))


def instructions(path: Path) -> list[tuple[str, str]]:
    """(word, arguments) of each instruction, continued lines joined and comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def all_of(path: Path, word: str) -> list[str]:
    return [arguments for one, arguments in instructions(path) if one == word]


@pytest.fixture(params=FILES, ids=lambda path: path.name.split(".")[0])
def container(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def options_of(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


def known(words: list[str]) -> None:
    """Asserts that this is a command of ours, with options that it has."""
    command: click.Command = inspector
    for word in words:
        if isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            assert found is not None, f"{word} is no command"
            command = found
        elif word.startswith("--"):
            assert word.split("=")[0] in options_of(command), f"{command.name} has no {word}"


def test_there_is_one_for_the_processor_and_one_for_tensorrt() -> None:
    assert [path.name.split(".")[0] for path in FILES] == ["cpu", "tensorrt"]


def test_bases_are_pinned_to_a_patch_version(container: Path) -> None:
    bases = [line.split()[0] for line in all_of(container, "FROM")]
    assert bases and all(
        re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-slim-bookworm", base) for base in bases
    )


def test_every_copied_source_is_in_the_wheelhouse_or_made_by_install(container: Path, tmp_path: Path) -> None:
    house = small_wheelhouse(tmp_path)
    made = {"/opt/inspection", "/etc/inspection"}
    for arguments in all_of(container, "COPY"):
        *sources, _ = [word for word in arguments.split() if not word.startswith("--")]
        for source in sources:
            if "--from=install" in arguments:
                assert source in made
            else:
                assert (house / source).exists(), source


def test_it_installs_by_the_script_without_an_index_and_with_options_that_exist(container: Path) -> None:
    script = (ROOT / "deploy/install/install.sh").read_text()
    (run,) = [line for line in all_of(container, "RUN") if "install.sh" in line]
    for option in re.findall(r"--[a-z]+", run.split("install.sh")[1]):
        assert f"{option})" in script
    assert "--no-index" in script and "--require-hashes" in script
    whole = " ".join(all_of(container, "RUN"))
    assert not re.search(r"apt-get|apk |curl|wget|pip ", whole), "nothing is fetched while it builds"


def test_it_runs_as_somebody_and_keeps_its_state_outside(container: Path) -> None:
    after = instructions(container)
    last = max(i for i, (word, _) in enumerate(after) if word == "FROM")
    users = [arguments for word, arguments in after[last:] if word == "USER"]
    assert users == ["inspection"]
    assert json.loads(all_of(container, "VOLUME")[0]) == ["/var/lib/inspection", "/var/cache/inspection"]
    assert "INSPECTION_CACHE=/var/cache/inspection" in all_of(container, "ENV")[0]
    assert "--device /dev/video0" in container.read_text()


def test_what_it_starts_is_a_command_with_these_options(container: Path) -> None:
    entry, command = (json.loads(all_of(container, word)[0]) for word in ("ENTRYPOINT", "CMD"))
    assert entry == ["inspector"]
    known(command)


def test_the_health_check_is_a_module_that_takes_these_options(container: Path) -> None:
    (check,) = all_of(container, "HEALTHCHECK")
    python, flag, module, *options = json.loads(check.split("CMD", 1)[1])
    assert (python, flag) == ("python", "-m")
    alive = importlib.import_module(module)
    assert alive.main([*options]) in (1, 2)  # no such ledger here, but the options are understood


def test_stages_share_a_base_and_the_second_finds_what_the_first_installed(container: Path) -> None:
    """A virtual environment points to the Python it was made with, by its path."""
    bases = {line.split()[0] for line in all_of(container, "FROM")}
    assert len(bases) == 1
    (prefix,) = re.findall(r"--prefix (\S+)", " ".join(all_of(container, "RUN")))
    assert f"PATH={prefix}/current/bin:$PATH" in all_of(container, "ENV")[0]
    assert f"--from=install {prefix} {prefix}" in all_of(container, "COPY")


def test_the_health_check_asks_the_ledger_that_the_installed_config_names(
    container: Path, tmp_path: Path
) -> None:
    made = tmp_path / "line.toml"
    assert CliRunner().invoke(inspector, ["init", str(made)]).exit_code == 0
    db = tomllib.loads(made.read_text()).get("recording", {}).get("db", RecordingConfig().db)
    (place,) = all_of(container, "WORKDIR")
    (check,) = all_of(container, "HEALTHCHECK")
    asked = json.loads(check.split("CMD", 1)[1])[-1]
    assert asked == db.replace("sqlite:///", f"sqlite:///{place}/")
    assert place in json.loads(all_of(container, "VOLUME")[0])


def test_commands_in_the_comments_exist(container: Path) -> None:
    text = re.sub(r"\s*\\\n#\s*", " ", container.read_text())
    called = re.findall(r"^#.*podman run .*\binspection:[a-z]+ (\w.*)$", text, re.M)
    called += re.findall(r"^#.*\bexec -it inspection inspector (\w.*)$", text, re.M)
    assert called
    for line in called:
        known(shlex.split(line))
    for target in re.findall(r"`make (\w+)|#   make (\w+)", text):
        assert re.search(rf"^{''.join(target)}:", (ROOT / "Makefile").read_text(), re.M)
