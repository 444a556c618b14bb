"""`inspector run`: the line itself, and on a terminal the dashboard beside it."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

if TYPE_CHECKING:
    from inspector.config import LineConfig

STOPPING = b"Stopping after the frame in hand ...\n"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The command line as given; None where nothing was said."""

    camera: str | None
    model: Path | None
    config: Path | None
    db: str | None
    frames: int | None
    engine: str | None
    headless: bool
    as_json: bool
    ready_fd: int | None

    def arguments(self) -> list[str]:
        """The same line and nothing about how it is shown."""
        named = {
            "--camera": self.camera, "--model": self.model, "--config": self.config,
            "--db": self.db, "--frames": self.frames, "--engine": self.engine,
        }  # fmt: skip
        return [text for name, value in named.items() if value is not None for text in (name, str(value))]


@click.command()
@click.option(
    "--camera", metavar="C", help="Index, device, video, folder of images, rtsp:// or http:// URL, sim:."
)
@click.option("--model", metavar="PACKAGE", type=click.Path(path_type=Path), help="Model package to serve.")
@click.option("--config", metavar="FILE", type=click.Path(path_type=Path), help="Line config [./line.toml].")
@click.option("--db", metavar="URL", help="Ledger, such as sqlite:///ledger.db.")
@click.option("--headless", is_flag=True, help="No dashboard; print a summary at the end.")
@click.option("--frames", metavar="N", type=click.IntRange(min=1), help="End after N frames.")
@click.option("--engine", metavar="NAME", help="auto, openvino, tensorrt, torch, or fake to try a line.")
@click.option("--json", "as_json", is_flag=True, help="Headless; the summary as one JSON object.")
@click.option("--ready-fd", type=int, hidden=True, help="Write the run's id to this open file when it runs.")
def run(**given: Any) -> int:
    """Inspect every frame of a camera, log each verdict, and show the line.

    Without --config, ./line.toml is read, else the installed station's, else the defaults.
    On a terminal the line runs as a process of its own, and goes on when the dashboard is left.

    \b
    Example:  inspector run --camera 0
              inspector run --camera line.mp4 --model demo_model --headless --json
    """
    options = RunOptions(**given)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    config = line_config(options)
    if options.headless or options.as_json or not on_a_terminal():
        return run_headless(config, options)
    from inspector.cli.beside import run_beside_dashboard

    return run_beside_dashboard(config, options.arguments())


def on_a_terminal() -> bool:
    """Whether the dashboard can be shown: it draws on stderr, which a script may have sent to a file."""
    return sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()


def line_config(options: RunOptions) -> LineConfig:
    """The config that is found, with what the command line says laid over it.

    Raises ConfigError, and UsageError where there is neither a config nor a model.
    """
    from inspector.config import CameraConfig, EngineName, LineConfig, ModelConfig, load_config
    from inspector.errors import ConfigError, UsageError

    if options.camera == "":  # as from a script's unset variable: never some other camera instead
        raise UsageError("--camera is empty; name a camera, or leave the option out.")
    path = options.config or installed_config()
    config = load_config(path) if path is not None else LineConfig()
    package = options.model or config.model.package
    if package is None:
        where = (
            "write a line.toml with `inspector init` and name its package"
            if path is None
            else f"name a package in {path}"
        )
        raise UsageError(f"No model is chosen; {where} under [model], or give --model PACKAGE.")
    camera = config.camera.model_dump() | ({"source": options.camera} if options.camera else {})
    if options.camera and options.camera != config.camera.source:
        camera["id"] = None  # the name in the config belongs to the camera in the config
    model = config.model.model_dump() | {"package": package}
    if options.engine is not None:
        if options.engine not in get_args(EngineName):
            known = ", ".join(get_args(EngineName))
            raise ConfigError(f"--engine {options.engine} is not known here; use one of {known}.")
        model["engine"] = options.engine
    recording = config.recording
    if options.db is not None:
        recording = recording.model_copy(update={"db": _url(options.db)})
    return config.model_copy(
        update={"camera": CameraConfig(**camera), "model": ModelConfig(**model), "recording": recording}
    )


def installed_config() -> Path | None:
    """./line.toml, else the installed station's: $INSPECTION_HOME/line.toml or /etc/inspection/line.toml."""
    home = os.environ.get("INSPECTION_HOME")
    places = [
        Path("line.toml"),
        *([Path(home) / "line.toml"] if home else []),
        Path("/etc/inspection/line.toml"),
    ]
    # os.path, because Path.is_file raises where a folder may not be entered.
    return next((place for place in places if os.path.isfile(place)), None)


def run_headless(config: LineConfig, options: RunOptions) -> int:
    """Run until the end or a signal, then print the summary; the exit code is the line's."""
    from inspector.cli.announce import announce
    from inspector.station import run_station

    announce()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and `&` mean it
            signal.signal(number, lambda *_: _stop_and_say(stop))
    summary = run_station(
        config,
        frames=options.frames,
        stop=stop,
        on_ready=lambda run_id: _tell_ready(run_id, options.ready_fd),
        on_progress=None if options.as_json else lambda words: click.echo(words, err=True),
    )
    click.echo(json.dumps(summary.json()) if options.as_json else summary.text())
    if not options.as_json:
        _tell_where(config)
    if summary.error is not None:
        raise summary.error
    return 0


def _stop_and_say(stop: threading.Event) -> None:
    """At once, since the frame in hand may take seconds; once, however often it is asked."""
    if not stop.is_set():
        stop.set()
        with suppress(OSError):  # the terminal is gone, which may be why
            os.write(2, STOPPING)  # past all buffers: a handler may come in the middle of a print


def _tell_where(config: LineConfig) -> None:
    """Where all that was kept lies, and the command that reads it again."""
    from inspector.db.connect import ledger_folder

    db = config.recording.db
    evidence = ledger_folder(db) / config.recording.folder
    click.echo(f"Evidence lies in {evidence}; `inspector report --db {db}` sums the ledger up.", err=True)


def _tell_ready(run_id: str, fd: int | None) -> None:
    if fd is None:
        return
    with suppress(BrokenPipeError):  # the terminal that started this line is gone; the line stays
        os.write(fd, run_id.encode() + b"\n")
    os.close(fd)


def _url(text: str) -> str:
    return text if "://" in text else f"sqlite:///{text}"
