"""Counts of the server's calls: for each method the calls, the failures, and the time from arrival to answer."""

from __future__ import annotations

from collections.abc import Iterable

from mandrake_sessions.protocol.results import MethodStatistics

# Unknown methods are counted together, since a client may invent any number of names.
UNKNOWN = "unknown"


class _Figures:
    """Of one method; times in seconds."""

    __slots__ = ("count", "errors", "longest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0
        self.total = 0.0
        self.longest = 0.0


class Metrics:
    """The figures of one connection, for the methods that it knows."""

    def __init__(self, names: Iterable[str]) -> None:
        self._methods = {name: _Figures() for name in names}
        self._unknown = self._methods[UNKNOWN] = _Figures()

    def answered(self, name: str, seconds: float, *, failed: bool) -> None:
        """A request was answered, or a notification carried out."""
        figures = self._methods.get(name, self._unknown)
        figures.count += 1
        figures.total += seconds
        if seconds > figures.longest:
            figures.longest = seconds
        if failed:
            figures.errors += 1

    def statistics(self) -> dict[str, MethodStatistics]:
        """Of the methods that were called."""
        return {
            name: MethodStatistics(
                count=figures.count,
                errors=figures.errors,
                total_ms=round(figures.total * 1000, 3),
                max_ms=round(figures.longest * 1000, 3),
            )
            for name, figures in self._methods.items()
            if figures.count
        }
