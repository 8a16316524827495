"""The rules of each field (protocol, section 3), in one table an entity.

A rule takes the field's path and a value, and gives the value as it is stored, or raises InvalidValue. JSON leaves
here encoded, so that nothing is left to fail once a transaction has begun.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from attrs import frozen

from mandrake_sessions.currencies import CURRENCIES
from mandrake_sessions.errors import InvalidValue, TooLarge
from mandrake_sessions.ids import now_ms
from mandrake_sessions.late_import import late_import
from mandrake_sessions.limits import MAX_METADATA_BYTES, MAX_TEXT_BYTES
from mandrake_sessions.model import Origin, Relation, ResponseStatus, SearchRole, ToolCallStatus, TurnStatus
from mandrake_sessions.quoting import must_be, must_be_one_of, shown
from mandrake_sessions.store.sql.values import COST_UNITS, MAX_COST, byte_length, encode_json
from mandrake_sessions.value import Value

Rule = Callable[[str, Any], Any]

MAX_COUNT = 2**63 - 1
# Clocks differ, and a day is more than time zones do.
MAX_AHEAD_MS = 24 * 60 * 60 * 1000

# Costs lie below it.
COST_BOUND = 10**6
# Characters of a text that is no longer than any bound.
_SHORT = 4096

# Of a POSIX system, or of Windows with a drive or a server.
_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]|\\\\")
_UUID = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


def checked(rules: Mapping[str, Rule], values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``values`` as they are stored. Raises InvalidValue with the path of the first one that breaks its rule."""
    result = {}
    for name, value in values.items():
        rule = rules.get(name)
        if rule is None:
            raise InvalidValue(prefix + name, f"there is no such field; known are {', '.join(sorted(rules))}")
        result[name] = rule(prefix + name, value)
    return result


def check_times(columns: Mapping[str, Any]) -> None:
    """What ``checked`` leaves open with the rules of a create, where it makes something: a call that is sent again is
    known by what it sent, whatever the clock says by now. Raises InvalidValue."""
    for field in _GIVEN_TIMES:
        if columns.get(field) is not None:
            moment(field, columns[field])


def text(path: str, value: Any) -> str:
    """Any Unicode text, NUL included, without lone surrogates."""
    if not isinstance(value, str):
        raise InvalidValue(path, must_be("a string", value))
    text_bytes(path, value)
    return value


def text_bytes(path: str, value: str) -> int:
    """The length in UTF-8. Raises InvalidValue for a lone surrogate, which UTF-8 cannot hold."""
    try:
        return byte_length(value)
    except UnicodeEncodeError as error:
        raise InvalidValue(
            path, f"has a lone surrogate (U+{ord(value[error.start]):04X}) at character {error.start}"
        ) from None


def long_text(path: str, value: Any) -> str:
    """The text of a turn: bounded, so that one message can carry it back."""
    if type(value) is str and len(value) <= _SHORT and value.isascii():
        return value
    result = text(path, value)
    if len(result) * 4 > MAX_TEXT_BYTES and byte_length(result) > MAX_TEXT_BYTES:
        raise text_too_large(path)
    return result


def text_too_large(path: str) -> TooLarge:
    return TooLarge(path, "the text of a turn may be at most 64 MiB; begin another turn")


def name(path: str, value: Any) -> str:
    """A text that is not empty."""
    if text(path, value) == "":
        raise InvalidValue(path, "must not be empty")
    return str(value)


def uuid(path: str, value: Any) -> str:
    """A UUID in any case, given in lower case."""
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise InvalidValue(path, f"must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057, not {shown(value)}")
    return value.lower()


