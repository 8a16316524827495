"""``session/search`` where each client is a short script, so that no server runs for long enough to fill the index; and
of what the same client has just written."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from commands.running import run
from mandrake_sessions import SessionManager
from mandrake_sessions.ids import new_id
from mandrake_sessions.model import TurnStatus
from strict import StrictSyncClient
from wire import Message, run_script, store_of

DONE = TurnStatus.COMPLETED


def request(number: int, method: str, **params: Any) -> Message:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def said(*texts: str) -> list[Message]:
    """A script that stores a session with turns."""
    session, response = new_id(), new_id()
    calls: list[Message] = [
        request(1, "session/create", id=session, title="Otter talk"),
        request(2, "round/create", sessionId=session, content="What of otters?", responseId=response),
    ]
    for number, text in enumerate(texts, 3):
        calls.append(request(number, "turn/create", responseId=response, content=text, status="completed"))
    return calls


def searched(workspace: Path, query: str) -> Message:
    (answer,) = run_script(workspace, request(1, "session/search", query=query, limit=1000))
    result: Message = answer["result"]
    return result


def finding(workspace: Path) -> str:
    report = json.loads(run(workspace, "doctor", "--json").out)
    (text,) = [found["text"] for found in report["findings"] if found["check"] == "search"]
    return str(text)


def test_a_script_finds_what_another_has_stored(workspace: Path) -> None:
    answers = run_script(workspace, *said("a badger"))
    assert all("result" in answer for answer in answers)
    for query, field in (("badger", "content"), ("otters", "request"), ("otter", "title")):
        page = searched(workspace, query)
        assert page["pending"] == 0
        assert field in [hit["field"] for hit in page["hits"]]


def test_a_script_finds_what_it_has_stored_itself(workspace: Path) -> None:
    *_, answer = run_script(workspace, *said("a badger"), request(9, "session/search", query="badger"))
    assert (len(answer["result"]["hits"]), answer["result"]["pending"]) == (1, 0)


def test_the_end_of_a_script_fills_the_index(workspace: Path) -> None:
    run_script(workspace, *said("a badger", "another badger"))
    assert finding(workspace) == "the index is whole"


def test_a_turn_that_streams_at_the_end_is_in_the_index(workspace: Path) -> None:
    """It is interrupted then, and nobody else would put it in."""
    *others, turn = said("a badger that goes on")
    del turn["params"]["status"]
    run_script(workspace, *others, turn)
    assert finding(workspace) == "the index is whole"
    assert [hit["field"] for hit in searched(workspace, "badger")["hits"]] == ["content"]


def test_scripts_fill_a_long_backlog_piece_by_piece(workspace: Path) -> None:
    """Each answers soon, and tells how much is missing."""
    text = " ".join(f"word{number} and more" for number in range(4000))
    with SessionManager(store_of(workspace), durability="normal") as manager:
        response = manager.create_round(manager.create_session().id, content="?").response.id
        with manager.transaction():
            for number in range(200):
                manager.create_turn(response, content=f"badger {number} {text}", status=DONE)
    missing = [200]
    while missing[-1]:
        page = searched(workspace, "badger")
        assert len(page["hits"]) == 200 - page["pending"]
        assert page["pending"] < missing[-1], "each script puts some in"
        missing.append(page["pending"])
    assert len(missing) > 2, "one script had the time for all of it"


def test_scripts_do_not_wait_for_who_holds_the_index(workspace: Path) -> None:
    """Such as a server that was stopped in the middle of a step."""
    run_script(workspace, *said("a badger"))
    (index,) = Path(f"{store_of(workspace)}-search").glob("*.sqlite")
    began = time.monotonic()
    run_script(workspace, *said("a second badger"))
    alone = time.monotonic() - began
    with closing(sqlite3.connect(index, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        run_script(workspace, *said("a third badger"))
        page = searched(workspace, "badger")
        assert time.monotonic() - began < 2 * alone + 2
        assert (len(page["hits"]), page["pending"]) == (2, 1)
        holder.execute("ROLLBACK")
    assert len(searched(workspace, "badger")["hits"]) == 3


def test_a_client_finds_what_it_has_just_written(client: StrictSyncClient) -> None:
    """While nothing is pending, nothing is missing: titles, requests and what was changed too."""

    def found(query: str) -> int:
        while (page := client.session_search(query=query)).pending:
            time.sleep(0.05)
        return len(page.hits)

    session = client.session_create(title="A badger")
    assert found("badger") == 1
    detail = client.round_create(session_id=session.id, content="Of marmots")
    assert found("marmots") == 1
    client.session_update(session_id=session.id, title="A weasel")
    assert (found("badger"), found("weasel")) == (0, 1)
    client.request_update(request_id=detail.request.id, content="Of stoats")
    assert (found("marmots"), found("stoats")) == (0, 1)
    turn = client.turn_create(response_id=detail.response.id, content="A polecat")
    assert found("polecat") == 0
    client.turn_update(turn_id=turn.id, status=DONE)
    assert found("polecat") == 1
    fork = client.session_fork(session_id=session.id)
    assert found("polecat") == 2
    client.session_delete(session_id=fork.id)
    assert found("polecat") == 1
