"""Line charts as SVG text: no library, no network, sharp in print."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 330
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 46


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a chart."""

    label: str
    low: float
    high: float
    log: bool = False
    """Decades; `low` must be above 0, and what is not above it stands at the edge, marked `0`."""

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        if not self.log:
            return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        kept = min(max(value, self.low), self.high)
        return (math.log10(kept) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))

    def ticks(self) -> list[tuple[float, str]]:
        """(value, words)."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [(10.0**e, f"{10.0**e:g}") for e in range(first, last + 1)]
        step = _round_step((self.high - self.low) / 5)
        count = int((self.high - self.low) / step + 1e-9)
        return [(self.low + n * step, f"{round(self.low + n * step, 10):g}") for n in range(count + 1)]


@dataclass(frozen=True, slots=True)
class Series:
    """One line with its uncertainty."""

    name: str
    colour: str
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float], ...] = ()
    """(low, high) of y at each point, drawn as an area."""
    whiskers: bool = False
    """Draw the band as a line at each point instead."""
    marks: tuple[tuple[float, float, str], ...] = ()
    """Points with words, such as where the model serves."""


def chart(series: Sequence[Series], x: Axis, y: Axis, alt: str) -> str:
    """An SVG element. alt: what it shows, for who cannot see it."""
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(alt)}"'
        ' font-family="inherit" font-size="12">'
    ]
    parts += _grid(x, y)
    for line in series:
        parts += _uncertainty(line, x, y)
    for line in series:
        path = " ".join(f"{_x(a, x):.1f},{_y(b, y):.1f}" for a, b in line.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2"/>')
        if line.whiskers:
            parts += [
                f'<circle cx="{_x(a, x):.1f}" cy="{_y(b, y):.1f}" r="2.6" fill="{line.colour}"/>'
                for a, b in line.points
            ]
    for line in series:
        parts += _marks(line, x, y)
    return "".join([*parts, "</svg>"])


def key(series: Sequence[Series]) -> str:
    """Names with their colours, as HTML for above a chart."""
    names = (f'<i style="background:{line.colour}"></i>{escape(line.name)} ' for line in series)
    return f'<p class="key">{"".join(names)}</p>'


def strip(value: float | None, bounds: Sequence[float | None] | None, high: float = 1.0) -> str:
    """A small line from 0 to `high` with the interval as a bar and the value as a dot."""
    if value is None:
        return ""
    width, inner = 130, 122.0

    def at(number: float) -> float:
        return 4 + inner * min(1.0, max(0.0, number / high))

    bar = ""
    if bounds and bounds[0] is not None:
        end = high if bounds[1] is None else bounds[1]
        bar = (
            f'<rect x="{at(bounds[0]):.1f}" y="6" width="{max(1.0, at(end) - at(bounds[0])):.1f}"'
            ' height="6" rx="3" fill="#9cc7e4"/>'
        )
    return (
        f'<svg width="{width}" height="18" viewBox="0 0 {width} 18" aria-hidden="true">'
        f'<line x1="4" x2="{4 + inner}" y1="9" y2="9" stroke="#d9dee5"/>{bar}'
        f'<circle cx="{at(value):.1f}" cy="9" r="3.6" fill="#0072b2"/></svg>'
    )


def _x(value: float, axis: Axis) -> float:
    return LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)


def _y(value: float, axis: Axis) -> float:
    return TOP + (1 - axis.place(value)) * (HEIGHT - TOP - BOTTOM)


def _grid(x: Axis, y: Axis) -> Iterator[str]:
    floor, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value, words in y.ticks():
        at = _y(value, y)
        yield f'<line x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e4e8ed"/>'
        yield f'<text x="{LEFT - 7}" y="{at + 4:.1f}" text-anchor="end" fill="#5c6675">{words}</text>'
    for value, words in x.ticks():
        at = _x(value, x)
        yield f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{floor}" stroke="#e4e8ed"/>'
        yield f'<text x="{at:.1f}" y="{floor + 17}" text-anchor="middle" fill="#5c6675">{words}</text>'
    yield f'<path d="M{LEFT} {TOP}V{floor}H{right}" fill="none" stroke="#5c6675"/>'
    middle = (LEFT + right) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x.label)}</text>'
    centre = (TOP + floor) / 2
    yield (
        f'<text x="15" y="{centre}" text-anchor="middle" transform="rotate(-90 15 {centre})">'
        f"{escape(y.label)}</text>"
    )


def _uncertainty(line: Series, x: Axis, y: Axis) -> Iterator[str]:
    if not line.band:
        return
    edges = [
        (_x(a, x), _y(low, y), _y(high, y))
        for (a, _), (low, high) in zip(line.points, line.band, strict=True)
    ]
    if line.whiskers:
        for at, low, high in edges:
            yield (
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{low:.1f}" y2="{high:.1f}"'
                f' stroke="{line.colour}" stroke-opacity=".45" stroke-width="2"/>'
            )
        return
    there = [f"{at:.1f},{high:.1f}" for at, _, high in edges]
    back = [f"{at:.1f},{low:.1f}" for at, low, _ in reversed(edges)]
    yield f'<polygon points="{" ".join(there + back)}" fill="{line.colour}" fill-opacity=".14"/>'


def _marks(line: Series, x: Axis, y: Axis) -> Iterator[str]:
    for a, b, words in line.marks:
        at, up = _x(a, x), _y(b, y)
        end = at > WIDTH * 0.6
        yield (
            f'<circle cx="{at:.1f}" cy="{up:.1f}" r="5" fill="#fff"'
            f' stroke="{line.colour}" stroke-width="2.5"/>'
        )
        if words:
            yield (
                f'<text x="{at + (-9 if end else 9):.1f}" y="{up - 8 if up > TOP + 24 else up + 18:.1f}"'
                f' text-anchor="{"end" if end else "start"}" paint-order="stroke" stroke="#fff"'
                f' stroke-width="4" font-weight="600">{escape(words)}</text>'
            )


def _round_step(step: float) -> float:
    """The next of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= step * (1 - 1e-9))
