"""Engines that were compiled on this machine: their records, where they lie, and when they must not serve.

Beside each plan, the compiler's own file, lies a record that says what it was compiled from, by
what, and where. A plan is handed to TensorRT only after its record agreed with this package, this
TensorRT and this GPU and its bytes are those that were written. `deploy` writes both.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inspector.engine.cache import cache_folder
from inspector.engine.cuda import Gpu
from inspector.errors import (
    CompiledEngineError,
    EngineCorrupt,
    EngineGpuMismatch,
    EngineModelMismatch,
    EngineNotCompiled,
    EngineVersionMismatch,
)
from inspector.package import ONNX, ModelPackage
from inspector.tiling import TilePlan, plan_tiles

_LOG = logging.getLogger(__name__)

FORMAT = 1
IMAGE, PROB, CHECK = "image", "prob", "check"
"""Tensors of a compiled engine: pictures, probabilities, and the mean of each tile's softmax. That is 1
over the number of classes unless a value is not finite; uint8 probabilities hide it, their NaN is 0."""


class Frozen(BaseModel):
    """What all parts of a record have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class IoTensor(Frozen):
    """One input or output of the compiled network."""

    name: str
    mode: str
    """INPUT or OUTPUT."""
    dtype: str
    shape: tuple[int, ...]
    """-1 is the batch."""


class Batch(Frozen):
    """How many tiles the engine takes at once."""

    least: int = Field(default=1, ge=1)
    usual: int = Field(default=1, ge=1)
    """What it was tuned for."""
    most: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> Batch:
        # TensorRT accepts a least batch of 0, and tells of another wrong order only in its log.
        if not self.least <= self.usual <= self.most:
            raise ValueError(f"a batch of {self.least} to {self.most} cannot usually be {self.usual}")
        return self


class BuilderOptions(Frozen):
    """What was asked of the builder beside the network."""

    workspace_bytes: int
    optimization_level: int


class CompiledEngine(Frozen):
    """The record of one plan."""

    format: int = FORMAT
    package: str
    """Package id."""
    onnx_sha256: str
    engine: str
    """The name in line.toml: tensorrt."""
    module: str
    version: str
    """Of TensorRT, in full."""
    precision: str
    gpu: str
    compute_capability: str
    driver: str
    """The newest CUDA that the driver served; for information, plans outlive it."""
    tile: tuple[int, int]
    batch: Batch
    tensors: tuple[IoTensor, ...]
    layers: dict[str, dict[str, int]]
    """Layer type -> output dtypes -> how many: what the engine has to compute in."""
    options: BuilderOptions
    build_s: float
    built_utc: str
    plan: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.plan$")
    """File name, beside the record."""
    plan_sha256: str
    plan_bytes: int

    def id(self) -> str:
        """sha256 of its canonical JSON; part of the file, so that no changed record is believed."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def text(self) -> str:
        """The record as it is written."""
        return json.dumps({**self.model_dump(mode="json"), "id": self.id()}, indent=2) + "\n"

    def fits(self, version: str | None, gpu: Gpu | None) -> bool:
        """Whether this TensorRT compiled it on such a GPU, as far as these are known."""
        return version in (None, self.version) and (
            gpu is None or (gpu.name, gpu.compute_capability) == (self.gpu, self.compute_capability)
        )

    def key(self) -> str:
        """Its place in the store: all that a further compilation would have to share to replace it."""
        fields = (
            self.package, self.onnx_sha256, self.engine, self.version, self.precision, self.gpu,
            self.compute_capability, self.tile, self.batch.model_dump(), self.options.optimization_level,
        )  # fmt: skip
        name = hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]
        return f"{self.engine}-{self.precision}-{self.tile[0]}x{self.tile[1]}-{name}"


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and where it lies."""

    path: Path
    record: CompiledEngine

    def plan_bytes(self) -> bytes:
        """The plan, read once and held against its record. Raises EngineCorrupt."""
        path = self.path.with_name(self.record.plan)
        again = f"compile it again with `{compile_command(None, self.record.tile)}`"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise EngineCorrupt(
                f"The compiled engine {path} cannot be read ({error.strerror}); {again}."
            ) from error
        if len(data) != self.record.plan_bytes:
            raise EngineCorrupt(
                f"The compiled engine {path} has {len(data)} bytes and was written with"
                f" {self.record.plan_bytes}; {again}."
            )
        found = hashlib.sha256(data).hexdigest()
        if found != self.record.plan_sha256:
            raise EngineCorrupt(
                f"The compiled engine {path} was changed: sha256 {found[:12]} instead of"
                f" {self.record.plan_sha256[:12]}; {again}."
            )
        return data


def engines_folder(package: ModelPackage) -> Path:
    """Where the engines of this package lie on this machine; may not exist yet."""
    return cache_folder() / "engines" / package.id[:16]


def compile_command(package: ModelPackage | None, tile: tuple[int, int] | None = None) -> str:
    """What to type to compile the package, None for any, for this tile, None for the usual one."""
    path = package.path if package is not None else "PACKAGE"
    return f"inspector models compile {path}" + (f" --tile {tile[0]}x{tile[1]}" if tile else "")


