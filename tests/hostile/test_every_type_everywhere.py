"""Each JSON type in place of each field of each method, and of each member of a message.

It is answered exactly once: with what was asked, or with an error of the protocol's section 5 that names the field and
never is `internal`. What is refused changed nothing, the server lives, and its log holds no traceback and no content.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from figures import record
from hostile.shapes import UNKNOWN, Field, Ids, example, fields, in_transaction, required
from mandrake_sessions.protocol.errors import ERRORS
from mandrake_sessions.protocol.methods import METHODS, OPERATIONS
from validation import schema
from wire import Conversation, Framing, Message, Wire, serving

FAST = ("--durability", "normal")
# How many calls are on their way at once.
PART = 400
# What must not stand in any log.
HUSH = "hush"
SURROGATE = f"{HUSH}\ud800"

VALUES: dict[str, Any] = {
    "null": None, "true": True, "false": False, "0": 0, "-1": -1, "1.5": 1.5, "1.0": 1.0, "1e300": 1e300,
    "2^63-1": 2**63 - 1, "2^63": 2**63, "2^70": 2**70, "-2^70": -(2**70), "an empty string": "", "a string": HUSH,
    "a long string": HUSH * 2_000, "a string with NUL": f"{HUSH}\0{HUSH}", "a surrogate": SURROGATE,
    "a string of digits": "1", "a UUID": UNKNOWN, "an empty array": [], "an array": [HUSH],
    "an array of objects": [{HUSH: HUSH}],
    "an empty object": {}, "an object": {HUSH: 1}, "nested": {HUSH: [{"a": [{}, [], None, 1e-7]}]},
    "an array with a surrogate": [[SURROGATE]], "an object with a surrogate key": {SURROGATE: 1},
    "jsonrpc": {"jsonrpc": "2.0", "id": 1},
}  # fmt: skip
CODES = {kind: code for code, kind, _ in ERRORS}


@frozen
class Cell:
    """A field with a value in it."""

    field: Field
    value: str

    @property
    def shown(self) -> str:
        return f"{self.field.called} with {self.field.shown}: {self.value}"


# Subscriptions come last, so that nobody has to be told of all the rest.
CELLS = sorted(
    (Cell(field, value) for field in fields() for value in VALUES),
    key=lambda cell: cell.field.method.endswith("/subscribe"),
)


def test_the_table_is_whole() -> None:
    assert {cell.field.method for cell in CELLS} == {name for name, method in METHODS.items() if method.takes_store}
    assert {cell.field.operation for cell in CELLS} - {None} == OPERATIONS
    assert len(fields()) > 300
    assert any(field.shown == "params.operations[0].params.toolCalls[0].metadata" for field in fields())


class Table:
    """Sends many calls down one pipe, each with what it needs before and the store's seq after it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        conversation = Conversation(wire, title="before")
        turn = conversation.turn(toolCalls=[{"id": "c"}], detached=True)
        self.ids = Ids(
            conversation.session, conversation.round, conversation.request, conversation.response, turn
        )  # fmt: skip
        self._made = 0

    def messages(self, number: int, cell: Cell, *, notify: bool = False) -> list[Message]:
        ids, prepared = self._victims(cell.field.called)
        params = cell.field.put(ids, VALUES[cell.value])
        call: Message = {"jsonrpc": "2.0", "method": cell.field.method, "params": params}
        look: Message = {
            "jsonrpc": "2.0", "id": f"seq {number}", "method": "session/list", "params": {"limit": 1, "archived": None},
        }  # fmt: skip
        before = [*prepared, look | {"id": f"before {number}"}] if prepared or number % PART == 0 else []
        return [*before, call if notify else call | {"id": number}, look]

    def answers(self, messages: Iterable[Message]) -> dict[Any, Message]:
        """Send them all; gives each answer by its id. Notifications are let go."""
        sent = list(messages)
        self.wire.send_bytes(b"".join(self.wire.frame(json.dumps(message).encode()) for message in sent))
        wanted = {message["id"] for message in sent if "id" in message}
        found: dict[Any, Message] = {}
        while wanted - found.keys():
            message = self.wire.next_message()
            if "method" not in message:
                assert message["id"] in wanted, message
                assert message["id"] not in found, message
                found[message["id"]] = message
        return found

    def _victims(self, method: str) -> tuple[Ids, list[Message]]:
        """What a method that deletes may have: an entity of its own, and the calls that make it."""
        makers: dict[str, tuple[str, str, dict[str, Any]]] = {
            "session/delete": ("session/create", "session", {}),
            "round/delete": ("round/create", "round", {"sessionId": self.ids.session, "content": "?"}),
            "turn/delete": ("turn/create", "turn", {"responseId": self.ids.response, "detached": True}),
            "toolCall/delete": ("toolCall/upsert", "", {"turnId": self.ids.turn, "toolCall": {"id": "c"}}),
        }
        if method not in makers:
            return self.ids, []
        maker, entity, params = makers[method]
        self._made += 1
        new = f"{self._made:08x}-0000-4000-8000-000000000000"
        ids = {name: getattr(self.ids, name) for name in ("session", "round", "request", "response", "turn")}
        named = {entity: new} if entity else {}
        given = params | ({"id": new} if entity else {})
        call = {"jsonrpc": "2.0", "id": f"make {self._made}", "method": maker, "params": given}
        return Ids(**(ids | named)), [call]


