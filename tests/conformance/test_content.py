"""Content is opaque: what goes in comes out the same. And lists stay whole while the store changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import backends
from conformance.backends import Backend
from mandrake_sessions import SessionManager
from model.checking import Comparison
from model.matching import difference
from model.operations import BEGINNING, OWN_IDS, Burst, sequences
from model.profile import examples, patient
from model.targets import ManagerTarget, WireTarget
from wire import Framing

pytestmark = [patient, pytest.mark.usefixtures("operations")]

long_texts = st.text(st.characters(codec="utf-8"), max_size=200)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**300), 10**300)
    | st.sampled_from([2**53 + 1, -(2**63) - 1, 2**64, 10**4000])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1.0, -0.0, 1e16, 1e-320, 0.1 + 0.2, 1.7976931348623157e308])
    | long_texts
)
any_json = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(long_texts, inner, max_size=4),
    max_leaves=20,
)
json_objects = st.dictionaries(long_texts, any_json, max_size=4)
objects_with_depth = json_objects | st.builds(lambda: {"deep": deep(100)})


@contextmanager
def new_store(kind: type[Backend]) -> Iterator[SessionManager]:
    with backends.new(kind) as backend, backend.manager(quick=True) as manager:
        yield manager


def deep(levels: int) -> Any:
    value: Any = "at the bottom"
    for level in range(levels):
        value = [value] if level % 2 else {"": value}
    return value


@pytest.mark.parametrize("framing", ["lines", "headers"])
def test_content_survives(backend: Backend, workspace: Path, framing: Framing) -> None:
    """Text, appended text and JSON, by turn/get, by turn/updated and by session/history, as they were sent."""
    with backend.serving(workspace, framing, "--durability", "normal") as wire:
        target = WireTarget(wire)
        session = wire.request("session/create")["id"]
        wire.request("turn/subscribe", includeRaw=True)

        @examples(60)
        @given(content=long_texts, piece=long_texts, metadata=objects_with_depth, value=any_json)
        def check(content: str, piece: str, metadata: dict[str, Any], value: Any) -> None:
            def call(method: str, **params: Any) -> Any:
                (answer,) = target.answer([(method, params)])
                assert "result" in answer, answer
                return answer["result"]

            made = call("round/create", sessionId=session, content=piece, blocks=[value, metadata], metadata=metadata)
            calls = [
                {
                    "id": "1",
                    "arguments": value,
                    "response": metadata,
                    "content": [value],
                    "metadata": metadata,
                }
            ]
            turn = call(
                "turn/create",
                responseId=made["response"]["id"],
                content=content,
                rawResponse=piece,
                metadata=metadata,
                toolCalls=calls,
            )
            appended = call("turn/append", turnId=turn["id"], content=piece, rawResponse=content)
            told, more = wire.notifications_until(appended["seq"])
            call("turn/update", turnId=turn["id"], status="completed")
            wire.notification()
            for found in (turn, told["turn"]):
                _same({"content": content, "rawResponse": piece, "metadata": metadata}, found)
                _same(calls[0], found["toolCalls"][0])
            _same({"content": piece, "rawResponse": content}, more)
            (last,) = call("session/history", sessionId=session, limit=1, order="desc", includeRaw=True)["rounds"]
            _same({"content": piece, "blocks": [value, metadata]}, last["request"])
            for found in (call("turn/get", turnId=turn["id"]), *last["response"]["turns"]):
                _same({"content": content + piece, "rawResponse": piece + content, "metadata": metadata}, found)
                _same(calls[0], found["toolCalls"][0])
            call("round/delete", roundId=made["round"]["id"])
            wire.notification()

        check()


@examples(30)
@given(
    metadata=st.dictionaries(st.text("abc", min_size=1), st.integers() | json_objects, min_size=2, max_size=4),
    shuffled=st.randoms(use_true_random=False),
)
def test_a_create_may_be_sent_again_in_another_order(
    kind: type[Backend], metadata: dict[str, Any], shuffled: random.Random
) -> None:
    """JSON's objects have no order, so params whose keys come in another order are the same params."""
    with new_store(kind) as manager:
        names = list(metadata)
        shuffled.shuffle(names)
        made = manager.create_session(id=OWN_IDS[0], title="A", metadata=metadata)
        again = manager.create_session(
            metadata={name: metadata[name] for name in names}, title="A", id=OWN_IDS[0].upper()
        )
        assert again == made


@examples(50)
@given(
    first=sequences(20),
    between=sequences(12),
    limit=st.integers(1, 2),
)
def test_a_cursor_skips_and_repeats_nothing(
    kind: type[Backend], first: list[Burst], between: list[Burst], limit: int
) -> None:
    """Rows come, go and change between the pages: no row comes twice, and each that was there all the time and did not
    change comes."""
    lists: list[tuple[str, str, dict[str, Any]]] = [("session/list", "sessions", {"archived": None})]
    with new_store(kind) as manager:
        compared = Comparison(ManagerTarget(manager))
        for burst in [*([one] for one in [*BEGINNING * 2, *BEGINNING[1:], BEGINNING[2]]), *first]:
            compared.run(*burst)
        for session in compared.model.sessions:
            session_id = session.fields["id"]
            wanted = {"sessionId": getattr(session_id, "value", session_id)}
            lists.append(("round/list", "rounds", wanted))
            lists += [("session/history", "rounds", {**wanted, "order": order}) for order in ("asc", "desc")]
        for _, each in compared.model.rounds():
            response_id = each.response["id"]
            lists.append(("turn/list", "turns", {"responseId": getattr(response_id, "value", response_id)}))
        before = [_all_of(compared, *one) for one in lists]
        cursors: list[dict[str, str] | None] = [{} for _ in lists]
        found: list[list[Any]] = [[] for _ in lists]
        for burst in [*between, *[[] for _ in range(200)]]:
            for position, (method, key, params) in enumerate(lists):
                cursor = cursors[position]
                if cursor is not None:
                    page = _page(compared, method, params | cursor | {"limit": limit})
                    found[position] += page.get(key, [])
                    cursors[position] = {"cursor": page["nextCursor"]} if page.get("nextCursor") else None
            if cursors == [None] * len(lists):
                break
            if burst:
                compared.run(*burst)
        for one, rows, was in zip(lists, found, before, strict=True):
            ids = [row["id"] for row in rows]
            assert len(ids) == len(set(ids)), f"{one}: a row came twice"
            now = _all_of(compared, *one)
            still = {row_id for row_id, row in was.items() if now.get(row_id) == row}
            if "sessionId" not in one[2] or _page(compared, "session/get", {"sessionId": one[2]["sessionId"]}):
                assert still <= set(ids), f"{one}: {still - set(ids)} did not come"


def _all_of(compared: Comparison, method: str, key: str, params: dict[str, Any]) -> dict[str, Any]:
    """The rows of a list as they are now; none where what it is about is gone."""
    return {row["id"]: row for row in _page(compared, method, params | {"limit": 1000}).get(key, [])}


def _page(compared: Comparison, method: str, params: dict[str, Any]) -> dict[str, Any]:
    (answer,) = compared.target.answer([(method, params)])
    result: dict[str, Any] = answer.get("result", {})
    return result


def _same(expected: dict[str, Any], found: dict[str, Any]) -> None:
    fault = difference(expected, {name: found[name] for name in expected})
    assert fault is None, fault
