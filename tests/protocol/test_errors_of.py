"""Each error that the table declares for a method can be had from a server; ``declared.py`` sees to the reverse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hostile.shapes import Ids, example
from mandrake_sessions.limits import MAX_SUBSCRIPTIONS
from mandrake_sessions.protocol.errors_of import entities_of
from mandrake_sessions.protocol.methods import METHODS, OPERATIONS
from wire import Message, Wire, serving

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
# The param that names an entity, where it is not called after it.
NAMED_BY = {("session/create", "session"): "parentId", ("session/fork", "round"): "throughRoundId"}
# A param that makes another call of a create call.
OTHER: dict[str, dict[str, Any]] = {
    "session/create": {"title": "Another"},
    "session/fork": {"title": "Another"},
    "round/create": {"content": "Another"},
    "turn/create": {"kind": "plan"},
}

NOT_FOUND = [(name, entity) for name, method in METHODS.items() for entity in entities_of(method)]
CONFLICTS = [(name, reason) for name, method in METHODS.items() for reason in method.conflict]
IN_TRANSACTIONS = "transaction/run"


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    workspace: Path = tmp_path_factory.mktemp("errors")
    (workspace / ".git").mkdir()
    with serving(workspace) as wire:
        yield wire


@pytest.fixture
def ids(wire: Wire) -> Ids:
    session = wire.request("session/create")["id"]
    made = wire.request("round/create", sessionId=session, content="?")
    turn = wire.request("turn/create", responseId=made["response"]["id"])["id"]
    return Ids(session, made["round"]["id"], made["request"]["id"], made["response"]["id"], turn)


def unknown(name: str, entity: str, ids: Ids) -> Message:
    """Params that name an entity that is not there."""
    param = "store" if entity == "store" else NAMED_BY.get((name, entity), f"{entity}Id")
    given = {param: "no such call" if entity == "toolCall" else UNKNOWN}
    # One of the three that a subscription may be about.
    return given if name.endswith("/subscribe") else example(name, ids) | given


@pytest.mark.parametrize(("name", "entity"), [pair for pair in NOT_FOUND if pair[0] != IN_TRANSACTIONS])
def test_not_found(name: str, entity: str, wire: Wire, ids: Ids) -> None:
    params = unknown(name, entity, ids)
    found = [wire.error(name, **params)]
    if name in OPERATIONS:
        found.append(wire.error(IN_TRANSACTIONS, operations=[{"method": name, "params": params}]))
    for error in found:
        assert (error["data"]["kind"], error["data"]["entity"]) == ("notFound", entity)


def id_in_use(name: str, wire: Wire, ids: Ids) -> Message:
    named = example(name, ids) | {"id": wire.request("session/create")["id"][:-4] + "0000"}
    wire.request(name, **named)
    return named | OTHER[name]


def external_id_in_use(name: str, wire: Wire, ids: Ids) -> Message:
    wire.request("session/create", externalId=f"of {ids.session}")
    return {"externalId": f"of {ids.session}"} | ({"sessionId": ids.session} if name == "session/update" else {})


def ambiguous(name: str, wire: Wire, ids: Ids) -> Message:
    for agent in ("codex", "claude-code"):
        wire.request("session/create", externalId=ids.session, agent=agent)
    return {"externalId": ids.session}


def end_time(name: str, wire: Wire, ids: Ids) -> Message:
    return example(name, ids) | {"endTime" if name == "response/update" else "streamEndTime": 1}


def chunk_gap(name: str, wire: Wire, ids: Ids) -> Message:
    return {"turnId": ids.turn, "chunk": 7, "content": "?"}


def chunk_differs(name: str, wire: Wire, ids: Ids) -> Message:
    wire.request("turn/append", turnId=ids.turn, chunk=0, content="?")
    return {"turnId": ids.turn, "chunk": 0, "content": "!"}


def turn_ended(name: str, wire: Wire, ids: Ids) -> Message:
    wire.request("turn/update", turnId=ids.turn, status="completed")
    return {"turnId": ids.turn, "content": "More."}


def too_many_subscriptions(name: str, wire: Wire, ids: Ids) -> Message:
    # Their notifications end with the connection, and nothing happens to the session meanwhile.
    for asked in [wire.post(name, sessionId=ids.session) for _ in range(MAX_SUBSCRIPTIONS + 1)]:
        wire.answer(asked)
    return {"sessionId": ids.session}


PROVOKE: dict[str, Callable[[str, Wire, Ids], Message]] = {
    "idInUse": id_in_use,
    "externalIdInUse": external_id_in_use,
    "ambiguous": ambiguous,
    "endTime": end_time,
    "chunkGap": chunk_gap,
    "chunkDiffers": chunk_differs,
    "turnEnded": turn_ended,
    "tooManySubscriptions": too_many_subscriptions,
}


@pytest.mark.parametrize(("name", "reason"), [pair for pair in CONFLICTS if pair[0] != IN_TRANSACTIONS])
def test_conflict(name: str, reason: str, wire: Wire, ids: Ids) -> None:
    assert reason in PROVOKE, "nobody shows how to get this error; add a function to PROVOKE"
    params = PROVOKE[reason](name, wire, ids)
    error = wire.error(name, **params)
    assert (error["data"]["kind"], error["data"]["reason"]) == ("conflict", reason)
    if reason == "ambiguous":
        assert len(error["data"]["candidates"]) == 2
    if name in OPERATIONS:
        again = wire.error(IN_TRANSACTIONS, operations=[{"method": name, "params": params}])
        assert again["data"]["reason"] == reason


def test_a_transaction_may_give_what_its_operations_may() -> None:
    of_writes = [METHODS[name] for name in OPERATIONS]
    transaction = METHODS[IN_TRANSACTIONS]
    assert set(transaction.not_found) == {entity for method in of_writes for entity in method.not_found}
    assert set(transaction.conflict) == {reason for method in of_writes for reason in method.conflict}
