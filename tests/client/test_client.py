"""The client against real servers: calls, subscriptions, and what becomes of them when a server or a store ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mandrake_sessions.client import (
    Client,
    ClientError,
    NotAnswered,
    Notification,
    RequestFailed,
    ServerEnded,
    apply,
)
from mandrake_sessions.model import Session, Turn, TurnStatus
from mandrake_sessions.protocol.results import SessionSubscription, SessionUpdated, TurnSubscription, TurnUpdated
from strict import StrictClient, new_turn, read_until
from wire import TIMEOUT, clean_environment, store_of

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
async def client(workspace: Path) -> AsyncIterator[StrictClient]:
    async with StrictClient(workspace) as made:
        yield made


async def append(client: Client, turn: Turn, *texts: str) -> int:
    """The seq of the last piece."""
    return [(await client.turn_append(turn_id=turn.id, content=text, raw_response="r")).seq for text in texts][-1]


def kill(client: Client) -> None:
    os.kill(client.pid, signal.SIGKILL)


def test_importing_the_client_loads_neither_the_store_nor_lsp() -> None:
    program = "import sys, mandrake_sessions.client; print(*sys.modules, sep='\\n')"
    loaded = set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "mandrake_sessions.client.subscription" in loaded
    packages = ("sqlite3", "pygls", "lsprotocol", "cattrs", "mandrake_sessions.store", "mandrake_sessions.manager")
    assert not {name for name in loaded if name.startswith(packages)}


async def test_calls_are_typed_and_may_be_sent_at_the_same_time(client: StrictClient) -> None:
    session = await client.session_create(title="A talk", metadata={"snake_case": [1, 1.0]})
    assert isinstance(session, Session)
    assert session.metadata == {"snake_case": [1, 1.0]}
    made = await client.round_create(session_id=session.id, content="?")
    turn = await client.turn_create(
        response_id=made.response.id, tool_calls=[{"id": "a", "method_name": "ls", "start_time": 1}]
    )
    assert (turn.status, turn.tool_calls[0].method_name) == (TurnStatus.STREAMING, "ls")
    pieces = await asyncio.gather(*(client.turn_append(turn_id=turn.id, content=f"{n} ") for n in range(100)))
    assert [piece.chunk for piece in pieces] == list(range(100))
    latest = await client.turn_latest(response_id=made.response.id)
    assert latest is not None
    assert latest.content == "".join(f"{n} " for n in range(100))
    history = await client.session_history(session_id=session.id, include_raw=True)
    assert history.rounds[0].response.turns == [latest]
    done = await client.transaction_run(
        operations=[
            {"method": "turn/update", "params": {"turn_id": turn.id, "status": "completed"}},
            {"method": "session/update", "params": {"session_id": session.id, "external_id": "a"}},
        ]
    )
    ended, renamed = done.results
    assert (ended.status, renamed.external_id) == (TurnStatus.COMPLETED, "a")
    assert await client.turn_latest(response_id=made.response.id) == ended


async def test_the_system_store_is_another(client: StrictClient) -> None:
    here = await client.session_create()
    there = await client.session_create(where={"scope": "system"})
    assert [session.id for session in (await client.session_list()).sessions] == [here.id]
    assert [session.id for session in (await client.session_list(where={"scope": "system"})).sessions] == [there.id]


async def test_an_error_says_what_the_server_says(client: StrictClient) -> None:
    with pytest.raises(RequestFailed, match="turn/get: no turn") as failed:
        await client.turn_get(turn_id=UNKNOWN)
    error = failed.value
    assert (error.code, error.kind, error.retryable, error.data["entity"]) == (-32010, "notFound", False, "turn")
    with pytest.raises(RequestFailed, match=r"params\.titel: unknown field"):
        await client.session_create(titel="?")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="JSON"):
        await client.session_create(metadata={"nan": float("nan")})
    assert (await client.session_list()).sessions == []


async def test_notifications_of_no_subscription_reach_the_callback(client: StrictClient) -> None:
    await client.notify("turn/append", {"turnId": UNKNOWN, "content": "lost", "chunk": 3})
    while not client.notifications:
        await client.session_list()
    (told,) = client.notifications
    assert (told.method, told.params.turn_id, told.params.chunk) == ("turn/rejected", UNKNOWN, 3)
    assert told.params.error["data"]["kind"] == "notFound"
    client.notifications.clear()


async def test_a_callback_that_fails_is_logged_and_the_client_goes_on(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Notification) -> None:
        raise RuntimeError("of the callback")

    async with StrictClient(workspace, on_notification=fail) as client:
        await client.notify("turn/append", {"turnId": UNKNOWN, "content": "lost"})
        while "of the callback" not in caplog.text:
            await client.session_list()


async def test_a_state_and_its_changes_give_what_is_stored(client: StrictClient) -> None:
    turn = await new_turn(client)
    async with client.follow_turns(turn_id=turn.id, include_raw=True) as changes:
        await append(client, turn, "one ", "two ")
        await client.tool_call_upsert(turn_id=turn.id, tool_call={"id": "a", "title": "ls"})
        await client.tool_call_upsert(turn_id=turn.id, tool_call={"id": "b"})
        await client.tool_call_upsert(turn_id=turn.id, tool_call={"id": "a", "arguments": {"p_q": 1}})
        await client.tool_call_delete(turn_id=turn.id, tool_call_id="b")
        ended = await client.turn_update(turn_id=turn.id, status=TurnStatus.COMPLETED, output_tokens=2)
        assert await read_until(changes, ended.seq) == await client.turn_get(turn_id=turn.id)
        assert (await client.turn_delete(turn_id=turn.id)).deleted.turns == 1
        assert [item.kind async for item in changes if isinstance(item, TurnUpdated)] == ["deleted"]


async def test_sessions_are_followed_with_their_rounds(client: StrictClient) -> None:
    async with client.follow_sessions() as changes:
        assert isinstance(await anext(changes), SessionSubscription)
        session = await client.session_create(title="A talk")
        made = await client.round_create(session_id=session.id, content="?")
        told = [await anext(changes), await anext(changes)]
    assert all(isinstance(item, SessionUpdated) for item in told)
    assert (told[0].session, told[1].round, told[1].request) == (session, made.round, made.request)  # type: ignore[union-attr]


async def test_a_subscription_that_is_closed_hears_no_more(workspace: Path) -> None:
    async with Client(workspace, environment=clean_environment(workspace)) as client:
        turn = await new_turn(client)
        async with client.follow_turns() as changes:
            await append(client, turn, "one")
        await append(client, turn, "two")
        assert [item async for item in changes] == []
        with pytest.raises(ServerEnded, match="closed"):
            await client.close()
            await client.server_info()


async def test_since_goes_on_where_another_process_stopped(client: StrictClient, workspace: Path) -> None:
    turn = await new_turn(client)
    async with (
        StrictClient(workspace) as before,
        before.follow_turns(turn_id=turn.id, include_raw=True) as first,
    ):
        known = await read_until(first, turn.seq)
    last = await append(client, turn, "one ", "two ")
    async with client.follow_turns(
        turn_id=turn.id, include_raw=True, since=first.seq, store_id=first.store_id
    ) as second:
        assert await read_until(second, last, known) == await client.turn_get(turn_id=turn.id)


async def test_a_slow_program_misses_nothing_and_holds_little(workspace: Path) -> None:
    """What does not fit is read from the feed once there is room."""
    async with StrictClient(workspace, max_waiting_bytes=4000) as client:
        turn = await new_turn(client)
        async with client.follow_turns(turn_id=turn.id, include_raw=True) as changes:
            known = await read_until(changes, turn.seq)
            for _ in range(5):
                last = await append(client, turn, *("x" * 300 for _ in range(50)))
                assert 1 <= changes.unread <= 20
                known = await read_until(changes, last, known)
                assert known == await client.turn_get(turn_id=turn.id)


async def test_what_was_read_before_resuming_is_not_added_twice(client: StrictClient, workspace: Path) -> None:
    """What is sent again of a turn comes joined, and may begin before what was read of it."""
    turn = await new_turn(client)
    await append(client, turn, *"abcde")
    known = await client.turn_get(turn_id=turn.id)
    last = await append(client, turn, *"fgh")
    async with (
        StrictClient(workspace) as reader,
        reader.follow_turns(turn_id=turn.id, include_raw=True, since=turn.seq) as changes,
    ):
        change = await anext(changes)
        assert isinstance(change, TurnUpdated)
        assert (change.first_chunk, change.last_chunk, change.seq) == (0, 7, last)
        assert apply(known, change) is None, "a part of it is known"
        current = await reader.turn_get(turn_id=turn.id)
        assert current.content == "abcdefgh"
        assert apply(current, change) == current
        assert apply(turn, change) == current


async def test_a_subscription_goes_on_over_a_server_that_was_killed(workspace: Path) -> None:
    async with StrictClient(workspace) as writer, StrictClient(workspace, restarts=True) as client:
        turn = await new_turn(writer)
        async with client.follow_turns(turn_id=turn.id, include_raw=True) as changes:
            known = await read_until(changes, await append(writer, turn, "one "))
            for text in ("two ", "three "):
                first_pid = client.pid
                kill(client)
                seen: list[TurnUpdated | TurnSubscription] = []
                last = await append(writer, turn, text, text)
                while not seen or seen[-1].seq < last:
                    seen.append(await anext(changes))
                assert client.pid != first_pid
                for item in seen:
                    assert isinstance(item, TurnUpdated), "a state again, though the feed was there"
                    known = apply(known, item)
            assert known == await writer.turn_get(turn_id=turn.id)
        assert client.exit_codes == [-signal.SIGKILL] * 2


async def test_without_restarts_the_end_of_a_server_is_an_error(workspace: Path) -> None:
    async with Client(workspace, environment=clean_environment(workspace)) as client:
        turn = await new_turn(client)
        async with client.follow_turns(turn_id=turn.id) as changes:
            await anext(changes)
            kill(client)
            with pytest.raises(ServerEnded, match="the server ended"):
                await anext(changes)
            with pytest.raises(ServerEnded):
                await client.server_info()


async def test_requests_that_wait_when_the_server_ends_are_not_sent_again(workspace: Path) -> None:
    async with StrictClient(workspace, restarts=True) as client:
        await client.session_create(title="before")
        os.kill(client.pid, signal.SIGSTOP)
        waiting = [asyncio.create_task(client.session_create(title="lost")) for _ in range(3)]
        await asyncio.sleep(0.1)
        kill(client)
        assert {type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)} == {ServerEnded}
        assert [session.title for session in (await client.session_list()).sessions] == ["before"]


@pytest.mark.parametrize("command", [("/nowhere/server",), (sys.executable, "-c", "import sys; sys.exit('no disk')")])
async def test_a_server_that_never_answers_is_not_started_again(workspace: Path, command: tuple[str, ...]) -> None:
    with pytest.raises(ServerEnded, match=r"/nowhere/server: No such file|the server ended: no disk"):
        async with Client(workspace, command=command, restarts=True) as client:
            with pytest.raises(ServerEnded):
                await client.server_info()
            await client.server_info()


# A program that answers each request with the next of its arguments, whatever was asked.
ANSWERING = (
    sys.executable,
    "-c",
    "import sys, json\n"
    "for line, answer in zip(sys.stdin, sys.argv[1:]):\n"
    "    print(answer.replace('ID', str(json.loads(line)['id'])), flush=True)",
)


async def test_a_program_that_is_no_such_server_is_an_error_of_each_request() -> None:
    answers = ['{"id": ID}', '{"id": ID, "error": 7}', '{"id": ID, "result": {"chunk": 0}}', '{"id": ID, "result": []}']
    async with Client(command=(*ANSWERING, *answers)) as client:
        with pytest.raises(ClientError, match="malformed"):
            await client.server_info()
        with pytest.raises(ClientError, match="malformed"):
            await client.server_info()
        with pytest.raises(ClientError, match="declared type"):
            await client.turn_append(turn_id=UNKNOWN)
        with pytest.raises(ClientError, match="malformed"):
            async with client.follow_turns():
                pass
        with pytest.raises(ServerEnded):
            await client.server_info()


async def test_unexpected_messages_are_skipped() -> None:
    noise = ["no JSON\n[]", '{"id": [1], "result": 1}\n{"id": 9, "result": 1}', '{"method": "turn/updated"}']
    noise.append('{"method": "turn/updated", "params": {"subscriptionId": "nobody"}}')
    answer = '{"id": ID, "result": {"turnId": "t", "seq": 1, "chunk": 0, "chunkCount": 1}}'
    async with Client(command=(*ANSWERING, "\n".join([*noise, answer]))) as client:
        assert (await client.turn_append(turn_id="t", content="x")).seq == 1


@pytest.mark.parametrize("garbled", ['{"id": ID, "result": NaNo}', '{"id": ID, "result": {', "{\ufffe"])
async def test_a_message_that_cannot_be_decoded_ends_the_server(garbled: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever was lost with it: all that wait for a reply are told at once."""
    async with Client(command=(*ANSWERING, "", garbled)) as client:
        waiting = asyncio.create_task(client.server_info())
        with pytest.raises(ServerEnded, match=r"a message of .* bytes that is no JSON"):
            await client.server_health()
        with pytest.raises(ServerEnded, match=r"a message of .* bytes that is no JSON"):
            await waiting
    assert "that is no JSON" in caplog.text


