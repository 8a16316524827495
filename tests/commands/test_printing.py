"""Titles and paths may hold anything: nothing that is printed ends a line, or is obeyed by a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands.running import run
from strict import connected

# Each begins a sequence, ends a line, or turns what follows.
COMMANDS = "\x1b[31m \x9b31m \x1b]0;t\x07 \r\n \x7f \u2028 \u202e \x85"
TITLE = f"title {COMMANDS} end"
OBEYED = set(COMMANDS) - set(" [31m]0;t")


@pytest.fixture
def odd(workspace: Path) -> Path:
    """A workspace whose own path is of this kind, with a session."""
    path = workspace / f"odd {COMMANDS} end"
    path.mkdir()
    with connected(path) as client:
        client.session_create(title=TITLE)
    return path


COMMAND_LINES = [
    ["backup", "copy"], ["doctor"], ["doctor", "--json"], ["migrate"], ["migrate", "--check"], ["restore", "none"],
    ["prune", "--older-than", "1m", "--dry-run"], ["backup", f"{COMMANDS}/x"], ["doctor", TITLE],
    ["doctor", f"--database={COMMANDS}"], ["serve", f"--log-file={COMMANDS}/x"], ["serve", f"--durability={COMMANDS}"],
    ["demo", f"--workspace={COMMANDS}"], [COMMANDS],
]  # fmt: skip


@pytest.mark.parametrize("arguments", COMMAND_LINES, ids=lambda words: ascii(words[0] + "-" + str(len(words))))
def test_nothing_that_is_printed_is_obeyed(odd: Path, arguments: list[str]) -> None:
    done = run(odd, *arguments, code=None)
    assert done.out + done.err
    for text in (done.out, done.err):
        assert not OBEYED & set(text.replace("\n", "")), ascii(text)


def test_json_means_what_it_meant(odd: Path) -> None:
    said = json.loads(run(odd, "doctor", "--json", code=None).out)
    assert COMMANDS in said["database"]
