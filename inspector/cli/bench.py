"""`inspector bench`: how fast the whole line is, and how much of its engine's speed it keeps."""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from inspector.counting import counted, latency_text
from inspector.errors import InspectionError, UsageError
from inspector.size import parse_size
from inspector.types import Grab, Image, ProbMap

if TYPE_CHECKING:
    from inspector.config import LineConfig, ModelConfig
    from inspector.engine.protocol import Engine, EngineInfo
    from inspector.package import ModelPackage
    from inspector.station.summary import RunSummary
    from inspector.tiling import TilePlan

REJECT_EVERY = 20
"""5 % of the frames are rejects."""


@dataclass(slots=True)
class MemoryCamera:
    """`total` frames, in turn from a few that lie in memory."""

    pictures: list[Image]
    total: int | None
    fps: float | None = None
    """Pictures a second from the first read on, as a camera gives them; None: as fast as they are taken."""
    camera_id: str = "memory"
    live: bool = False
    size: tuple[int, int] | None = None
    _given: int = 0
    _first_s: float | None = None

    def open(self) -> None:
        """Nothing to open."""

    def read(self) -> Grab | None:
        """The next picture when it is due, stamped then; None after `total`."""
        if self.total is not None and self._given >= self.total:
            return None
        if self._first_s is None:
            self._first_s = time.monotonic()
        if self.fps is not None:
            time.sleep(max(0.0, self._first_s + self._given / self.fps - time.monotonic()))
        self._given += 1
        picture = self.pictures[self._given % len(self.pictures)]
        return Grab(picture, time.time_ns(), time.monotonic_ns(), f"memory#{self._given}")

    def close(self) -> None:
        """Nothing to release."""


class ScriptedEngine:
    """Computes every tile for real and then says what a script says, so that exactly each n-th
    frame is a reject, whatever the weights of the model: five defects on its first tile."""

    def __init__(self, engine: Engine, out: tuple[int, int], classes: int, reject_every: int) -> None:
        self.info = engine.info
        self._engine = engine
        self._frames, self._reject_every = 0, reject_every
        self._good = np.zeros((*out, classes), np.uint8)
        self._bad = self._good.copy()
        for i in range(5):
            y, x = (1 + i) * out[0] // 8, (1 + i) * out[1] // 8
            self._bad[y : y + 12, x : x + 60, 0] = 255  # above any threshold that a package may have

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        """See Engine.run."""
        self._frames += 1
        rejected = self._frames % self._reject_every == 0
        script = {0: self._bad} if rejected else {}
        self._engine.run(tiles, lambda index, _: deliver(index, script.get(index, self._good)))

    def close(self) -> None:
        """The engine inside belongs to the bench."""