async def test_another_store_in_its_place_is_told_as_a_state(workspace: Path, tmp_path: Path) -> None:
    async with StrictClient(workspace, restarts=True) as client:
        turn = await new_turn(client)
        async with client.follow_turns() as changes:
            last = await append(client, turn, *"abc")
            await read_until(changes, last)
            kill(client)
            (workspace / ".ws").rename(tmp_path / "away")
            async with StrictClient(workspace) as other:
                there = await new_turn(other)
                state = await anext(changes)
                assert isinstance(state, TurnSubscription)
                assert state.reset
                assert [found.id for found in state.turns] == [there.id]
                assert changes.store_id == (await other.session_list()).store_id
                ended = await other.turn_update(turn_id=there.id, status=TurnStatus.COMPLETED)
                await read_until(changes, ended.seq, there)
    assert store_of(workspace).exists()


async def test_what_was_deleted_while_nobody_listened_ends_the_iteration(workspace: Path) -> None:
    async with StrictClient(workspace) as writer, StrictClient(workspace, restarts=True) as client:
        turn = await new_turn(writer)
        async with client.follow_turns(turn_id=turn.id) as changes:
            await anext(changes)
            kill(client)
            await writer.turn_delete(turn_id=turn.id)
            assert [item async for item in changes if not isinstance(item, TurnUpdated)] == []


