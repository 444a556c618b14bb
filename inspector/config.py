"""The line config: one frozen object, read from line.toml once at the edge and handed down.

Unknown keys are errors that name key, file, line and the nearest valid key. Units stand in names.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from inspector.errors import ConfigError
from inspector.keylines import KeyPath, key_lines, line_of, read_toml
from inspector.types import Scale
from inspector.units import remedy
from inspector.verdict import Rule
from inspector.zones import Area

Threshold = Annotated[float, Field(gt=0, le=1)]
EngineName = Literal["auto", "openvino", "tensorrt", "torch", "fake"]
PrecisionName = Literal["auto", "f32", "bf16", "fp16", "int8"]
Millimetres = Annotated[float, Field(gt=0, le=1000)]
Corner = tuple[Annotated[float, Field(ge=0, le=65536)], Annotated[float, Field(ge=0, le=65536)]]

_TABLE_OR_ARRAY = {
    "model_type": "must be a table of keys",
    "dict_type": "must be a table of keys",
    "tuple_type": "must be an array [...]",
    "frozen_set_type": "must be an array [...]",
}


class Section(BaseModel):
    """What every table of line.toml has in common: frozen, and no key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CameraConfig(Section):
    source: str = Field(default="0", min_length=1)
    """Index, device path, video file, folder, URL or `sim:`."""
    id: str | None = Field(default=None, min_length=1)
    """Name in the ledger; None: the camera's own."""
    read_timeout_s: float = Field(default=2.0, gt=0)
    policy: Literal["newest", "queue"] = "newest"
    """Live cameras: an unread frame is replaced, or up to `queue` wait. Files never drop."""
    queue: int = Field(default=8, ge=1, le=1024)
    shift_16bit: int = Field(default=8, ge=0, le=8)
    """Low bits that a 16-bit picture drops."""
    black_level: int = Field(default=8, ge=0, le=255)
    """A frame is black when at most 1 in 10,000 of its pixels is brighter."""
    frozen_frames: int = Field(default=5, ge=0)
    """So many equal frames in a row of a live camera are frozen; 0 = never, which the line warns of."""
    stale_ms: float | None = Field(default=None, gt=0)
    """Oldest age on reaching the engine; None: no limit."""


class ModelConfig(Section):
    package: Path | None = None
    engine: EngineName = "auto"
    precision: PrecisionName = "auto"
    memory_mb: int = Field(default=4096, ge=64)
    """Limit for the resident memory of the whole station, in MB of 10^6 bytes."""
    tile: str = "auto"
    """`auto`, `whole`, or an input size HxW."""
    threads: int = Field(default=0, ge=0)
    """0 = all."""
    hint: Literal["latency", "throughput"] = "latency"
    """On a CPU: each tile on all threads, or several tiles at once on a share of the threads each."""
    cuda_graphs: bool = False
    """On a GPU: replay CUDA graphs, after a test at each start that they change nothing."""

    @field_validator("tile")
    @classmethod
    def _is_a_size(cls, tile: str) -> str:
        if not re.fullmatch(r"auto|whole|[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", tile):
            raise ValueError("must be auto, whole, or height x width such as 572x572")
        return tile


class Zone(Section):
    name: str = Field(min_length=1)
    kind: Literal["include", "exclude"] = "include"
    polygon_px: tuple[Corner, ...] = Field(min_length=3)
    """(y, x) corners in pixels of the full frame."""


class Recipe(Section):
    """What the line decides. Its text is kept in the ledger, so that a judgement can be repeated."""

    name: str = Field(default="default", min_length=1)
    part: str | None = None
    """What is made."""
    lot: str | None = None
    """From which batch; changes without changing the recipe, so it is not in its text."""
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    """Class -> probability; classes left out take the package's."""
    rules: tuple[Rule, ...] = ()
    zones: tuple[Zone, ...] = ()
    join_gap_px: int = Field(default=0, ge=0, le=64)
    mm_per_px: tuple[Millimetres, Millimetres] | None = None
    """(y, x) under the camera."""
    min_coverage: float = Field(default=1.0, ge=0, le=1)
    deadline_ms: float | None = Field(default=None, gt=0)
    """Longest time from grab to verdict; None: no limit."""

    @model_validator(mode="after")
    def _rules_can_be_applied(self) -> Recipe:
        names = [zone.name for zone in self.zones]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise _refused(("zones", i, "name"), f"two zones are called {name!r}; rename one")
        for i, rule in enumerate(self.rules):
            if rule.unit.startswith("mm") and self.mm_per_px is None:
                words = f"a limit in {rule.unit} needs the scale; set recipe.mm_per_px = [y, x] or use px"
                raise _refused(("rules", i, "measure"), words)
            for zone in rule.zones:
                if zone not in names:
                    raise _refused(
                        ("rules", i, "zones"), f"no zone is called {zone!r}{_nearest(zone, names)}"
                    )
        return self

    @property
    def scale(self) -> Scale | None:
        return None if self.mm_per_px is None else Scale(*self.mm_per_px)

    @property
    def areas(self) -> tuple[Area, ...]:
        return tuple(Area(zone.name, zone.polygon_px, zone.kind == "exclude") for zone in self.zones)

    def text(self) -> str:
        """The canonical JSON text: everything that decides a verdict, sorted, lot left out."""
        fields = self.model_dump(mode="json", by_alias=True, exclude={"lot"})
        return json.dumps(fields, sort_keys=True, indent=1, ensure_ascii=False)

    def hash(self) -> str:
        """sha256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text().encode()).hexdigest()


class RecordingConfig(Section):
    db: str = Field(default="sqlite:///ledger.db", min_length=1)
    """SQLAlchemy URL of the ledger."""
    folder: Path = Path("evidence")
    """Where pictures lie; a relative path counts from the ledger's folder."""
    keep: frozenset[Literal["reject", "review", "uninspected", "pass"]] = frozenset({"reject", "review"})
    """Verdicts whose pictures are kept."""
    pass_every: int = Field(default=0, ge=0)
    """Also each n-th PASS; 0 = none."""
    max_gb: float | None = Field(default=None, gt=0)

    @field_validator("db")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        if not re.match(r"^[a-z][a-z0-9+]*://", url):
            raise ValueError("must be a URL such as sqlite:///ledger.db")
        return url


