"""Proof that a compiled model on this machine is the network that was trained.

The golden tiles of the package run through the very engine that will serve, at each load, and
are held against the trained float32 network's probabilities. The first time this is written
down as a certificate, a self-hashed file in the local cache.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from inspector.engine.cache import cache_folder, only_writer, write_whole
from inspector.engine.parity import Parity, measure
from inspector.engine.protocol import Engine, EngineInfo
from inspector.errors import CertificateError
from inspector.package import HALF_HEADROOM, LARGEST_HALF, ModelPackage
from inspector.units import shown

_LOG = logging.getLogger(__name__)

FORMAT = 2
"""Of the file. A certificate of another format is made again, since each load measures anyway."""


class ChangedCertificate(CertificateError):
    """What lies on the disk is not what was written for this engine. Another precision does not mend that."""


class OverLimit(CertificateError):
    """The engine differs more than its precision may."""

    def __init__(self, message: str, short: str) -> None:
        super().__init__(message)
        self.short = short
        """What it did, in a few words."""


class Limits(BaseModel):
    """What a precision may differ by on the golden tiles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_difference: float
    """Of probabilities, 0 to 1."""
    mask_equal: float
    """Share of mask pixels that must be equal."""


LIMITS = {
    "f32": Limits(max_difference=1 / 255, mask_equal=0.9999),
    "fp16": Limits(max_difference=0.02, mask_equal=0.9999),
    "bf16": Limits(max_difference=0.05, mask_equal=0.999),
    "int8": Limits(max_difference=0.10, mask_equal=0.998),
}


class Certificate(BaseModel):
    """One engine's parity on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    package: str
    engine: str
    engine_version: str
    precision: str
    tile: tuple[int, int]
    device: str
    golden_tiles: int
    parity: Parity
    limits: Limits
    activation: float | None
    """Largest inner value of the float32 network on the golden tiles; None where the exporter did not say."""
    layers: dict[str, int]
    """Layers the engine found in each precision; empty where it cannot tell."""
    note: str
    """What is unusual in how the engine runs."""
    made_utc: str

    @property
    def headroom(self) -> float | None:
        """How many times the inner values could grow before half precision overflows."""
        return LARGEST_HALF / self.activation if self.activation else None

    def id(self) -> str:
        """sha256 of its canonical JSON; part of the file, and of each row that it vouches for."""
        return _hash(self.model_dump(mode="json"))


def certify(engine: Engine, package: ModelPackage) -> Certificate:
    """Hold the engine against the golden tiles; return its certificate, made now if there is none.

    Runs at each load. Of two first loads at once both return the certificate that was written first.
    Raises CertificateError when the engine is over a limit, and its kind ChangedCertificate when the
    certificate on the disk was changed; each message names both values and the mending command.
    """
    _refuse_unsafe_half(engine.info, package)
    golden = package.golden()
    parity = measure(engine, package, golden)
    path = certificate_path(engine, package)
    refuse_over_limit(engine.info, parity)
    kept = _read(path)
    if kept is not None:
        _refuse_other_key(kept, engine, package, path)
        return kept
    certificate = Certificate(
        **_key(engine, package),
        golden_tiles=len(golden.tiles),
        parity=parity,
        limits=LIMITS[engine.info.precision],
        activation=package.largest_activation,
        layers=dict(engine.info.layers),
        made_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    first = _keep(path, certificate)
    if first is not certificate:
        _refuse_other_key(first, engine, package, path)
        return first
    _LOG.info(
        "Certificate %s made: %s %s %s on %s, tile %dx%d; largest difference %.4f, mask equal %.4f %%,"
        " %d of the %d defects that the trained network marks on the golden tiles kept.",
        certificate.id()[:12], certificate.engine, certificate.engine_version, certificate.precision,
        certificate.device, *certificate.tile, parity.max_difference, 100 * parity.mask_equal,
        parity.defects - parity.lost, parity.defects,
    )  # fmt: skip
    return certificate


def certificate_path(engine: Engine, package: ModelPackage) -> Path:
    """Where the certificate of this package, engine, version, precision, tile and device lies."""
    key = json.dumps(_key(engine, package), sort_keys=True)
    name = f"{engine.info.name}-{engine.info.precision}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    return _folder(package) / name


def kept_certificates(package: ModelPackage) -> list[Certificate | ChangedCertificate]:
    """This machine's certificates of the package, newest first; one that was changed is its own error."""
    found: list[Certificate | ChangedCertificate] = []
    for path in sorted(_folder(package).glob("*.json")):
        try:
            certificate = _read(path)
        except ChangedCertificate as error:
            found.append(error)
            continue
        if certificate is not None:
            found.append(certificate)
    return sorted(found, key=lambda one: one.made_utc if isinstance(one, Certificate) else "", reverse=True)


def _folder(package: ModelPackage) -> Path:
    return cache_folder() / "certificates" / package.id[:16]


def _key(engine: Engine, package: ModelPackage) -> dict[str, str | Sequence[int]]:
    info = engine.info
    return {
        "package": package.id,
        "engine": info.name,
        "engine_version": info.version,
        "precision": info.precision,
        "tile": info.tile,
        "device": info.device,
        "note": info.note,
    }