def contract(package: ModelPackage, tile: tuple[int, int]) -> tuple[IoTensor, ...]:
    """The tensors that an engine of this package and tile has, in the order of their names.

    Raises ShapeMismatch for a tile that the network cannot take.
    """
    out = tuple(package.geometry.output(size) for size in tile)
    return (
        IoTensor(name=CHECK, mode="OUTPUT", dtype="FLOAT", shape=(-1,)),
        IoTensor(name=IMAGE, mode="INPUT", dtype="UINT8", shape=(-1, *tile, package.manifest.channels)),
        IoTensor(name=PROB, mode="OUTPUT", dtype="UINT8", shape=(-1, *out, len(package.classes))),
    )


def stored_engines(package: ModelPackage) -> list[Stored | EngineCorrupt]:
    """Every record of this package, newest first; a record that cannot be used is its own error."""
    try:
        files = sorted(engines_folder(package).glob("*.json"))
    except OSError:
        return []
    found = [_read(file) for file in files]
    good = [one for one in found if isinstance(one, Stored)]
    good.sort(key=lambda one: one.record.built_utc, reverse=True)
    return [*good, *(one for one in found if isinstance(one, EngineCorrupt))]


def plan_for_compiled(
    package: ModelPackage, frame: tuple[int, int], version: str | None = None, gpu: Gpu | None = None
) -> TilePlan:
    """The cheapest plan for this frame among the tiles that engines were compiled for.

    version, gpu: TensorRT and the GPU that would serve, None where that is not known. What was compiled
    by another or for another counts only where nothing else is left, for the opening to refuse by name.
    Raises EngineNotCompiled, or EngineCorrupt where only damaged records are left.
    """
    records = [one.record for one in _readable(package, None)]
    fit = [one for one in records if one.fits(version, gpu)]
    geometry = package.geometry
    tiles = sorted({one.tile for one in fit or records})
    plans = [plan_tiles(frame, (geometry.output(h), geometry.output(w)), geometry) for h, w in tiles]
    return min(plans, key=lambda plan: plan.input_px)


def find_compiled(package: ModelPackage, tile: tuple[int, int], version: str, gpu: Gpu) -> Stored:
    """The newest engine for this package and tile that agrees with this TensorRT and this GPU.

    Raises EngineNotCompiled where there is none for the tile, else what the newest one is refused
    for: EngineModelMismatch, EngineVersionMismatch, EngineGpuMismatch, EngineCorrupt.
    """
    first: CompiledEngineError | None = None
    for one in _readable(package, tile):
        try:
            verify(one.record, package, version, gpu)
        except CompiledEngineError as error:
            first = first or error
            continue
        return one
    assert first is not None  # _readable gives at least one
    raise first


def verify(record: CompiledEngine, package: ModelPackage, version: str, gpu: Gpu) -> None:
    """Raises the kind of CompiledEngineError that says why this engine may not serve here."""
    again = f"compile it again with `{compile_command(package, record.tile)}`"
    onnx = package.manifest.files[ONNX]
    if (record.package, record.onnx_sha256) != (package.id, onnx):
        raise EngineModelMismatch(
            f"The engine {record.plan} was compiled from package {record.package[:12]} with graph"
            f" {record.onnx_sha256[:12]}, this is package {package.id[:12]} with {onnx[:12]}; {again}."
        )
    if record.version != version:
        raise EngineVersionMismatch(
            f"The engine {record.plan} was compiled by TensorRT {record.version}, here is {version}; {again}."
        )
    if (record.gpu, record.compute_capability) != (gpu.name, gpu.compute_capability):
        raise EngineGpuMismatch(
            f"The engine {record.plan} was compiled on {record.gpu} (compute capability"
            f" {record.compute_capability}), here is {gpu.name} ({gpu.compute_capability}); {again}."
        )
    if record.driver != gpu.driver:
        _LOG.info(
            "The engine was compiled under a driver for CUDA %s, here is %s.", record.driver, gpu.driver
        )


def _readable(package: ModelPackage, tile: tuple[int, int] | None) -> list[Stored]:
    everything = stored_engines(package)
    found = [one for one in everything if isinstance(one, Stored) and tile in (None, one.record.tile)]
    if found:
        return found
    for one in everything:
        if isinstance(one, EngineCorrupt):
            raise one
    size = f" for tiles of {tile[0]}x{tile[1]}" if tile else ""
    raise EngineNotCompiled(
        f"No TensorRT engine of {package.path}{size} was compiled on this machine; compile it with"
        f" `{compile_command(package, tile)}`."
    )


def _read(path: Path) -> Stored | EngineCorrupt:
    try:
        fields = json.loads(path.read_bytes())
        said = fields.pop("id")
        record = CompiledEngine.model_validate(fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        return EngineCorrupt(
            f"The record {path} cannot be read ({type(error).__name__}); remove it with `rm '{path}'` and"
            f" compile again with `{compile_command(None)}`."
        )
    if record.id() != said:
        return EngineCorrupt(
            f"The record {path} was changed: it says {str(said)[:12]} and is {record.id()[:12]}; remove it"
            f" with `rm '{path}'` and compile again with `{compile_command(None, record.tile)}`."
        )
    return Stored(path, record)
