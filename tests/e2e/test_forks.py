"""Forks of a long session beside others: nobody sees a half of one, and nothing is left of one that ended."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from commands.running import run
from mandrake_sessions import SessionManager
from mandrake_sessions.model import TurnStatus
from mandrake_sessions.operations.half_copies import remove_half_copies
from mandrake_sessions.store.sql.hidden import hidden_sessions
from mandrake_sessions.store.sqlite.connect import connect
from mandrake_sessions.store.sqlite.deep_check import deep_check
from wire import Wire, serving, store_of

ROUNDS, TURNS = 400, 10
TABLES = ("session", "round", "request", "response", "turn", "text", "tool_call")


@pytest.fixture(scope="module")
def long_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store with one session, whose copying takes many steps."""
    path = tmp_path_factory.mktemp("long") / "db.sqlite"
    with SessionManager(path, durability="normal") as manager, manager.transaction():
        session = manager.create_session(title="long", agent="codex")
        for number in range(ROUNDS):
            response = manager.create_round(session.id, content=f"{number}?").response.id
            for _ in range(TURNS):
                manager.create_turn(response, content="word " * 200, status=TurnStatus.COMPLETED)
        manager.create_turn(response, content="long " * 200_000, status=TurnStatus.COMPLETED)
    return path.read_bytes()


@pytest.fixture
def place(workspace: Path, long_store: bytes) -> Path:
    """The workspace with a store of its own."""
    database = store_of(workspace)
    database.parent.mkdir(exist_ok=True)
    database.write_bytes(long_store)
    return workspace


@pytest.fixture
def wire(place: Path) -> Iterator[Wire]:
    with serving(place) as served:
        yield served


@pytest.fixture
def other(place: Path, wire: Wire) -> Iterator[Wire]:
    with serving(place) as served:
        yield served


def source_of(wire: Wire) -> str:
    (session,) = wire.request("session/list")["sessions"]
    return str(session["id"])


def rows(database: Path) -> dict[str, int]:
    """How many rows each table has, hidden ones too."""
    with closing(connect(str(database), read_only=True)) as connection:
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in TABLES
        }


def is_half_made(database: Path) -> bool:
    with closing(connect(str(database), read_only=True)) as connection:
        return bool(hidden_sessions(connection))


def until(what: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.002)


def begin(wire: Wire, place: Path, source: str, **params: Any) -> int:
    """A fork that has begun to write when this returns."""
    message_id = wire.post("session/fork", sessionId=source, **params)
    until(lambda: is_half_made(store_of(place)))
    return message_id


def test_nobody_sees_a_half_copy(place: Path, wire: Wire, other: Wire) -> None:
    source = source_of(other)
    subscription = other.request("session/subscribe")
    turns = other.request("turn/subscribe")
    begun = begin(wire, place, source)
    looks = 0
    while is_half_made(store_of(place)):
        page = other.request("session/list", archived=None, limit=10)
        if len(page["sessions"]) == 1:
            assert [session["id"] for session in page["sessions"]] == [source]
        assert other.request("session/list", agent="codex", parentId=source)["sessions"] in ([], page["sessions"][:1])
        # A position of now loses nothing.
        assert other.request("turn/subscribe", since=page["seq"])["reset"] is False
        with closing(connect(str(store_of(place)), read_only=True)) as connection:
            assert deep_check(connection) == []
        looks += 1
    copy = wire.result(begun)
    assert looks > 1
    assert (copy["roundCount"], copy["parentId"]) == (ROUNDS, source)
    told = other.notification("session/updated")
    assert (told["subscriptionId"], told["kind"], told["session"]) == (
        subscription["subscriptionId"],
        "created",
        copy,
    )
    # It is the only one: the next that is told is of what is done next.
    other.request("session/update", sessionId=source, title="longer")
    assert other.notification("session/updated")["kind"] == "updated"
    other.request("turn/unsubscribe", subscriptionId=turns["subscriptionId"])
    with closing(connect(str(store_of(place)), read_only=True)) as connection:
        assert deep_check(connection) == []


