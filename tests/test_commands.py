"""Each command can be called, explains itself with an example, and is in the README."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from inspector.cli import main as inspector_line
from trainer.cli import main as trainer_line

ROOT = Path(__file__).parent.parent
COMMANDS = [("inspector", name) for name in inspector_line.COMMANDS] + [
    ("trainer", name) for name in trainer_line.COMMANDS
]
GROUPS = {"inspector": inspector_line.inspector, "trainer": trainer_line.trainer}


def command(program: str, name: str) -> click.Command:
    found = GROUPS[program].get_command(click.Context(GROUPS[program]), name)
    assert found is not None
    return found


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_help_shows_an_example(program: str, name: str):
    found = command(program, name)
    text = found.get_help(click.Context(found, info_name=f"{program} {name}"))
    assert f"{program} {name} " in text.replace("Usage: ", "", 1).split("\n", 1)[1], "no example in the help"


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_the_list_of_commands_has_the_whole_first_sentence(program: str, name: str):
    listed = " ".join(GROUPS[program].get_help(click.Context(GROUPS[program], info_name=program)).split())
    said = command(program, name).short_help or (command(program, name).help or "").split("\n\n")[0]
    sentence = " ".join(said.split()).split(". ")[0]
    assert f"{name} {sentence.rstrip('.')}" in listed


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_every_option_says_what_it_does(program: str, name: str):
    for parameter in command(program, name).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{program} {name}: {parameter.opts[0]} has no help"


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_the_readme_names_it(program: str, name: str):
    assert f"{program} {name}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("program", ["inspector", "trainer"])
def test_without_arguments_it_prints_help_and_unknown_commands_exit_2(program: str):
    alone = subprocess.run([sys.executable, "-m", program], capture_output=True, text=True)
    assert "Commands:" in alone.stdout + alone.stderr
    wrong = subprocess.run([sys.executable, "-m", program, "inspct"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "inspct" in wrong.stderr and "Traceback" not in wrong.stderr
