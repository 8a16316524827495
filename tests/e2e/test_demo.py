"""``mandrake-sessions demo`` as a user runs it: a real process, its output a pipe, and the store it leaves."""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from mandrake_sessions.client import Client
from mandrake_sessions.demo.display import print_header
from mandrake_sessions.demo.tools import Entry, Listing
from mandrake_sessions.demo.words import plan, summary
from mandrake_sessions.model import HistoryRound, ResponseStatus, ToolCall, TurnStatus
from strict import StrictClient
from wire import SERVER, TIMEOUT, clean_environment

PROJECT = {
    "README.md": b"# A small project\n\nIt does little.\n",
    "server.py": b'"""The server of it."""\n',
    "docs/guide.md": b"# How to use it\n",
    "picture.png": b"\x89PNG\0\0",
}
# Names and texts that no terminal and no message may get as they are, files that are no text, and what is skipped.
HARD_TO_READ = {
    "README": b"a\0b",
    "README.eo.md": b"# Projekto\n",
    "a\x1b[2Jb.txt": b"\x1b[31mred\n",
    "caf\udce9.md": b"# Coffee\n",
    "node_modules/a.js": b"left()",
    ".hidden": b"secret",
}
FIGURES = ("session", "rounds", "turns", "pieces", "tool calls", "characters", "tokens", "time", "latency", "store")


def run_demo(workspace: Path, *, speed: str = "200") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SERVER, "demo", "--workspace", str(workspace)],
        env=clean_environment(workspace.parent) | {"MANDRAKE_SESSIONS_DEMO_SPEED": speed, "FORCE_COLOR": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
    )


async def stored_rounds(workspace: Path) -> list[HistoryRound]:
    """The rounds of every session of the store, the newest session's first."""
    async with StrictClient(workspace) as client:
        sessions = (await client.session_list()).sessions
        histories = [await client.session_history(session_id=session.id) for session in sessions]
    assert not any(session.streaming for session in sessions)
    return [each for history in histories for each in history.rounds]


def write_files(workspace: Path, files: dict[str, bytes]) -> None:
    workspace.mkdir()
    for name, content in files.items():
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).write_bytes(content)


def test_it_copes_with_any_file(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    try:
        write_files(workspace, HARD_TO_READ)
    except OSError:
        pytest.skip("this file system takes no such names")
    done = run_demo(workspace)
    assert (done.returncode, done.stderr) == (0, "")
    red = r"“\x1b[31mred”"
    for said in ("5 files in 1 directory,", "README is not a text file", "“Projekto”", "README in Latin", red):
        assert said in done.stdout
    assert not [letter for letter in done.stdout if not letter.isprintable() and letter != "\n"]


@pytest.mark.parametrize(
    ("entries", "truncated", "said"),
    [
        ([], False, "home holds 0 files in 1 directory: it is empty."),
        ([Entry("a.py", False, 1500)], False, "home holds 1 file in 1 directory, 1.5 kB in all: 1 of .py."),
        (
            [Entry("a", False, 7), Entry("b", True, 0)],
            True,
            "What I saw of home holds 7 bytes: 1 of no kind. The largest there is a, 7 bytes.",
        ),
        ([Entry("b", True, 0)], True, "What I saw of home has no files."),
    ],
)
def test_it_counts_what_it_has_listed(entries: list[Entry], truncated: bool, said: str) -> None:
    assert summary("home", Listing(entries, truncated), [], "Latin", None).startswith(said)


def test_it_says_once_that_it_looked_at_a_part() -> None:
    part = Listing([Entry("README.md", False, 7), Entry("b", True, 0)], truncated=True)
    assert plan(part, ["README.md"], "Latin").startswith("I looked at the first 500 entries: 1 file. I'll read")
    assert plan(part, [], "Latin").startswith("I looked at the first 500 entries: 1 file, and none that")
    assert "500" not in summary("home", part, [], "Latin", None)
    whole = Listing(part.entries, truncated=False)
    assert plan(whole, ["README.md"], "Latin").startswith("I count 1 file. I'll read README.md")


def test_a_narrow_terminal_breaks_lines_between_words() -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=40, color_system=None, legacy_windows=False)
    print_header(console, "/home/ann/p/.ws/db.sqlite", 11, 12)
    lines = [line.strip() for line in shown.getvalue().splitlines()]
    assert all(len(line) <= 40 for line in lines)
    # Broken between words, joining the lines with spaces gives the words again.
    assert "An agent streams its answer into a store; this program watches the store." in " ".join(lines)
    assert "process 12, with a server of its own, writes" in " ".join(lines)