def test_the_copy_is_whole(place: Path, wire: Wire) -> None:
    source = source_of(wire)
    copy = wire.request("session/fork", sessionId=source)["id"]
    pages = [_rounds(wire, session) for session in (source, copy)]
    original, copied = ([_bare(each) for each in page] for page in pages)
    assert copied == original
    assert [each["copiedFromId"] for each in pages[1]] == [each["id"] for each in pages[0]]
    counts = rows(store_of(place))
    # The long text is in slices now.
    assert counts.pop("text") > 2 * ROUNDS * TURNS + 2
    assert counts == {"session": 2, **dict.fromkeys(("round", "request", "response"), 2 * ROUNDS)} | {
        "turn": 2 * (ROUNDS * TURNS + 1), "tool_call": 0,
    }  # fmt: skip


def test_requests_that_follow_see_it(place: Path, wire: Wire) -> None:
    """Effects in order; what is about the server itself does not wait."""
    source = source_of(wire)
    fork = begin(wire, place, source)
    listed = wire.post("session/list", parentId=source)
    renamed = wire.post("session/update", sessionId=source, title="renamed")
    began = time.monotonic()
    assert wire.request("server/info")["pid"] == wire.process.pid
    assert is_half_made(store_of(place)), f"server/info waited {time.monotonic() - began} s"
    copy = wire.result(fork)
    assert (copy["title"], copy["state"]) == ("long", "idle")
    assert wire.result(listed)["sessions"] == [copy]
    assert wire.result(renamed)["title"] == "renamed"


