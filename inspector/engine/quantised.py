"""The int8 twin of a release graph, as `trainer compile --precision int8` leaves it on this machine.

The graph is OpenVINO's own format, two files. Beside them lies a record that says what it was
made from and by what, what it cost on frames with masks, and the hash of both files. Nothing of
it serves unless record, files and package agree; then the certificate decides, as for any engine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inspector.engine.cache import cache_folder, write_whole
from inspector.errors import (
    CertificateError,
    EngineCorrupt,
    EngineModelMismatch,
    EngineNotCompiled,
)
from inspector.package import ONNX, ModelPackage

FORMAT = 2
"""Of the record. What an older version of this software left is made again, not believed."""
MOST_LOST = 0.002
"""Of mean IoU on frames with masks, f32's less int8's: what is above serves nowhere."""
_RECORD = "int8.json"


class Calibration(BaseModel):
    """The pictures that the ranges of 8 bits were measured on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_sha256: str
    """Over the tiles in their order, as the network read them."""
    tiles: int
    tile: tuple[int, int]
    """(height, width) of their input."""
    frames: int
    """Training frames that they were cut from."""


class AccuracyLoss(BaseModel):
    """What int8 changed on frames with masks, against the same package in f32."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int
    held_out: bool
    """Whether none of the frames gave a calibration tile; where there are few, all calibrate and measure."""
    iou_f32: dict[str, float | None]
    """Class, background included -> IoU over all pixels; None: the class is in no frame."""
    iou_int8: dict[str, float | None]
    miou_f32: float | None
    miou_int8: float | None

    @property
    def miou_change(self) -> float | None:
        """int8's mean IoU less f32's, negative for a loss; None where no frame showed anything."""
        if self.miou_f32 is None or self.miou_int8 is None:
            return None
        return self.miou_int8 - self.miou_f32

    @property
    def too_much(self) -> bool:
        """Whether more was lost than int8 may cost."""
        return self.miou_change is not None and self.miou_change < -MOST_LOST

    @property
    def change(self) -> dict[str, float]:
        """Class -> int8's IoU less f32's, negative for a loss; classes that both have."""
        return {
            name: after - before
            for name, before in self.iou_f32.items()
            if before is not None and (after := self.iou_int8.get(name)) is not None
        }


class QuantisedRecord(BaseModel):
    """One quantised graph."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    package: str
    """Package id."""
    onnx_sha256: str
    torch: str
    openvino: str
    """Versions that made it."""
    calibration: Calibration
    float_layers: tuple[int, ...]
    """Convolutions left in floating point; 1 is the one at the picture."""
    loss: AccuracyLoss
    made_utc: str
    files: dict[str, str] = Field(min_length=2, max_length=2)
    """File name -> sha256; the graph (.xml) and its weights (.bin)."""

    def id(self) -> str:
        """sha256 of its canonical JSON; part of the file, so that no changed record is believed."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class QuantisedGraph:
    """A quantised graph that agrees with its record and its package."""

    graph: Path
    record: QuantisedRecord


def quantised_folder(package: ModelPackage) -> Path:
    """Where the quantised graph of this package lies on this machine; may not exist yet."""
    return cache_folder() / "quantised" / package.id[:16]


def quantise_command(package: ModelPackage) -> str:
    """What to type to make it."""
    return f"trainer compile {package.path} --engine openvino --precision int8 --calibrate DATA"


def load_quantised(package: ModelPackage) -> QuantisedGraph:
    """The quantised graph of this package, every byte of it checked.

    Raises EngineNotCompiled where there is none of this format, EngineModelMismatch when it was made
    from another package, EngineCorrupt when the record or a file was changed, CertificateError when
    it lost more accuracy than int8 may; each names what mends it.
    """
    folder, again = quantised_folder(package), f"make it again with `{quantise_command(package)}`"
    record = _read_record(folder / _RECORD, package)
    onnx = package.manifest.files[ONNX]
    if (record.package, record.onnx_sha256) != (package.id, onnx):
        raise EngineModelMismatch(
            f"The int8 graph in {folder} was made from package {record.package[:12]} with graph"
            f" {record.onnx_sha256[:12]}, this is package {package.id[:12]} with {onnx[:12]}; {again}."
        )
    if record.loss.too_much:
        raise CertificateError(
            f"The int8 graph in {folder} lost {-100 * (record.loss.miou_change or 0):.2f} points of mean IoU"
            f" on {record.loss.frames} validation frames, {100 * MOST_LOST:g} are allowed;"
            ' set model.precision = "auto" in line.toml.'
        )
    for name, expected in record.files.items():
        path = folder / Path(name).name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise EngineCorrupt(
                f"The int8 graph {path} cannot be read ({error.strerror}); {again}."
            ) from error
        if found != expected:
            raise EngineCorrupt(
                f"The int8 graph {path} was changed: sha256 {found[:12]} instead of {expected[:12]}; {again}."
            )
    graph = next(folder / Path(name).name for name in sorted(record.files, reverse=True))
    return QuantisedGraph(graph, record)


def store_quantised(
    package: ModelPackage, graph: bytes, weights: bytes, fields: dict[str, Any]
) -> QuantisedRecord:
    """Keep a quantised graph and its record, in place of an older one; the record.

    fields: those of QuantisedRecord but files. The files bear their hashes in their names and the
    record comes last, in one rename: at every moment it names files that are there in full.
    Raises OSError where the cache cannot be written.
    """
    folder = quantised_folder(package)
    folder.mkdir(parents=True, exist_ok=True)
    # One stem for both: OpenVINO finds the weights by the graph's name.
    stem = hashlib.sha256(graph + weights).hexdigest()[:16]
    contents = {f"{stem}.xml": graph, f"{stem}.bin": weights}
    files = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    record = QuantisedRecord(**fields, files=files)
    text = json.dumps({**record.model_dump(mode="json"), "id": record.id()}, indent=2) + "\n"
    for name, data in contents.items():
        write_whole(folder / name, data)
    # A certificate speaks of the graph that it was made with; the next load makes it again.
    for certificate in (cache_folder() / "certificates" / package.id[:16]).glob("openvino-int8-*.json"):
        certificate.unlink()
    write_whole(folder / _RECORD, text.encode())
    for old in folder.iterdir():
        if old.name not in {*contents, _RECORD}:
            old.unlink()
    return record


def _read_record(path: Path, package: ModelPackage) -> QuantisedRecord:
    again = f"make it again with `{quantise_command(package)}`"
    try:
        fields = json.loads(path.read_bytes())
        said = fields.pop("id")
        if fields["format"] != FORMAT:
            raise EngineNotCompiled(
                f"The int8 graph of {package.path} was made by another version of this software (record"
                f" format {fields['format']}, this one reads {FORMAT}); {again}."
            )
        record = QuantisedRecord.model_validate(fields)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise EngineNotCompiled(
            f"{package.path} has no int8 graph on this machine; make it with `{quantise_command(package)}`,"
            ' or set model.precision = "auto".'
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise EngineCorrupt(
            f"The int8 record {path} cannot be read ({type(error).__name__}); {again}."
        ) from error
    if record.id() != said:
        raise EngineCorrupt(
            f"The int8 record {path} was changed: it says {str(said)[:12]} and is {record.id()[:12]};"
            f" {again}."
        )
    return record
