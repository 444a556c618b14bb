"""`trainer`: everything that happens offline."""

from __future__ import annotations

import click

from inspector import __version__
from inspector.cli.group import LazyGroup, run_group
from inspector.errors import UsageError

COMMANDS = {
    "fit": "trainer.cli.fit:fit",
    "evaluate": "trainer.cli.evaluate:evaluate",
    "export": "trainer.cli.export:export",
    "compile": "trainer.cli.compile:compile_package",
    "synth": "trainer.cli.synth:synth",
    "lint": "trainer.cli.lint:lint",
    "import": "trainer.cli.import_:import_labels",
}


OF_THE_EXTRA = frozenset(
    ("torch", "onnx", "onnxscript", "onnxruntime", "skimage", "rich", "pycocotools", "defusedxml", "PIL")
)
"""What the extra `trainer` installs and the line lacks; the command is there without it."""


@click.group(cls=LazyGroup, commands_at=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="trainer")
def trainer() -> None:
    """Fit a U-Net to defect masks and pack it for the line.

    \b
    First steps:  trainer fit DATA --out runs/first --minutes 12
                  trainer export runs/first --out models/first
    """


def main() -> int:
    """Entry point of the `trainer` command."""
    try:
        return run_group(trainer, "trainer")
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in OF_THE_EXTRA:
            raise
        click.echo(
            f"trainer: This needs {library}, which is not installed here: run `make setup`, or"
            " `pip install '.[trainer]'` in the project's folder.",
            err=True,
        )
        return UsageError.exit_code
