"""What is said of a conversation, as the fields of rounds, turns and responses: with ids, times and texts that a store
takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.ids import now_ms
from mandrake_sessions.importing.assembling import Fields, safe_text, safe_value
from mandrake_sessions.importing.events import Requested
from mandrake_sessions.importing.names import Names
from mandrake_sessions.operations.imports import (
    Columns,
    call_columns,
    response_columns,
    round_columns,
    turn_columns,
)

Made = TypeVar("Made")

_VALUES: Final = ("arguments", "response", "content", "server_name")


class Shape:
    """The fields of what one session has, and, for ``WholeSession``, their columns, where a value that breaks a rule
    becomes a text that breaks none. Raises InvalidValue."""

    def __init__(self, session_id: str) -> None:
        self.names = Names(session_id)

    def round(self, requested: Requested, at: int) -> Fields:
        fields: Fields = {
            "id": self.names.of("round", requested.id),
            "content": safe_text(requested.text),
            "origin": requested.origin,
            "request_id": self.names.of("request", requested.id),
            "response_id": self.names.of("response", requested.id),
            "created_at": at,
        }
        if requested.blocks is not None:
            fields["blocks"] = requested.blocks
        return fields

    def turn(self, name: str, given: Fields, at: int) -> Fields:
        fields = {**given, "id": self.names.of("turn", name), "content": safe_text(given["content"])}
        fields.pop("at")
        for text in ("raw_response", "error"):
            if text in fields:
                fields[text] = safe_text(fields[text])
        fields["created_at"] = fields["stream_start_time"] = at
        fields["stream_end_time"] = max(at, usable(fields.get("stream_end_time", at)))
        fields["tool_calls"] = [safe_call(call) for call in given.get("tool_calls", ())]
        return fields

    def response(self, fields: Fields) -> Fields:
        made = dict(fields)
        if "stop_reason" in made:
            made["stop_reason"] = safe_text(made["stop_reason"])
        if "end_time" in made:
            made["end_time"] = usable(made["end_time"])
        return made

    def round_columns(self, requested: Requested, at: int | None) -> Columns:
        return lenient(round_columns, self.round(requested, usable(at)))

    def turn_columns(self, name: str, fields: Fields) -> Columns:
        return lenient(turn_columns, self.turn(name, fields, usable(fields["at"])))

    def call_columns(self, call: Fields) -> Columns:
        return call_columns(safe_call(call))

    def response_columns(self, fields: Fields) -> Columns:
        return response_columns(self.response(fields))


def usable(at: int | None) -> int:
    """A time that is none of the future, now where there is none."""
    now = now_ms()
    return now if at is None or at > now else at


def safe_call(call: Mapping[str, Any]) -> Fields:
    texts = {name: safe_text(call[name]) for name in ("id", "method_name", "server_name") if name in call}
    return {**call, **texts}


def lenient(write: Callable[[Fields], Made], fields: Fields) -> Made:
    """Write fields; values that break a rule become texts that do not."""
    try:
        return write(fields)
    except InvalidValue:
        made: Fields = {name: safe_text(each) if isinstance(each, str) else each for name, each in fields.items()}
        for name in ("blocks", "metadata"):
            if name in made:
                made[name] = [safe_value(made[name])] if name == "blocks" else {"text": safe_value(made[name])}
        made["tool_calls"] = [
            {name: safe_value(value) if name in _VALUES else value for name, value in call.items()}
            for call in made.get("tool_calls", ())
        ]
        if not made["tool_calls"]:
            del made["tool_calls"]
        return write(made)