def parts(cells: list[Cell]) -> Iterable[list[tuple[int, Cell]]]:
    numbered = list(enumerate(cells))
    for start in range(0, len(numbered), PART):
        yield numbered[start : start + PART]


def seqs(found: dict[Any, Message], number: int) -> tuple[int, int]:
    """The store's seq before a call and after it; where nothing stood between, that after the call before."""
    before = found.get(f"before {number}") or found[f"seq {number - 1}"]
    return before["result"]["seq"], found[f"seq {number}"]["result"]["seq"]


def test_every_value_in_every_field(workspace: Path, framing: Framing) -> None:
    counted: Counter[str] = Counter()
    with serving(workspace, framing, *FAST) as wire:
        table = Table(wire)
        # What a value does is no matter of the framing.
        cells = CELLS if framing == "lines" else CELLS[::4]
        for part in parts(cells):
            found = table.answers(message for number, cell in part for message in table.messages(number, cell))
            for number, cell in part:
                before, after = seqs(found, number)
                counted[_check(cell, found[number], before, after)] += 1
            assert all("result" in message for name, message in found.items() if str(name).startswith("make"))
        unread(wire)
        assert wire.log == ""
    whole = len(CELLS) / len(cells)
    assert counted["refused"] > 5000 / whole, counted
    assert counted["accepted"] > 100 / whole, counted
    assert counted["kept"] > 500 / whole, counted
    record(f"each type in each field, {framing}", cells=len(cells), **counted)


def unread(wire: Wire) -> None:
    """End the server; nothing but notifications may be left unread."""
    wire.end_input()
    assert wire.process.wait(20) == 0
    left = [message for message in wire.unread() if "method" not in message]
    assert not left, left[:3]
    wire.forget()


def _check(cell: Cell, answer: Message, before: int, after: int) -> str:
    """What became of it: refused, accepted, or accepted and seen to be kept as it was sent."""
    field, value = cell.field, VALUES[cell.value]
    if "error" in answer:
        assert after == before, f"{cell.shown} was refused, and changed something"
        _check_error(cell, answer["error"])
        return "refused"
    assert field.takes(value), f"{cell.shown} was accepted: {answer}"
    assert SURROGATE not in json.dumps(value, ensure_ascii=False) or not METHODS[field.method].access.writes, cell.shown
    if not METHODS[field.method].access.writes:
        assert after == before, f"{cell.shown} reads, and changed something"
    return "kept" if _is_kept(cell, answer["result"]) else "accepted"


def _check_error(cell: Cell, error: Message) -> None:
    where, field = f"{cell.shown}: {error}", cell.field
    data = error["data"]
    assert error["code"] == CODES[data["kind"]], where
    assert data["kind"] != "internal", where
    assert data["retryable"] is False, where
    if data["kind"] == "invalidParams":
        named = (field.shown, *(field.shown + more for more in ".["))
        assert data["path"] == field.shown or data["path"].startswith(named) or field.takes(VALUES[cell.value]), where
        assert data["path"].startswith(named) or data["path"] == "params", where
        assert data["reason"], where
    else:
        assert field.takes(VALUES[cell.value]), f"the schema refuses what the server did not call invalid: {where}"


