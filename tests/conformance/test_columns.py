"""Every reader of a row gives each column under its own name.

A store is written by SQL, with a value in each column that stands nowhere else. So two columns that are exchanged
anywhere between a statement and an entity show, though their types are the same.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from attrs import asdict

from conformance.backends import Backend
from mandrake_sessions import SessionManager
from mandrake_sessions.model import Change, Request, Response, Round, Session, ToolCall, Turn, Usage
from mandrake_sessions.store.interface import Sql
from mandrake_sessions.store.sql import feed_pruning, rounds, sessions, streams, texts, turns
from mandrake_sessions.store.sql.columns import SESSION, TABLES, columns_from
from mandrake_sessions.store.sql.selection import Selection, field_names
from mandrake_sessions.store.sql.values import Decoder, OddValue

Values = dict[str, Any]
Rows = dict[str, Values]

_WORDS = {
    "turn.status": "completed",
    "response.status": "cancelled",
    "tool_call.status": "in_progress",
    "session.state": "idle",
    "session.relation": "subagent",
    "round.origin": "system",
}


def a_value(table: str, column: str, decode: Decoder, number: int) -> Any:
    """One that the column may hold, and that no other column has."""
    name = f"{table}.{column}"
    candidates = (number, name.encode(), name, json.dumps({"of": name}), json.dumps([name]), str(uuid.UUID(int=number)))
    for value in candidates:
        try:
            decode(value)
        except OddValue:
            continue
        return value
    return _WORDS[name]


def make_rows() -> Rows:
    """A row for each table, each value once, but for the keys by which they belong together."""
    numbers = count(1001)
    rows = {
        table: {column: a_value(table, column, decode, next(numbers)) for column, decode in decoders.items()}
        for table, decoders in TABLES.items()
        if table != "store"
    }
    rows["round"]["session_pk"] = rows["turn"]["session_pk"] = rows["session"]["pk"]
    rows["request"]["pk"] = rows["response"]["pk"] = rows["response_usage"]["pk"] = rows["turn"]["round_pk"] = rows[
        "round"
    ]["pk"]
    # One that is shown.
    rows["session"]["copying_lease"] = None
    rows["tool_call"] |= {"pk": next(numbers), "turn_pk": rows["turn"]["pk"]}
    rows["turn"]["folded_chunks"] = rows["turn"]["chunk_count"] - 100
    rows["text"]["turn_pk"] = rows["turn"]["pk"]
    rows["text"]["pk"] = max(rows["turn"]["content_pk"], rows["turn"]["raw_response_pk"])
    numbered = ("at", "current_tokens", "output_tokens", "content_bytes", "raw_response_bytes", "seq")
    rows["feed"] = {
        "kind": "appended",
        "turn_pk": rows["turn"]["pk"],
        "chunk": rows["turn"]["chunk_count"] + 100,
        "content": "feed.content",
        "raw_response": "feed.raw_response",
        **{name: next(numbers) for name in numbered},
    }
    return rows


@pytest.fixture(params=["completed", "streaming"])
def rows(request: pytest.FixtureRequest, backend: Backend) -> Rows:
    """What the store holds, by table and column."""
    made = make_rows()
    made["turn"]["status"] = request.param
    if is_streaming(made):
        # A lease that no process holds would end the turn.
        made["turn"]["lease"] = None
        made["session"]["state"] = "running"
    with backend.manager() as manager, manager.store.transaction() as tx:
        for table, row in made.items():
            names = ", ".join(f'"{name}"' for name in row)
            statement = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})"  # noqa: S608
            tx.sql.execute(statement, list(row.values()))
    return made


@pytest.fixture
def manager(rows: Rows, backend: Backend) -> Iterator[SessionManager]:
    """Of a store that holds the rows."""
    with backend.manager() as opened:
        yield opened


@pytest.fixture
def sql(manager: SessionManager) -> Iterator[Sql]:
    with manager.store.reading() as found:
        yield found


def meant(rows: Rows, table: str, names: tuple[str, ...]) -> Values:
    """What the columns of these names mean."""
    return {name: TABLES[table][name](rows[table][name]) for name in names if name in TABLES[table]}


def is_streaming(rows: Rows) -> bool:
    return bool(rows["turn"]["status"] == "streaming")


def standing(rows: Rows) -> Values:
    """What the piece says in place of the turn's row, while the turn streams."""
    if not is_streaming(rows):
        return {}
    piece = rows["feed"]
    same = ("seq", "current_tokens", "output_tokens", "content_bytes", "raw_response_bytes")
    return {"chunk_count": piece["chunk"] + 1, **{name: piece[name] for name in same}}


