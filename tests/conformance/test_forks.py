"""A fork is a copy of a session as it was: whole, of one state, with times and costs of its original."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from attrs import asdict

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import Conflict, InvalidValue, NotFound, TooLarge
from mandrake_sessions.limits import MAX_FORK_PARTS
from mandrake_sessions.model import (
    ChangeKind,
    HistoryRound,
    Relation,
    ResponseStatus,
    RoundDetail,
    Session,
    SessionState,
    TurnStatus,
)
from mandrake_sessions.operations import forking
from mandrake_sessions.protocol.params import Operation
from mandrake_sessions.store.sql import copying, texts
from strict import StrictSyncClient, Talk

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
# When what is recorded here happened.
COMPLETED, ENDED = TurnStatus.COMPLETED, ResponseStatus.COMPLETED
THEN = 1_600_000_000_000
SESSION = {
    "agent": "codex", "source": "acp", "cwd": "/src", "title": "A talk", "description": "On files",
    "metadata": {"a b": [1, 1.0, None]},
}  # fmt: skip
CALL: Any = {"id": "call", "title": "ls", "arguments": {"path": "."}, "response": [10**30], "end_time": 5}


@pytest.fixture(params=["at once", "in steps", "in a transaction"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the copy is written. Each step of the second writes one part."""
    if request.param == "in steps":
        monkeypatch.setattr(forking, "STEP_PARTS", 1)
        monkeypatch.setattr(copying, "LONG_BYTES", 100)
        monkeypatch.setattr(texts, "SLICE_BYTES", 50)
    return str(request.param)


def fork(manager: SessionManager, way: str, session_id: str, **fields: Any) -> Session:
    if way != "in a transaction":
        return manager.fork_session(session_id, **fields)
    with manager.transaction():
        return manager.fork_session(session_id, **fields)


def a_talk(manager: SessionManager, **fields: Any) -> tuple[Session, list[RoundDetail]]:
    """A session of three rounds with everything that one may have."""
    with manager.transaction(at=THEN):
        session = manager.create_session(**{**SESSION, **fields})
        made = [manager.create_round(session.id, content=f"{n}?", blocks=[n], metadata={"n": n}) for n in range(3)]
        for detail in made:
            response = detail.response.id
            manager.create_turn(response, kind="thought", content="ß" * 120, raw_response="{}", status=COMPLETED)
            manager.create_turn(
                response, model="m", tool_calls=[CALL], cost=0.25, currency="EUR", status=TurnStatus.ERROR
            )
            manager.create_turn(response, content="It is.", thought_tokens=3, metadata={"x": 1}, status=COMPLETED)
            manager.update_response(response, status=ENDED, usage={"input_tokens": 7, "cost": 1.5})
    return manager.get_session(session.id), made


def rounds_of(manager: SessionManager, session_id: str) -> list[HistoryRound]:
    return list(manager.history(session_id, include_raw=True).rounds)


def without_names(rounds: list[HistoryRound]) -> list[dict[str, Any]]:
    """What is the same in a copy."""

    def bare(value: Any) -> Any:
        if isinstance(value, list):
            return [bare(item) for item in value]
        if not isinstance(value, dict):
            return value
        names = {"id", "seq", "session_id", "round_id", "request_id", "response_id", "copied_from_id"}
        is_call = "server_name" in value
        return {name: bare(item) for name, item in value.items() if is_call or name not in names}

    found: list[dict[str, Any]] = bare([asdict(each) for each in rounds])
    return found


