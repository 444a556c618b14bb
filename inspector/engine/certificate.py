"""Proof that a compiled model on this machine is the network that was trained.

The golden tiles of the package run through the very engine that will serve, at each load, and
are held against the trained float32 network's probabilities. The first time this is written
down as a certificate, a self-hashed file in the local cache.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from inspector.defects import mask_of, match_defects
from inspector.engine.cache import cache_folder
from inspector.engine.protocol import Engine
from inspector.errors import CertificateError
from inspector.package import Golden, ModelPackage
from inspector.tiling import Geometry
from inspector.types import Image, ProbMap

_LOG = logging.getLogger(__name__)


class ChangedCertificate(CertificateError):
    """What lies on the disk is not what was written for this engine. Another precision does not mend that."""


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


class Parity(BaseModel):
    """What an engine did on the golden tiles, against the trained network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_difference: float
    """Largest difference of a probability, in steps of 1/255 from Round(255 p)."""
    mask_equal: float
    pixels: int
    defects: int
    """Golden defects, of which `lost` were not found by the design's matching rule."""
    lost: int


class Certificate(BaseModel):
    """One engine's parity on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str
    engine: str
    engine_version: str
    precision: str
    tile: tuple[int, int]
    device: str
    golden_tiles: int
    parity: Parity
    limits: Limits
    made_utc: str

    def id(self) -> str:
        """sha256 of its canonical JSON; part of the file, and of each row that it vouches for."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def certify(engine: Engine, package: ModelPackage) -> Certificate:
    """Hold the engine against the golden tiles; return its certificate, made now if there is none.

    Runs at each load. Raises CertificateError when the engine is over a limit, and its kind
    ChangedCertificate when the certificate on the disk was changed; each message names both values
    and the mending command.
    """
    golden = package.golden()
    parity = measure(engine, package, golden)
    path = certificate_path(engine, package)
    _refuse_over_limit(engine, parity)
    kept = _read(path)
    if kept is not None:
        _refuse_other_key(kept, engine, package, path)
        return kept
    certificate = Certificate(
        **_key(engine, package),
        golden_tiles=len(golden.tiles),
        parity=parity,
        limits=LIMITS[engine.info.precision],
        made_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    _write(path, certificate)
    _LOG.info(
        "Certificate %s made: %s %s %s on %s, tile %dx%d; largest difference %.4f, mask equal %.4f %%,"
        " %d of %d golden defects found.",
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


def measure(engine: Engine, package: ModelPackage, golden: Golden) -> Parity:
    """Run the golden tiles through the engine as it serves, and compare pixel by pixel."""
    largest, equal, pixels = 0, 0, 0
    found = total = 0
    for predicted, trained in _golden_runs(engine, package, golden):
        expected = np.round(255 * trained).astype(np.uint8)
        largest = max(largest, int(np.abs(predicted.astype(np.int16) - expected).max()))
        mask, truth = mask_of(predicted, package.thresholds), mask_of(expected, package.thresholds)
        equal += int(np.count_nonzero(mask == truth))
        pixels += truth.size
        for counts in match_defects(truth, None, mask, package.classes).values():
            found += counts.found
            total += counts.total
    return Parity(
        max_difference=largest / 255,
        mask_equal=equal / pixels,
        pixels=pixels,
        defects=total,
        lost=total - found,
    )


def _golden_runs(
    engine: Engine, package: ModelPackage, golden: Golden
) -> Iterator[tuple[ProbMap, NDArray[np.float32]]]:
    """(engine's, trained network's) probabilities of each golden tile.

    The engine serves one tile size. Golden tiles lie side by side on pictures of that size, on
    the pooling grid, where a valid network computes for each the same as alone; of a golden
    tile that is larger, its middle, where the trainer puts the defect.
    """
    geometry, tile = package.geometry, engine.info.tile
    grid, halo = geometry.grid, geometry.halo
    h, w = (min(have, size) for have, size in zip(golden.tiles.shape[1:3], tile, strict=True))
    top, left = (
        _around_middle(have, size, geometry)
        for have, size in zip(golden.tiles.shape[1:3], (h, w), strict=True)
    )
    out_h, out_w = h - 2 * halo, w - 2 * halo
    places = [
        (y, x)
        for y in range(0, tile[0] - h + 1, -(-h // grid) * grid)
        for x in range(0, tile[1] - w + 1, -(-w // grid) * grid)
    ]
    for first in range(0, len(golden.tiles), len(places)):
        batch = range(first, min(first + len(places), len(golden.tiles)))
        sheet = np.zeros((*tile, golden.tiles.shape[3]), np.uint8)
        for n, (y, x) in zip(batch, places, strict=False):
            sheet[y : y + h, x : x + w] = golden.tiles[n, top : top + h, left : left + w]
        probs = _run_one(engine, sheet[..., 0] if sheet.shape[2] == 1 else sheet)
        for n, (y, x) in zip(batch, places, strict=False):
            yield probs[y : y + out_h, x : x + out_w], golden.probs[n, top : top + out_h, left : left + out_w]


def _around_middle(have: int, size: int, geometry: Geometry) -> int:
    """Where a crop of `size` input pixels begins on the grid, its output over the middle of `have`."""
    middle, out = have // 2 - geometry.halo, geometry.output(size)
    wanted = (middle // geometry.grid - out // 2 // geometry.grid) * geometry.grid
    return max(0, min(wanted, have - size))


def _run_one(engine: Engine, tile: Image) -> ProbMap:
    results: list[ProbMap] = []
    engine.run([tile], lambda _, probs: results.append(probs.copy()))
    return results[0]


def _key(engine: Engine, package: ModelPackage) -> dict[str, str | Sequence[int]]:
    info = engine.info
    return {
        "package": package.id,
        "engine": info.name,
        "engine_version": info.version,
        "precision": info.precision,
        "tile": info.tile,
        "device": info.device,
    }


def _refuse_over_limit(engine: Engine, parity: Parity) -> None:
    info, limits = engine.info, LIMITS[engine.info.precision]
    if info.name == "tensorrt":
        remedy = 'compile it again with `inspector models compile`, or set model.engine = "openvino"'
    elif info.precision == "f32":
        remedy = (
            "export the model again with `trainer export`, or look for a faulty machine with"
            " `inspector doctor`"
        )
    else:
        remedy = 'set model.precision = "f32" in line.toml'
    what = f"{info.name} in {info.precision} on {info.device}"
    if parity.max_difference > limits.max_difference:
        raise CertificateError(
            f"{what} is not the trained model: a golden probability differs by {parity.max_difference:.4f},"
            f" the limit is {limits.max_difference:.4f}; {remedy}."
        )
    if parity.mask_equal < limits.mask_equal:
        raise CertificateError(
            f"{what} is not the trained model: {100 * parity.mask_equal:.3f} % of the golden mask pixels are"
            f" equal, the limit is {100 * limits.mask_equal:.2f} %; {remedy}."
        )
    if parity.lost:
        raise CertificateError(
            f"{what} is not the trained model: it finds {parity.defects - parity.lost} of {parity.defects}"
            f" golden defects, none may be lost; {remedy}."
        )


def _read(path: Path) -> Certificate | None:
    """The certificate in this file, or None if there is none. Refuses one that was changed."""
    try:
        fields = json.loads(path.read_bytes())
        said = fields.pop("id")
        certificate = Certificate.model_validate(fields)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise ChangedCertificate(
            f"The certificate {path} cannot be read ({type(error).__name__}); remove it with `rm '{path}'`"
            " and it is made again."
        ) from error
    if certificate.id() != said:
        raise ChangedCertificate(
            f"The certificate {path} was changed: it says {str(said)[:12]} and is {certificate.id()[:12]};"
            f" remove it with `rm '{path}'` and it is made again."
        )
    return certificate


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


def _write(path: Path, certificate: Certificate) -> None:
    """Whole or not at all. A cache that cannot be written is said aloud; the next load measures again."""
    text = json.dumps({**certificate.model_dump(mode="json"), "id": certificate.id()}, indent=2)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        _LOG.warning(
            "The certificate cannot be kept in %s (%s); it is made again at each load."
            " Set INSPECTION_CACHE to a folder that can be written.", path.parent, error.strerror,
        )  # fmt: skip
