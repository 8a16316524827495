"""From Python values to the wire's JSON and back, as the table of methods declares them.

Names change between snake case and camel case; JSON that a caller gave, such as metadata, stays as it is. The server
checks params. Members that a result or notification has beside the declared ones are ignored, so that a client can
talk to a newer server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import attrs

from mandrake_sessions.client.errors import ClientError
from mandrake_sessions.model import Turn
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS
from mandrake_sessions.protocol.names import camel
from mandrake_sessions.protocol.params import AnyStoreParams
from mandrake_sessions.protocol.results import TransactionResults, TurnUpdated

Convert = Callable[[Any], Any]

_TOLD = {notification.name: notification.params for notification in NOTIFICATIONS}
_TRANSACTION = "transaction/run"


def params_to_wire(method: str, params: Mapping[str, Any], where: AnyStoreParams | None = None) -> dict[str, Any]:
    """The ``params`` of a request. ``where``: which store is meant."""
    declared = METHODS.get(method)
    wire: dict[str, Any] = dict(params) if declared is None else _to_wire(declared.params)(params)
    if method == _TRANSACTION and "operations" in params:
        wire["operations"] = [_operation_to_wire(operation) for operation in params["operations"]]
    return {**wire, **(where or {})}


def result_from_wire(method: str, params: Mapping[str, Any], result: Any) -> Any:
    """The result of a request as the declared type. ``params``: those of the request, in either form.

    Raises:
        ClientError: the result does not have the declared type.
    """
    if method == _TRANSACTION:
        pairs = zip(params["operations"], result["results"], strict=True)
        return TransactionResults([result_from_wire(operation["method"], {}, each) for operation, each in pairs])
    return _checked(method, METHODS[method].result, result)


def notification_from_wire(name: str, params: Any) -> Any:
    """The params of a notification as the declared type; as they are where the table does not declare it.

    Raises:
        ClientError: the params do not have the declared type.
    """
    return _checked(name, _TOLD[name], params) if name in _TOLD else params


def _checked(name: str, kind: Any, value: Any) -> Any:
    try:
        return _from_wire(kind)(value)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ClientError(f"{name}: the server's message does not have the declared type: {error}") from error


def _operation_to_wire(operation: Mapping[str, Any]) -> dict[str, Any]:
    given = {"params": params_to_wire(operation["method"], operation["params"])} if "params" in operation else {}
    return dict(operation) | given


def _as_it_is(value: Any) -> Any:
    return value


@cache
def _to_wire(kind: Any) -> Convert:
    if is_typeddict(kind):
        # A name that is not declared goes out unchanged, and the server's error quotes it.
        names = {name: (camel(name), _to_wire(hint)) for name, hint in get_type_hints(kind).items()}
        return lambda value: dict(_member(names, name, given) for name, given in value.items())
    if get_origin(kind) is list:
        return _list_of(_to_wire(get_args(kind)[0]))
    return _as_it_is


def _member(names: dict[str, tuple[str, Convert]], name: str, given: Any) -> tuple[str, Any]:
    wire_name, convert = names.get(name, (name, _as_it_is))
    return wire_name, convert(given)


@cache
def _from_wire(kind: Any) -> Convert:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        inner = _one_of([argument for argument in arguments if argument is not NoneType])
        return lambda value: None if value is None else inner(value)
    if origin is list:
        return _list_of(_from_wire(arguments[0]))
    if origin is dict:
        values = _from_wire(arguments[1])
        return _as_it_is if values is _as_it_is else lambda value: {name: values(each) for name, each in value.items()}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _entity(kind) if attrs.has(kind) else _as_it_is


def _one_of(kinds: list[Any]) -> Convert:
    """Of several classes it is the first with the members of the value."""
    if len(kinds) == 1:
        found: Convert = _from_wire(kinds[0])
        return found
    names = [(set(_fields(kind)), _from_wire(kind)) for kind in kinds]
    return lambda value: next((convert for known, convert in names if known >= value.keys()), names[-1][1])(value)


def _list_of(convert: Convert) -> Convert:
    return _as_it_is if convert is _as_it_is else lambda value: [convert(each) for each in value]


def _entity(kind: Any) -> Convert:
    fields = _fields(kind)

    def build(value: Any) -> Any:
        return kind(
            **{name: convert(value[wire_name]) for wire_name, (name, convert) in fields.items() if wire_name in value}
        )

    return build


@cache
def _fields(kind: Any) -> dict[str, tuple[str, Convert]]:
    """By wire name: the Python name of each field, and how its value is read."""
    hints = get_type_hints(kind)
    fields = {camel(field.name): (field.name, _from_wire(hints[field.name])) for field in attrs.fields(kind)}
    if kind is TurnUpdated:
        fields["changes"] = ("changes", _changes)
    return fields


def _changes(value: dict[str, Any]) -> dict[str, Any]:
    """The fields of a turn that differ, under their Python names."""
    fields = _fields(Turn)
    known = ((fields[wire_name], each) for wire_name, each in value.items() if wire_name in fields)
    return {name: convert(each) for (name, convert), each in known}