def _is_kept(cell: Cell, result: Any) -> bool:
    """Whether the result shows the field; then it must be as it was sent."""
    if not METHODS[cell.field.called].access.writes:
        return False
    path = cell.field.path
    if cell.field.operation is not None:
        result, path = result["results"][0], path[3:]
    owner = {"round": {"metadata": "round", "content": "request", "blocks": "request"}, "toolCall": {}}
    entity = cell.field.called.partition("/")[0]
    if entity == "toolCall" and path[0] == "toolCall":
        path = path[1:]
    found = result.get(owner.get(entity, {}).get(str(path[0])), result) if path else result
    for step in path:
        present = step in found if isinstance(found, dict) else isinstance(found, list) and isinstance(step, int)
        if not present:
            return False
        found = found[step]
    value = VALUES[cell.value]
    kinds = [cell.field.schema, *cell.field.schema.get("anyOf", [])]
    numeric = value is not None and any(kind.get("type") == "number" for kind in kinds)
    # A cost is a double.
    same = found == float(value) if numeric else json.dumps(found) == json.dumps(value)
    if isinstance(value, dict) and isinstance(found, dict) and not same:
        # An object of ours comes back with its other fields.
        same = all(found.get(name) == item for name, item in value.items())
    assert same, f"{cell.shown}, and became {found!r}"
    return True


def test_as_notifications_they_leave_no_word_of_content_in_the_log(workspace: Path) -> None:
    with serving(workspace, "lines", *FAST) as wire:
        table = Table(wire)
        for part in parts([cell for cell in CELLS if HUSH in repr(VALUES[cell.value])]):
            found = table.answers(
                message for number, cell in part for message in table.messages(number, cell, notify=True)
            )
            for number, cell in part:
                before, after = seqs(found, number)
                writes = METHODS[cell.field.method].access.writes
                assert after == before or (writes and cell.field.takes(VALUES[cell.value])), cell.shown
        unread(wire)
        log = wire.log
        assert log.count("failed") > 300
        for word in (HUSH, "Traceback", "incident"):
            assert word not in log, next(line for line in log.splitlines() if word in line)


NO_OBJECTS: dict[str, Any] = {name: value for name, value in VALUES.items() if not isinstance(value, dict)}


def test_params_that_are_no_object(workspace: Path, framing: Framing) -> None:
    """Null is as good as none; anything else is refused, by the methods without params too."""
    with serving(workspace, framing, *FAST) as wire:
        table = Table(wire)
        calls = {(method, name): value for method in METHODS for name, value in NO_OBJECTS.items()}
        found = table.answers(
            {"jsonrpc": "2.0", "id": f"{method} {name}", "method": method, "params": value}
            for (method, name), value in calls.items()
        )
        for method, name in calls:
            answer = found[f"{method} {name}"]
            if name == "null" and not required(method):
                assert "result" in answer or answer["error"]["data"]["path"] == "params", answer
            elif name == "null":
                assert answer["error"]["data"]["path"] in {f"params.{field}" for field in required(method)}, answer
            else:
                assert answer["error"]["data"] == {
                    "kind": "invalidParams", "retryable": False, "path": "params", "reason": "must be an object",
                }  # fmt: skip
        unread(wire)