@dataclass(slots=True)
class Resident:
    """Largest resident memory while it runs, sampled each 20 ms."""

    peak: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Resident:
        self._thread = threading.Thread(target=self._watch, name="resident", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            self.peak = max(self.peak, process.memory_info().rss)
            if self._stop.wait(0.02):
                return


class LineBench:
    """One open engine, measured alone and inside the line."""

    def __init__(self, config: LineConfig, package: ModelPackage, size: tuple[int, int]) -> None:
        """Opens the engine as the line would; raises what measured_plan and open_engine raise."""
        from inspector.engine.measured import measured_plan
        from inspector.engine.open import open_engine

        self.config, self.package, self.size = config, package, size
        self.plan: TilePlan = measured_plan(package, size, config.model)
        self.engine: Engine = open_engine(package, self.plan, config.model)
        colours = () if package.manifest.channels == 1 else (3,)
        random = np.random.default_rng(0)
        self.pictures: list[Image] = [random.integers(90, 160, size + colours, np.uint8) for _ in range(3)]
        self.tile: Image = random.integers(90, 160, self.plan.input + colours, np.uint8)

    def engine_only(self, frames: int) -> tuple[float, float]:
        """(seconds, processor seconds) a frame of the same engine in a bare loop: nothing cut or pasted."""
        began, cpu = time.perf_counter(), time.process_time()
        tiles = frames * len(self.plan.tiles)
        self.engine.run((self.tile for _ in range(tiles)), lambda _index, _probs: None)
        return (time.perf_counter() - began) / frames, (time.process_time() - cpu) / frames

    def line(
        self, frames: int, folder: Path, reject_every: int = REJECT_EVERY, fps: float | None = None
    ) -> tuple[RunSummary, float]:
        """The station on frames from memory with a real ledger in `folder`; processor seconds a frame.

        fps: as many frames a second come, if the line takes them; None: it is never waited for.
        """
        from ulid import ULID

        from inspector.config import RecordingConfig
        from inspector.db.connect import open_ledger
        from inspector.pipeline import Pipeline
        from inspector.station.infer import Serving
        from inspector.station.line import run_opened
        from inspector.station.opening import Opened

        recording = RecordingConfig(db=f"sqlite:///{folder / 'ledger.db'}", folder=folder / "evidence")
        config = self.config.model_copy(update={"recording": recording})
        scripted = ScriptedEngine(self.engine, self.plan.out, len(self.package.classes), reject_every)
        pipeline = Pipeline(self.package, scripted, self.plan, config.recipe)
        opened = Opened(
            run_id=str(ULID()),
            camera=MemoryCamera(self.pictures, frames, fps, size=self.size),
            package=self.package,
            serving=Serving(self.size, scripted, pipeline),
            ledger=open_ledger(recording.db),
        )
        cpu = time.process_time()
        summary = run_opened(config, opened)
        if summary.error is not None:
            raise summary.error
        rejects = summary.json()["verdicts"]["REJECT"]
        if rejects != frames // reject_every:
            raise InspectionError(f"The bench wanted {frames // reject_every} rejects and got {rejects}.")
        return summary, (time.process_time() - cpu) / frames


def measure(bench: LineBench, frames: int, rounds: int) -> dict[str, Any]:
    """The figures of design section 7: interleaved rounds, medians; frames of each round.

    Beside these `others_share` of the processor, and `doubts`, empty where the speeds may be trusted.
    """
    from inspector.engine.rivals import Rivals
    from inspector.engine.trust import speed_doubts

    mpx = bench.size[0] * bench.size[1] / 1e6
    alone, cpu_alone, fps, cpu_line, latencies = [], [], [], [], []
    bench.engine_only(1)
    rivals = Rivals()
    with Resident() as resident, tempfile.TemporaryDirectory(prefix="inspector-bench-") as folder:
        for number in range(rounds):
            seconds, cpu = bench.engine_only(frames)
            alone.append(seconds)
            cpu_alone.append(cpu)
            place = Path(folder) / str(number)
            place.mkdir()
            summary, cpu = bench.line(frames, place)
            cpu_line.append(cpu)
            fps.append(summary.tally.fps())
            latencies.append(summary.json()["latency_ms"])
    others = rivals.share()
    line_mpx, engine_mpx = mpx * statistics.median(fps), mpx / statistics.median(alone)
    efficiency = line_mpx / engine_mpx
    return {
        "frame": {"h": bench.size[0], "w": bench.size[1]},
        "tile": {"h": bench.plan.input[0], "w": bench.plan.input[1]},
        "tiles": len(bench.plan.tiles),
        "engine": _engine_facts(bench.engine.info),
        "mpx_per_s": round(line_mpx, 3),
        "engine_only_mpx_per_s": round(engine_mpx, 3),
        "efficiency": round(efficiency, 4),
        "overhead_cpu_ms": round(1000 * (statistics.median(cpu_line) - statistics.median(cpu_alone)), 2),
        "latency_ms": {key: statistics.median(one[key] for one in latencies) for key in latencies[0]},
        "rss_mb": round(resident.peak / 1e6, 1),
        "others_share": round(others, 3),
        "doubts": speed_doubts(others, efficiency),
    }  # fmt: skip


def _engine_facts(info: EngineInfo) -> dict[str, str]:
    return {"name": info.name, "precision": info.precision, "device": info.device,
            "package": info.package, "certificate": info.certificate}  # fmt: skip


def doubt_line(figures: dict[str, Any]) -> str | None:
    """What a reader of the figures of speed must know first; None where they may be trusted."""
    if not figures["doubts"]:
        return None
    return (
        f"The figures of speed are not to be trusted: {'; '.join(figures['doubts'])}. Measure again while the"
        " machine is quiet."
    )


def model_config(package: Path, settings: dict[str, Any]) -> ModelConfig:
    """The options as the line's own model settings. Raises UsageError naming the one that cannot be used."""
    from pydantic import ValidationError

    from inspector.config import ModelConfig

    try:
        return ModelConfig(package=package, **settings)
    except ValidationError as error:
        wrong = error.errors()[0]
        option = "--" + str(wrong["loc"][0]).replace("_", "-")
        words = str(wrong["msg"]).removeprefix("Value error, ")
        raise UsageError(f"{option} {wrong['input']} cannot be used: {words}.") from error


@click.command()
@click.option("--model", required=True, type=click.Path(path_type=Path), help="Model package.")
@click.option("--size", default="1080x1920", show_default=True, help="Frames of HEIGHTxWIDTH pixels.")
@click.option(
    "--frames",
    default=20,
    show_default=True,
    type=click.IntRange(1),
    help="Frames of each round; each 20th is a reject.",
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Rounds, interleaved.")
@click.option(
    "--precision", type=click.Choice(["auto", "f32", "bf16", "fp16", "int8"]), default="auto",
    show_default=True, help="Arithmetic; auto: what the line would serve in.",
)  # fmt: skip
@click.option("--tile", default="auto", show_default=True, help="auto, whole, or HEIGHTxWIDTH of the input.")
@click.option(
    "--hint", default="latency", type=click.Choice(["latency", "throughput"]), show_default=True,
    help="On a CPU: one tile at a time, or several at once.",
)  # fmt: skip
@click.option("--memory-mb", default=4096, show_default=True, type=click.IntRange(64), help="Memory limit.")
@click.option(
    "--engine", type=click.Choice(["auto", "openvino", "tensorrt", "torch", "fake"]), default="auto",
    show_default=True, help="What computes; fake needs no network.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(model: Path, size: str, frames: int, rounds: int, as_json: bool, **settings: Any) -> int:
    """Measure the line end to end against its engine alone.

    Frames come from memory, 5 % of them (each 20th) are rejects whose evidence is written, the
    ledger is real, and there is no dashboard. Quiet the machine first: what other programs took of it
    is told, and from a tenth on, or where a figure cannot be, the figures are marked.

    \b
    Example:  inspector bench --model demo_model --size 1080x1920 --json
    """
    from inspector.cli.announce import announce
    from inspector.config import LineConfig
    from inspector.package import load_package

    announce()
    frame = parse_size(size)
    config = LineConfig(model=model_config(model, settings))
    one = LineBench(config, load_package(model), frame)
    try:
        figures = measure(one, frames, rounds)
    finally:
        one.engine.close()
    if as_json:
        click.echo(json.dumps(figures))
        return 0
    if (doubt := doubt_line(figures)) is not None:
        click.echo(doubt)
    click.echo(
        f"{figures['mpx_per_s']} megapixels a second end to end, {figures['engine_only_mpx_per_s']} engine"
        f" only: efficiency {figures['efficiency']} ({counted(rounds, 'round')} of"
        f" {counted(frames, 'frame')} of {size},"
        f" {figures['tiles']} tile(s), {one.engine.info.name} {one.engine.info.precision})."
    )
    click.echo(
        f"Latency {latency_text(figures['latency_ms'])}; resident memory {figures['rss_mb']} MB; other"
        f" programs took {figures['others_share']:.0%} of the processor."
    )
    return 0
