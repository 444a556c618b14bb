"""`python -m deploy.qualify`: measure this machine with every engine it has, and write the report."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.durable import try_writing
from inspector.errors import InspectionError, UsageError

if TYPE_CHECKING:
    from deploy.qualify.session import Scope
    from inspector.package import ModelPackage

NETWORKS = ((16, 4), (16, 5), (32, 4), (64, 5))
"""(base, depth)."""
FRAMES = ((1080, 1920), (2160, 3840), (3000, 4000))
QUICK_NETWORKS, QUICK_FRAMES = ((16, 4),), ((540, 960),)


@click.command()
@click.option("--out", default="qualification", show_default=True, type=click.Path(path_type=Path),
              help="Folder for qualification.json and qualification.md.")  # fmt: skip
@click.option("--model", "models", multiple=True, type=click.Path(path_type=Path),
              help="Package to measure instead of base 16, 32 and 64; may be given again.")  # fmt: skip
@click.option("--quick", is_flag=True, help="One small network on one small frame: a minute or two.")
@click.option("--seconds", type=click.FloatRange(0), help="Time for each engine and frame [10, quick 1].")
@click.option("--soak-minutes", type=click.FloatRange(0), help="Length of the soak [10, quick 0.1].")
@click.option("--memory-mb", default=4096, show_default=True, type=click.IntRange(64),
              help="Limit for the line's memory; larger frames are tiled.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def qualify(out: Path, models: tuple[Path, ...], quick: bool, as_json: bool, **given: Any) -> int:
    """Measure this machine: parity, speed, memory and a soak of every engine that it has.

    What it lacks is reported as `not run` with the reason. Quiet the machine first; without
    --quick, base 64 on 12 megapixels takes minutes a frame on a small processor.

    \b
    Example:  python -m deploy.qualify --quick
              python -m deploy.qualify --model demo_model --soak-minutes 1
    """
    from deploy.qualify.cache import own_cache
    from deploy.qualify.report import page
    from deploy.qualify.session import qualify as run
    from deploy.qualify.session import verdict

    try:
        try_writing(out)  # before an hour of measuring
    except OSError as error:
        raise _unwritable(out, error) from error
    # What is compiled for networks that end with this run is nothing to keep.
    cache = nullcontext() if models else own_cache()
    with cache, tempfile.TemporaryDirectory(prefix="qualify-") as folder:
        packages = _packages(models, QUICK_NETWORKS if quick else NETWORKS, Path(folder))
        figures = run(packages, _scope(quick, given), lambda what: click.echo(f"... {what}", err=True))
    text = page(figures)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "qualification.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        (out / "qualification.md").write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(out, error) from error
    click.echo(json.dumps(figures) if as_json else text)
    return 0 if verdict(figures["rows"], figures["soak"]).startswith("HOLDS") else 1


def _unwritable(out: Path, error: OSError) -> UsageError:
    return UsageError(f"{out} cannot be written ({error.strerror}); give another --out.")


def _scope(quick: bool, given: dict[str, Any]) -> Scope:
    from deploy.qualify.session import Scope

    seconds, minutes = given["seconds"], given["soak_minutes"]
    return Scope(
        frames=QUICK_FRAMES if quick else FRAMES,
        seconds=seconds if seconds is not None else (1.0 if quick else 10.0),
        soak_minutes=minutes if minutes is not None else (0.1 if quick else 10.0),
        memory_mb=given["memory_mb"],
    )


def _packages(
    models: tuple[Path, ...], networks: tuple[tuple[int, int], ...], folder: Path
) -> list[ModelPackage]:
    """The named ones, else networks made in the folder."""
    from deploy.qualify.sample import seeing_package
    from inspector.package import load_package

    if models:
        return [load_package(path) for path in models]
    return [seeing_package(folder / f"{base}-{depth}", base, depth) for base, depth in networks]


def main() -> int:
    """The exit code."""
    try:
        code = qualify.main(prog_name="python -m deploy.qualify", standalone_mode=False)
        return int(code or 0)
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        return 130
    except InspectionError as error:
        click.echo(f"Error: {error}", err=True)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