def test_each_required_field_missing_and_an_unknown_one_anywhere(workspace: Path, framing: Framing) -> None:
    """At the top, in each object below it, and in each operation of a transaction."""
    with serving(workspace, framing, *FAST) as wire:
        table = Table(wire)
        calls: list[tuple[str, dict[str, Any], str]] = []
        for method in METHODS:
            given = example(method, table.ids)
            places = [(method, given, "params")]
            if method in OPERATIONS:
                places.append(("transaction/run", given, "params.operations[0].params"))
            for called, params, where in places:
                for name in required(method):
                    less = {key: value for key, value in params.items() if key != name}
                    calls.append((called, _as_called(called, method, less), f"{where}.{name}"))
                more = params | {"colour": 1}
                calls.append((called, _as_called(called, method, more), f"{where}.colour"))
        for call, where in (({"x": 1, "id": "c"}, "x"), ({}, "id"), ({"title": "t"}, "id")):
            turn = {"responseId": table.ids.response, "toolCalls": [{"id": "d"}, call]}
            calls.append(("turn/create", turn, f"params.toolCalls[1].{where}"))
            upsert = {"turnId": table.ids.turn, "toolCall": call}
            calls.append(("toolCall/upsert", upsert, f"params.toolCall.{where}"))
        for operation, where in (({"params": {}}, "method"), ({"method": "session/create", "x": 1}, "x")):
            made = {"method": "session/create"}
            calls.append(("transaction/run", {"operations": [made, operation]}, f"params.operations[1].{where}"))
        seq = wire.request("session/list")["seq"]
        found = table.answers(
            {"jsonrpc": "2.0", "id": f"call {number}", "method": method, "params": params}
            for number, (method, params, _) in enumerate(calls)
        )
        for number, (method, params, path) in enumerate(calls):
            error = found[f"call {number}"]["error"]
            assert (error["code"], error["data"]["path"]) == (-32602, path), (method, params, error)
        assert wire.request("session/list")["seq"] == seq


def _as_called(called: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    return params if called == method else in_transaction(method, params)


GOOD_IDS: list[Any] = [0, 7, -1, 2**70, 1.5, -0.0, 1e300, "", "x", "\0", "\ud800", "\u2028", HUSH * 25_000, None]
BAD_IDS: list[Any] = [True, False, [], [1], {}, {"a": 1}, [[]]]


@pytest.mark.parametrize("method", ["session/list", "session/create", "server/health", "turn/append", "no/such"])
def test_ids_of_every_type(workspace: Path, framing: Framing, method: str) -> None:
    """A string, a number or null comes back as it was sent; another is refused, and nothing was carried out."""
    with serving(workspace, framing, *FAST) as wire:
        turn = Conversation(wire).turn()
        params = {"turnId": turn, "content": "x"} if method == "turn/append" else {}
        for message_id in GOOD_IDS:
            wire.send({"jsonrpc": "2.0", "id": message_id, "method": method, "params": params})
            answer = wire.next_message()
            assert json.dumps(answer["id"]) == json.dumps(message_id)
            assert ("result" in answer) is (method != "no/such")
        seq = wire.request("session/list")["seq"]
        for message_id in BAD_IDS:
            wire.send({"jsonrpc": "2.0", "id": message_id, "method": method, "params": params})
            answer = wire.next_message()
            assert (answer["id"], answer["error"]["code"]) == (None, -32600)
        assert wire.request("session/list")["seq"] == seq


def test_the_other_members_of_every_type(wire: Wire) -> None:
    """``method`` and ``jsonrpc``: all but the right one are refused, with the id."""
    seq = wire.request("session/list")["seq"]
    refused = {"invalidRequest", "methodNotFound"}
    for member in ("method", "jsonrpc"):
        for name, value in VALUES.items():
            wire.send({"jsonrpc": "2.0", "id": 7, "method": "session/create", member: value})
            answer = wire.next_message()
            assert answer["id"] == 7, name
            assert answer["error"]["data"]["kind"] in refused, name
    for missing in ("method", "jsonrpc"):
        message = {"jsonrpc": "2.0", "id": 8, "method": "session/create"}
        del message[missing]
        wire.send(message)
        assert wire.answer(8)["error"]["code"] == -32600
    assert wire.request("session/list")["seq"] == seq


def test_members_that_json_rpc_does_not_have_are_let_be(wire: Wire) -> None:
    for name, value in VALUES.items():
        wire.send({"jsonrpc": "2.0", "id": name, "method": "server/health", "extra": value, "result": value})
        assert wire.answer(name)["result"]["status"] == "ok"


def test_the_schema_is_what_the_table_is_made_of() -> None:
    assert set(schema()["methods"]) == set(METHODS)
