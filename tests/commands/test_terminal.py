"""On a terminal: progress is shown, and what deletes asks first."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from commands.running import CONTROLLED, TIMEOUT, age, fill, store_of, titles
from wire import SERVER, clean_environment


def on_a_terminal(
    workspace: Path,
    *arguments: str,
    answer: str = "",
    question: str = "",
    environment: Mapping[str, str] | None = None,
    columns: int = 100,
) -> tuple[int, str]:
    """Run a command with a terminal for its three streams, which answers when the question comes; gives its exit code
    and all that it showed."""
    own, its = pty.openpty()
    termios.tcsetwinsize(its, (50, columns))
    of_ours = {name: value for name, value in clean_environment(workspace).items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [*CONTROLLED, *SERVER, *arguments],
        cwd=workspace,
        env=of_ours | {"TERM": "xterm", "PAGER": "cat"} | dict(environment or {}),
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    shown, deadline = b"", time.monotonic() + TIMEOUT
    try:
        while time.monotonic() < deadline:
            if select.select([own], [], [], 0.1)[0]:
                try:
                    shown += os.read(own, 65536)
                except OSError:  # Linux says so at the end.
                    break
            if answer and question.encode() in shown:
                os.write(own, answer.encode())
                answer = ""
        return process.wait(TIMEOUT), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(own)


def test_a_backup_shows_how_far_it_is(workspace: Path) -> None:
    fill(store_of(workspace), "one", text=30_000_000)
    code, shown = on_a_terminal(workspace, "backup", "copy.sqlite")
    assert code == 0
    assert "copying" in shown
    assert "verifying" in shown
    assert "verified" in shown.splitlines()[-1]


@pytest.mark.parametrize(("answer", "left"), [("y\n", []), ("n\n", ["old"]), ("\n", ["old"]), ("\x04", ["old"])])
def test_pruning_asks(workspace: Path, answer: str, left: list[str]) -> None:
    fill(store_of(workspace), "old")
    age(store_of(workspace), "old", 100)
    question = "for good? --dry-run lists them. [y/N] "
    code, shown = on_a_terminal(workspace, "prune", "--older-than", "90d", answer=answer, question=question)
    assert code == 0
    assert question in shown
    assert titles(store_of(workspace)) == left
    # What follows the question is on a line of its own.
    assert "deleted" in shown.splitlines()[-1]
    assert not shown.splitlines()[-1].startswith("Delete")


def test_a_refusal_is_json_too(workspace: Path) -> None:
    fill(store_of(workspace), "old")
    age(store_of(workspace), "old", 100)
    arguments = ("prune", "--older-than", "90d", "--json")
    code, shown = on_a_terminal(workspace, *arguments, answer="n\n", question="[y/N]")
    told = json.loads(shown.splitlines()[-1])
    assert (code, told["deleted"], [one["title"] for one in told["sessions"]]) == (0, False, ["old"])
    assert titles(store_of(workspace)) == ["old"]


def test_prune_with_yes_does_not_ask(workspace: Path) -> None:
    fill(store_of(workspace), "old")
    age(store_of(workspace), "old", 100)
    code, shown = on_a_terminal(workspace, "prune", "--older-than", "90d", "--yes")
    assert (code, titles(store_of(workspace))) == (0, [])
    assert "[y/N]" not in shown


def test_ctrl_c_at_the_question_deletes_nothing(workspace: Path) -> None:
    fill(store_of(workspace), "old")
    age(store_of(workspace), "old", 100)
    code, shown = on_a_terminal(workspace, "prune", "--older-than", "90d", answer="\x03", question="[y/N]")
    assert code == 130
    assert shown.splitlines()[-1] == "mandrake-sessions prune: stopped; nothing was left half-done"
    assert titles(store_of(workspace)) == ["old"]


def test_a_server_on_a_terminal_says_what_it_waits_for(workspace: Path) -> None:
    code, shown = on_a_terminal(workspace, "serve", question="--help", answer="\x04")
    assert (code, "waiting for JSON-RPC" in shown) == (0, True)
