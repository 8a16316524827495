"""What both displays share."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from io import TextIOWrapper
from typing import Protocol

from rich.console import Console
from rich.text import Text

from mandrake_sessions.demo.watched import Watched
from mandrake_sessions.model import ToolCall, ToolCallStatus
from mandrake_sessions.quoting import one_line

ICONS = {"pending": "○", "in_progress": "◐", "completed": "✓", "failed": "✗"}
STYLES = {"pending": "dim", "in_progress": "yellow", "completed": "green", "failed": "bold red"}


class Display(AbstractContextManager["Display"], Protocol):
    """Displays a conversation while it arrives. If the block ends before ``finish``, the text so far stays."""

    def show(self, watched: Watched) -> None:
        """Called after every notification, and now and then without one."""

    def finish(self, watched: Watched) -> None:
        """Called once, when everything has arrived."""


class _Console(Console):
    """Raises BrokenPipeError where nobody reads; rich's own ends the program with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def make_console() -> Console:
    """A console for stdout. A pipe gets no control codes, whatever the environment asks for."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal without a tick mark shows a question mark, and the program continues.
        sys.stdout.reconfigure(errors="replace")
    if is_live():
        return _Console(highlight=False)
    return _Console(highlight=False, force_terminal=False, no_color=True, color_system=None)


def is_live() -> bool:
    """Whether stdout is a terminal that supports drawing."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def print_header(console: Console, store: str, watcher_pid: int, agent_pid: int) -> None:
    """The participants."""
    lines = (
        ("An agent streams its answer into a store; this program watches the store.", ""),
        (f"  agent    process {agent_pid}, with a server of its own, writes", "dim"),
        (f"  store    {printable(store)}", "dim"),
        (f"  watcher  process {watcher_pid}, the server of this program, reads", "dim"),
        ("", ""),
    )
    for line, style in lines:
        print_line(console, Text(line, style=style))


def print_line(console: Console, line: Text) -> None:
    """On a terminal it breaks between words; in a pipe it stays one line."""
    console.print(line, soft_wrap=not console.is_terminal)


def call_text(call: ToolCall) -> Text:
    """A tool call on one line."""
    line = Text.assemble("  ", (ICONS[call.status], STYLES[call.status]), " ", printable(call.title or call.id))
    if call.end_time is not None:
        line.append(f"  {call.metadata['elapsedMs']:.1f} ms", "dim")
    if call.status is ToolCallStatus.FAILED:
        line.append(f"  {printable(call.response['error'])}", "red")
    return line


def status_text(watched: Watched) -> str:
    """What has arrived so far, and how fast."""
    latency = watched.latency_ms
    measured = "" if latency is None else f" · {latency:.1f} ms from agent to watcher (median)"
    return f"{watched.pushes} pushes · {watched.pieces} pieces{measured}"


def printable(text: str) -> str:
    """The text without control characters: names of files and their contents may hold anything."""
    return "\n".join(map(one_line, text.split("\n")))
