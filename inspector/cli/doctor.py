"""`inspector doctor`: is this machine fit to run the line, and if not, what is to be done?"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.durable import disk_remedy, nearest_folder, try_writing
from inspector.errors import InspectionError
from inspector.units import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.config import LineConfig
    from inspector.package import ModelPackage

LEAST_MEMORY_GB, LEAST_DISK_GB = 2.0, 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    state: str
    """ok, warn (it runs, but see the remedy) or fail (the line will not run)."""
    found: str
    remedy: str = ""


def machine_findings() -> Iterator[Finding]:
    """Python, the libraries, the processor and the memory."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    fit = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if fit else "fail", version, "" if fit else "install Python 3.11 or newer")
    yield _library("opencv", "cv2", "opencv-python-headless")
    openvino = _library("openvino", "openvino", "openvino")
    yield openvino
    yield _sqlite()
    if openvino.state == "ok":
        yield _processor()
    import psutil

    total = psutil.virtual_memory().total / 1e9
    free = psutil.virtual_memory().available / 1e9
    low = free < LEAST_MEMORY_GB
    yield Finding(
        "memory", "warn" if low else "ok", f"{free:.1f} of {total:.1f} GB free",
        f"free some, or set model.memory_mb below {int(1000 * free)}" if low else "",
    )  # fmt: skip


def _library(check: str, module: str, distribution: str) -> Finding:
    try:
        importlib.import_module(module)
        return Finding(check, "ok", importlib.metadata.version(distribution))
    except (ImportError, importlib.metadata.PackageNotFoundError) as error:
        return Finding(check, "fail", str(error), f"install it with `pip install {distribution}`")


def _sqlite() -> Finding:
    """SQLite up to 3.51.2 can lose a row that it said was written."""
    from inspector.db.connect import require_safe_sqlite, sqlite_module

    try:
        module = sqlite_module()
        require_safe_sqlite(module.sqlite_version_info)
    except InspectionError as error:
        return Finding("sqlite", "fail", str(error), "install it with `pip install 'pysqlite3>=0.6.1'`")
    return Finding("sqlite", "ok", f"{module.sqlite_version} ({module.__name__}), keeps what it has written")


def _processor() -> Finding:
    from inspector.engine.cpu import cpu_has_bf16, cpu_has_vnni, cpu_name

    name, cores = cpu_name(), os.cpu_count()
    int8 = "computes int8" if cpu_has_vnni() else "no VNNI, so int8 would hardly be faster than f32"
    if cpu_has_bf16():
        return Finding("processor", "ok", f"{name}, {cores} cores, computes bf16, {int8}")
    return Finding(
        "processor", "warn", f"{name}, {cores} cores, no bf16: f32 serves, at about half the speed; {int8}",
        "use a processor with AVX-512 BF16 or AMX if that is too slow",
    )  # fmt: skip


def line_findings(config: LineConfig) -> Iterator[Finding]:
    """Cache, and what the config names: ledger, evidence, outputs and model."""
    from inspector.db.connect import ledger_folder
    from inspector.engine.cache import cache_folder
    from inspector.keeping import evidence_error
    from inspector.outputs import unwritable_output

    yield _writable("cache", cache_folder(), _unwritable_cache)
    try:
        folder = ledger_folder(config.recording.db)
    except InspectionError as error:
        yield Finding("ledger", "fail", str(error), "correct recording.db")
    else:
        yield _ledger(config.recording.db, folder)
        yield _disk(folder)
        evidence = folder / config.recording.folder
        yield _writable("evidence", evidence, evidence_error)
    for output in config.outputs:
        yield _output(output.path, unwritable_output)
    yield from _unwatched(config)
    yield _model(config)
    yield from _loaded_model(config)


def _unwatched(config: LineConfig) -> Iterator[Finding]:
    """Whether the config keeps the line from seeing that its camera froze, as the line says at its start."""
    from inspector.camera.open import camera_for
    from inspector.station.intake import UNWATCHED, UNWATCHED_REMEDY, unwatched

    try:
        live = camera_for(config.camera.source, config.camera).live  # nothing is opened
    except InspectionError:
        return  # said of the camera, once it is looked at
    if unwatched(config.camera, live=live):
        yield Finding("frozen", "warn", UNWATCHED, UNWATCHED_REMEDY)


