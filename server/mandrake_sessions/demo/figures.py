"""Figures about the stored session, read from the store."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

from attrs import evolve
from rich.console import Console
from rich.text import Text

from mandrake_sessions.client import Client
from mandrake_sessions.demo.display import print_line, printable
from mandrake_sessions.demo.watched import Watched
from mandrake_sessions.demo.words import shown_size
from mandrake_sessions.model import HistoryRound, Session, ToolCall, ToolCallStatus, Turn
from mandrake_sessions.workspaces import workspace_database


class Stored:
    """A session as ``session/history`` gives it, and its figures."""

    def __init__(self, session: Session, rounds: list[HistoryRound]) -> None:
        self.session = session
        self.rounds = rounds
        self.turns: list[Turn] = [turn for each in rounds for turn in each.response.turns]
        self.calls: list[ToolCall] = [call for turn in self.turns for call in turn.tool_calls]

    @property
    def seq(self) -> int:
        """The last change to any of its turns."""
        return max((turn.seq for turn in self.turns), default=0)

    @property
    def seconds(self) -> float:
        """From the question to the end of the answer."""
        last = self.rounds[-1]
        assert last.response.end_time is not None
        return (last.response.end_time - last.created_at) / 1000


async def read_back(client: Client, session_id: str) -> Stored:
    """The whole session. Raises ClientError."""
    rounds: list[HistoryRound] = []
    cursor: str | None = None
    while True:
        page = await client.session_history(session_id=session_id, cursor=cursor)
        rounds += page.rounds
        cursor = page.next_cursor
        if cursor is None:
            return Stored(page.session, rounds)


def is_what_was_drawn(stored: Stored, watched: Watched) -> bool:
    """Whether the pushed pieces, joined, equal what the store holds."""
    # Only the watcher asked for raw responses.
    return stored.turns == [evolve(turn, raw_response=None) for turn in watched.turns]


def print_figures(console: Console, stored: Stored, watched: Watched, store: str) -> None:
    """What was stored, and how much of it."""
    failed = sum(call.status is ToolCallStatus.FAILED for call in stored.calls)
    latency = watched.latency_ms
    rows = {
        "session": printable(stored.session.title or ""),
        "rounds": str(len(stored.rounds)),
        "turns": str(len(stored.turns)),
        "pieces": str(sum(turn.chunk_count for turn in stored.turns)),
        "tool calls": f"{len(stored.calls)}, of them {failed} failed",
        "characters": str(sum(len(turn.content or "") for turn in stored.turns)),
        "tokens": f"{sum(turn.output_tokens for turn in stored.turns)} (words, there being no model)",
        "time": f"{stored.seconds:.1f} s from the question to the end of the answer",
        "latency": "not measured" if latency is None else f"{latency:.1f} ms from agent to watcher, the median",
        "store": f"{printable(store)}, {shown_size(Path(store).stat().st_size)}",
    }
    console.print(Text("\nStored, and read back from the store:", "bold"))
    for name, value in rows.items():
        print_line(console, Text.assemble("  ", (f"{name:<12}", "dim"), value))
    console.print(Text("What was pushed, put together, is what is stored, to the letter.", "green"))


def print_how_to_look(console: Console, workspace: Path, session_id: str, store: str) -> None:
    """Commands for a shell, one on each line however long, so that a user can copy them."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "session/history", "params": {"sessionId": session_id}}
    program = (
        ["mandrake-sessions"] if shutil.which("mandrake-sessions") else [sys.executable, "-m", "mandrake_sessions"]
    )
    asking = shlex.join(["printf", "%s\\n", json.dumps(message, separators=(",", ":"))])
    flags = ["--workspace", str(workspace)]
    if Path(store) != workspace_database(workspace):
        flags += ["--database", store]
    answering = shlex.join([*program, *flags])
    select = 'SELECT "index", kind, status, chunk_count FROM turn ORDER BY pk'
    console.print(Text("\nTo look at it:", "bold"))
    showing = shlex.join([*program, "show", session_id, *flags])
    console.print(Text(printable(showing)), soft_wrap=True)
    console.print(Text(printable(f"{asking} | {answering}")), soft_wrap=True)
    console.print(Text(printable(shlex.join(["sqlite3", "-header", store, select]))), soft_wrap=True)