def _refuse_unsafe_half(info: EngineInfo, package: ModelPackage) -> None:
    """Half precision overflows unseen: OpenVINO and ONNX Runtime compute it in float32 on a CPU, and a
    GPU's infinity may end as a plausible probability. So the exporter's measurement has to vouch."""
    what = f"{info.name} in {info.precision} on {info.device}"
    if info.layers and not info.layers.get(info.precision):
        raise CertificateError(
            f"{what} does not run what it says: its layers are in {dict(info.layers)}; {_again(info)}."
        )
    if info.precision != "fp16":
        return
    activation, limit = package.largest_activation, LARGEST_HALF / HALF_HEADROOM
    remedy = f"export the model again with `trainer export`, or {_other_way(info)}"
    if activation is None:
        raise CertificateError(
            f"{what} is not safe: the package does not say how large its inner values become; {remedy}."
        )
    if not activation <= limit:  # false for NaN as well
        raise CertificateError(
            f"{what} is not safe: inner values reach {shown(activation)} on the golden tiles, the limit is"
            f" {limit:.0f} ({HALF_HEADROOM:.0f} times below the largest half); {remedy}."
        )


def _again(info: EngineInfo) -> str:
    """The command that makes this engine anew; what is not compiled ahead is asked what it can run."""
    if info.name == "tensorrt":
        return "compile it again with `inspector models compile`"
    return 'set model.precision = "auto" in line.toml'


def _other_way(info: EngineInfo) -> str:
    """What serves in f32 instead: TensorRT's engines are fp16 and nothing else, int8 packages int8."""
    if info.precision == "int8":
        return "serve the package in floating point that it was made from"
    setting = 'model.engine = "openvino"' if info.name == "tensorrt" else 'model.precision = "f32"'
    return f"set {setting} in line.toml"


def refuse_over_limit(info: EngineInfo, parity: Parity) -> None:
    """Raises OverLimit, naming both values and what mends it, where an engine differs more than it may."""
    limits = LIMITS[info.precision]
    if info.name == "tensorrt":
        remedy = f"{_again(info)}, or {_other_way(info)}"
    elif info.precision == "f32":
        remedy = (
            "export the model again with `trainer export`, or look for a faulty machine with"
            " `inspector doctor`"
        )
    else:
        remedy = _other_way(info)
    what = f"{info.name} in {info.precision} on {info.device}"
    if (over := _over_limit(limits, parity)) is not None:
        words, short = over
        raise OverLimit(f"{what} is not the trained model: {words}; {remedy}.", short)


def _over_limit(limits: Limits, parity: Parity) -> tuple[str, str] | None:
    """What is over a limit, as a sentence and in a few words."""
    if parity.max_difference > limits.max_difference:
        moved, most = f"{parity.max_difference:.4f}", f"{limits.max_difference:.4f}"
        return (
            f"a golden probability differs by {moved}, the limit is {most}",
            f"moved a golden probability by {moved}, limit {most}",
        )
    if parity.mask_equal < limits.mask_equal:
        equal, least = f"{100 * parity.mask_equal:.3f} %", f"{100 * limits.mask_equal:.2f} %"
        return (
            f"{equal} of the golden mask pixels are equal, the limit is {least}",
            f"kept {equal} of the golden mask pixels, limit {least}",
        )
    if parity.lost:
        return (
            f"it finds {parity.defects - parity.lost} of {parity.defects} golden defects, none may be lost",
            f"lost {parity.lost} of {parity.defects} golden defects",
        )
    return None


def _read(path: Path) -> Certificate | None:
    """The certificate in this file, or None if there is none or it is of another format.

    Refuses one that was changed, whatever its format.
    """
    try:
        fields = json.loads(path.read_bytes())
        said = fields.pop("id")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(path, error) from error
    if (found := _hash(fields)) != said:
        raise ChangedCertificate(
            f"The certificate {path} was changed: it says {str(said)[:12]} and is {found[:12]};"
            f" remove it with `rm '{path}'` and it is made again."
        )
    if fields.get("format", 1) != FORMAT:
        _LOG.info("The certificate %s has format %s; it is made again.", path, fields.get("format", 1))
        return None
    try:
        return Certificate.model_validate(fields)
    except ValidationError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ChangedCertificate:
    return ChangedCertificate(
        f"The certificate {path} cannot be read ({type(error).__name__}); remove it with `rm '{path}'`"
        " and it is made again."
    )


def _hash(fields: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON: sorted keys, no spaces."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _refuse_other_key(kept: Certificate, engine: Engine, package: ModelPackage, path: Path) -> None:
    for field, mine in _key(engine, package).items():
        theirs = getattr(kept, field)
        if theirs != mine:
            raise ChangedCertificate(
                f"The certificate {path} is for {field} {theirs}, this is {mine}; remove it with"
                f" `rm '{path}'` and it is made again."
            )
    if kept.limits != LIMITS[kept.precision]:
        raise ChangedCertificate(
            f"The certificate {path} was made for limits {kept.limits}, they are {LIMITS[kept.precision]};"
            f" remove it with `rm '{path}'` and it is made again."
        )


def _keep(path: Path, certificate: Certificate) -> Certificate:
    """Write it whole, or return the one that another process wrote meanwhile: rows may name that already.

    A cache that cannot be written is said aloud; the next load measures again.
    """
    text = json.dumps({**certificate.model_dump(mode="json"), "id": certificate.id()}, indent=2)
    try:
        with only_writer(path.parent):
            if (other := _read(path)) is not None:
                return other
            write_whole(path, f"{text}\n".encode())
    except OSError as error:
        _LOG.warning(
            "The certificate cannot be kept in %s (%s); it is made again at each load."
            " Set INSPECTION_CACHE to a folder that can be written.", path.parent, error.strerror,
        )  # fmt: skip
    return certificate
