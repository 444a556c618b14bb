"""What is opened before the first frame counts: camera, package and ledger together, then the engine."""

from __future__ import annotations

import importlib
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulid import ULID

from inspector.camera.open import camera_for
from inspector.camera.protocol import Camera
from inspector.errors import CameraError, CameraStalled, UsageError
from inspector.package import ModelPackage, load_package
from inspector.station.infer import Serving
from inspector.station.intake import unwatched
from inspector.types import Grab
from inspector.units import shown
from inspector.zones import Zones, check_zones

if TYPE_CHECKING:
    import sqlalchemy

    from inspector.config import LineConfig

log = logging.getLogger("inspector.station")

FALLBACK_SIZE = (512, 512)
"""What the engine is opened for when a source has no picture that can be read."""
_FAILURES = 5
"""So many reads without a picture, opening a lost camera again between them, and the start fails."""
_FAULTS = 50
"""So many pictures that cannot be read, and a live camera's size is learned while the line runs."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A line that is ready to run."""

    run_id: str
    camera: Camera
    package: ModelPackage
    serving: Serving
    ledger: sqlalchemy.Engine
    early: deque[Grab] = field(default_factory=deque)
    """Read to learn the size of the pictures; the first frames of the run, which takes them out."""
    warnings: tuple[str, ...] = ()
    """What is wrong with config or plan and does not keep the line from running."""


@dataclass(frozen=True, slots=True)
class _Seen:
    camera: Camera
    size: tuple[int, int]
    early: deque[Grab] = field(default_factory=deque)
    known: bool = True
    """False where no picture came and the size is the fallback: no zone is held against that one."""


def open_line(config: LineConfig) -> Opened:
    """Open camera, package and ledger at a time, then the engine; all or nothing.

    Raises UsageError without a package (naming `inspector init`), and what each part raises:
    CameraError, PackageError, CertificateError, MemoryLimitError, LedgerError, ConfigError.
    """
    package_path = config.model.package
    if package_path is None:
        raise UsageError(
            "No model is chosen; write a line.toml with `inspector init` and name its package there,"
            " or give --model PACKAGE."
        )
    camera = camera_for(config.camera.source, config.camera)
    with ThreadPoolExecutor(3, thread_name_prefix="opening") as pool, ExitStack() as undo:
        seeing = pool.submit(_see, camera)
        loading = pool.submit(_load, package_path)
        ledger = pool.submit(_open_ledger, config.recording.db, (loading, seeing))
        undo.callback(_close_ledger, ledger)
        undo.callback(_close_camera, seeing)
        package, seen = loading.result(), seeing.result()
        ledger.result()  # a ledger that does not open is known before an engine was compiled for minutes
        warnings = check_zones(config.recipe.areas, seen.size) if seen.known else []
        serving = open_serving(config, package, seen.size)
        undo.callback(serving.engine.close)
        warnings += plan_warnings(config, package, seen.size)
        warnings += [words for words in [unwatched(config.camera, live=camera.live)] if words]
        for warning in warnings:
            log.warning("%s", warning)
        opened = Opened(str(ULID()), camera, package, serving, ledger.result(), seen.early, tuple(warnings))
        undo.pop_all()  # all is well: nothing is closed here
        return opened


def open_serving(config: LineConfig, package: ModelPackage, size: tuple[int, int]) -> Serving:
    """Plan, engine and pipeline for frames of this (height, width)."""
    from inspector.engine.measured import measured_plan
    from inspector.engine.open import open_engine
    from inspector.pipeline import Pipeline, check_recipe

    check_recipe(config.recipe, package)  # before minutes of compiling
    plan = measured_plan(package, size, config.model, Zones(size, config.recipe.areas))
    engine = open_engine(package, plan, config.model)
    return Serving(size, engine, Pipeline(package, engine, plan, config.recipe))


def plan_warnings(config: LineConfig, package: ModelPackage, size: tuple[int, int]) -> list[str]:
    """What the measured plan for frames of this (height, width) says against a line, a sentence each."""
    from inspector.engine.measured import kept_plan

    kept = kept_plan(package, size, config.model, Zones(size, config.recipe.areas))
    if kept is None:
        return []
    found, deadline_ms = [], config.recipe.deadline_ms
    if deadline_ms is not None and kept.frame_ms > deadline_ms:
        found.append(
            f"A frame of {size[0]}x{size[1]} takes about {kept.frame_ms:.0f} ms on this machine, more than"
            f" recipe.deadline_ms = {shown(deadline_ms)}, so frames will be UNINSPECTED(late); raise the"
            " deadline, or see `inspector plan` for what this computer can do."
        )
    if kept.doubt is not None:
        found.append(f"The plan of {kept.made_utc[:10]} is doubtful: {kept.doubt}.")
    return found


def _open_ledger(url: str, needed: Sequence[Future[Any]]) -> sqlalchemy.Engine:
    """The ledger; a new one is begun when the others are open, so that a start that fails leaves none."""
    from inspector.db.connect import open_ledger, would_be_new

    if would_be_new(url):
        for other in needed:
            other.result()
    return open_ledger(
        url, on_new=lambda name: log.info("The run begins a new ledger %s; --db names another one.", name)
    )


def _load(path: Path) -> ModelPackage:
    """The package, and the engine's library beside it: importing that takes as long as a camera."""
    package = load_package(path)
    importlib.import_module("inspector.engine.measured")
    return package


def _see(camera: Camera) -> _Seen:
    """Open the camera and learn its size, by reading where it does not say it.

    What a live camera gave meanwhile is kept; a file begins again at its first frame, so that
    this one is not as old as the engine's start.
    """
    camera.open()
    if camera.size is not None:
        return _Seen(camera, camera.size)
    seen = _read_until_picture(camera)
    if camera.live:
        return seen
    camera.open()
    return _Seen(camera, seen.size, known=seen.known)


def _read_until_picture(camera: Camera) -> _Seen:
    seen, failures = _Seen(camera, FALLBACK_SIZE, known=False), 0
    while True:
        try:
            grab = camera.read()
        except CameraError as error:
            failures += 1
            if failures >= _FAILURES:
                camera.close()
                raise
            if not isinstance(error, CameraStalled):
                camera.open()
            continue
        if grab is None or (camera.live and len(seen.early) >= _FAULTS):
            seen.early.extend([grab] if grab is not None else [])
            return seen
        seen.early.append(grab)
        if grab.image is not None and grab.image.size:
            return _Seen(camera, (int(grab.image.shape[0]), int(grab.image.shape[1])), seen.early)


def _close_camera(seeing: Future[_Seen]) -> None:
    if seeing.exception() is None:
        seeing.result().camera.close()


def _close_ledger(opening: Future[sqlalchemy.Engine]) -> None:
    if opening.exception() is None:
        opening.result().dispose()
