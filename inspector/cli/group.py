"""The command group of both command lines: commands load when they are called."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from inspector.errors import InspectionError, UsageError

INTERRUPTED = 130
"""The exit code of any command that Ctrl-C ended."""
_WHOLE = 1000
"""More characters than the first sentence of any command has."""


class LazyGroup(click.Group):
    """A group that knows where its commands live and imports only the one that runs.

    Start-up stays short and the line works without what other commands need. Only the group's
    own help page, which lists them all, imports them all.
    """

    def __init__(self, *args: object, commands_at: dict[str, str], **kwargs: object) -> None:
        """commands_at: command name -> `module:attribute`, in the order of the help page."""
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._commands_at:
            return None
        module, attribute = self._commands_at[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Every command with its whole first sentence; click would cut it at the end of the line."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(limit=_WHOLE)) for name, command in commands if command]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def run_group(group: click.Group, program: str) -> int:
    """Run a command line and return its exit code; a known failure becomes one sentence on stderr."""
    try:
        _require_text(sys.argv[1:], "give another path")
        _require_text(_working_folder(), "work in another folder")
        result = group.main(prog_name=program, standalone_mode=False)
    except click.exceptions.Abort:
        click.echo(f"{program}: interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show(sys.stderr)
        return error.exit_code
    except InspectionError as error:
        click.echo(f"{program}: {error}", err=True)
        return error.exit_code
    except OSError as error:
        # Any look at such a path fails, before a command can say in its own words what it wanted there.
        if error.errno != errno.ENAMETOOLONG:
            raise
        click.echo(
            f"{program}: {str(error.filename)[:40]}... is longer than the file system takes; choose a shorter"
            " name.",
            err=True,
        )
        return UsageError.exit_code
    return result if isinstance(result, int) else 0


def _require_text(paths: Sequence[str], instead: str) -> None:
    """Raises UsageError for bytes that are no UTF-8: no config, ledger or output can name such a path."""
    for path in paths:
        text = os.fsencode(path).decode(errors="backslashreplace")
        if os.fsencode(path) != text.encode():
            raise UsageError(f"{text} is not written in UTF-8; rename it, or {instead}.")


def _working_folder() -> list[str]:
    """Where paths count from; none where it was removed meanwhile."""
    with suppress(OSError):
        return [os.getcwd()]
    return []
