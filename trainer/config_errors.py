"""What is wrong with a setting of a training, in one sentence with what to write instead."""

from __future__ import annotations

import json
from typing import TypeAlias

from pydantic_core import ErrorDetails

Place: TypeAlias = tuple[int | str, ...]
"""Names of tables and key, and the place in an array."""

_PAIR = "should be two numbers, as in [0.9, 1.1]"
_WORDS = {
    "bool_type": "should be true or false",
    "missing": _PAIR,
    "too_long": _PAIR,
    "model_type": "is a table: write its keys below a line [augment], or give the option"
    " --augmentation strong",
}
"""Where pydantic speaks of Python's types, by its kind of error."""


def key_of(place: Place) -> str:
    """("augment", "scale", 1) -> `augment.scale`: an array is named as a whole."""
    return ".".join(part for part in place if isinstance(part, str))


def sentence(start: str, error: ErrorDetails) -> str:
    """Names the value and what it should be. start: the key, and where it stands."""
    value = "" if isinstance(error["input"], dict) else f" = {json.dumps(error['input'], default=str)}"
    return f"{start}{value} cannot be used: {_should(error)}."


def _should(error: ErrorDetails) -> str:
    if error["type"] == "tuple_type":
        return 'should be a list, as in ["scratch"]' if key_of(error["loc"]) == "classes" else _PAIR
    words = error["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return _WORDS.get(error["type"], words[:1].lower() + words[1:])
