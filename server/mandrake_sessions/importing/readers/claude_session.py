"""What a transcript of Claude Code says of the conversation as a whole: its directory, its title, compactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mandrake_sessions.importing.events import Compacted, Event, SessionSaid
from mandrake_sessions.importing.lines import Line
from mandrake_sessions.importing.values import count_of, moment_of, object_of, text_of

Record = dict[str, Any]


class ClaudeSession:
    """``state``: as an earlier reading left it."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.is_introduced = bool(state.get("introduced"))
        # A compaction whose summary has not come yet.
        self.boundary: Record | None = None

    def introduce(self, record: Record) -> Iterator[Event]:
        if self.is_introduced:
            return
        self.is_introduced = True
        named = {"version": record.get("version"), "gitBranch": record.get("gitBranch")}
        metadata = {name: value for name, value in named.items() if isinstance(value, str) and value}
        yield SessionSaid(cwd=text_of(record.get("cwd")), at=moment_of(record.get("timestamp")), metadata=metadata)

    def settle_boundary(self) -> Iterator[Event]:
        """No summary followed."""
        if self.boundary is not None:
            yield self.compacted(self.boundary, "")

    def compacted(self, record: Record, summary: str) -> Compacted:
        # It has one name, whether its summary has come or not.
        name = uuid_of(self.boundary or record, 0)
        told = object_of((self.boundary or {}).get("compactMetadata"))
        self.boundary = None
        wanted = {"trigger": text_of(told.get("trigger")), "preTokens": count_of(told.get("preTokens"))}
        metadata = {name: value for name, value in wanted.items() if value is not None}
        return Compacted(name, summary, moment_of(record.get("timestamp")), metadata=metadata)

    def title(self, record: Record, _line: Line) -> Iterator[Event]:
        yield SessionSaid(title=text_of(record.get("customTitle")) or text_of(record.get("title")))

    def summary(self, record: Record, _line: Line) -> Iterator[Event]:
        yield SessionSaid(description=text_of(record.get("summary")))

    def cost(self, record: Record, _line: Line) -> Iterator[Event]:
        """The program's running total, which has the costs of subagents and of a fork's parent in it."""
        total = record.get("totalCostUSD")
        if isinstance(total, int | float) and not isinstance(total, bool):
            yield SessionSaid(metadata={"totalCostUSD": total})


def uuid_of(record: Record, start: int) -> str:
    """The record's name; where it has none, its place."""
    return text_of(record.get("uuid")) or f"byte {start}"
