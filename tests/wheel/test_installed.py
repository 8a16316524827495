"""What takes another path in an installed wheel than in a checkout; CI runs it on the wheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mandrake_sessions import SessionManager, __version__
from mandrake_sessions.store.sqlite.migrate import known_migrations
from wire import run_script


def test_the_migrations_are_found(tmp_path: Path) -> None:
    assert known_migrations()[0].name == "0001_initial.sql"
    with SessionManager(tmp_path / "db.sqlite") as manager:
        assert manager.store.state().schema_version == len(known_migrations())


def test_a_pipe_is_a_complete_program(workspace: Path) -> None:
    (answer,) = run_script(workspace, {"jsonrpc": "2.0", "id": 1, "method": "session/create"})
    assert answer["result"]["seq"] == 1


def test_the_openrpc_document_is_found(workspace: Path) -> None:
    (answer,) = run_script(workspace, {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"})
    assert "turn/append" in {method["name"] for method in answer["result"]["methods"]}


def test_the_style_and_the_script_of_a_page_are_found(workspace: Path) -> None:
    session = "0a000000-0000-4000-8000-000000000001"
    made, page = run_script(
        workspace,
        {"jsonrpc": "2.0", "id": 1, "method": "session/create", "params": {"id": session}},
        {"jsonrpc": "2.0", "id": 2, "method": "session/export", "params": {"sessionId": session, "format": "html"}},
    )
    assert made["result"]["id"] == session
    assert "prefers-color-scheme: dark" in page["result"]["content"]
    assert "createTreeWalker" in page["result"]["content"]


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).with_name("mandrake-sessions")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.strip() == f"mandrake-sessions {__version__}"


def test_an_embedding_program_loads_neither_pygls_nor_cattrs(tmp_path: Path) -> None:
    program = (
        "import sys; from mandrake_sessions import SessionManager\n"
        "SessionManager(sys.argv[1]).init()\n"
        "print(sorted({'pygls', 'lsprotocol', 'cattrs', 'rich', 'asyncio'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "db.sqlite")], capture_output=True,
                          text=True, check=True, timeout=20)  # fmt: skip
    assert done.stdout.strip() == "[]"
