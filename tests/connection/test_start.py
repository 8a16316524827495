"""What a server has loaded when it answers its first requests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import mandrake_sessions
from mandrake_sessions.model import TurnStatus
from strict import Talk, connected

# The server, and all that opening a store and answering short reads and writes takes.
PROGRAM = """
import sys
from mandrake_sessions import SessionManager, cli
from mandrake_sessions.connection import server
with SessionManager(sys.argv[1]) as manager:
    session = manager.create_session(title="x")
    detail = manager.create_round(session.id, content="?")
    manager.append_turn(manager.create_turn(detail.response.id).id, content="text")
    manager.list_sessions()
    loaded = set(sys.modules)
print(*sorted(loaded), sep="\\n")
"""
ON_DEMAND = {
    "connection.noting",
    "connection.other_reads",
    "exports",
    "handlers.joined",
    "known_stores",
    "maintenance",
    "operations.forking",
    "operations.housekeeping",
    "operations.indexing",
    "operations.joining",
    "operations.search",
    "operations.usage",
    "redaction",
    "store.elsewhere",
    "store.search",
    "store.sqlite.deep_check",
    "store.sqlite.search_index",
    "timezones",
    "visits",
}


def test_the_first_requests_load_nothing_that_few_calls_need(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "db.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    loaded = set(done.stdout.split())
    assert "mandrake_sessions.store.sqlite.store" in loaded
    others = {"pygls", "lsprotocol", "rich", "zoneinfo", "decimal", "markdown_it", "markupsafe", "nh3", "pygments"}
    assert loaded & ({f"mandrake_sessions.{name}" for name in ON_DEMAND} | others) == set()


def test_what_is_loaded_on_demand_is_there() -> None:
    """A module that has got another name would otherwise be missed by the test above."""
    program = (
        "import sys, importlib\n"
        "for name in sys.argv[1:]: print(importlib.import_module(f'mandrake_sessions.{name}').__name__)"
    )
    command = [sys.executable, "-c", program, *sorted(ON_DEMAND)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.split() == [f"mandrake_sessions.{name}" for name in sorted(ON_DEMAND)]


def test_a_server_goes_on_when_its_package_is_removed(tmp_path: Path, workspace: Path) -> None:
    """As an update does with that of a server which runs for days."""
    package = Path(mandrake_sessions.__file__).parent
    copy = tmp_path / "copied" / "server" / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(package.parent.parent / "migrations", tmp_path / "copied" / "migrations")
    environment = {"PYTHONPATH": str(copy.parent)}
    with connected(workspace, "--log-level", "debug", environment=environment) as client:
        talk = Talk(client, title="a talk about penguins")
        turn = talk.turn(input_cost=0.01, currency="EUR")
        client.turn_append(turn_id=turn, content="of the south")
        client.turn_update(turn_id=turn, status=TurnStatus.COMPLETED)
        client.wait_for_log("loaded what few calls need")
        shutil.rmtree(copy)
        fork = client.session_fork(session_id=talk.session)
        assert {hit.session_id for hit in client.session_search(query="penguins").hits} == {talk.session, fork.id}
        (day,) = client.session_usage(group_by="day", timezone="Europe/Berlin").groups or []
        assert day.turns == 1
        for method in ("session/list", "session/search", "session/usage"):
            params = {"query": "penguins"} if method == "session/search" else {}
            assert client.request(method, {**params, "scope": "all"})["unavailable"] == []
        assert len(client.store_list().stores) == 1