def boolean(path: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidValue(path, must_be("true or false", value))
    return value


def count(path: str, value: Any) -> int:
    """A whole number from 0, as large as SQLite can hold."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidValue(path, must_be("an integer", value))
    if not 0 <= value <= MAX_COUNT:
        raise InvalidValue(path, f"must be from 0 to 2^63-1, not {shown(value)}")
    return value


def moment(path: str, value: Any) -> int:
    """A time that a caller gives for what it writes, in milliseconds since the epoch."""
    result = count(path, value)
    if result > (latest := now_ms() + MAX_AHEAD_MS):
        raise InvalidValue(path, f"must be at most a day ahead of the clock, so at most {latest}, not {result}")
    return result


def cost(path: str, value: Any) -> int:
    """A number from 0 and below 10^6, as an integer of 10^-9: what is finer is rounded half to even."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidValue(path, must_be("a number", value))
    if not 0 <= value < COST_BOUND:
        raise InvalidValue(path, f"must be a number from 0 and below {COST_BOUND}, not {shown(value)}")
    if value == 0:
        return 0
    with late_import():
        from decimal import ROUND_HALF_EVEN, Decimal  # few turns have a cost

    # The shortest decimal number that means this double is what the caller wrote.
    units = (Decimal(repr(value)) * COST_UNITS).to_integral_value(ROUND_HALF_EVEN)
    return min(int(units), MAX_COST)


def currency(path: str, value: Any) -> str:
    """A code of ISO 4217."""
    if not isinstance(value, str) or value not in CURRENCIES:
        raise InvalidValue(path, f"must be a currency of ISO 4217 such as USD or EUR, not {shown(value)}")
    return value


def timezone(path: str, value: Any) -> str:
    """The name of a time zone of the IANA database that this machine knows."""
    with late_import():
        from mandrake_sessions.timezones import UnknownTimezone, check_timezone  # few calls name one

    try:
        return check_timezone(text(path, value))
    except UnknownTimezone as error:
        raise InvalidValue(path, f"there is no time zone {shown(value)}; {error}") from None


def directory(path: str, value: Any) -> str:
    """An absolute path of a directory, on any system; whether it exists is not asked."""
    if not _ABSOLUTE.match(text(path, value)):
        raise InvalidValue(path, f"must be an absolute path such as /home/user/project, not {shown(value)}")
    return str(value)


def one_of(words: type[StrEnum]) -> Rule:
    def rule(path: str, value: Any) -> str:
        try:
            return words(value).value
        except ValueError:
            raise InvalidValue(path, must_be_one_of(words, value)) from None

    return rule


@frozen(eq=False, repr=False)
class _OrNone(Value):
    """A rule that lets None pass."""

    of_values: Rule

    def __call__(self, path: str, value: Any) -> Any:
        return None if value is None else self.of_values(path, value)


def optional(rule: Rule) -> Rule:
    return _OrNone(rule)


def of_values(rule: Rule) -> Rule:
    """The rule of what is not None."""
    return rule.of_values if isinstance(rule, _OrNone) else rule


def json_value(path: str, value: Any) -> str:
    """Any JSON, encoded."""
    return encode_json(path, value)


def json_object(path: str, value: Any) -> str:
    if not isinstance(value, dict):
        raise InvalidValue(path, must_be("an object", value))
    return encode_json(path, value)


def metadata(path: str, value: Any) -> str:
    """An object of the client's own, bounded since every list and page carries it."""
    result = json_object(path, value)
    if len(result) * 4 > MAX_METADATA_BYTES and byte_length(result) > MAX_METADATA_BYTES:
        raise TooLarge(path, "metadata may be at most 8 MiB as JSON; keep what is long in a turn's text")
    return result


def json_array(path: str, value: Any) -> str:
    if not isinstance(value, list):
        raise InvalidValue(path, must_be("an array", value))
    return encode_json(path, value)


def tool_calls(path: str, value: Any) -> list[dict[str, Any]]:
    """A list of tool calls, each under an id of its own."""
    if not isinstance(value, list):
        raise InvalidValue(path, must_be("an array", value))
    calls = [tool_call(f"{path}[{position}]", call) for position, call in enumerate(value)]
    seen: set[str] = set()
    for position, call in enumerate(calls):
        if call["id"] in seen:
            raise InvalidValue(f"{path}[{position}].id", f"{shown(call['id'])} stands twice in this turn")
        seen.add(call["id"])
    return calls


def tool_call(path: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidValue(path, must_be("an object", value))
    call = checked(TOOL_CALL, value, f"{path}.")
    if "id" not in call:
        raise InvalidValue(f"{path}.id", "is missing")
    return call


def usage(path: str, value: Any) -> dict[str, Any]:
    """What an agent said of a response, each field of it as it is stored; one that is left out is None."""
    if not isinstance(value, Mapping):
        raise InvalidValue(path, must_be("an object", value))
    return dict.fromkeys(USAGE) | checked(USAGE, value, f"{path}.")


SESSION: Mapping[str, Rule] = {
    "id": uuid,
    "external_id": optional(text),
    "agent": optional(name),
    "source": optional(name),
    "cwd": optional(directory),
    "title": optional(text),
    "description": optional(text),
    "metadata": metadata,
    "parent_id": optional(uuid),
    "relation": optional(one_of(Relation)),
    "parent_tool_call_id": optional(text),
    "created_at": moment,
}

_OF_NEW_SESSION = ("id", "parent_id", "parent_tool_call_id", "created_at")
SESSION_UPDATE: Mapping[str, Rule] = {
    **{field: rule for field, rule in SESSION.items() if field not in _OF_NEW_SESSION},
    "archived": boolean,
}

FORK: Mapping[str, Rule] = {"id": uuid, "through_round_id": optional(uuid), "title": optional(text)}

ROUND: Mapping[str, Rule] = {
    "id": uuid,
    "request_id": uuid,
    "response_id": uuid,
    "content": text,
    "blocks": optional(json_array),
    "origin": one_of(Origin),
    "metadata": metadata,
    "created_at": moment,
}

REQUEST: Mapping[str, Rule] = {"content": text, "blocks": optional(json_array)}

USAGE: Mapping[str, Rule] = {
    "input_tokens": optional(count),
    "output_tokens": optional(count),
    "thought_tokens": optional(count),
    "cache_read_tokens": optional(count),
    "cache_write_tokens": optional(count),
    "context_used": optional(count),
    "context_size": optional(count),
    "cost": optional(cost),
    "currency": optional(currency),
}

RESPONSE: Mapping[str, Rule] = {
    "status": one_of(ResponseStatus),
    "stop_reason": optional(text),
    "usage": optional(usage),
    "end_time": optional(moment),
}

TOOL_CALL: Mapping[str, Rule] = {
    "id": name,
    "title": optional(text),
    "kind": optional(text),
    "server_name": optional(text),
    "method_name": optional(text),
    "arguments": json_value,
    "response": json_value,
    "content": json_value,
    "locations": json_value,
    "status": one_of(ToolCallStatus),
    "start_time": optional(count),
    "end_time": optional(count),
    "metadata": metadata,
}

TURN: Mapping[str, Rule] = {
    "id": uuid,
    "kind": name,
    "tool_call_id": optional(text),
    "content": long_text,
    "raw_response": long_text,
    "tool_calls": tool_calls,
    "status": one_of(TurnStatus),
    "error": optional(text),
    "model": optional(text),
    "metadata": metadata,
    "created_at": moment,
    "stream_start_time": moment,
    "stream_end_time": optional(moment),
    "current_tokens": count,
    "expected_tokens": optional(count),
    "input_tokens": count,
    "output_tokens": count,
    "thought_tokens": optional(count),
    "cache_read_tokens": optional(count),
    "cache_write_tokens": optional(count),
    "input_cost": cost,
    "output_cost": cost,
    "cost": optional(cost),
    "currency": currency,
    "detached": boolean,
}

_OF_CREATION = ("id", "tool_calls", "created_at", "stream_start_time", "detached")
TURN_UPDATE: Mapping[str, Rule] = {field: rule for field, rule in TURN.items() if field not in _OF_CREATION}

_GIVEN_TIMES: Mapping[str, Rule] = {
    "created_at": count,
    "stream_start_time": count,
    "stream_end_time": optional(count),
}


def _of_create(rules: Mapping[str, Rule]) -> Mapping[str, Rule]:
    """Those of a create, whose times ``check_times`` judges later."""
    return {field: _GIVEN_TIMES.get(field, rule) for field, rule in rules.items()}


NEW_SESSION, NEW_ROUND, NEW_TURN = map(_of_create, (SESSION, ROUND, TURN))

PIECE: Mapping[str, Rule] = {
    "turn_id": uuid,
    "content": long_text,
    "raw_response": long_text,
    "chunk": count,
    "current_tokens": count,
    "output_tokens": count,
}

# The filters of a search.
SEARCH: Mapping[str, Rule] = {
    "session_id": uuid,
    "agent": text,
    "cwd": directory,
    "role": one_of(SearchRole),
    "since": count,
    "until": count,
    "archived": boolean,
}