class OutputConfig(Section):
    kind: Literal["jsonl"] = "jsonl"
    path: Path


class LineConfig(Section):
    """Everything that `inspector run` reads; LineConfig() has all defaults."""

    camera: CameraConfig = CameraConfig()
    model: ModelConfig = ModelConfig()
    recipe: Recipe = Recipe()
    recording: RecordingConfig = RecordingConfig()
    outputs: tuple[OutputConfig, ...] = ()


def load_config(path: Path) -> LineConfig:
    """The config in this file.

    Raises ConfigError, one sentence with file and line, when the file is missing or not TOML,
    for an unknown key (with the nearest valid one), a value of the wrong type or out of its
    range, a limit in mm without a scale, and a rule that names no zone.
    """
    text, fields = read_toml(path, "check the path, or write one with `inspector init`.")
    try:
        return LineConfig.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(_sentence(path, text, error.errors()[0])) from error


def config_template() -> str:
    """The commented line.toml of `inspector init`: every key, its default and an example."""
    return resources.files("inspector").joinpath("line.toml").read_text(encoding="utf-8")


def _sentence(path: Path, text: str, error: ErrorDetails) -> str:
    where = error["loc"] + tuple(error.get("ctx", {}).get("at", ()))
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
    start = f"{path}, line {line_of(where, key_lines(text))}: {key or 'the config'}"
    if error["type"] == "extra_forbidden":
        return f"{start} is no key that is known here{_instead(where)}."
    if error["type"] == "missing":
        return f"{start} is missing; add it."
    words = _TABLE_OR_ARRAY.get(error["type"], re.sub(r"^(Value error, |Input )", "", error["msg"]))
    expected = re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))
    given = error["input"]
    hint = _nearest(given, expected) if isinstance(given, str) else ""
    if error["type"].startswith("float_") or error["type"].startswith("int_"):
        hint = f"; {found}" if isinstance(given, str) and (found := remedy(_last_key(where), given)) else hint
    value = "" if isinstance(given, dict | list | BaseModel) else f" = {json.dumps(given, default=str)}"
    return f"{start}{value} cannot be used: {words[:1].lower()}{words[1:]}{hint}."


def _last_key(where: KeyPath) -> str:
    """The name that a value stands under, in an array too."""
    return next((part for part in reversed(where) if isinstance(part, str)), "")


def _instead(where: KeyPath) -> str:
    """What the user may have meant by an unknown key."""
    unknown, model = str(where[-1]), _model_at(where[:-1])
    valid = list(_keys(model))
    if hint := _nearest(unknown, valid):
        return hint
    for name, section in _keys(LineConfig).items():
        found = _model_of(section)
        if found is not None and unknown in _keys(found):
            return f"; it belongs under {name}"
    return f"; valid keys are {', '.join(valid)}"


def _nearest(word: str, valid: list[str]) -> str:
    close = get_close_matches(word, valid, n=1, cutoff=0.6)
    return f"; the nearest valid one is {close[0]}" if close else ""


def _model_at(where: KeyPath) -> type[BaseModel]:
    model: type[BaseModel] = LineConfig
    for part in where:
        if isinstance(part, str):
            model = _model_of(_keys(model)[part]) or model
    return model


def _keys(model: type[BaseModel]) -> dict[str, Any]:
    """Key as written in the file -> its type."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The table that a key holds, or that each element of its array is."""
    return next(_models_in(annotation), None)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _refused(at: KeyPath, words: str) -> PydanticCustomError:
    """An error at a key further down than the table that found it."""
    return PydanticCustomError("refused", "{words}", {"at": at, "words": words})