def test_a_copy_is_what_was_copied(manager: SessionManager, way: str) -> None:
    source, made = a_talk(manager, external_id="thread-1")
    copy = fork(manager, way, source.id)
    assert copy == manager.get_session(copy.id)
    same = ("agent", "source", "cwd", "title", "description", "metadata", "preview", "round_count", "state")
    assert {name: getattr(copy, name) for name in same} == {name: getattr(source, name) for name in same}
    assert (copy.parent_id, copy.relation, copy.forked_from_round_id) == (source.id, Relation.FORK, made[-1].round.id)
    assert (copy.external_id, copy.parent_tool_call_id, copy.archived_at) == (None, None, None)
    # The conversation moved when it was copied, which is when the session began.
    assert copy.created_at > THEN + 1000
    assert copy.active_at == copy.created_at
    assert copy.seq == manager.feed.last_seq()
    originals, copies = rounds_of(manager, source.id), rounds_of(manager, copy.id)
    assert without_names(copies) == without_names(originals)
    assert [each.copied_from_id for each in copies] == [each.id for each in originals]
    ids = [[each.id, each.request.id, each.response.id, *(turn.id for turn in each.response.turns)] for each in copies]
    assert len({name for each in ids for name in each}) == 18
    assert all(each.session_id == copy.id and each.request.round_id == each.id for each in copies)
    assert manager.get_turn(copies[0].response.turns[1].id).tool_calls[0].response == [10**30]
    assert manager.get_session(source.id) == source


def test_up_to_a_round(manager: SessionManager, way: str) -> None:
    source, made = a_talk(manager)
    copy = fork(manager, way, source.id, through_round_id=made[1].round.id.upper(), title=None)
    assert (copy.forked_from_round_id, copy.title, copy.round_count) == (made[1].round.id, None, 2)
    assert without_names(rounds_of(manager, copy.id)) == without_names(rounds_of(manager, source.id)[:2])
    added = manager.create_round(copy.id, content="another way?")
    assert (added.round.index, added.round.copied_from_id) == (2, None)


def test_of_a_session_without_rounds(manager: SessionManager, way: str) -> None:
    source = manager.create_session(title="empty")
    copy = fork(manager, way, source.id, title="still")
    assert (copy.forked_from_round_id, copy.round_count, copy.title) == (None, 0, "still")
    assert (copy.parent_id, copy.preview, copy.state) == (source.id, None, SessionState.IDLE)


def test_indexes_stay_where_rounds_are_gone(manager: SessionManager, way: str) -> None:
    source, made = a_talk(manager)
    manager.delete_round(made[0].round.id)
    first = rounds_of(manager, source.id)[0]
    manager.delete_turn(first.response.turns[2].id)
    copy = fork(manager, way, source.id, through_round_id=made[1].round.id)
    (copied,) = rounds_of(manager, copy.id)
    assert (copied.index, [turn.index for turn in copied.response.turns], copy.preview) == (1, [0, 1], "1?")
    assert manager.create_turn(copied.response.id).index == 3
    assert manager.create_round(copy.id, content="?").round.index == 2


def test_what_streams_is_copied_as_interrupted(manager: SessionManager, way: str) -> None:
    source, made = a_talk(manager)
    detail = manager.create_round(source.id, content="and now?")
    turn = manager.create_turn(detail.response.id, content="So ", current_tokens=1)
    ended = manager.create_turn(made[0].response.id)
    for piece in ("far", ", so ", "good"):
        manager.append_turn(turn.id, content=piece, raw_response="<>")
    before = manager.get_turn(turn.id)
    copy = fork(manager, way, source.id)
    assert (copy.streaming, copy.state) == (False, SessionState.FAILED)
    *_, last = rounds_of(manager, copy.id)
    (copied,) = last.response.turns
    assert (copied.status, copied.content, copied.raw_response) == (TurnStatus.INTERRUPTED, "So far, so good", "<>" * 3)
    assert (copied.chunk_count, copied.stream_start_time) == (3, before.stream_start_time)
    assert copied.stream_end_time is not None
    assert (last.response.status, last.response.end_time) == (ResponseStatus.INTERRUPTED, copied.stream_end_time)
    # A response that had ended stays what it was.
    first = rounds_of(manager, copy.id)[0].response
    assert (first.status, first.turns[-1].status) == (ResponseStatus.COMPLETED, TurnStatus.INTERRUPTED)
    assert manager.get_turn(turn.id) == before
    assert manager.get_turn(ended.id).status == TurnStatus.STREAMING
    # The copy can be taken up again, and nothing of it is in the original.
    receipt = manager.append_turn(copied.id, content="!", chunk=3)
    assert (receipt.chunk_count, manager.get_turn(copied.id).content) == (4, "So far, so good!")
    assert manager.get_session(copy.id).state == SessionState.RUNNING
    assert manager.append_turn(copied.id, content="far", chunk=0).chunk_count == 4
    assert manager.get_turn(turn.id) == before


