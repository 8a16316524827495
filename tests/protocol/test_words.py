"""A message names things in Python's words to programs, and in those of the wire and of flags to clients and people."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import mandrake_sessions
from mandrake_sessions import SessionManager
from mandrake_sessions.commands.words import COMMAND_WORDS
from mandrake_sessions.errors import Busy, NotFound, SessionsError, StoreMoved, StrangePart, Unreadable
from mandrake_sessions.model import TurnStatus
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.protocol.errors import error_object
from mandrake_sessions.protocol.methods import METHODS
from mandrake_sessions.protocol.words import WIRE_WORDS, in_wire_words
from mandrake_sessions.settings import Settings
from mandrake_sessions.store.sqlite.failures import damaged
from mandrake_sessions.store.sqlite.filesystem import unsupported
from mandrake_sessions.store.sqlite.reading import require_file
from mandrake_sessions.store_names import DEFAULT_STORE
from mandrake_sessions.workspaces import default_workspace

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
# Flags, commands, methods of the wire, names in camel case.
NOT_PYTHON = re.compile(r"--[a-z]|mandrake-sessions |(?<!/)\b(session|round|turn|toolCall)/[a-z]+\b|\b[a-z]+[A-Z]\w+")


def raised(work: Callable[[], object]) -> SessionsError:
    with pytest.raises(SessionsError) as caught:
        work()
    return caught.value


def check(error: SessionsError, python: str, wire: str) -> None:
    """The two words must stand in the two messages, which are the same but for the words."""
    assert python in str(error)
    assert not NOT_PYTHON.search(str(error)), str(error)
    assert wire in in_wire_words(error)
    assert python not in in_wire_words(error)
    assert in_wire_words(error) == error_object(error)["message"]


def test_operations(manager: SessionManager) -> None:
    response = manager.create_round(manager.create_session(external_id="a").id, content="?").response.id
    streaming = manager.create_turn(response)
    ended = manager.create_turn(response, status=TurnStatus.COMPLETED)
    error = raised(lambda: manager.create_session(external_id="a"))
    check(error, "the external_id 'a'; get it with get_session()", "the externalId 'a'; get it with session/get")
    error = raised(lambda: manager.update_turn(streaming.id, stream_end_time=1))
    check(error, "so it has no stream_end_time;", "so it has no streamEndTime;")
    error = raised(lambda: manager.update_turn(ended.id, stream_end_time=None))
    check(error, "so its stream_end_time cannot", "so its streamEndTime cannot")
    error = raised(lambda: manager.delete_tool_call(ended.id, "call"))
    check(error, "no tool_call 'call'", "no toolCall 'call'")
    assert isinstance(error, NotFound)
    assert error_object(error)["data"]["entity"] == "toolCall"


def test_stores(database: Path, tmp_path: Path) -> None:
    check(Busy("a.sqlite", 5), "raise busy_timeout", "raise --busy-timeout")
    mend = ("`maintenance.repair`", "`mandrake-sessions doctor --fix`")
    check(Unreadable("turn", UNKNOWN, "it is odd"), f"Run {mend[0]}, which", f"Run {mend[1]}, which")
    check(StrangePart("trigger", "t"), f"{mend[0]} takes it away", f"{mend[1]} takes it away")
    check(StoreMoved("a.sqlite"), "just now; try again", "just now; send it again")
    check(damaged("odd", "a b"), "(`maintenance.restore`)", "(mandrake-sessions restore --database 'a b' BACKUP)")
    check(
        unsupported("a", "no"),
        "(db_path), or allow_network_filesystem if",
        "(--database), or --allow-network-filesystem if",
    )
    check(raised(lambda: require_file("a.sqlite")), "one with database", "one with --workspace or --database")
    check(raised(SessionManager(tmp_path).init), "name a file with db_path", "name a file with --database")


def test_the_database_of_another_program(database: Path) -> None:
    database.parent.mkdir()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    check(
        raised(SessionManager(database).init),
        "Name another file with db_path",
        f"`mandrake-sessions import {database}` then brings in",
    )


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = raised(SessionManager(tmp_path / "file" / "store" / "db.sqlite").init)
    check(error, "name a file with db_path", "name a file with --database")


def test_the_directory_of_a_workspace_that_cannot_be_made(workspace: Path) -> None:
    (workspace / ".ws").write_text("")
    with closing(OpenStores(Settings(workspace=str(workspace)))) as stores:
        error = raised(lambda: stores.open(stores.places.place(DEFAULT_STORE), make=True))
    check(error, "name a file with db_path", "name a file with --database")


def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    error = raised(default_workspace)
    check(error, "with workspace, or a file with db_path", "with --workspace, or a file with --database")


def test_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "elsewhere")
    manager = SessionManager(tmp_path / "store" / "db.sqlite", inside=tmp_path / "store")
    check(raised(manager.init), "that is meant with db_path", "that is meant with --database")


def test_every_name_in_a_message_has_its_words() -> None:
    """A message is worded when somebody has met the error: then it must not be missing a word."""
    named = re.compile(r"""words\.(operation|maintenance|switch)\(['"](\w+)['"]""")
    sources = Path(mandrake_sessions.__file__).parent.rglob("*.py")
    found = {match.groups() for path in sources for match in named.finditer(path.read_text(encoding="utf-8"))}
    assert {("operation", "fork_session"), ("maintenance", "repair"), ("switch", "replace")} <= found
    for kind, name in sorted(found):
        words = COMMAND_WORDS if kind == "switch" else WIRE_WORDS
        assert getattr(words, kind)(name, *(["file"] if kind == "maintenance" else []))
        if kind == "operation":
            assert WIRE_WORDS.operation(name) in METHODS
            assert hasattr(SessionManager, name)
