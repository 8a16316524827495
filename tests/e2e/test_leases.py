"""Leases: a turn whose writer is gone becomes interrupted, once and in time; a live one never does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from locking import WRITE_LOCK, holding
from mandrake_sessions import SessionManager
from mandrake_sessions.client import RequestFailed, ServerEnded, apply
from mandrake_sessions.model import TurnStatus
from mandrake_sessions.protocol.results import TurnSubscription, TurnUpdated
from strict import StrictClient, new_response, new_turn, read_until
from wire import store_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no leases here")

LOOK = ("--lease-seconds", "0.4")


@pytest.fixture
async def watcher(workspace: Path) -> AsyncIterator[StrictClient]:
    async with StrictClient(workspace, *LOOK) as client:
        yield client


@pytest.fixture
async def agent(workspace: Path, watcher: StrictClient) -> AsyncIterator[StrictClient]:
    """A client whose server may be ended by the test in any way; it starts with the first request."""
    client = StrictClient(workspace, *LOOK)
    yield client
    await client.close()


async def kill(client: StrictClient) -> None:
    os.kill(client.pid, signal.SIGKILL)
    await ended(client)


async def terminate(client: StrictClient) -> None:
    os.kill(client.pid, signal.SIGTERM)
    await ended(client)
    await end_input(client)


async def ended(client: StrictClient) -> None:
    """Wait until the server has ended by itself."""
    with pytest.raises(ServerEnded):
        while True:
            with suppress(RequestFailed):
                await client.server_info()


async def end_input(client: StrictClient) -> None:
    await client.close()
    assert client.exit_codes == [0]


@pytest.mark.parametrize("end", [kill, end_input, terminate])
async def test_a_writer_that_ends_leaves_interrupted_turns_which_are_pushed(
    watcher: StrictClient, agent: StrictClient, end: Callable[[StrictClient], Awaitable[None]]
) -> None:
    response = await new_response(agent)
    turns = [(await agent.turn_create(response_id=response)).id for _ in range(2)]
    completed = await agent.turn_create(response_id=response, status=TurnStatus.COMPLETED)
    detached = await agent.turn_create(response_id=response, detached=True)
    await agent.turn_append(turn_id=turns[0], content="so far")
    async with watcher.follow_turns(include_raw=True) as changes:
        began = await anext(changes)
        assert isinstance(began, TurnSubscription)
        known = {turn.id: turn for turn in began.turns}
        assert set(known) == {*turns, detached.id}
        await end(agent)
        for turn_id in turns:
            told = await anext(changes)
            assert isinstance(told, TurnUpdated)
            assert (told.turn_id, told.kind, told.changes and told.changes["status"]) == (
                turn_id, "updated", TurnStatus.INTERRUPTED,
            )  # fmt: skip
            turn = apply(known[turn_id], told)
            assert turn is not None
            assert (turn.stream_end_time or 0) >= turn.stream_start_time
            assert turn == await watcher.turn_get(turn_id=turn_id)
        assert (await watcher.turn_get(turn_id=completed.id)).status is TurnStatus.COMPLETED
        await asyncio.sleep(0.6)  # another look, which must find nothing more
        assert (await watcher.turn_get(turn_id=detached.id)).status is TurnStatus.STREAMING


async def test_a_writer_that_is_stopped_loses_nothing(watcher: StrictClient, agent: StrictClient) -> None:
    turn = await new_turn(agent)
    os.kill(agent.pid, signal.SIGSTOP)
    await asyncio.sleep(1.2)  # several looks
    assert (await watcher.turn_get(turn_id=turn.id)).status is TurnStatus.STREAMING
    os.kill(agent.pid, signal.SIGCONT)
    await agent.turn_append(turn_id=turn.id, content="still here")
    assert (await watcher.turn_get(turn_id=turn.id)).content == "still here"


async def test_an_interrupted_turn_is_taken_up_again_by_another_process(
    watcher: StrictClient, agent: StrictClient, workspace: Path
) -> None:
    turn_id = (await new_turn(agent)).id
    await agent.turn_append(turn_id=turn_id, content="one ", chunk=0)
    async with watcher.follow_turns(turn_id=turn_id, include_raw=True) as changes:
        known = await read_until(changes, 1)
        assert known is not None
        await kill(agent)
        known = await read_until(changes, known.seq + 1, known)
        assert known is not None
        assert known.status is TurnStatus.INTERRUPTED
        async with StrictClient(workspace) as heir:
            last = await heir.turn_append(turn_id=turn_id, content="two", chunk=1)
            known = await read_until(changes, last.seq, known)
            assert known is not None
            assert (known.status, known.stream_end_time) == (TurnStatus.STREAMING, None)
            assert known == await heir.turn_get(turn_id=turn_id)
            completed = await heir.turn_update(turn_id=turn_id, status=TurnStatus.COMPLETED)
        assert await read_until(changes, completed.seq, known) == completed
        assert completed.content == "one two"


@pytest.mark.parametrize("how", ["append", "update"])
async def test_a_turn_that_was_made_interrupted_belongs_to_who_takes_it_up(
    watcher: StrictClient, agent: StrictClient, how: str
) -> None:
    response = await new_response(watcher)
    turn_id = (await watcher.turn_create(response_id=response, status=TurnStatus.INTERRUPTED)).id
    kept = await watcher.turn_create(response_id=response, status=TurnStatus.INTERRUPTED, detached=True)
    if how == "append":
        await agent.turn_append(turn_id=turn_id, content="again")
        await agent.turn_append(turn_id=kept.id, content="again")
    else:
        await agent.turn_update(turn_id=turn_id, status=TurnStatus.STREAMING)
        await agent.turn_update(turn_id=kept.id, status=TurnStatus.STREAMING)
    async with watcher.follow_turns(turn_id=turn_id) as changes:
        began = await anext(changes)
        assert isinstance(began, TurnSubscription)
        assert began.turns[0].status is TurnStatus.STREAMING
        await kill(agent)
        turn = await read_until(changes, began.seq + 1, began.turns[0])
    assert turn is not None
    assert turn.status is TurnStatus.INTERRUPTED
    assert (await watcher.turn_get(turn_id=kept.id)).status is TurnStatus.STREAMING


async def test_a_turn_belongs_to_whoever_last_appended_to_it(watcher: StrictClient, agent: StrictClient) -> None:
    turn = await new_turn(agent)
    await watcher.turn_append(turn_id=turn.id, content="mine now")
    await kill(agent)
    await asyncio.sleep(0.8)
    assert (await watcher.turn_get(turn_id=turn.id)).status is TurnStatus.STREAMING


async def test_a_server_that_starts_later_notices_too(
    watcher: StrictClient, agent: StrictClient, workspace: Path
) -> None:
    turn = await new_turn(agent)
    await watcher.close()
    await kill(agent)
    async with StrictClient(workspace) as later:
        assert (await later.turn_get(turn_id=turn.id)).status is TurnStatus.INTERRUPTED


def test_an_end_with_nothing_to_interrupt_does_not_mind_a_lock(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SessionManager(store_of(workspace)) as manager:
        made = manager.create_round(manager.create_session().id, content="?")
        turn = manager.create_turn(made.response.id)
        manager.update_turn(turn.id, status=TurnStatus.COMPLETED)
        with holding(workspace, WRITE_LOCK):
            manager.close()
    assert caplog.messages == []


def test_a_program_that_closes_its_store_leaves_interrupted_turns(database: Path) -> None:
    with SessionManager(database) as manager:
        response = manager.create_round(manager.create_session().id, content="?").response.id
        turn, detached = manager.create_turn(response), manager.create_turn(response, detached=True)
    with SessionManager(database) as manager:
        assert manager.get_turn(turn.id).status is TurnStatus.INTERRUPTED
        assert manager.get_turn(detached.id).status is TurnStatus.STREAMING
    assert sorted(path.name for path in database.parent.iterdir()) == [database.name]


async def test_a_copy_of_a_detached_turn_is_not_detached(watcher: StrictClient, agent: StrictClient) -> None:
    """It belongs to who goes on with it."""
    response = await new_response(agent)
    await agent.turn_create(response_id=response, content="so far", detached=True)
    (session,) = (await agent.session_list()).sessions
    fork = await agent.session_fork(session_id=session.id)
    (round_,) = (await agent.session_history(session_id=fork.id)).rounds
    (turn,) = round_.response.turns
    assert turn.status is TurnStatus.INTERRUPTED
    await agent.turn_append(turn_id=turn.id, content=" and on")
    assert (await agent.turn_get(turn_id=turn.id)).status is TurnStatus.STREAMING
    await kill(agent)
    while (await watcher.turn_get(turn_id=turn.id)).status is TurnStatus.STREAMING:
        await asyncio.sleep(0.05)
    assert (await watcher.turn_get(turn_id=turn.id)).status is TurnStatus.INTERRUPTED