def test_a_fork_of_a_fork_names_the_first_original(manager: SessionManager, way: str) -> None:
    source, made = a_talk(manager)
    first = fork(manager, way, source.id, through_round_id=made[1].round.id)
    added = manager.create_round(first.id, content="another way?")
    second = fork(manager, way, first.id)
    copies = rounds_of(manager, second.id)
    originals = [made[0].round.id, made[1].round.id, added.round.id]
    assert [each.copied_from_id for each in copies] == originals
    assert (second.parent_id, second.forked_from_round_id) == (first.id, added.round.id)


def test_it_can_be_sent_again(manager: SessionManager, way: str) -> None:
    source, made = a_talk(manager)
    own, through = str(uuid.uuid4()), made[1].round.id
    copy = fork(manager, way, source.id, through_round_id=through, id=own)
    assert copy.id == own
    seq = manager.feed.last_seq()
    assert fork(manager, way, source.id.upper(), through_round_id=through.upper(), id=own.upper()) == copy
    assert manager.feed.last_seq() == seq
    for fields in ({}, {"through_round_id": made[2].round.id}, {"through_round_id": through, "title": "A talk"}):
        with pytest.raises(Conflict) as raised:
            fork(manager, way, source.id, id=own, **fields)
        assert raised.value.reason == "idInUse"
    with pytest.raises(Conflict):
        manager.create_session(id=own)
    manager.delete_session(source.id)
    assert fork(manager, way, source.id, through_round_id=through, id=own).parent_id is None
    manager.delete_session(own)
    with pytest.raises(NotFound):
        fork(manager, way, source.id, through_round_id=through, id=own)


def test_what_cannot_be_forked(manager: SessionManager, way: str) -> None:
    (source, made), (other, _) = a_talk(manager), a_talk(manager)
    seq = manager.feed.last_seq()
    with pytest.raises(NotFound, match="session"):
        fork(manager, way, UNKNOWN)
    with pytest.raises(NotFound, match="round"):
        fork(manager, way, source.id, through_round_id=UNKNOWN)
    with pytest.raises(InvalidValue, match=f"is a round of session {source.id}, and not of {other.id}"):
        fork(manager, way, other.id, through_round_id=made[0].round.id)
    assert manager.feed.last_seq() == seq
    assert len(manager.list_sessions(archived=None).sessions) == 2


def test_listeners_hear_of_the_session_and_of_nothing_in_it(manager: SessionManager, way: str) -> None:
    source, _ = a_talk(manager)
    seq = manager.feed.last_seq()
    copy = fork(manager, way, source.id)
    (change,) = manager.feed.changes_since(seq)
    assert (change.kind, change.session_id, change.seq) == (ChangeKind.SESSION_CREATED, copy.id, copy.seq)
    turn = rounds_of(manager, copy.id)[0].response.turns[0]
    manager.update_turn(turn.id, metadata={"y": 2})
    (change,) = manager.feed.changes_since(copy.seq)
    assert (change.kind, change.turn_id, change.session_id) == (ChangeKind.TURN_UPDATED, turn.id, copy.id)
    assert manager.get_turn(turn.id).seq == change.seq > turn.seq
    # Who has followed from the beginning goes on without a reset.
    assert not manager.feed.follow_sessions(since=seq).reset


def test_what_the_deletion_of_the_original_leaves(manager: SessionManager, way: str) -> None:
    source, made = a_talk(manager)
    whole = fork(manager, way, source.id)
    part = fork(manager, way, source.id, through_round_id=made[0].round.id)
    copies = rounds_of(manager, whole.id)
    seq = manager.feed.last_seq()
    manager.delete_round(made[0].round.id)
    gone = manager.get_session(part.id)
    assert (gone.parent_id, gone.forked_from_round_id, gone.relation) == (source.id, None, Relation.FORK)
    assert manager.get_session(whole.id).forked_from_round_id == made[-1].round.id
    kinds = [(change.kind, change.session_id) for change in manager.feed.changes_since(seq)]
    assert kinds == [(ChangeKind.SESSION_UPDATED, part.id), (ChangeKind.ROUND_DELETED, source.id)]
    seq = manager.feed.last_seq()
    manager.delete_session(source.id)
    for copy in (whole, part):
        orphan = manager.get_session(copy.id)
        assert (orphan.parent_id, orphan.forked_from_round_id, orphan.relation) == (None, None, Relation.FORK)
    kinds = [(change.kind, change.session_id) for change in manager.feed.changes_since(seq)]
    assert sorted(kinds[:-1]) == sorted((ChangeKind.SESSION_UPDATED, copy.id) for copy in (whole, part))
    assert kinds[-1] == (ChangeKind.SESSION_DELETED, source.id)
    assert rounds_of(manager, whole.id) == copies


