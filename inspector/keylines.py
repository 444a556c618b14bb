"""A TOML file that a user wrote, and where each of its keys stands, so that an error can name the line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from inspector.errors import ConfigError

KeyPath = tuple[str | int, ...]

_QUOTED = re.compile(r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL)
_KEY = r'(?:[A-Za-z0-9_-]+|"[^"]*"|\'[^\']*\')'
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*\]\]?")
_ASSIGN = re.compile(rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*=")


def read_toml(path: Path, remedy: str) -> tuple[str, dict[str, Any]]:
    """The text of the file and what it says.

    remedy: ends the sentence of the ConfigError that is raised for a file that is missing or no
    text; for one that is not TOML it names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"The config {path} cannot be read ({reason}); {remedy}") from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}; mend that line.") from error


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line number (from 1) of every table and key that starts a line of a valid TOML text.

    Paths are those of the parsed document, with indices for arrays of tables. Keys inside
    inline tables and arrays are not listed: take the line of their nearest listed parent.
    """
    lines: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    depth = 0
    # Not splitlines(): TOML ends a line with a line feed alone.
    blanked = _without_values(text).split("\n")
    for number, (line, bare) in enumerate(zip(text.split("\n"), blanked, strict=True), start=1):
        if depth == 0 and bare.strip():
            header, assign = _HEADER.match(line), _ASSIGN.match(line)
            # In the blanked text only brackets and equals signs outside strings are left.
            if header and bare[header.start(1)] == "[":
                table = _indexed(_split(header[2]), counts, header[1] == "[[")
                lines.setdefault(table, number)
                if len(table) > 1:
                    lines.setdefault(table[:-1], number)
                continue
            if assign and bare[assign.end() - 1] == "=":
                lines.setdefault(table + _split(assign[1]), number)
        depth += bare.count("[") + bare.count("{") - bare.count("]") - bare.count("}")
    return lines


def line_of(path: KeyPath, lines: dict[KeyPath, int]) -> int:
    """Line of the key or of its nearest parent that has one; 1 for the document."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _indexed(names: KeyPath, counts: dict[KeyPath, int], opens: bool) -> KeyPath:
    """The path of a header, with the index of the newest element of each array of tables it goes through."""
    path: KeyPath = ()
    for position, name in enumerate(names):
        path += (name,)
        if opens and position == len(names) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path += (counts[path],)
    return path


def _split(dotted: str) -> KeyPath:
    """The names of a dotted key, quotes taken off as TOML does."""
    inner: object = tomllib.loads(f"{dotted} = 0")
    names: list[str] = []
    while isinstance(inner, dict):
        name = next(iter(inner))
        names.append(name)
        inner = inner[name]
    return tuple(names)


def _without_values(text: str) -> str:
    """The text with strings and comments blanked and its lines kept, so that brackets can be counted."""
    out, position = [], 0
    pattern = re.compile(f"{_QUOTED.pattern}|#[^\n]*", re.DOTALL)
    for match in pattern.finditer(text):
        out.append(text[position : match.start()])
        out.append(re.sub(r"[^\n]", "x" if match[0][0] != "#" else " ", match[0]))
        position = match.end()
    return "".join([*out, text[position:]])
