"""The model package: an immutable folder, and all that `trainer` promises `inspector`.

    manifest.json   what the model is, and the sha256 of every other file
    model.onnx      the release graph: uint8 pictures in, uint8 probabilities out
    golden.npz      small pictures with the trained network's own probabilities

Its id is the sha256 of the canonical manifest, so it names every byte of the folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inspector.durable import sync_folder, write_durably
from inspector.errors import PackageError, UsageError
from inspector.tiling import Geometry

FORMAT = 1
MANIFEST, ONNX, GOLDEN = "manifest.json", "model.onnx", "golden.npz"
MOST_GOLDEN_TILES = 16
LARGEST_HALF = 65_504.0
HALF_HEADROOM = 16.0
"""Inner values of a network that serves in half precision stay this many times below the largest half."""
INT8 = "int8"
"""Key of `metrics` that makes a package one in 8 bits; see `inspector.engine.quantised`."""
_REMEDY = "copy the package again from where it was exported"


class Normalisation(BaseModel):
    """(pixel - mean) / std for each channel, in 0..255 units; it is inside the graph already."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Threshold(BaseModel):
    """The probability from which a pixel counts as the class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(gt=0, le=1)
    escape_target: float | None = None
    """The escape rate it was chosen for on validation frames; None: not chosen for one. An int8 package has
    the thresholds of the network in floating point; None there also: int8 was not seen to keep it."""


class Manifest(BaseModel):
    """What a package says of itself. Defect class k (1, 2, ...) is `classes[k - 1]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    classes: tuple[str, ...] = Field(min_length=1, max_length=254)
    channels: int = Field(ge=1, le=3)
    depth: int = Field(ge=2, le=6)
    base: int = Field(ge=1)
    halo: int
    grid: int
    normalisation: Normalisation
    thresholds: dict[str, Threshold]
    mm_per_px: tuple[float, float] | None = None
    """(y, x) scale of the training pictures."""
    training_data_sha256: str
    seed: int
    metrics: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    """File name -> sha256 in hexadecimal."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Manifest:
        geometry = Geometry(self.depth)
        if (self.halo, self.grid) != (geometry.halo, geometry.grid):
            raise ValueError(f"halo {self.halo} and grid {self.grid} are not those of depth {self.depth}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes have one name")
        if set(self.thresholds) != set(self.classes):
            raise ValueError("thresholds must name exactly the classes")
        if self.channels == 2:
            raise ValueError("channels must be 1 (gray) or 3 (BGR)")
        if not len(self.normalisation.mean) == len(self.normalisation.std) == self.channels:
            raise ValueError("normalisation must have one mean and one std for each channel")
        if any(Path(name).name != name for name in self.files):
            raise ValueError("files must be plain names inside the package")
        return self

    def canonical(self) -> bytes:
        """The one byte form that is hashed: sorted keys, no spaces, UTF-8."""
        fields = self.model_dump(mode="json")
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def package_id(self) -> str:
        """sha256 of the canonical form, in hexadecimal."""
        return hashlib.sha256(self.canonical()).hexdigest()

    def text(self) -> bytes:
        """manifest.json as written: for reading, and with the package id as its last key."""
        fields = {**self.model_dump(mode="json"), "id": self.package_id()}
        return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Golden:
    """Small pictures with the probabilities of the trained float32 network."""

    tiles: NDArray[np.uint8]
    """(n, h, w, channels), a legal input size; together they hold every class."""
    probs: NDArray[np.float32]
    """(n, h - 2 halo, w - 2 halo, K) of the defect classes, 0 to 1."""

    def __post_init__(self) -> None:
        """Raises ValueError unless the two arrays can belong together."""
        shapes = (self.tiles.ndim, self.probs.ndim) == (4, 4) and len(self.tiles) == len(self.probs)
        types = self.tiles.dtype == np.uint8 and self.probs.dtype == np.float32
        if not (shapes and types and 1 <= len(self.tiles) <= MOST_GOLDEN_TILES):
            raise ValueError(
                f"golden tiles of shape {self.tiles.shape}, {self.tiles.dtype} and probabilities of shape"
                f" {self.probs.shape}, {self.probs.dtype} do not fit together"
            )


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """A verified package folder."""

    path: Path
    manifest: Manifest
    id: str
    """sha256 of the canonical manifest."""

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.manifest.depth)

    @property
    def classes(self) -> tuple[str, ...]:
        """Defect classes in the order of their ids, which start at 1."""
        return self.manifest.classes

    @property
    def thresholds(self) -> tuple[float, ...]:
        """One for each defect class, in class order."""
        return tuple(self.manifest.thresholds[name].value for name in self.classes)

    @property
    def largest_activation(self) -> float | None:
        """Largest value of any convolution of the float32 network on the golden tiles, as the exporter
        measured it; None where it did not."""
        half = self.manifest.metrics.get("half")
        value = half.get("activation") if isinstance(half, dict) else None
        return float(value) if isinstance(value, int | float) else None

    @property
    def in_8_bits(self) -> bool:
        """Whether its graph computes in int8."""
        return INT8 in self.manifest.metrics

    @property
    def onnx(self) -> Path:
        return self.path / ONNX

    def golden(self) -> Golden:
        """The golden tiles. Raises PackageError if the file does not fit the manifest."""
        try:
            with np.load(self.path / GOLDEN, allow_pickle=False) as arrays:
                golden = Golden(arrays["tiles"], arrays["probs"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise PackageError(f"{self.path / GOLDEN} cannot be used ({error}); export it again.") from error
        halo = self.manifest.halo
        n, h, w, _ = golden.tiles.shape
        expected = (n, h - 2 * halo, w - 2 * halo, len(self.classes))
        if golden.tiles.shape[3] != self.manifest.channels or golden.probs.shape != expected:
            raise PackageError(
                f"{self.path / GOLDEN} has tiles {golden.tiles.shape} and probabilities {golden.probs.shape}"
                " that do not fit the manifest; export the package again."
            )
        return golden


def load_package(path: Path) -> ModelPackage:
    """The package in this folder, every byte of it checked.

    Raises UsageError when there is no such folder or it is no package, PackageError when a file is
    missing, was changed, was added, or when the manifest has another format version.
    """
    if not os.path.isdir(path):  # Path.is_dir raises for a name that is too long or may not be looked at
        raise UsageError(f"There is no model package at {path}; give the folder that `trainer export` wrote.")
    _require_package(path)
    manifest = _read_manifest(path)
    for name, expected in manifest.files.items():
        try:
            with (path / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise PackageError(
                f"{path / name} cannot be read ({error.strerror}), but its manifest names it; {_REMEDY}."
            ) from error
        if found != expected:
            raise PackageError(
                f"{path / name} was changed: sha256 {found[:12]} instead of {expected[:12]}; {_REMEDY}."
            )
    try:
        present = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise PackageError(
            f"{path} cannot be read ({error.strerror}); give this user the right to."
        ) from error
    unnamed = sorted(present - set(manifest.files) - {MANIFEST})
    if unnamed:
        raise PackageError(f"{path / unnamed[0]} is not part of the package; take it out of the folder.")
    return ModelPackage(path=path, manifest=manifest, id=manifest.package_id())


def _require_package(path: Path) -> None:
    """Raises UsageError for a folder that never was a package.

    One that lost its manifest and still holds a graph passes: it is damaged, which refuses.
    """
    if os.path.lexists(path / MANIFEST) or not os.access(path, os.R_OK | os.X_OK):
        return
    if os.path.exists(path / "best.pt"):  # what `trainer fit` leaves
        raise UsageError(
            f"{path} is a RUN folder; make a package of it with `trainer export {path} --out PACKAGE`."
        )
    if not os.path.exists(path / ONNX):
        raise UsageError(
            f"{path} is no model package, it has no {MANIFEST}; give the folder that `trainer export` wrote."
        )


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    try:
        data = file.read_bytes()
        fields = json.loads(data)
    except OSError as error:
        raise PackageError(f"{file} cannot be read ({error.strerror}); {_REMEDY}.") from error
    except ValueError as error:
        raise PackageError(f"{file} is not JSON ({error}); {_REMEDY}.") from error
    version = fields.get("format") if isinstance(fields, dict) else None
    if version != FORMAT:
        raise PackageError(
            f"{path} has package format {version!r}, this version reads format {FORMAT};"
            " export the model again with the trainer of this version."
        )
    fields.pop("id", None)
    try:
        manifest = Manifest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise PackageError(f"{file}: {where}: {first['msg']}; {_REMEDY}.") from error
    # The whole text is compared, so that no byte of the file can change unseen.
    if manifest.text() != data:
        raise PackageError(
            f"{file} was changed after the export: its id does not fit its content; {_REMEDY}."
        )
    if not {ONNX, GOLDEN} <= set(manifest.files):
        raise PackageError(f"{file} does not name both {ONNX} and {GOLDEN}; {_REMEDY}.")
    return manifest


def write_package(
    path: Path, manifest: Manifest | Mapping[str, Any], onnx: bytes, golden: Golden
) -> ModelPackage:
    """Write a package folder as a whole or not at all, and load it back.

    manifest: without files; they are hashed here. The folder is written beside its place,
    flushed to the disk and renamed. Raises UsageError when the place is taken or cannot be
    written, or when the manifest contradicts itself.
    """
    if path.exists():
        raise UsageError(f"{path} exists already and packages are never changed; give a new name.")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, tiles=golden.tiles, probs=golden.probs)
    contents = {ONNX: onnx, GOLDEN: buffer.getvalue()}
    fields = manifest.model_dump() if isinstance(manifest, Manifest) else dict(manifest)
    fields["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    try:
        complete = Manifest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise UsageError(f"The package cannot be written: {where}: {first['msg']}.") from error
    try:
        _write_folder(path, {**contents, MANIFEST: complete.text()})
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}); choose a place that can.") from error
    return load_package(path)


def _write_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        for name, data in contents.items():
            write_durably(temporary / name, [data])
        temporary.chmod(0o755)  # mkdtemp makes it private; a package is read by the station's user
        sync_folder(temporary)
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
