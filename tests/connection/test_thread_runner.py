"""A store whose round trips are long runs on a thread: what its clients see is what those of any store see, and nothing
else waits for it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from connection import slow_store
from connection.slow_store import Kind
from locking import WRITE_LOCK, holding
from mandrake_sessions.store.sqlite.connect import connect
from wire import TIMEOUT, Conversation, Wire, serving, store_of


@contextmanager
def serving_slowly(workspace: Path, kind: Kind, *flags: str) -> Iterator[Wire]:
    """A server of a slow store; its event loop must never have made a round trip."""
    with serving(workspace, "lines", *flags, **slow_store.server(kind)) as served:
        yield served
    noted = workspace / slow_store.ON_THE_LOOP
    assert not noted.exists(), noted.read_text()


@pytest.fixture(params=["file", "memory"])
def slow(request: pytest.FixtureRequest, workspace: Path) -> Iterator[Wire]:
    """Of either kind."""
    with serving_slowly(workspace, request.param) as served:
        yield served


@pytest.fixture
def slow_file(workspace: Path) -> Iterator[Wire]:
    """Of a store that other processes have open too."""
    with serving_slowly(workspace, "file") as served:
        yield served


@contextmanager
def held(workspace: Path) -> Iterator[None]:
    """Writes to the slow store wait for the end of the block."""
    hold = workspace / slow_store.HOLD
    hold.touch()
    try:
        yield
    finally:
        hold.unlink()


def transactions(workspace: Path) -> int:
    """How many write transactions have been committed."""
    return len((workspace / slow_store.TRANSACTIONS).read_text().splitlines())


def test_it_is_slow(slow: Wire) -> None:
    begun = time.monotonic()
    Conversation(slow)
    assert time.monotonic() - begun >= 4 * slow_store.ROUND_TRIP_SECONDS


def test_a_store_without_a_file_leaves_none_and_is_told_nothing_of_files(workspace: Path) -> None:
    with serving_slowly(workspace, "memory") as slow:
        slow.request("session/create")
        (store,) = slow.request("server/health")["stores"]
        assert (store["open"], store["warnings"]) == (True, [])
    assert not (workspace / ".ws").exists()


def test_requests_take_effect_and_are_answered_in_their_order(slow: Wire) -> None:
    """Each read sees the writes before it, and no later one."""
    session = slow.request("session/create", title="0")["id"]
    sent: list[tuple[int, str]] = []
    for number in range(1, 9):
        sent.append((slow.post("session/update", sessionId=session, title=str(number)), str(number)))
        sent.append((slow.post("session/get", sessionId=session), str(number)))
        sent.append((slow.post("session/get", sessionId=session), str(number)))
    answers = [slow.next_message() for _ in sent]
    assert [answer["id"] for answer in answers] == [message_id for message_id, _ in sent]
    assert [answer["result"]["title"] for answer in answers] == [title for _, title in sent]


def test_a_long_read_sees_the_state_of_its_turn(slow: Wire) -> None:
    talk = Conversation(slow)
    turn = talk.turn(content="a")
    first = slow.post("turn/append", turnId=turn, content="b")
    history = slow.post("session/history", sessionId=talk.session)
    last = slow.post("turn/append", turnId=turn, content="c")
    (found,) = slow.result(history)["rounds"]
    assert found["response"]["turns"][0]["content"] == "ab"
    assert slow.result(first)["chunk"] + 1 == slow.result(last)["chunk"]
    assert slow.request("turn/get", turnId=turn)["content"] == "abc"


def test_errors_are_the_same(slow: Wire) -> None:
    unknown = "00000000-0000-7000-8000-000000000000"
    assert slow.error("session/get", sessionId=unknown)["data"]["kind"] == "notFound"
    Conversation(slow)
    assert slow.error("session/get", sessionId=unknown)["data"]["kind"] == "notFound"
    assert slow.error("turn/append", turnId=unknown, content="a")["data"]["kind"] == "notFound"
    assert slow.error("session/update", sessionId=unknown, title=3)["code"] == -32602


def test_nothing_else_waits_for_a_write(slow: Wire, workspace: Path) -> None:
    talk = Conversation(slow)
    with held(workspace):
        write = slow.post("session/update", sessionId=talk.session, title="held")
        info = slow.request("server/info")
        assert info["stores"][0]["storeId"] is not None
        assert slow.request("server/health")["status"] == "ok"
        # Another store, which runs on the loop.
        other = slow.request("session/create", scope="system", title="not held")
        assert slow.request("session/get", scope="system", sessionId=other["id"])["title"] == "not held"
        behind = slow.post("session/get", sessionId=talk.session)
        assert "session/update" not in slow.request("server/info")["calls"]
    first, second = slow.next_message(), slow.next_message()
    assert [first["id"], second["id"]] == [write, behind]
    assert first["result"]["title"] == second["result"]["title"] == "held"


def test_what_arrives_meanwhile_is_the_next_group(slow: Wire, workspace: Path) -> None:
    talk = Conversation(slow)
    turn = talk.turn()
    with held(workspace):
        first = slow.post("turn/append", turnId=turn, content="0")
        wait_until_writing(slow)
        before = transactions(workspace)
        appends = [slow.post("turn/append", turnId=turn, content=str(number)) for number in range(1, 25)]
        wait_until_writing(slow)
    receipts = [slow.result(message_id) for message_id in (first, *appends)]
    assert [receipt["chunk"] for receipt in receipts] == list(range(25))
    # The one that was held, and one for all that came meanwhile.
    assert transactions(workspace) - before == 2


def test_other_writes_share_transactions_too(slow: Wire, workspace: Path) -> None:
    """A group of them ends after a while, which is a matter of how slow the store is."""
    talk = Conversation(slow)
    with held(workspace):
        first = slow.post("session/update", sessionId=talk.session, title="0")
        wait_until_writing(slow)
        before = transactions(workspace)
        updates = [slow.post("session/update", sessionId=talk.session, title=str(number)) for number in range(1, 13)]
        wait_until_writing(slow)
    titles = [slow.result(message_id)["title"] for message_id in (first, *updates)]
    assert titles == [str(number) for number in range(13)]
    assert transactions(workspace) - before <= 10


def test_a_failed_write_of_a_group_takes_no_other_along(slow: Wire, workspace: Path) -> None:
    talk = Conversation(slow)
    unknown = "00000000-0000-7000-8000-000000000000"
    with held(workspace):
        first = slow.post("session/update", sessionId=talk.session, title="first")
        wait_until_writing(slow)
        bad = slow.post("session/update", sessionId=unknown, title="nobody's")
        good = slow.post("session/update", sessionId=talk.session, title="good")
    assert slow.answer(bad)["error"]["data"]["kind"] == "notFound"
    assert [slow.result(first)["title"], slow.result(good)["title"]] == ["first", "good"]


def test_a_large_write_and_a_large_read(slow: Wire) -> None:
    talk = Conversation(slow)
    text = "x" * 2_000_000
    assert slow.request("turn/create", responseId=talk.response, content=text, status="completed")["content"] == text
    slow.request("session/update", sessionId=talk.session, metadata={"large": "y" * 300_000})
    assert len(slow.request("session/get", sessionId=talk.session)["metadata"]["large"]) == 300_000
    (found,) = slow.request("session/history", sessionId=talk.session)["rounds"]
    assert found["response"]["turns"][0]["content"] == text


def test_requests_that_wait_can_be_cancelled(slow: Wire, workspace: Path) -> None:
    talk = Conversation(slow)
    with held(workspace):
        written = slow.post("session/update", sessionId=talk.session, title="written")
        wait_until_writing(slow)
        waits = slow.post("session/update", sessionId=talk.session, title="cancelled")
        reads = slow.post("session/list")
        for message_id in (written, waits, reads):
            slow.notify("$/cancelRequest", id=message_id)
        for message_id in (waits, reads):
            assert slow.answer(message_id)["error"]["data"]["kind"] == "cancelled"
    # It was under way: its answer says what became of it.
    assert slow.result(written)["title"] == "written"
    assert slow.request("session/get", sessionId=talk.session)["title"] == "written"


def test_a_lock_of_another_process_is_waited_for_outside_the_store(workspace: Path) -> None:
    with serving_slowly(workspace, "file", "--busy-timeout", "600") as slow:
        slow.let_be("server/healthChanged")
        talk = Conversation(slow)
        with holding(workspace, WRITE_LOCK):
            waits = slow.post("session/update", sessionId=talk.session, title="in time")
            # They are answered while the lock is held, so none of them waits for it.
            slow.request("server/info")
            assert slow.request("session/get", scope="system", sessionId=other_session(slow))["title"] == "elsewhere"
        assert slow.result(waits)["title"] == "in time"


def test_each_call_is_told_how_long_it_waited_for_a_lock(workspace: Path) -> None:
    with serving_slowly(workspace, "file", "--busy-timeout", "0.4") as slow:
        slow.let_be("server/healthChanged")
        talk = Conversation(slow)
        with holding(workspace, WRITE_LOCK):
            late = [slow.post("session/update", sessionId=talk.session, title=str(number)) for number in range(3)]
            for message_id in late:
                data = slow.answer(message_id)["error"]["data"]
                assert data["kind"] == "busy"
                assert data["waitedMs"] >= 400


def other_session(wire: Wire) -> str:
    made: str = wire.request("session/create", scope="system", title="elsewhere")["id"]
    return made


def test_subscriptions_are_live(slow_file: Wire, workspace: Path) -> None:
    """Own writes, those of another process, from memory and from the feed; of turns and of sessions."""
    talk = Conversation(slow_file)
    turn = talk.turn()
    turns = slow_file.request("turn/subscribe", turnId=turn)
    sessions = slow_file.request("session/subscribe", sessionId=talk.session)
    assert turns["storeId"] == slow_file.request("server/info")["stores"][0]["storeId"]
    receipt = slow_file.request("turn/append", turnId=turn, content="own")
    assert said(slow_file, receipt["seq"]) == "own"
    with serving(workspace) as other:
        receipt = other.request("turn/append", turnId=turn, content=" another's")
        assert said(slow_file, receipt["seq"]) == " another's"
        renamed = other.request("session/update", sessionId=talk.session, title="renamed")
        told = slow_file.notification("session/updated")
        assert (told["subscriptionId"], told["session"]["title"]) == (sessions["subscriptionId"], "renamed")
        assert told["seq"] == renamed["seq"]
        for number in range(20):
            slow_file.request("turn/append", turnId=turn, content=f"<{number}>")
            other.request("turn/append", turnId=turn, content=f"[{number}]")
        ended = slow_file.request("turn/update", turnId=turn, status="completed")
    changes = slow_file.notifications_until(ended["seq"])
    pieces = "".join(params.get("content", "") for params in changes)
    assert pieces == "".join(f"<{number}>[{number}]" for number in range(20))
    assert changes[-1]["changes"]["status"] == "completed"
    slow_file.let_be("session/updated")
    for subscription in (turns, sessions):
        kind = "turn" if subscription is turns else "session"
        slow_file.request(f"{kind}/unsubscribe", subscriptionId=subscription["subscriptionId"])


def test_a_subscription_from_before_gets_all_that_came_since(slow: Wire) -> None:
    talk = Conversation(slow)
    turn = talk.turn()
    start = slow.request("turn/get", turnId=turn)["seq"]
    text = [f"<{number}>" for number in range(30)]
    for piece in text:
        last = slow.request("turn/append", turnId=turn, content=piece)
    behind = slow.request("turn/subscribe", turnId=turn, since=start)
    assert not behind["reset"]
    assert "".join(params["content"] for params in slow.notifications_until(last["seq"])) == "".join(text)
    newest = slow.request("turn/append", turnId=turn, content="newest")
    assert said(slow, newest["seq"]) == "newest"


def test_a_subscription_waits_for_its_store_to_be_made(slow_file: Wire, workspace: Path) -> None:
    subscribed = slow_file.request("session/subscribe")
    with serving(workspace) as other:
        made = other.request("session/create", title="born")
    told = slow_file.notification("session/updated")
    assert (told["subscriptionId"], told["session"]["id"]) == (subscribed["subscriptionId"], made["id"])


def test_a_deleted_file_is_made_again(slow_file: Wire, workspace: Path) -> None:
    slow_file.let_be("server/healthChanged")
    talk = Conversation(slow_file)
    turn = talk.turn()
    subscribed = slow_file.request("turn/subscribe", turnId=turn)
    for file in store_of(workspace).parent.glob("db.sqlite*"):
        if file.is_file():
            file.unlink()
    made = slow_file.request("session/create", title="new")
    ended = slow_file.notification("subscription/ended")
    assert (ended["subscriptionId"], ended["reason"]) == (subscribed["subscriptionId"], "closed")
    assert [session["id"] for session in slow_file.request("session/list")["sessions"]] == [made["id"]]


@pytest.mark.parametrize("by_signal", [False, True])
def test_the_end_waits_for_a_write_that_is_under_way(workspace: Path, by_signal: bool) -> None:
    with serving_slowly(workspace, "memory") as slow:
        talk = Conversation(slow)
        with held(workspace):
            write = slow.post("session/update", sessionId=talk.session, title="last")
            wait_until_writing(slow)
            if by_signal:
                slow.process.send_signal(signal.SIGTERM)
            else:
                slow.end_input()
            time.sleep(0.1)
        assert slow.result(write)["title"] == "last"
        assert slow.process.wait(10) == 0


def test_idle_work_is_done_on_its_thread(slow_file: Wire, workspace: Path) -> None:
    """A turn whose process is gone becomes interrupted."""
    with serving(workspace) as other:
        turn = Conversation(other).turn()
        slow_file.request("turn/subscribe", turnId=turn)
        other.kill()
        slow_file.let_be("server/healthChanged")
        changed: Any = slow_file.notification()
        assert changed["changes"]["status"] == "interrupted"


def wait_until_writing(slow: Wire) -> None:
    """Until what was sent before is under way."""
    slow.request("server/info")
    time.sleep(0.1)


def said(wire: Wire, seq: int) -> str:
    """The text of the notification of one append."""
    told = wire.notification()
    assert told["seq"] == seq
    content: str = told["content"]
    return content


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux tells of it in /proc")
def test_a_cancelled_fork_leaves_no_reading_without_end(workspace: Path, slow_file: Wire) -> None:
    """Its numbers stand in the store and in no change: who follows the store must not look for them again and again."""
    wire = slow_file
    conversation = Conversation(wire)
    for _ in range(4):
        conversation.turn(content="word " * 60_000, status="completed")
    subscription = wire.request("turn/subscribe")["subscriptionId"]
    fork = wire.post("session/fork", sessionId=conversation.session)
    while not _hidden(workspace):
        time.sleep(0.001)
    wire.notify("$/cancelRequest", id=fork)
    assert wire.answer(fork)["error"]["data"]["kind"] == "cancelled"
    assert not _hidden(workspace)
    deadline = time.monotonic() + TIMEOUT
    # One read takes 4 ms, and several waits of several threads. What follows the turns, such as filling the search
    # index, goes on for a moment.
    while waits_in_a_second(wire) >= 200:
        assert time.monotonic() < deadline
    turn = conversation.turn()
    assert wire.notification()["turnId"] == turn
    wire.request("turn/unsubscribe", subscriptionId=subscription)


def _hidden(workspace: Path) -> int:
    # As one that reads: another would be taken for a program that writes over the file.
    with closing(connect(str(store_of(workspace)), read_only=True)) as connection:
        statement = "SELECT count(*) FROM session WHERE copying_lease IS NOT NULL"
        return int(connection.execute(statement).fetchone()[0])


def waits_in_a_second(wire: Wire) -> int:
    before = times_waited(wire)
    time.sleep(1.0)
    return times_waited(wire) - before


def times_waited(wire: Wire) -> int:
    """How often its threads have waited for something."""
    texts = [path.read_text() for path in Path(f"/proc/{wire.process.pid}/task").glob("*/status")]
    return sum(int(text.split("voluntary_ctxt_switches:", 1)[1].split()[0]) for text in texts)
