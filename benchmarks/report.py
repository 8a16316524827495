"""What a benchmark says: rows of one table, each with its peer's figure, the ratio and the target."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TIMES = "\N{MULTIPLICATION SIGN}"
HEADER = ("what", "ours", "beside", "figure", "target", "met")


@dataclass(frozen=True)
class Options:
    """``rounds``: how often each side of a comparison has its turn. ``directory``: on the disk that is measured."""

    rounds: int
    full: bool
    directory: Path
    docs: Path
    agents_python: str


@dataclass(frozen=True)
class Target:
    """A bound for a figure, from below or from above."""

    bound: float
    at_least: bool
    unit: str

    def met(self, figure: float) -> bool:
        return figure >= self.bound if self.at_least else figure <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}"


def at_least(bound: float, unit: str = TIMES) -> Target:
    return Target(bound, True, unit)


def at_most(bound: float, unit: str = TIMES) -> Target:
    return Target(bound, False, unit)


@dataclass(frozen=True)
class Row:
    """``figure`` is what ``target`` bounds: most often a ratio, else a value of the target's own unit."""

    what: str
    ours: str = ""
    beside: str = ""
    figure: float | None = None
    target: Target | None = None
    unit: str = TIMES

    def cells(self) -> tuple[str, ...]:
        unit = self.unit if self.target is None else self.target.unit
        figure = "" if self.figure is None else f"{self.figure:.2f} {unit}"
        target = "" if self.target is None else str(self.target)
        met = ""
        if self.figure is not None and self.target is not None:
            met = "yes" if self.target.met(self.figure) else "NO"
        return self.what, self.ours, self.beside, figure, target, met


def table(rows: Sequence[Row]) -> str:
    """A Markdown table that is legible as it is."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(shown)


def machine(directory: Path) -> str:
    """What the figures were measured on."""
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return (
        f"{_processor()}, {os.cpu_count()} cores{load}; {platform.system()} {platform.release()}, "
        f"{_file_system(directory)}; Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in _lines(info) if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _file_system(directory: Path) -> str:
    """The type of the mounted file system that holds the directory."""
    best, found = "", "file system unknown"
    for line in _lines(Path("/proc/mounts")):
        _, mounted, kind, *_ = line.split()
        if len(mounted) > len(best) and directory.resolve().is_relative_to(mounted):
            best, found = mounted, kind
    return found


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def rate(value: float) -> str:
    return f"{value:,.0f}/s"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds * 1e3:,.0f} ms"


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs"


def kilobytes(size: float) -> str:
    return f"{size / 1e3:,.2f} kB"


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"
