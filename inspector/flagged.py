"""From a doubted frame to training data: flag it while its picture is still there, then export it.

The recorder remembers the last frames that it did not keep and stores one as soon as a flag
names it. A frame that is gone is said to be gone: by `flag_frame` at once, by the export again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sqlalchemy import Engine

from inspector.db import queries, writes
from inspector.durable import sync_folder, unwritable, write_durably
from inspector.errors import LedgerError, UsageError
from inspector.inputs import decode_image, to_input

KEEP_WAIT_S = 3.0
POLL_S = 0.1
_FOLDERS = ("images", "masks", "previews")
_OUTLINES = ((0, 0, 255), (255, 0, 255), (0, 165, 255), (255, 255, 0), (0, 255, 0))
"""BGR of classes 1, 2 ... in a preview, again from the first after the last."""


@dataclass(frozen=True, slots=True)
class FlagOutcome:
    """What became of a flag."""

    kept: bool
    """Whether the picture is on disk, so that it can be exported."""
    words: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote, and what it could not."""

    stems: tuple[str, ...]
    missing: tuple[str, ...]
    """One sentence for each flagged frame that is not in the dataset."""


def kind_word(kind: str) -> str:
    """The kind as `inspector flag --kind` takes it and every screen shows it: `false-reject`."""
    return kind.replace("_", "-")


def flag_frame(
    engine: Engine,
    run_id: str,
    number: int,
    *,
    operator: str,
    kind: str,
    note: str = "",
    wait_s: float = KEEP_WAIT_S,
) -> FlagOutcome:
    """Doubt a frame and wait until its picture is stored, or known to be gone.

    kind: false_reject, missed or unsure. wait_s: how long a living station may take.
    Raises UsageError for an unknown kind or frame, LedgerError when the flag cannot be written.
    """
    writes.add_flag(engine, run_id, number, operator, kind, note)
    said = f"Frame {number} is flagged as {kind_word(kind)}"
    deadline = time.monotonic() + wait_s
    while True:
        alive = queries.is_alive(engine, run_id)  # asked first: what a line stored as it ended is seen then
        row = queries.inspection(engine, run_id, number)
        if row is not None and row.image_path is not None:
            return FlagOutcome(True, f"{said}; its picture is kept.")
        if not alive or time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
    cause = "the station no longer has it in memory" if alive else "the run is over and nobody kept it"
    return FlagOutcome(
        False,
        f"{said}, but its picture is gone ({cause}), so it cannot be exported;"
        ' flag sooner, or add "pass" to recording.keep in the line config.',
    )


def export_flagged(engine: Engine, out: Path, run_id: str | None = None) -> Exported:
    """Write the flagged frames of one run, or of all, as a dataset folder; `out` appears whole or not at all.

    images/ has the frames, masks/ the model's masks as a start for correction, previews/ both in one
    picture to look at, provenance.json what was said of each and the hash of its mask, by which the
    trainer sees what nobody corrected. Frames without a stored mask start with an empty one.
    Raises UsageError when `out` exists, nothing is flagged or the packages' classes differ;
    LedgerError when none of the flagged pictures is left, what `unwritable` gives when `out` cannot
    be written.
    """
    if out.exists():
        raise UsageError(
            f"{out} exists already; name a new folder, so that no corrected mask is overwritten."
        )
    flags = queries.flags(engine, run_id)
    if not flags:
        where = f"run {run_id}" if run_id else "any run"
        raise UsageError(
            f"No frame of {where} is flagged in {engine.url.database}; flag one with inspector flag."
        )
    frames = _by_frame(flags)
    classes = _classes(engine, [run for run, _ in frames])
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    except OSError as error:
        raise unwritable(out, error) from error
    try:
        exported = _write_dataset(engine, folder, frames, classes)
        folder.chmod(0o755)
        for written in (*_FOLDERS, ""):
            sync_folder(folder / written)
        folder.rename(out)
        sync_folder(out.absolute().parent)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return exported


def _by_frame(flags: Sequence[queries.Flag]) -> dict[tuple[str, int], list[queries.Flag]]:
    frames: dict[tuple[str, int], list[queries.Flag]] = {}
    for flag in flags:
        frames.setdefault((flag.run_id, flag.frame_number), []).append(flag)
    return frames


def _classes(engine: Engine, run_ids: Sequence[str]) -> tuple[str, ...]:
    """The classes that all flagged runs share. Raises UsageError when their packages differ."""
    found: dict[tuple[str, ...], str] = {}
    for run_id in dict.fromkeys(run_ids):
        run = queries.run(engine, run_id)
        if run is not None:
            found.setdefault(queries.package_classes(engine, run.package_id), run_id)
    if len(found) > 1:
        one, other = list(found.values())[:2]
        raise UsageError(
            f"The packages of runs {one} and {other} have other classes; export each run with --run."
        )
    return next(iter(found))