async def test_a_request_that_takes_too_long_is_cancelled(workspace: Path) -> None:
    async with StrictClient(workspace) as client:
        await client.server_info()
        os.kill(client.pid, signal.SIGSTOP)
        client.timeout = 0.3
        try:
            with pytest.raises(NotAnswered, match=r"session/create was not answered within 0\.3 s"):
                await client.session_create(title="late")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), client.follow_turns():
                    pass
        finally:
            os.kill(client.pid, signal.SIGCONT)
            client.timeout = TIMEOUT
        # A subscription that began nevertheless was left again: nothing of this turn is told.
        await append(client, await new_turn(client), "told to nobody")


async def test_a_strict_client_fails_on_what_is_left_unread(workspace: Path) -> None:
    with pytest.raises(AssertionError, match="left unread"):
        async with StrictClient(workspace) as client:
            turn = await new_turn(client)
            changes = client.follow_turns(turn_id=turn.id)
            await anext(changes)
            await append(client, turn, "nobody reads this")
    with pytest.raises(AssertionError, match="left unread"):
        async with StrictClient(workspace) as client:
            await client.notify("turn/append", {"turnId": UNKNOWN, "content": "lost"})
    with pytest.raises(ClientError, match="no turn"):
        async with StrictClient(workspace) as client:
            await client.turn_get(turn_id=UNKNOWN)