def assert_has(entity: Any, expected: Values) -> None:
    assert {name: getattr(entity, name) for name in expected} == expected


def test_a_session(rows: Rows, manager: SessionManager, sql: Sql) -> None:
    expected = meant(rows, "session", field_names(Session)) | {"streaming": is_streaming(rows)}
    session_id = rows["session"]["id"]
    assert asdict(manager.get_session(session_id)) == expected
    assert [asdict(session) for session in manager.list_sessions(archived=None).sessions] == [expected]
    assert_has(sessions.get_session(sql, session_id), meant(rows, "session", ("pk", "create_hash")))


def test_a_round_with_its_request_and_response(rows: Rows, manager: SessionManager, sql: Sql) -> None:
    round_id = rows["round"]["id"]
    expected_round = {
        **meant(rows, "round", field_names(Round)),
        "session_id": rows["session"]["id"],
        "request_id": rows["request"]["id"],
        "response_id": rows["response"]["id"],
    }
    expected_request = meant(rows, "request", field_names(Request)) | {"round_id": round_id}
    usage = meant(rows, "response_usage", field_names(Usage))
    expected_response = meant(rows, "response", field_names(Response)) | {"round_id": round_id, "usage": usage}
    detail = manager.get_round(round_id)
    assert (asdict(detail.round), asdict(detail.request), asdict(detail.response)) == (
        expected_round,
        expected_request,
        expected_response,
    )
    assert [asdict(found) for found in manager.list_rounds(rows["session"]["id"]).rounds] == [expected_round]
    stored = rounds.get_round(sql, round_id)
    assert_has(stored, meant(rows, "round", ("pk", "session_pk", "create_hash")))


def test_a_turn(rows: Rows, manager: SessionManager) -> None:
    runs = (rows["text"], rows["feed"])
    expected = {
        **meant(rows, "turn", field_names(Turn)),
        **{name: value for name, value in standing(rows).items() if name in field_names(Turn)},
        "response_id": rows["response"]["id"],
        "tool_calls": [meant(rows, "tool_call", field_names(ToolCall))],
        "content": "".join(run["content"] for run in runs),
        "raw_response": "".join(run["raw_response"] for run in runs),
    }
    turn_id = rows["turn"]["id"]
    assert asdict(manager.get_turn(turn_id)) == expected
    (found,) = manager.list_turns(rows["response"]["id"], include_raw=True).turns
    assert asdict(found) == expected
    without_texts = expected | {"content": None, "raw_response": None}
    assert asdict(manager.get_turn(turn_id, include_text=False)) == without_texts


def test_a_turn_as_the_store_sees_it(rows: Rows, sql: Sql) -> None:
    expected = {**rows["turn"], **standing(rows)}
    stored = turns.get_turn(sql, rows["turn"]["id"])
    assert_has(stored, expected)
    place = ("folded_chunks", "content_pk", "raw_response_pk")
    assert_has(stored.text, {"turn_pk": expected["pk"]} | {name: expected[name] for name in place})
    assert_has(stored, {"response_id": rows["response"]["id"]})
    moved = {"seq", "chunk_count", "current_tokens", "output_tokens", "content_bytes", "raw_response_bytes"}
    assert stored.standing() == {name: expected[name] for name in moved}
    assert stored.columns == {name: expected[name] for name in stored.columns}


def test_a_tool_call(rows: Rows, manager: SessionManager) -> None:
    expected = meant(rows, "tool_call", field_names(ToolCall))
    title = "another title"
    changed = manager.upsert_tool_call(rows["turn"]["id"], {"id": rows["tool_call"]["id"], "title": title})
    assert asdict(changed) == expected | {"title": title}


