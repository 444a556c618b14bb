"""`trainer export`: the model package of a run."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import click

from inspector.errors import UsageError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Package folder to write; must be new."
)
@click.option("--name", help="What the model is called.  [default: the package folder's name]")
@click.option("--version", default="1.0.0", show_default=True, help="Its version.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON line.")
def export(run: Path, out: Path, name: str | None, version: str, as_json: bool) -> int:
    """Pack the best network of a RUN as a model package for the line.

    Batch norm is folded and the weights go to half precision. The package is refused (exit 3)
    when half cannot hold them; nothing is written then. Where half changes what the network says on its
    golden tiles, a warning says so: f32 and bf16 may still serve, fp16 may not.

    \b
    Example:
      trainer export runs/tiles --out models/tiles-1 --name tiles --version 1.0.0
    """
    if not version.strip():
        raise UsageError("--version is empty; give one, or leave the option out.")
    # Imported here: --help must not wait for torch.
    from trainer.checkpoint import load_run
    from trainer.doubts import doubts
    from trainer.export import export_package
    from trainer.golden import load_tiles

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    trained = load_run(run)
    for words in doubts(trained):
        click.echo(f"Warning: {words}", err=True)
    package = export_package(trained, load_tiles(run), out, name or out.name, version)
    if as_json:
        click.echo(json.dumps({"package": str(out), "id": package.id, "classes": list(package.classes)}))
    else:
        click.echo(
            f"Done: {out}, package {package.id[:12]} (next: inspector run --camera 0 --model {out})", err=True
        )
    return 0
