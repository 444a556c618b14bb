"""`python -m deploy.qualify`: measure this machine with every engine it has, and write the report."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.durable import try_writing, unwritable
from inspector.errors import InspectionError

if TYPE_CHECKING:
    from deploy.qualify.kept import Kept
    from deploy.qualify.scope import Scope, Subject
    from inspector.package import ModelPackage

NETWORKS = ((16, 4), (16, 5), (32, 4), (64, 5))
"""(base, depth)."""
FRAMES = ((1080, 1920), (2160, 3840), (3000, 4000))
QUICK_NETWORKS, QUICK_FRAMES = ((16, 4),), ((540, 960),)


@click.command()
@click.option("--out", default="qualification", show_default=True, type=click.Path(path_type=Path),
              help="Folder for qualification.json and qualification.md.")  # fmt: skip
@click.option("--model", "models", multiple=True, type=click.Path(path_type=Path),
              help="Package to measure instead of base 16, 32 and 64; may be given again, as with the int8"
              " package that was made from it.")  # fmt: skip
@click.option("--quick", is_flag=True, help="A glance: one small network and frame, a minute or two.")
@click.option("--seconds", type=click.FloatRange(0), help="Time for each engine and frame [10, quick 1].")
@click.option("--soak-minutes", type=click.FloatRange(0), help="Length of the soak [10, quick 0.1].")
@click.option("--memory-mb", default=4096, show_default=True, type=click.IntRange(64),
              help="Limit for the line's memory; larger frames are tiled.")  # fmt: skip
@click.option("--again", is_flag=True, help="Start over, whatever --out holds.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def qualify(out: Path, models: tuple[Path, ...], again: bool, as_json: bool, **given: Any) -> int:
    """Measure this machine: parity, speed, memory and a soak of every engine that it has.

    What it lacks is reported as `not run` with the reason. Quiet the machine first: speeds that were
    measured while other programs ran are marked and not to be trusted. Without --quick it takes about
    an hour on a small processor. Each finished measurement is kept in --out at once: stopped, the same
    command goes on. The exit code is 1 where an answer is wrong or nothing ran.

    \b
    Example:  python -m deploy.qualify --quick
              python -m deploy.qualify --model demo_model --model demo_int8 --soak-minutes 1
    """
    from deploy.qualify.cache import own_cache
    from deploy.qualify.kept import JSON, PAGE, begin
    from deploy.qualify.report import page
    from deploy.qualify.scope import subjects_of
    from deploy.qualify.session import qualify as run

    try:
        try_writing(out)  # before an hour of measuring
    except OSError as error:
        raise unwritable(out, error) from error
    # What is compiled for networks that end with this run is nothing to keep.
    cache = nullcontext() if models else own_cache()
    scope = _scope(given)
    with cache, tempfile.TemporaryDirectory(prefix="qualify-") as folder:
        subjects = subjects_of(_packages(models, QUICK_NETWORKS if scope.quick else NETWORKS, Path(folder)))
        kept = begin(out, _head(subjects, scope), page, again)
        try:
            run(subjects, scope, kept, lambda what: click.echo(f"... {what}", err=True))
        except KeyboardInterrupt:
            click.echo(f"\n{_stopped(kept, again)}", err=True)
            raise
    click.echo(json.dumps(kept.figures) if as_json else page(kept.figures))
    click.echo(f"... page: {out / PAGE}, figures: {out / JSON}", err=True)
    return 0 if kept.figures["answers_hold"] else 1


def _stopped(kept: Kept, again: bool) -> str:
    done, total = len(kept.figures["rows"]), kept.figures.get("total", "all")
    goes_on = "the same command without --again goes on" if again else "the same command goes on"
    return f"Stopped; {done} of {total} measurements are kept in {kept.out}, {goes_on}."


def _head(subjects: list[Subject], scope: Scope) -> dict[str, Any]:
    """What must agree for a measurement to be gone on with, and the command."""
    from dataclasses import asdict

    from deploy.qualify.kept import FORMAT
    from deploy.qualify.session import machine_facts
    from inspector import __version__

    arguments = [one for one in sys.argv[1:] if one != "--again"]  # with it nothing would be gone on with
    return {
        "format": FORMAT,
        "version": __version__,
        # A page is shown around, and folders of this machine are nobody's business.
        "command": " ".join(["python -m deploy.qualify", *map(_last_name, arguments)]),
        "machine": machine_facts(),
        "scope": asdict(scope),
        "packages": {one.name: [one.package.id, one.int8.id if one.int8 else None] for one in subjects},
    }


def _last_name(argument: str) -> str:
    option, given, path = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    return option + given + Path(path).name if path.startswith("/") else argument


def _scope(given: dict[str, Any]) -> Scope:
    from deploy.qualify.scope import Scope

    quick, seconds, minutes = given["quick"], given["seconds"], given["soak_minutes"]
    return Scope(
        frames=QUICK_FRAMES if quick else FRAMES,
        seconds=seconds if seconds is not None else (1.0 if quick else 10.0),
        soak_minutes=minutes if minutes is not None else (0.1 if quick else 10.0),
        memory_mb=given["memory_mb"],
        quick=quick,
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
    """The exit code. SIGTERM is a Ctrl-C: what runs is ended, what was measured is kept."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
