"""`inspector init`: a commented line.toml to start from."""

from __future__ import annotations

from pathlib import Path

import click

from inspector.config import config_template
from inspector.durable import unwritable
from inspector.errors import UsageError


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default=Path("line.toml"))
def init(path: Path) -> None:
    """Write a line config with every key, its default and an example.

    PATH is line.toml here unless given; a file that is there is never overwritten.

    \b
    Example:  inspector init
              inspector init /etc/inspection/line.toml    where run, doctor and the rest find it
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            try:
                file.write(config_template())
                file.flush()
            except OSError:
                path.unlink()
                raise
    except FileExistsError as error:
        raise UsageError(f"{path} exists already and is left as it is; give another path.") from error
    except OSError as error:
        raise unwritable(path, error) from error
    click.echo(path)
    click.echo(
        f"Now set camera.source and model.package in {path}, then: inspector run --config {path}", err=True
    )
