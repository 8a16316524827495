"""What stands on the command line, and what comes on stdin, is taken for the same whatever the locale is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from commands.running import TIMEOUT, Ended, run_program, store_of
from commands.test_writing import rounds
from mandrake_sessions import SessionManager
from wire import SERVER, clean_environment

BARE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def ran(directory: Path, *arguments: str) -> Ended:
    """A command in a locale that knows ASCII alone."""
    done = run_program(directory, *SERVER, *arguments, environment=BARE | {"MANDRAKE_HOME": str(directory)})
    assert done.code == 0, done
    return done


def test_texts_are_utf_8_and_paths_are_what_they_are(workspace: Path) -> None:
    about = workspace / "né"
    about.mkdir()
    made = ran(workspace, "new", "zwölf", "--agent", "é", "--external-id", "ü1", "--cwd", "né").out.strip()
    ran(workspace, "append", "--session", "ü1", "--prompt", "ß?", "--kind", "kìnd", "--model", "mödel")
    recorded = ran(workspace, "record", "--title", "ø", "--agent", "é", "--prompt", "å?", "--", "echo", "ä")
    assert recorded.out == "ä\n"
    forked = ran(workspace, "fork", "zwölf", "--title", "drëi").out.strip()
    with SessionManager(store_of(workspace)) as manager:
        session = manager.get_session(made)
        assert (session.title, session.agent, session.external_id) == ("zwölf", "é", "ü1")
        assert session.cwd == str(about)
        assert manager.get_session(forked).title == "drëi"
        (other,) = [each for each in manager.list_sessions().sessions if each.title == "ø"]
    (asked,) = rounds(workspace, made)
    (turn,) = asked.response.turns
    assert (asked.request.content, turn.kind, turn.model) == ("ß?", "kìnd", "mödel")
    (asked,) = rounds(workspace, other.id)
    assert (asked.request.content, asked.metadata["command"]) == ("å?", ["echo", "ä"])
    for command in (["usage", "--agent", "é"], ["search", "zwölf"], ["export", "--all", "--agent", "é"],
                    ["show", "@last", "--agent", "é"], ["list", "--cwd", "né"]):  # fmt: skip
        assert ran(workspace, *command).out, command
    ran(workspace, "export", "ü1", "--output", "né/tälk.md")
    assert (about / "tälk.md").exists()
    ran(workspace, "backup", "né/ü.sqlite")
    assert (about / "ü.sqlite").exists()
    assert ran(about, "new", "--scope", "system").out
    with SessionManager(about / "db.sqlite") as manager:
        assert [each.cwd for each in manager.list_sessions().sessions] == [str(about)]


@pytest.mark.parametrize("command", [["append", "--prompt", "?"], ["call", "session/list", "-"]])
def test_a_stdin_that_is_closed_is_no_empty_text(workspace: Path, command: list[str]) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *SERVER, *command],
        cwd=workspace,
        env=clean_environment(workspace),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"mandrake-sessions {command[0]}: stdin is closed, so there is nothing to read; give it with" in done.stderr
    assert not store_of(workspace).exists()
