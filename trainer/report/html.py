"""Pieces of the page: tables, facts and the confusion matrix as HTML text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any


class Raw(str):
    """Text that is HTML already."""

    __slots__ = ()


def cell(value: str) -> str:
    """One cell of a table; a strip chart gets its own class."""
    if isinstance(value, Raw):
        return f'<td class="strip">{value}</td>'
    return f"<td>{escape(value)}</td>"


def rows_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], marked: Mapping[int, str] | None = None
) -> str:
    """A table; the first column is text, all others stand right. marked: row number -> its CSS class."""
    classes = marked or {}
    lines = [f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>"]
    for n, row in enumerate(rows):
        kind = f' class="{classes[n]}"' if n in classes else ""
        lines.append(f"<tr{kind}>{''.join(cell(value) for value in row)}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def facts(rows: Mapping[str, str]) -> str:
    """Names with values."""
    lines = (f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows.items())
    return f'<table class="facts">{"".join(lines)}</table>'


def matrix(confusion: Mapping[str, Any]) -> str:
    """Pixels by true (row) and predicted (column) class; shade and number are shares of the row."""
    names, pixels = confusion["classes"], confusion["px"]
    head = "".join(f"<th>said {escape(name)}</th>" for name in names)
    lines = [f"<tr><th></th>{head}</tr>"]
    for name, row in zip(names, pixels, strict=True):
        total = sum(row)
        cells = "".join(_shaded(count, total) for count in row)
        lines.append(f"<tr><th>true {escape(name)}</th>{cells}</tr>")
    return f'<div class="wide"><table class="matrix">{"".join(lines)}</table></div>'


def _shaded(count: int, total: int) -> str:
    if not total:
        return "<td>–</td>"
    part = count / total
    # A square root, so that a few per cent can be seen at all.
    ink, shade = ("#fff" if part > 0.35 else "#1d2430"), part**0.5
    rgb = [round(255 + (end - 255) * shade) for end in (0, 90, 150)]
    return (
        f'<td style="background: rgb({rgb[0]}, {rgb[1]}, {rgb[2]}); color: {ink}">'
        f"{_percent(part)}<small>{count:,} px</small></td>"
    )


def _percent(part: float) -> str:
    """Never 100 % or 0 % of what is not all or nothing."""
    if 0 < part < 0.0005:
        return "&lt; 0.1 %"
    if 0.9995 <= part < 1:
        return "&gt; 99.9 %"
    return f"{100 * part:.1f} %"