def _write_dataset(
    engine: Engine, folder: Path, frames: dict[tuple[str, int], list[queries.Flag]], classes: Sequence[str]
) -> Exported:
    for name in _FOLDERS:
        (folder / name).mkdir()
    provenance: dict[str, Any] = {}
    parts: dict[str, str] = {}
    missing: list[str] = []
    for (run_id, number), flags in frames.items():
        stem = f"{run_id}_{number:08d}"
        row = queries.inspection(engine, run_id, number)
        trouble = _write_frame(folder, stem, row)
        if row is None or trouble is not None:
            missing.append(f"Frame {number} of run {run_id} is not exported: {trouble}.")
            continue
        parts[stem] = row.part_id or stem
        drawn = (folder / "masks" / f"{stem}.png").read_bytes()
        provenance[stem] = _provenance(row, flags) | {"mask_sha256": hashlib.sha256(drawn).hexdigest()}
    if not provenance:
        raise LedgerError(f"None of the flagged frames can be exported. {missing[0]}")
    _write_json(folder / "classes.json", {str(k): name for k, name in enumerate(classes, 1)})
    write_durably(folder / "README.txt", [_hint(classes).encode()])
    _write_json(folder / "parts.json", parts)
    _write_json(folder / "provenance.json", {"frames": provenance, "missing": missing})
    return Exported(tuple(provenance), tuple(missing))


def _write_frame(folder: Path, stem: str, row: queries.Row | None) -> str | None:
    """Copy the picture and its mask; gives the cause when there is none to copy."""
    if row is None or row.image_path is None:
        return "its picture was not kept"
    image = _whole(row.image_path, row.image_sha256)
    if image is None:
        return f"{row.image_path} is missing or was changed since it was recorded"
    if row.mask_path is None:
        shape = decode_image(image, str(row.image_path)).shape[:2]
        mask: bytes | None = cv2.imencode(".png", np.zeros(shape, np.uint8))[1].tobytes()
    else:
        mask = _whole(row.mask_path, row.mask_sha256)
    if mask is None:  # an empty one in its place would say that the part is good
        return f"{row.mask_path} is missing or was changed since it was recorded"
    write_durably(folder / "images" / f"{stem}.png", [image])
    write_durably(folder / "masks" / f"{stem}.png", [mask])
    write_durably(folder / "previews" / f"{stem}.png", [_preview(image, mask)])
    return None


def _preview(image: bytes, mask: bytes) -> bytes:
    """The frame with the outlines of its mask, as PNG; class ids alone look black in a viewer."""
    shown = to_input(decode_image(image, "the frame"), 3).copy()
    ids = decode_image(mask, "the mask")
    for class_id in np.unique(ids[ids > 0]):
        around, _ = cv2.findContours(
            np.asarray(ids == class_id, np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(shown, around, -1, _OUTLINES[(int(class_id) - 1) % len(_OUTLINES)], 1)
    return cv2.imencode(".png", shown)[1].tobytes()


def _hint(classes: Sequence[str]) -> str:
    values = ", ".join(f"{k} = {name}" for k, name in enumerate(classes, 1))
    return (
        "masks/ is as the model drew it, mistakes included. Correct each mask before training:"
        f" gray value 0 = good, {values}, 255 = ignore.\n"
        "Such values look black in a viewer; previews/ shows each frame with its mask outlined and"
        " is not trained on.\n"
    )


def _whole(path: Path, sha256: str | None) -> bytes | None:
    with suppress(OSError):
        data = path.read_bytes()
        if sha256 is None or hashlib.sha256(data).hexdigest() == sha256:
            return data
    return None


def _provenance(row: queries.Row, flags: Sequence[queries.Flag]) -> dict[str, Any]:
    return {
        "run": row.run_id,
        "frame": row.number,
        "source": row.source,
        "camera": row.camera_id,
        "grabbed_utc_ns": row.grab_utc_ns,
        "verdict": row.word.value,
        "reasons": [[reason.code, reason.words] for reason in row.reasons],
        "package": row.package_id,
        "recipe": row.recipe_hash,
        "mask": "model" if row.mask_path is not None else "empty",
        "flags": [
            {"kind": flag.kind, "operator": flag.operator, "note": flag.note, "at": flag.at.isoformat()}
            for flag in flags
        ],
    }


def _write_json(path: Path, content: object) -> None:
    write_durably(path, [(json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()])