def test_others_write_meanwhile(place: Path, wire: Wire, other: Wire) -> None:
    """The lock is free between two steps, and the copy is of the state that was there when it began."""
    source = source_of(other)
    turn = other.request("turn/create", responseId=_last_response(other, source), content="and ")["id"]
    fork = begin(wire, place, source)
    added, waits = 0, []
    while is_half_made(store_of(place)):
        began = time.monotonic()
        other.request("turn/append", turnId=turn, content=f"{added} ")
        waits.append(time.monotonic() - began)
        added += 1
        if added % 20 == 0:
            with closing(connect(str(store_of(place)), read_only=True)) as connection:
                assert deep_check(connection) == []
    copy = wire.result(fork)
    assert added > 10
    # By far the most of them wait for one step at most.
    assert sorted(waits)[len(waits) // 2] < 0.2
    last = _rounds(wire, copy["id"])[-1]["response"]
    assert (last["status"], last["turns"][-1]["status"]) == ("interrupted", "interrupted")
    assert last["turns"][-1]["content"] == "and "
    assert copy["state"] == "failed"
    assert other.request("turn/get", turnId=turn)["content"].endswith(f"{added - 1} ")


@pytest.mark.parametrize("what", ["session/delete", "round/delete"])
def test_what_is_deleted_meanwhile_was_there_when_the_fork_began(
    place: Path, wire: Wire, other: Wire, what: str
) -> None:
    source = source_of(other)
    last = other.request("round/list", sessionId=source, limit=1000)["rounds"][-1]["id"]
    fork = begin(wire, place, source)
    other.request(what, **({"sessionId": source} if what == "session/delete" else {"roundId": last}))
    copy = wire.result(fork)
    parent = None if what == "session/delete" else source
    assert (copy["parentId"], copy["forkedFromRoundId"], copy["relation"]) == (parent, None, "fork")
    assert copy["roundCount"] == len(_rounds(wire, copy["id"])) == ROUNDS


def test_a_cancelled_fork_leaves_nothing(place: Path, wire: Wire) -> None:
    source, before = source_of(wire), rows(store_of(place))
    own = str(uuid.uuid4())
    fork = begin(wire, place, source, id=own)
    behind = wire.post("session/list")
    wire.notify("$/cancelRequest", id=fork)
    error = wire.answer(fork)["error"]
    assert (error["code"], error["data"]["kind"]) == (-32800, "cancelled")
    assert len(wire.result(behind)["sessions"]) == 1
    assert rows(store_of(place)) == before
    assert wire.error("session/get", sessionId=own)["data"]["kind"] == "notFound"
    # The id is free, and the call can be sent again.
    assert wire.request("session/fork", sessionId=source, id=own)["id"] == own


def test_the_same_fork_of_two_servers_is_one(place: Path, wire: Wire, other: Wire) -> None:
    source, own = source_of(wire), str(uuid.uuid4())
    first, second = (each.post("session/fork", sessionId=source, id=own) for each in (wire, other))
    assert wire.result(first) == other.result(second)
    assert wire.request("session/list", parentId=source)["sessions"][0]["id"] == own
    counts = rows(store_of(place))
    assert (counts["session"], counts["turn"]) == (2, 2 * (ROUNDS * TURNS + 1))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_server_leaves_half_done_goes(place: Path, other: Wire, how: signal.Signals) -> None:
    """Another server deletes it while it has nothing else to do; and the call can be sent again at once."""
    source, before = source_of(other), rows(store_of(place))
    own = str(uuid.uuid4())
    with serving(place) as wire:
        fork = begin(wire, place, source, id=own)
        wire.process.send_signal(how)
        if how is signal.SIGTERM:
            # It may be whole in the time that there is for what was received.
            answer = wire.answer(fork)
            assert "result" in answer or answer["error"]["data"]["kind"] == "cancelled"
        wire.process.wait(10)
        wire.kill()
    copy = other.request("session/fork", sessionId=source, id=own)
    assert copy["roundCount"] == ROUNDS
    other.request("session/delete", sessionId=own)
    until(lambda: rows(store_of(place)) == before)
    assert len(other.request("session/list")["sessions"]) == 1
    with closing(connect(str(store_of(place)), read_only=True)) as connection:
        assert deep_check(connection) == []


def test_doctor_deletes_what_is_left(place: Path) -> None:
    with serving(place) as wire:
        source, before = source_of(wire), rows(store_of(place))
        begin(wire, place, source)
        wire.kill()
    told = run(place, "doctor", code=None).out
    assert "1 half-copied session of a process that is gone" in told
    assert "1 half-copied session" in run(place, "doctor", "--fix", code=None).out
    assert rows(store_of(place)) == before
    assert "half-copied" not in run(place, "doctor", code=None).out


def test_a_copy_that_goes_on_is_left_alone(place: Path, wire: Wire) -> None:
    """By the idle work of another process, and by a repair."""
    source = source_of(wire)
    fork = begin(wire, place, source)
    with SessionManager(store_of(place)) as manager:
        assert remove_half_copies(manager.store) == 0
    assert wire.result(fork)["roundCount"] == ROUNDS


def test_end_of_input_waits_for_it(place: Path, long_store: bytes) -> None:
    with serving(place) as wire:
        source = source_of(wire)
        fork = wire.post("session/fork", sessionId=source)
        wire.end_input()
        assert wire.result(fork)["roundCount"] == ROUNDS


def _last_response(wire: Wire, session_id: str) -> str:
    page = wire.request("session/history", sessionId=session_id, order="desc", limit=1, includeText=False)
    return str(page["rounds"][0]["response"]["id"])


def _rounds(wire: Wire, session_id: str) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        page = wire.request("session/history", sessionId=session_id, limit=100, includeRaw=True, cursor=cursor)
        found += page["rounds"]
        cursor = page["nextCursor"]
        if cursor is None:
            return found


def _bare(value: Any) -> Any:
    """Without what a copy has of its own."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    own = {"id", "seq", "sessionId", "roundId", "requestId", "responseId", "copiedFromId"}
    return {name: _bare(item) for name, item in value.items() if name not in own}