async def test_what_it_prints_is_what_it_stores_every_time(tmp_path: Path) -> None:
    workspace = tmp_path / "it's a project"
    write_files(workspace, PROJECT)
    runs = [run_demo(workspace) for _ in range(2)]
    assert [(done.returncode, done.stderr) for done in runs] == [(0, ""), (0, "")]
    for done, stored in zip(reversed(runs), await stored_rounds(workspace), strict=True):
        check_conversation(stored, done.stdout)
        check_figures(stored, done.stdout, workspace)

    (command,) = [line for line in runs[-1].stdout.splitlines() if line.startswith("printf")]
    shown = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert "It does little." in shown.stdout

    # Each of the others works as it stands there too, in any directory.
    _, _, told = runs[-1].stdout.partition("To look at it:\n")
    commands = told.splitlines()
    assert len(commands) == (3 if shutil.which("sqlite3") else 2)
    for line in commands:
        shown = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=clean_environment(tmp_path), capture_output=True,
                               text=True, timeout=TIMEOUT, check=True)  # fmt: skip
        assert "completed" in shown.stdout or "A small project" in shown.stdout


def check_conversation(stored: HistoryRound, printed: str) -> None:
    response, turns = stored.response, stored.response.turns
    assert (response.status, response.stop_reason) == ("completed", "end_turn")
    assert [turn.kind for turn in turns] == ["thought", "message", "message", "message"]
    for turn in turns:
        assert turn.content
        assert turn.content in printed
        assert turn.status is TurnStatus.COMPLETED
        assert turn.chunk_count == turn.current_tokens == turn.output_tokens > 0
    for said in ("holds 4 files in 2 directories", "“A small project”", "“The server of it.”"):
        assert said in (turns[-1].content or "")

    calls = tool_calls(stored)
    assert [call.status for call in calls] == ["completed"] * 4 + ["failed"]
    assert calls[-1].response == {"error": "No such file or directory"}
    assert calls[1].arguments == {"path": "README.md"}
    assert calls[1].response["text"] == PROJECT["README.md"].decode()
    assert all(0 < (call.start_time or 0) <= (call.end_time or 0) for call in calls)


def check_figures(stored: HistoryRound, printed: str, workspace: Path) -> None:
    """What is printed at the end, below its heading."""
    _, _, ending = printed.partition("Stored, and read back from the store:\n")
    figures = {line[2:14].strip(): line[14:] for line in ending.splitlines() if line.startswith("  ")}
    assert tuple(figures) == FIGURES
    turns = stored.response.turns
    assert figures["turns"] == str(len(turns))
    assert figures["pieces"] == str(sum(turn.chunk_count for turn in turns))
    assert figures["tool calls"] == "5, of them 1 failed"
    assert figures["characters"] == str(sum(len(turn.content or "") for turn in turns))
    assert figures["store"].startswith(f"{workspace / '.ws' / 'db.sqlite'}, ")


def tool_calls(stored: HistoryRound) -> list[ToolCall]:
    return [call for turn in stored.response.turns for call in turn.tool_calls]


@pytest.mark.parametrize(
    ("directory", "speed", "said"),
    [("nowhere", "1", "nowhere is not a directory"), (".", "fast", "MANDRAKE_SESSIONS_DEMO_SPEED: 'fast'")],
)
def test_it_says_why_it_cannot_begin(tmp_path: Path, directory: str, speed: str, said: str) -> None:
    done = run_demo(tmp_path / directory, speed=speed)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_it_says_why_it_failed(tmp_path: Path) -> None:
    (tmp_path / ".ws").write_text("a file where the store's directory should be")
    done = run_demo(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Failed to create database directory" in done.stderr


async def test_the_agent_stops_when_the_demo_is_killed(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [*SERVER, "demo", "--workspace", str(tmp_path)],
        env=clean_environment(tmp_path) | {"MANDRAKE_SESSIONS_DEMO_SPEED": "0.1"},
        stdout=subprocess.PIPE,
    )
    assert demo.stdout is not None
    with demo.stdout as printed:
        while b"[thought]" not in printed.readline():
            pass
        demo.kill()
        demo.wait(TIMEOUT)
    async with StrictClient(tmp_path) as client:
        (session,) = (await client.session_list()).sessions
        stored = await when_ended(client, session.id)
    assert stored.response.status is ResponseStatus.CANCELLED
    assert stored.response.turns[0].status is TurnStatus.CANCELLED


async def when_ended(client: Client, session_id: str) -> HistoryRound:
    """The session's round, once its answer is open no longer."""
    while True:
        (stored,) = (await client.session_history(session_id=session_id)).rounds
        if stored.response.status is not ResponseStatus.OPEN:
            return stored
        await asyncio.sleep(0.02)