@pytest.mark.parametrize("rows", ["streaming"], indirect=True)
def test_a_stream_and_what_an_append_writes(rows: Rows, manager: SessionManager) -> None:
    known = {**rows["turn"], **standing(rows)}
    names = {
        "turn_id": rows["turn"]["id"],
        "session_id": rows["session"]["id"],
        "round_id": rows["round"]["id"],
        "response_id": rows["response"]["id"],
    }
    with manager.store.reading() as sql:
        stream = streams.read_stream(sql, rows["turn"]["id"])
        assert (
            asdict(stream) == {name: known[name] for name in field_names(streams.Stream) if name not in names} | names
        )
    piece: Values = {"content": "né", "raw_response": "+", "current_tokens": 11, "output_tokens": 12}
    manager.append_turn(rows["turn"]["id"], **piece)
    expected = {
        **piece,
        "kind": "appended",
        "turn_pk": known["pk"],
        "chunk": known["chunk_count"],
        "content_bytes": known["content_bytes"] + 3,
        "raw_response_bytes": known["raw_response_bytes"] + 1,
    }
    with manager.store.reading() as sql:
        # The names are the test's own.
        statement = f"SELECT {', '.join(expected)}, at FROM feed ORDER BY seq DESC LIMIT 1"  # noqa: S608
        *stored, at = sql.execute(statement).fetchone()
    assert dict(zip(expected, stored, strict=True)) == expected
    assert at > rows["feed"]["at"]


@pytest.mark.parametrize("rows", ["completed"], indirect=True)
def test_an_untouched_session(rows: Rows, manager: SessionManager) -> None:
    (found,) = manager.untouched_sessions(10**9)
    session = rows["session"]
    expected = meant(rows, "session", ("id", "title", "round_count"))
    assert_has(found, expected | {"archived": True, "last_change": max(session["updated_at"], rows["feed"]["at"])})


def test_who_has_an_external_id(rows: Rows, sql: Sql) -> None:
    session = rows["session"]
    expected = sessions.Holder(pk=session["pk"], id=session["id"], agent=session["agent"])
    assert sessions.holder_of_external_id(sql, session["agent"], session["external_id"]) == expected
    assert sessions.find_sessions_by_external_id(sql, session["external_id"], 2) == [expected]


def test_a_stored_piece(rows: Rows, sql: Sql) -> None:
    piece = rows["feed"]
    found = texts.find_piece(sql, piece["turn_pk"], piece["chunk"])
    assert found is not None
    assert found._asdict() == {name: piece[name] for name in ("seq", "content", "raw_response")}


def test_a_measured_row_of_the_feed(rows: Rows, sql: Sql) -> None:
    piece = rows["feed"]
    span = feed_pruning.measure_feed(sql, 0, rows=10, size=10**6)
    size = feed_pruning.ROW_BYTES + len(piece["content"]) + len(piece["raw_response"])
    assert span == feed_pruning.FeedSpan(last_seq=piece["seq"], at=piece["at"], size=size, rows=1, deletes=False)


def test_a_piece_in_the_feed(rows: Rows, manager: SessionManager) -> None:
    (change,) = manager.feed.changes_since(0)
    same = ("seq", "current_tokens", "output_tokens", "content", "raw_response")
    expected = {
        **{name: rows["feed"][name] for name in same},
        "first_chunk": rows["feed"]["chunk"],
        "last_chunk": rows["feed"]["chunk"],
        "session_id": rows["session"]["id"],
        "round_id": rows["round"]["id"],
        "response_id": rows["response"]["id"],
        "turn_id": rows["turn"]["id"],
        "index": rows["turn"]["index"],
    }
    assert_has(change, expected)


@pytest.mark.parametrize("rows", ["streaming"], indirect=True)
def test_replaced_texts_in_the_feed(rows: Rows, manager: SessionManager) -> None:
    manager.update_turn(rows["turn"]["id"], content="replaced", raw_response="raw too")
    change: Change = manager.feed.changes_since(rows["feed"]["seq"])[0]
    assert change.changes is not None
    assert (change.changes["content"], change.changes["raw_response"]) == ("replaced", "raw too")


def test_the_order_of_the_columns_means_nothing(rows: Rows, sql: Sql) -> None:
    columns = columns_from("s", SESSION)
    names = [name for name in field_names(Session) if name in columns]
    for ordered in (names, names[::-1]):
        selection = Selection("session", columns, ordered)
        row = sql.execute(f"SELECT {selection.sql(sql.dialect)} FROM session s").fetchone()  # noqa: S608
        assert dict(zip(ordered, selection.decode("", row), strict=True)) == meant(rows, "session", tuple(names))
