"""Small charts as inline SVG: a line with marks, bars over time, and dots. No scripts, no files beside the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 860, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 18, 34

_STEPS = [mantissa * 10.0**exponent for exponent in range(-4, 12) for mantissa in (1, 2, 5)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A vertical line with a word on it."""

    x: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    row: str
    label: str
    begin: float
    end: float
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Maps values to pixels. ``span`` may not be empty."""

    low: float
    high: float
    first: float
    last: float

    def at(self, value: float) -> float:
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)

    def ticks(self, count: int = 6) -> list[float]:
        """Round values inside the range, ``count`` or so."""
        rough = (self.high - self.low) / count
        step = next(step for step in _STEPS if step >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [round(index * step, 6) for index in range(first, last + 1)]


def axis(values: Sequence[float], first: float, last: float) -> Axis:
    """An axis that holds the values."""
    low, high = min(values), max(values)
    return Axis(low=low, high=high if high > low else low + 1.0, first=first, last=last)


def line_chart(
    points: Sequence[tuple[float, float]],
    *,
    x_label: str,
    y_label: str,
    marks: Sequence[Mark] = (),
    smooth: Sequence[tuple[float, float]] = (),
) -> str:
    """A line over all points, fainter when a smoothed one lies over it."""
    x = axis([point[0] for point in points], LEFT, WIDTH - RIGHT)
    y = axis([point[1] for point in points], HEIGHT - BOTTOM, TOP)
    parts = [_frame(x, y, x_label, y_label)]
    parts.append(_path(points, x, y, "line faint" if smooth else "line"))
    if smooth:
        parts.append(_path(smooth, x, y, "line"))
    parts.extend(_mark(mark, x) for mark in marks)
    return _svg("".join(parts), HEIGHT)


def dot_chart(points: Sequence[tuple[float, float]], *, x_label: str, y_label: str, marks: Sequence[Mark] = ()) -> str:
    """One dot a point."""
    x = axis([point[0] for point in points], LEFT, WIDTH - RIGHT)
    y = axis([0.0, *(point[1] for point in points)], HEIGHT - BOTTOM, TOP)
    dots = "".join(f'<circle class="dot" cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="2.6"/>' for a, b in points)
    return _svg(_frame(x, y, x_label, y_label) + dots + "".join(_mark(mark, x) for mark in marks), HEIGHT)


def timeline(bars: Sequence[Bar], marks: Sequence[Mark], *, x_label: str) -> str:
    """Bars in rows over one time axis."""
    rows = list(dict.fromkeys(bar.row for bar in bars))
    left, row_height = 170, 30
    height = TOP + 14 + row_height * len(rows) + BOTTOM
    x = axis([edge for bar in bars for edge in (bar.begin, bar.end)], left, WIDTH - RIGHT)
    bottom = height - BOTTOM
    parts = [_x_axis(x, bottom, x_label)]
    for index, row in enumerate(rows):
        middle = TOP + 14 + row_height * index + row_height / 2
        parts.append(f'<text class="row" x="{left - 10}" y="{middle + 4:.1f}" text-anchor="end">{escape(row)}</text>')
        for bar in (bar for bar in bars if bar.row == row):
            width = max(2.0, x.at(bar.end) - x.at(bar.begin))
            parts.append(
                f'<rect class="bar {escape(bar.kind)}" x="{x.at(bar.begin):.1f}" y="{middle - 9:.1f}" '
                f'width="{width:.1f}" height="18" rx="3"><title>{escape(bar.label)}</title></rect>'
            )
    parts.extend(_mark(mark, x, bottom, level=index) for index, mark in enumerate(marks))
    return _svg("".join(parts), height)


def _frame(x: Axis, y: Axis, x_label: str, y_label: str) -> str:
    lines = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(tick):.1f}" y2="{y.at(tick):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y.at(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in y.ticks(5)
    )
    name = f'<text class="name" x="{LEFT}" y="{TOP - 6}">{escape(y_label)}</text>'
    return lines + name + _x_axis(x, HEIGHT - BOTTOM, x_label)


def _x_axis(x: Axis, bottom: float, label: str) -> str:
    ticks = "".join(
        f'<text x="{x.at(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>' for tick in x.ticks(8)
    )
    line = f'<line class="axis" x1="{x.first}" x2="{x.last}" y1="{bottom}" y2="{bottom}"/>'
    return f'{line}{ticks}<text class="name" x="{x.last}" y="{bottom + 31}" text-anchor="end">{escape(label)}</text>'


def _path(points: Sequence[tuple[float, float]], x: Axis, y: Axis, kind: str) -> str:
    way = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in points)
    return f'<polyline class="{kind}" points="{way}"/>'


def _mark(mark: Mark, x: Axis, bottom: float = HEIGHT - BOTTOM, level: int = 0) -> str:
    at = x.at(min(max(mark.x, x.low), x.high))
    side, shift = ("end", -5) if at > (x.first + x.last) * 0.6 else ("start", 5)
    return (
        f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 4}" y2="{bottom}"/>'
        f'<text class="mark-label" x="{at + shift:.1f}" y="{TOP + 6 + 13 * (level % 2)}" text-anchor="{side}">'
        f"{escape(mark.label)}</text>"
    )


def _svg(inside: str, height: float) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img">{inside}</svg>'
