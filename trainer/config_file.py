"""Settings of `trainer fit` from a TOML file, such as the config.toml that every run keeps.

trainer fit DATA --out RUN --config runs/earlier/config.toml
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from inspector.errors import ConfigError
from inspector.keylines import KeyPath, key_lines, line_of, read_toml
from trainer.config import AugmentConfig, FitConfig
from trainer.config_errors import key_of, sentence

OPTIONS = ("augmentation", "out", "init", "resume", "previous", "device", "tensorboard")
"""Options of `trainer fit` that are no settings, in their own words."""


def read_settings(path: Path) -> dict[str, Any]:
    """The fields of FitConfig that the file gives, those of [augment] as a dict.

    Raises ConfigError with file and line when the file is missing or not TOML, and for all unknown
    keys (each with the nearest valid one) and values that cannot be used, a line for each.
    """
    text, fields = read_toml(path, "check the path. Every run keeps one, RUN/config.toml.")
    try:
        config = FitConfig.model_validate(fields)
    except ValidationError as error:
        lines = key_lines(text)
        wrong = sorted((line_of(one["loc"], lines), number, one) for number, one in enumerate(error.errors()))
        raise ConfigError("\n".join(_told(path, line, one) for line, _, one in wrong)) from error
    settings = {name: getattr(config, name) for name in config.model_fields_set}
    if "augment" in settings:
        settings["augment"] = config.augment.model_dump(exclude_unset=True)
    return settings


def _told(path: Path, line: int, error: ErrorDetails) -> str:
    where = error["loc"]
    start = f"{path}, line {line}: {key_of(where)}"
    if error["type"] == "extra_forbidden":
        return f"{start} is no key that is known here{_instead(where)}."
    return sentence(start, error)


def _instead(where: KeyPath) -> str:
    """What the user may have meant by an unknown key."""
    unknown, in_augment = str(where[-1]), len(where) > 1
    own, other = (AugmentConfig, FitConfig) if in_augment else (FitConfig, AugmentConfig)
    if unknown in OPTIONS:
        return f"; it is an option of the command line, --{unknown}"
    if close := get_close_matches(unknown, _keys(own), n=1, cutoff=0.6):
        return f"; the nearest valid one is {close[0]}"
    if unknown in _keys(other):
        return "; it belongs above [augment]" if in_augment else "; it belongs under [augment]"
    return f"; valid keys are {', '.join(_keys(own))}"


def _keys(model: type[BaseModel]) -> list[str]:
    return list(model.model_fields)