def test_a_copy_can_be_deleted(manager: SessionManager, way: str) -> None:
    source, _ = a_talk(manager)
    before = rounds_of(manager, source.id)
    copy = fork(manager, way, source.id)
    assert asdict(manager.delete_session(copy.id).deleted) == {
        "sessions": 1, "rounds": 3, "requests": 3, "responses": 3, "turns": 9,
    }  # fmt: skip
    with manager.store.reading() as sql:
        for table, count in (("session", 1), ("round", 3), ("turn", 9), ("tool_call", 3)):
            assert sql.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)  # noqa: S608
    assert rounds_of(manager, source.id) == before


def test_a_transaction_that_fails_leaves_no_copy(manager: SessionManager) -> None:
    source, _ = a_talk(manager)
    with pytest.raises(RuntimeError), manager.transaction():
        manager.fork_session(source.id)
        raise RuntimeError
    assert manager.list_sessions().sessions == [source]


@pytest.mark.parametrize(("limit", "value"), [("MAX_FORK_PARTS", 14), ("MAX_FORK_BYTES", 5000)])
def test_a_long_session_in_a_transaction(
    manager: SessionManager, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    """A transaction holds the lock to its end, so what it copies is bounded. By itself a fork is not."""
    source, made = a_talk(manager)
    monkeypatch.setattr(forking, limit, value)
    with manager.transaction():
        with pytest.raises(TooLarge, match=r"Use fork_session\(\) by itself, which copies in short steps"):
            manager.fork_session(source.id)
        assert manager.fork_session(source.id, through_round_id=made[0].round.id).round_count == 1
    assert manager.fork_session(source.id).round_count == 3


def test_a_long_session_in_a_transaction_of_a_server(client: StrictSyncClient) -> None:
    session_id = client.session_create().id
    one: Operation = {"method": "round/create", "params": {"sessionId": session_id, "content": ""}}
    for _ in range(MAX_FORK_PARTS // 500):
        client.transaction_run(operations=[one] * 500)
    client.round_create(session_id=session_id, content="")
    fork: Operation = {"method": "session/fork", "params": {"sessionId": session_id}}
    error = client.error("transaction/run", operations=[fork])
    assert (error.data["kind"], error.data["retryable"]) == ("tooLarge", False), error
    assert "Use session/fork by itself" in str(error)
    assert client.session_fork(session_id=session_id).round_count == MAX_FORK_PARTS + 1


def test_a_server_forks(client: StrictSyncClient) -> None:
    talk = Talk(client)
    turn = talk.turn(content="It ")
    client.turn_append(turn_id=turn, content="is.")
    changes = client.followed("session/subscribe")
    turns = client.followed("turn/subscribe", includeRaw=True)
    copy = client.session_fork(session_id=talk.session, title="Another way")
    told = next(changes)
    assert (told.seq, told.kind, told.session) == (copy.seq, "created", copy)
    (copied,) = client.session_history(session_id=copy.id).rounds
    (interrupted,) = copied.response.turns
    assert (interrupted.status, interrupted.content) == (TurnStatus.INTERRUPTED, "It is.")
    client.turn_append(turn_id=interrupted.id, content=" Or not.")
    # The first that is heard of any turn of the copy.
    assert (next(turns).turn_id, next(turns).kind) == (interrupted.id, "appended")
    assert [next(changes).kind for _ in range(2)] == ["updated", "responseUpdated"]
    client.turn_update(turn_id=interrupted.id, status=TurnStatus.COMPLETED)
    next(turns)
    next(changes)
    assert client.session_get(session_id=talk.session).state == SessionState.RUNNING