def _ledger(url: str, folder: Path) -> Finding:
    """Opens a ledger that is there, as the line would; else tries the folder that it would be made in."""
    from inspector.db.connect import check_ledger, ledger_url, would_be_new
    from inspector.db.transactions import ledger_name

    try:
        check_ledger(url)
    except InspectionError as error:
        return Finding("ledger", "fail", str(error))
    opens = "" if would_be_new(url) else f"{ledger_name(ledger_url(url))} opens, and "
    return Finding("ledger", "ok", f"{opens}{folder} can be written")


def _output(path: Path, sentence: Callable[[Path, OSError], InspectionError]) -> Finding:
    """Opens an output that is there, as the line would and without a change; else tries its folder."""
    if not os.path.exists(path):
        return _writable("output", path.parent, lambda _, error: sentence(path, error))
    try:
        os.close(os.open(path, os.O_RDWR | os.O_APPEND))
    except OSError as error:
        return Finding("output", "fail", str(sentence(path, error)))
    return Finding("output", "ok", f"{path} can be written")


def _writable(check: str, folder: Path, sentence: Callable[[Path, OSError], InspectionError]) -> Finding:
    """Really writes. sentence: what the line would say of it."""
    try:
        try_writing(folder)
    except OSError as error:
        return Finding(check, "fail", str(sentence(folder, error)))
    return Finding(check, "ok", f"{folder} can be written")


def _unwritable_cache(folder: Path, error: OSError) -> InspectionError:
    words = f"{folder} cannot be written ({error.strerror}); {disk_remedy(error)}"
    return InspectionError(f"{words}, or set INSPECTION_CACHE to another folder.")


def _disk(folder: Path) -> Finding:
    import psutil

    place = nearest_folder(folder)
    free = psutil.disk_usage(str(place)).free / 1e9
    low = free < LEAST_DISK_GB
    remedy = "free some, or set recording.max_gb so that old evidence gives way" if low else ""
    return Finding("disk", "warn" if low else "ok", f"{free:.1f} GB free at {place}", remedy)


def _model(config: LineConfig) -> Finding:
    """Loads the package, holds the recipe against it, proves the engine on a golden or compiled tile."""
    from inspector.engine.open import choose_plan, open_engine
    from inspector.package import load_package
    from inspector.pipeline import check_recipe

    if config.model.package is None:
        return Finding("model", "fail", "no package is named", "set model.package or give --model PACKAGE")
    try:
        package = load_package(config.model.package)
        check_recipe(config.recipe, package)
        height, width = package.golden().tiles.shape[1:3]
        tile = (int(height), int(width))
        if config.model.engine == "tensorrt":
            tile = choose_plan(package, tile, config.model).input
        engine = open_engine(package, tile, config.model)
    except InspectionError as error:
        return Finding("model", "fail", str(error))
    engine.close()
    info = engine.info
    found = f"{package.manifest.name} {package.manifest.version} serves on {info.name} in {info.precision}"
    return Finding("model", "ok", found)


def _loaded_model(config: LineConfig) -> Iterator[Finding]:
    """What a package that loads says of itself; of one that does not, all is said of the model."""
    from inspector.cli.validation import validation_text, validation_warning
    from inspector.package import load_package

    if config.model.package is None:
        return
    try:
        package = load_package(config.model.package)
    except InspectionError:
        return
    metrics = package.manifest.metrics
    warning = validation_warning(metrics)
    words = ". ".join(part for part in (validation_text(metrics), warning) if part)
    yield Finding("validation", "warn" if warning else "ok", words)
    if config.model.engine != "tensorrt":  # on a GPU the tiles lie in its own memory
        yield _largest_frame(config, package)


def _largest_frame(config: LineConfig, package: ModelPackage) -> Finding:
    """What the memory limit means for a camera."""
    from inspector.engine.memory import MB
    from inspector.engine.planner import memory_model
    from inspector.zones import Zones

    model = memory_model(package, config.model, Zones((1, 1), config.recipe.areas))
    limit = config.model.memory_mb
    megapixels = model.frame_px_within(limit * MB) / 1e6
    words = f"up to {megapixels:.0f} megapixels fit model.memory_mb = {limit}"
    low = megapixels < 1
    return Finding("frames", "warn" if low else "ok", words, "raise model.memory_mb" if low else "")


def camera_findings(config: LineConfig) -> Iterator[Finding]:
    """Opens the camera, reads one frame and holds the zones against it."""
    from inspector.camera.open import camera_for

    source = config.camera.source
    try:
        camera = camera_for(source, config.camera)
        try:
            camera.open()
            grab = camera.read()
        finally:
            camera.close()
    except InspectionError as error:
        yield Finding("camera", "fail", str(error))
        return
    if grab is None or grab.image is None:
        words = "no picture" if grab is None or grab.fault is None else grab.fault.words
        yield Finding("camera", "fail", f"{source} opens and gives {words}", "look at the source by hand")
        return
    height, width = grab.image.shape[:2]
    yield _picture(grab.image, f"{source} gives pictures of {height}x{width}", config)
    yield from _zones(config, (height, width))
    yield from _plan(config, (height, width))


