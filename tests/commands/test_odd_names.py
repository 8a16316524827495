"""Names and arguments that are bytes and no text, as Linux allows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from commands.running import run, run_program
from mandrake_sessions import SessionManager
from wire import SERVER, store_of

BYTES = b"caf\xe9".decode(errors="surrogateescape")


@pytest.fixture
def odd(workspace: Path) -> Path:
    """A workspace whose name is no text."""
    place = workspace / BYTES
    try:
        place.mkdir()
    except OSError:
        pytest.skip("names are text here")
    (place / ".ws").mkdir()
    return place


@pytest.mark.skipif(sys.platform == "win32", reason="names are text there")
def test_every_command_works_in_a_directory_whose_name_is_no_text(odd: Path) -> None:
    told = "the name of the working directory is not UTF-8, so the session is about none; --cwd names another"
    for command in (
        ["new", "A talk"],
        ["append", "--prompt", "What?", "--title", "Another"],
        ["record", "--", "echo", "recorded"],
    ):
        assert told in run(odd, *command).err
    assert told not in run(odd, "new", "Elsewhere", "--cwd", "/somewhere").err
    with SessionManager(store_of(odd)) as manager:
        found = {session.title: session.cwd for session in manager.list_sessions().sessions}
    assert found == {"A talk": None, "Another": None, "echo recorded": None, "Elsewhere": "/somewhere"}
    assert "A talk" in run(odd, "list").out
    assert "recorded" in run(odd, "search", "recorded").out
    assert "recorded" in run(odd, "show", "echo recorded").out
    run(odd, "usage")
    run(odd, "export", "echo recorded", "-o", "page.html")
    run(odd, "fork", "echo recorded")
    run(odd, "doctor")
    run(odd, "import", "--dry-run", code=None)
    run(odd, "new", "Of the user", "--scope", "system", "--cwd", "/somewhere")
    assert "Of the user" in run(odd, "list", "--all").out
    assert "Of the user" not in run(odd, "list").out


@pytest.mark.parametrize(
    "command",
    [["show", BYTES], ["search", BYTES], ["new", BYTES], ["new", "--title", BYTES], ["list", "--query", BYTES],
     ["rename", "@last", BYTES], ["append", "--prompt", BYTES], ["list", "--cwd", BYTES]],
    ids=lambda command: "-".join(word for word in command if word != BYTES),
)  # fmt: skip
@pytest.mark.skipif(sys.platform == "win32", reason="arguments are text there")
def test_an_argument_that_is_no_text_is_named(workspace: Path, command: list[str]) -> None:
    done = run_program(workspace, *SERVER, *command)
    assert done.code == 2
    assert "caf\\udce9' is not UTF-8" in done.err
    flag = next((word for word in command if word.startswith("--")), "argument")
    assert flag in done.err
    assert "surrogate" not in done.err
