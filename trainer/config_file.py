"""Settings of `trainer fit` from a TOML file, such as the config.toml that every run keeps.

trainer fit DATA --out RUN --config runs/earlier/config.toml
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from inspector.errors import ConfigError
from inspector.keylines import key_lines, line_of, read_toml
from trainer.config import AugmentConfig, FitConfig


def read_settings(path: Path) -> dict[str, Any]:
    """The fields of FitConfig that the file gives, those of [augment] as a dict.

    Raises ConfigError, one sentence with file and line, when the file is missing or not TOML, for
    an unknown key (with the nearest valid one) and for a value that cannot be used.
    """
    text, fields = read_toml(path, "check the path. Every run keeps one, RUN/config.toml.")
    try:
        config = FitConfig.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(_sentence(path, text, error.errors()[0])) from error
    settings = {name: getattr(config, name) for name in config.model_fields_set}
    if "augment" in settings:
        settings["augment"] = config.augment.model_dump(exclude_unset=True)
    return settings


def _sentence(path: Path, text: str, error: ErrorDetails) -> str:
    where = error["loc"]
    key = ".".join(str(part) for part in where)
    start = f"{path}, line {line_of(where, key_lines(text))}: {key}"
    if error["type"] == "extra_forbidden":
        return f"{start} is no key that is known here{_instead(str(where[-1]), len(where) > 1)}."
    value = "" if isinstance(error["input"], dict | list) else f" = {json.dumps(error['input'], default=str)}"
    words = error["msg"].removeprefix("Input ")
    return f"{start}{value} cannot be used: {words[:1].lower()}{words[1:]}."


def _instead(unknown: str, in_augment: bool) -> str:
    """What the user may have meant by an unknown key."""
    own, other = (AugmentConfig, FitConfig) if in_augment else (FitConfig, AugmentConfig)
    if close := get_close_matches(unknown, _keys(own), n=1, cutoff=0.6):
        return f"; the nearest valid one is {close[0]}"
    if unknown in _keys(other):
        return "; it belongs above [augment]" if in_augment else "; it belongs under [augment]"
    return f"; valid keys are {', '.join(_keys(own))}"


def _keys(model: type[BaseModel]) -> list[str]:
    return list(model.model_fields)
