"""`inspector models`: what a package is, and what this machine has made of it."""

from __future__ import annotations

import click

from inspector.cli.group import LazyGroup

COMMANDS = {
    "show": "inspector.cli.models_show:show",
    "compile": "inspector.cli.models_compile:compile_package",
}


@click.group(cls=LazyGroup, commands_at=COMMANDS)
def models() -> None:
    """Show model packages, and compile them for the GPU of this machine.

    \b
    Example:  inspector models show demo_model
              inspector models compile demo_model --frame 2160x3840
    """
