"""What was stored, read back from the store."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from mandrake_sessions.demo.client import Client, Message
from mandrake_sessions.demo.display import printable
from mandrake_sessions.demo.watched import Watched
from mandrake_sessions.demo.words import shown_size
from mandrake_sessions.workspaces import workspace_database


class Stored:
    """A session as ``session/history`` gives it, and what can be counted in it."""

    def __init__(self, session: Message, rounds: list[Message]) -> None:
        self.session = session
        self.rounds = rounds
        self.turns: list[Message] = [turn for each in rounds for turn in each["response"]["turns"]]
        self.calls: list[Message] = [call for turn in self.turns for call in turn["toolCalls"]]

    @property
    def seq(self) -> int:
        """The last change to any of its turns."""
        return max((int(turn["seq"]) for turn in self.turns), default=0)

    @property
    def seconds(self) -> float:
        """From the question to the end of the answer."""
        last = self.rounds[-1]
        return float(last["response"]["endTime"] - last["createdAt"]) / 1000

    def total(self, count: str) -> int:
        return sum(int(turn[count]) for turn in self.turns)


def read_back(client: Client, session_id: str) -> Stored:
    """The whole session. Raises ServerFailed."""
    rounds: list[Message] = []
    cursor: dict[str, Any] = {}
    while True:
        page = client.request("session/history", sessionId=session_id, **cursor)
        rounds += page["rounds"]
        if page["nextCursor"] is None:
            return Stored(page["session"], rounds)
        cursor = {"cursor": page["nextCursor"]}


def is_what_was_drawn(stored: Stored, watched: Watched) -> bool:
    """Whether the pushed pieces, put together, are what the store holds."""
    wanted = ("id", "content", "status", "toolCalls", "currentTokens", "outputTokens")
    return [[turn[key] for key in wanted] for turn in stored.turns] == [
        [turn[key] for key in wanted] for turn in watched.turns
    ]


def print_figures(console: Console, stored: Stored, watched: Watched, store: str) -> None:
    """What was stored, and how much of it."""
    failed = sum(call["status"] == "failed" for call in stored.calls)
    latency = watched.latency_ms
    rows = {
        "session": printable(stored.session["title"]),
        "rounds": str(len(stored.rounds)),
        "turns": str(len(stored.turns)),
        "pieces": str(stored.total("chunkCount")),
        "tool calls": f"{len(stored.calls)}, of them {failed} failed",
        "characters": str(sum(len(turn["content"]) for turn in stored.turns)),
        "tokens": f"{stored.total('outputTokens')} (words, there being no model)",
        "time": f"{stored.seconds:.1f} s",
        "latency": "not measured" if latency is None else f"{latency:.1f} ms from agent to watcher, the median",
        "store": f"{printable(store)}, {shown_size(Path(store).stat().st_size)}",
    }
    console.print(Text("\nStored, and read back from the store:", "bold"))
    for name, value in rows.items():
        console.print(Text.assemble("  ", (f"{name:<12}", "dim"), value), soft_wrap=True)
    console.print(Text("What was pushed, put together, is what is stored, to the letter.", "green"))


def print_how_to_look(console: Console, workspace: Path, session_id: str, store: str) -> None:
    """Commands for a shell, on a line each however long, so that they can be copied."""
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
    console.print(Text(printable(f"{asking} | {answering}")), soft_wrap=True)
    console.print(Text(printable(shlex.join(["sqlite3", "-header", store, select]))), soft_wrap=True)