def _picture(image: NDArray[Any], found: str, config: LineConfig) -> Finding:
    """Whether the line would take this picture for one; a first one may be dark before a camera adapts."""
    from inspector.inputs import to_input
    from inspector.station.intake import nothing_shown

    try:
        nothing = nothing_shown(to_input(image, 1, config.camera.shift_16bit), config.camera.black_level)
    except InspectionError as error:
        return Finding("camera", "fail", f"{found}. {error}")
    return Finding("camera", "warn" if nothing else "ok", f"{found}. {nothing.words}" if nothing else found)


def _plan(config: LineConfig, frame: tuple[int, int]) -> Iterator[Finding]:
    """What an earlier start or `inspector plan` measured for such frames; nothing where none did."""
    from inspector.engine.measured import AGAIN, kept_plan
    from inspector.package import load_package
    from inspector.zones import Zones

    try:
        package = load_package(config.model.package or Path())
    except InspectionError:
        return  # said of the model
    kept = kept_plan(package, frame, config.model, Zones(frame, config.recipe.areas))
    if kept is None:
        return
    tile = f"{kept.tile[0]}x{kept.tile[1]}"
    found = f"tiles of {tile}, {kept.frame_ms:.0f} ms a frame, measured on {kept.made_utc[:10]}"
    deadline_ms = config.recipe.deadline_ms
    if deadline_ms is not None and kept.frame_ms > deadline_ms:
        words = f"{found}: more than recipe.deadline_ms = {shown(deadline_ms)}, so frames will be late"
        yield Finding("plan", "warn", words, "raise the deadline, or take a faster computer")
    elif kept.doubt is not None:
        yield Finding("plan", "warn", f"{found} while others had {kept.others:.0%} of the processor",
                      f"measure again with `{AGAIN}` while the machine is quiet")  # fmt: skip
    else:
        yield Finding("plan", "ok", found)


def _zones(config: LineConfig, frame: tuple[int, int] | None) -> Iterator[Finding]:
    """What the line would say of its zones at its start; frame: None where no camera was opened."""
    from inspector.zones import check_zones

    areas = config.recipe.areas
    if not areas:
        return
    if frame is None:
        yield Finding(
            "zones", "ok", f"{len(areas)} named, not held against a frame", "add --camera config to do so"
        )
        return
    try:
        warnings = check_zones(areas, frame)
    except InspectionError as error:
        yield Finding("zones", "fail", str(error))
        return
    for warning in warnings:
        yield Finding("zones", "warn", warning, "correct recipe.zones unless it is meant so")
    if not warnings:
        yield Finding("zones", "ok", f"{len(areas)} named, all inside the frame")


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Line config [the one that `inspector run` would read].",
)
@click.option("--model", type=click.Path(path_type=Path), help="Model package instead of the config's.")
@click.option("--camera", help="Also open this camera, or `config` for the config's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(config_path: Path | None, model: Path | None, camera: str | None, as_json: bool) -> int:
    """Check machine, libraries, cache, ledger, outputs, model and camera.

    Exit code 1 when the line would not run. The camera is opened only when you ask for it.

    \b
    Example:  inspector doctor
              inspector doctor --model demo_model --camera 0 --json
    """
    from inspector.cli.run import installed_config
    from inspector.config import LineConfig, load_config

    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # its complaints would stand among the findings
    given = config_path or installed_config()
    config = load_config(given) if given else LineConfig()
    if model is not None:
        config = config.model_copy(update={"model": config.model.model_copy(update={"package": model})})
    if camera not in (None, "config"):
        config = config.model_copy(update={"camera": config.camera.model_copy(update={"source": camera})})
    findings = [*machine_findings(), *line_findings(config)]
    findings += camera_findings(config) if camera is not None else _zones(config, None)
    failed = any(one.state == "fail" for one in findings)
    if as_json:
        click.echo(json.dumps({"ok": not failed, "findings": [asdict(one) for one in findings]}))
    else:
        for one in findings:
            click.echo(
                f"{one.state:<5} {one.check:<10} {one.found}" + (f"; {one.remedy}" if one.remedy else "")
            )
    return 1 if failed else 0
