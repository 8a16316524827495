"""The params of every method as the JSON Schema has them: their fields, nested ones too, and valid examples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from attrs import frozen

import validation
from mandrake_sessions.protocol.methods import OPERATIONS
from validation import schema

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
Path = tuple[str | int, ...]
Schema = dict[str, Any]


@frozen
class Ids:
    """Entities that are there for the examples to be about."""

    session: str
    round: str
    request: str
    response: str
    turn: str


@frozen
class Field:
    """One place in the params of a method; with ``operation``, of one that stands in a transaction."""

    method: str
    path: Path
    schema: Schema
    operation: str | None = None

    @property
    def shown(self) -> str:
        """The path as errors name it."""
        return wire_path(self.path)

    @property
    def called(self) -> str:
        """The method that the field is of, in a transaction or not."""
        return self.operation or self.method

    def takes(self, value: Any) -> bool:
        """Whether the schema allows the value here."""
        return _validator(self).is_valid(value)  # type: ignore[no-any-return]

    def put(self, ids: Ids, value: Any) -> dict[str, Any]:
        """Valid params, but for the value in this place."""
        if self.operation is None:
            params = example(self.method, ids)
        else:
            params = in_transaction(self.operation, example(self.operation, ids))
        place: Any = params
        for step in self.path[:-1]:
            place = place[step]
        place[self.path[-1]] = value
        return params


def wire_path(path: Path) -> str:
    shown = "params"
    for step in path:
        shown += f"[{step}]" if isinstance(step, int) else f".{step}"
    return shown


def fields() -> list[Field]:
    """Every field of every method; in a transaction also each field of each operation that it may hold."""
    found = [
        Field(method, path, kind) for method in schema()["methods"] for path, kind in _below((), params_schema(method))
    ]
    inner = [
        Field("transaction/run", ("operations", 0, "params", *field.path), field.schema, field.method)
        for field in found
        if field.method in OPERATIONS and field.path[0] not in ("scope", "workspace")
    ]
    return found + inner


def required(method: str) -> list[str]:
    names: list[str] = params_schema(method)["required"]
    return names


def params_schema(method: str) -> Schema:
    """The schema of all params of a method."""
    return _resolved(schema()["methods"][method]["params"])


def example(method: str, ids: Ids) -> dict[str, Any]:
    """Valid params, with something in each list and object, so that every nested field has its place."""
    special: dict[str, dict[str, Any]] = {
        "session/get": {"sessionId": ids.session},
        "round/create": {"blocks": ["b"]},
        "request/update": {"blocks": ["b"]},
        "response/update": {"usage": {}},
        "turn/create": {"toolCalls": [{"id": "c"}]},
        "turn/append": {"content": "y"},
        "toolCall/upsert": {"toolCall": {"id": "c"}},
        "transaction/run": in_transaction("turn/append", {"turnId": ids.turn, "content": "z"}),
    }
    given = special.get(method, {})
    usual: dict[str, Any] = {
        "sessionId": ids.session, "roundId": ids.round, "requestId": ids.request, "responseId": ids.response,
        "turnId": ids.turn, "subscriptionId": UNKNOWN, "content": "?", "metadata": {}, "status": "open",
        "toolCallId": "c", "query": "what", "format": "jsonl",
    }  # fmt: skip
    return given | {name: usual[name] for name in required(method) if name not in given}


def in_transaction(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The same call in a transaction."""
    return {"operations": [{"method": method, "params": params}]}


def _below(path: Path, described: Schema) -> Iterator[tuple[Path, Schema]]:
    for name, kind in described.get("properties", {}).items():
        yield from _at((*path, name), kind)


def _at(path: Path, kind: Schema) -> Iterator[tuple[Path, Schema]]:
    yield path, kind
    for inner in _alternatives(kind):
        # What may be anything has no fields.
        if inner.get("items"):
            yield from _at((*path, 0), inner["items"])
        yield from _below(path, inner)


def _alternatives(kind: Schema) -> Iterator[Schema]:
    if "$ref" in kind:
        yield _resolved(kind)
    elif "anyOf" in kind:
        for part in kind["anyOf"]:
            yield from _alternatives(part)
    else:
        yield kind


def _resolved(reference: Schema) -> Schema:
    found: Schema = schema()["$defs"][reference["$ref"].rpartition("/")[2]]
    return found


@cache
def _of_schema(text: str) -> Any:
    return validation.of_part(json.loads(text))


def _validator(field: Field) -> Any:
    return _of_schema(json.dumps(field.schema, sort_keys=True))
