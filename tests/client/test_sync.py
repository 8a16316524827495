"""The client without an event loop: what it adds to the asyncio client, over both framings."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mandrake_sessions.client import (
    Client,
    ClientError,
    NotAnswered,
    Notification,
    RequestFailed,
    ServerEnded,
    SyncClient,
    SyncSubscription,
    apply,
)
from mandrake_sessions.client.framing import Framing
from mandrake_sessions.client.methods import Methods
from mandrake_sessions.client.sync import Options
from mandrake_sessions.client.sync_methods import SyncMethods
from mandrake_sessions.model import Session, TurnStatus
from mandrake_sessions.protocol.results import SessionUpdated, TurnSubscription, TurnUpdated
from strict import StrictSyncClient, Talk, connected, read_all
from wire import clean_environment

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def client(workspace: Path, framing: Framing) -> Iterator[StrictSyncClient]:
    with connected(workspace, framing=framing) as made:
        yield made


def test_both_clients_have_the_same_methods_and_options() -> None:
    functions = [
        {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
        for kind in (Methods, SyncMethods)
    ]
    assert functions[0] == functions[1]
    assert {"request", "notify", "close", "follow_turns", "follow_sessions", "pid"} <= {*dir(Client)} & {
        *dir(SyncClient)
    }
    options = inspect.signature(Client).parameters.keys() - {"workspace"}
    assert options == Options.__annotations__.keys()


def test_a_call_gives_what_it_has_stored(client: StrictSyncClient) -> None:
    session = client.session_create(title="A talk", metadata={"snake_case": [1, 1.0], "long": "é" * 300_000})
    assert isinstance(session, Session)
    assert client.session_get(session_id=session.id) == session
    there = client.session_create(where={"scope": "system"})
    assert [found.id for found in client.session_list(where={"scope": "system"}).sessions] == [there.id]
    assert client.request("session/get", {"sessionId": session.id})["title"] == "A talk"


def test_a_state_and_its_changes_give_what_is_stored(client: StrictSyncClient) -> None:
    turn_id = Talk(client).turn()
    with client.follow_turns(turn_id=turn_id, include_raw=True) as changes:
        state = next(changes)
        assert isinstance(state, TurnSubscription)
        (turn,) = state.turns
        assert (changes.seq, changes.store_id) == (state.seq, state.store_id)
        client.turn_append(turn_id=turn_id, content="one ")
        ended = client.turn_update(turn_id=turn_id, status=TurnStatus.COMPLETED)
        for change in read_all(changes, ended.seq):
            turn = apply(turn, change)  # type: ignore[assignment]
        assert turn == client.turn_get(turn_id=turn_id)
        assert changes.unread == 0
        client.turn_delete(turn_id=turn_id)
        assert [change.kind for change in changes if isinstance(change, TurnUpdated)] == ["deleted"]


def test_sessions_are_followed_until_the_subscription_is_closed(workspace: Path) -> None:
    with SyncClient(workspace, environment=clean_environment(workspace)) as client:
        with client.follow_sessions() as changes:
            next(changes)
            made = client.session_create()
            told = next(changes)
            assert isinstance(told, SessionUpdated)
            assert told.session == made
        client.session_create()
        assert list(changes) == []


def test_an_error_says_what_the_server_says(client: StrictSyncClient) -> None:
    with pytest.raises(RequestFailed, match="turn/get: no turn") as failed:
        client.turn_get(turn_id=UNKNOWN)
    assert (failed.value.kind, failed.value.data["entity"]) == ("notFound", "turn")


def test_requests_are_submitted_in_order_and_may_be_sent_by_many_threads(client: StrictSyncClient) -> None:
    turn = Talk(client).turn()
    sent = [client.submit("turn/append", {"turnId": turn, "content": f"{n} "}) for n in range(200)]
    assert [reply.result()["chunk"] for reply in sent] == list(range(200))
    other = Talk(client).turn()
    threads = [
        threading.Thread(target=lambda: [client.turn_append(turn_id=other, content="x") for _ in range(20)])
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.turn_get(turn_id=other).chunk_count == 100
    assert client.turn_get(turn_id=turn).content == "".join(f"{n} " for n in range(200))


def test_a_notification_of_no_subscription_is_told(client: StrictSyncClient) -> None:
    client.notify("turn/append", {"turnId": UNKNOWN, "content": "lost"})
    assert client.told("turn/rejected").turn_id == UNKNOWN


def test_on_notification_must_not_call_the_client(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    def call(_: Notification) -> None:
        made.session_list()

    made = SyncClient(workspace, environment=clean_environment(workspace), on_notification=call)
    with made:
        made.notify("turn/append", {"turnId": UNKNOWN, "content": "lost"})
        while "must not call the client" not in caplog.text:
            made.session_list()


def test_ctrl_c_ends_a_call_and_the_client_goes_on(workspace: Path) -> None:
    with connected(workspace) as client:
        client.session_list()
        os.kill(client.pid, signal.SIGSTOP)
        main = threading.main_thread().ident or 0
        threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
        begun = time.monotonic()
        try:
            with pytest.raises(KeyboardInterrupt):
                client.session_create()
        finally:
            os.kill(client.pid, signal.SIGCONT)
        assert time.monotonic() - begun < 10
        assert len(client.session_list().sessions) <= 1


def test_a_call_that_takes_too_long_raises(workspace: Path) -> None:
    with connected(workspace, timeout=0.3) as client:
        client.run(client.strict.__aenter__())
        os.kill(client.pid, signal.SIGSTOP)
        try:
            with pytest.raises(NotAnswered, match=r"session/create was not answered within 0\.3 s"):
                client.session_create()
        finally:
            os.kill(client.pid, signal.SIGCONT)
            client.strict.timeout = 20.0
        client.session_list()


def test_the_end_of_the_server_and_of_the_client_are_errors(workspace: Path) -> None:
    with SyncClient(workspace, environment=clean_environment(workspace)) as client:
        waiting = client.follow_turns()
        next(waiting)
        os.kill(client.pid, signal.SIGKILL)
        with pytest.raises(ServerEnded):
            next(waiting)
        with pytest.raises(ServerEnded):
            client.session_list()
    client.close()
    with pytest.raises(ServerEnded, match="closed"):
        client.session_list()
    with pytest.raises(ServerEnded, match="No such file"), SyncClient(command=("/nowhere/server",)):
        pass


def test_nothing_of_it_is_left_running(workspace: Path) -> None:
    with SyncClient(workspace, environment=clean_environment(workspace)) as client:
        client.session_list()
        pid = client.pid
    assert "mandrake-sessions client" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_does_not_end_is_killed_after_the_time_that_it_has() -> None:
    deaf = "import time; time.sleep(60)"
    begun = time.monotonic()
    with SyncClient(command=(sys.executable, "-c", deaf), end_timeout=0.2) as client:
        pid = client.pid
    assert time.monotonic() - begun < 10
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# A program that writes its first argument as often as its second says, and reads until its input ends.
SAYING = "import sys; sys.stdout.write(sys.argv[1] * int(sys.argv[2])); sys.stdout.flush(); sys.stdin.read()"


@pytest.mark.parametrize(
    ("said", "times"),
    [("Content-Length: x\r\n\r\n", 1), ("X: 1\r\n\r\n", 2), ("x", 400_000), ("Content-Length: 9\r\n\r\n{}", 1)],
)
def test_headers_that_are_none_are_no_reply(said: str, times: int) -> None:
    command = (sys.executable, "-c", SAYING, said, str(times))
    with SyncClient(command=command, framing="headers", timeout=0.5) as client, pytest.raises(ClientError):
        client.session_list()


def test_a_strict_client_fails_on_what_is_left_unread(workspace: Path) -> None:
    with pytest.raises(AssertionError, match="left unread"), connected(workspace) as client:
        client.notify("turn/append", {"turnId": UNKNOWN, "content": "lost"})
    with pytest.raises(AssertionError, match="left unread"), connected(workspace) as client:
        changes: SyncSubscription[object, object] = client.follow_turns()  # type: ignore[assignment, type-var]
        next(changes)
        Talk(client).turn()
    with pytest.raises(AssertionError, match="should have failed"), connected(workspace) as client:
        client.error("session/list")
