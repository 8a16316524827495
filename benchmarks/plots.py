"""Plots as plain SVG: lines over axes, legible on a light page and on a dark one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

Point = tuple[float, float]

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 84, 36, 84, 64

# Each has a contrast of 3 and more with white and with GitHub's dark page; no style sheet is needed, which some
# readers ignore.
COLOURS = ("#2f81c7", "#d4622a")
INK = "#7d8590"


@dataclass(frozen=True)
class Line:
    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class _Axis:
    """From values to pixels. ``begin`` and ``end`` are pixels."""

    low: float
    high: float
    begin: float
    end: float
    logarithmic: bool

    def place(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return self.begin + (value - low) / (high - low) * (self.end - self.begin)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            rounded = _round_numbers(self.low, self.high)
            powers = [number for number in rounded if math.log10(number) % 1 == 0]
            return powers if len(powers) > 3 else rounded
        step = _step(self.high - self.low)
        return [self.low + step * number for number in range(int((self.high - self.low) / step + 1e-9) + 1)]


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20 ... from the last that is not above ``low`` to the first that is not below ``high``."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    numbers = [float(f"{factor}e{power}") for power in powers for factor in (1, 2, 5)]
    first = max(number for number in numbers if number <= low)
    last = min(number for number in numbers if number >= high)
    return [number for number in numbers if first <= number <= last]


def _step(span: float) -> float:
    """A round number that divides the span into four to ten."""
    power = float(10 ** math.floor(math.log10(span / 5)))
    return next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 8)


def _axis(values: Sequence[float], begin: float, end: float, *, logarithmic: bool) -> _Axis:
    if logarithmic:
        numbers = _round_numbers(min(values), max(values))
        return _Axis(numbers[0], numbers[-1], begin, end, True)
    step = _step(max(values))
    return _Axis(0, step * math.ceil(max(values) / step - 1e-9), begin, end, False)


@dataclass(frozen=True)
class Plot:
    """``marks`` are points with a word beside them; ``logarithmic``: across, and up."""

    title: str
    across: str
    up: str
    lines: Sequence[Line]
    logarithmic: tuple[bool, bool] = (False, False)
    marks: Sequence[tuple[float, float, str]] = field(default=())

    def write(self, path: Path) -> None:
        path.write_text(self.svg(), encoding="utf-8")

    def svg(self) -> str:
        points = [point for line in self.lines for point in line.points]
        x = _axis([point[0] for point in points], LEFT, WIDTH - RIGHT, logarithmic=self.logarithmic[0])
        y = _axis([point[1] for point in points], HEIGHT - BOTTOM, TOP, logarithmic=self.logarithmic[1])
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
            f' font-family="system-ui, sans-serif" font-size="13" fill="{INK}" role="img">',
            f"<title>{escape(self.title)}</title>",
            _text(LEFT, 26, self.title, size=16, weight="600"),
            *self._grid(x, y),
            *self._legend(),
            *(_curve(line, x, y, colour) for line, colour in zip(self.lines, COLOURS, strict=False)),
            *(_mark(mark, x, y) for mark in self.marks),
        ]
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _grid(self, x: _Axis, y: _Axis) -> list[str]:
        parts = []
        for tick in x.ticks():
            at = x.place(tick)
            parts.append(_stroke(at, TOP, at, HEIGHT - BOTTOM))
            parts.append(_text(at, HEIGHT - BOTTOM + 20, _number(tick), anchor="middle"))
        for tick in y.ticks():
            at = y.place(tick)
            parts.append(_stroke(LEFT, at, WIDTH - RIGHT, at))
            parts.append(_text(LEFT - 10, at + 4, _number(tick), anchor="end"))
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, self.across, anchor="middle"))
        middle = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(f'<g transform="rotate(-90 20 {middle:.0f})">{_text(20, middle, self.up, anchor="middle")}</g>')
        return parts

    def _legend(self) -> list[str]:
        parts, at = [], float(LEFT)
        for line, colour in zip(self.lines, COLOURS, strict=False):
            parts.append(f'<rect x="{at:.0f}" y="46" width="22" height="4" rx="2" fill="{colour}"/>')
            parts.append(_text(at + 30, 53, line.name))
            at += 60 + 7.0 * len(line.name)
        return parts


def _curve(line: Line, x: _Axis, y: _Axis, colour: str) -> str:
    places = " ".join(f"{x.place(across):.1f},{y.place(up):.1f}" for across, up in line.points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-linejoin="round"/>'


def _mark(mark: tuple[float, float, str], x: _Axis, y: _Axis) -> str:
    across, up, word = mark
    at, height = x.place(across), y.place(up)
    near_edge = at > WIDTH - RIGHT - 120
    label = _text(
        at - 10 if near_edge else at + 10,
        height + 18,
        f"{word} {across:.2f} ms",
        anchor="end" if near_edge else "start",
    )
    return f'<circle cx="{at:.1f}" cy="{height:.1f}" r="4.5" fill="{COLOURS[0]}"/>{label}'


def _stroke(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{INK}" stroke-opacity="0.3"/>'


def _text(x: float, y: float, words: str, *, size: int = 13, anchor: str = "start", weight: str = "400") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(words)}</text>"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"
