"""Params into Python values, strictly, and results into JSON values.

Structuring is strict because cattrs by itself is kind: it makes ``"['a']"`` of ``["a"]`` where a string is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

import attrs
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_unstructure_fn, override
from cattrs.gen.typeddicts import make_dict_structure_fn

from mandrake_sessions import model
from mandrake_sessions.long_integers import LongInteger
from mandrake_sessions.model import ResponseStatus, ToolCallStatus, Turn, TurnStatus
from mandrake_sessions.protocol.errors import InvalidParams, did_you_mean
from mandrake_sessions.protocol.names import camel
from mandrake_sessions.quoting import must_be, must_be_one_of

# Metadata, the blocks of a request, what a tool call says.
_CLIENT_JSON = (model.Json, model.JsonObject, list[Any] | None)
# Ids that say what something belongs to, or what it came from.
_OF_OTHERS = ("externalId", "parentId", "parentToolCallId", "throughRoundId", "storeId")
_KINDS = {str: "a string", int: "an integer", bool: "true or false", float: "a number"}


def structure_params(value: dict[str, Any], params: Any, beside: Collection[str] = ()) -> Any:
    """The params of a method: a dict with Python's names, holding what was sent and nothing else. ``beside``: what it
    takes too, under names of the wire, which an unknown name may have been meant to be.

    Raises:
        InvalidParams: with the path (wire names) of the first thing that is wrong.
    """
    try:
        return _structure_hook(params)(value, params)
    except Exception:
        return _explained(value, params, beside)


def structure_plain(value: dict[str, Any], params: Any) -> dict[str, Any] | None:
    """What ``structure_params`` gives for params that are strings, integers and booleans under their own names, in a
    fraction of its time; None where anything in them needs a closer look."""
    fields, required = _plain_fields(params)
    result = {}
    for name, given in value.items():
        known = fields.get(name)
        if known is None or type(given) is not known[1]:
            return None
        result[known[0]] = given
    return result if required <= result.keys() else None


@cache
def _plain_fields(params: Any) -> tuple[dict[str, tuple[str, type]], frozenset[str]]:
    """The name and the type of each plain field, by its name on the wire; and the fields that have to be there."""
    hints = get_type_hints(params)
    fields = {camel(name): (name, kind) for name, kind in hints.items() if kind in (str, int, bool)}
    return fields, params.__required_keys__


@cache
def _structure_hook(params: Any) -> Callable[[Any, Any], Any]:
    return _fast.get_structure_hook(params)


def _explained(value: dict[str, Any], params: Any, beside: Collection[str]) -> Any:
    try:
        return _detailed().structure(value, params)
    except (ClassValidationError, IterableValidationError) as error:
        raise _first_fault(error, "", beside) from None


def unstructure(value: Any) -> Any:
    """A result as JSON values, with the wire's names."""
    return _fast.unstructure(value)


def json_value(value: Any) -> Any:
    """The same for the value of a field alone: objects and arrays are JSON already, entities are not."""
    return value if isinstance(value, dict | list) else unstructure(value)


def _converter(*, detailed: bool) -> Converter:
    converter = Converter(detailed_validation=detailed)
    for kind in _KINDS:
        converter.register_structure_hook(kind, _exactly(kind))
    # By name each: cattrs asks for the hook of the nearest base class first, which is str.
    for words in (ResponseStatus, ToolCallStatus, TurnStatus):
        converter.register_structure_hook(words, _one_of(list(words)))
    converter.register_structure_hook_factory(is_typeddict, _typed_dict_hook(converter, detailed=detailed))
    converter.register_structure_hook_factory(_is_literal, lambda kind: _one_of(get_args(kind)))
    converter.register_structure_hook_factory(_is_list, _list_hook(converter))
    converter.register_structure_hook_factory(_is_dict, lambda _: _object)
    converter.register_unstructure_hook_factory(attrs.has, _entity_hook(converter))
    return converter


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    accepted = (int, float) if kind is float else kind

    def check(value: Any, _: Any) -> Any:
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            is_huge = isinstance(value, LongInteger) and kind in (int, float)
            raise TypeError("has too many digits" if is_huge else must_be(_KINDS[kind], value))
        return value

    return check


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list


def _is_dict(kind: Any) -> bool:
    return get_origin(kind) is dict


def _one_of(words: Any) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if not isinstance(value, str) or value not in words:
            raise ValueError(must_be_one_of(words, value))
        return value

    return check


def _object(value: Any, _: Any) -> Any:
    if not isinstance(value, dict):
        raise TypeError(must_be("an object", value))
    return value


def _list_hook(converter: Converter) -> Callable[[Any], Callable[[Any, Any], Any]]:
    def hook(kind: Any) -> Callable[[Any, Any], Any]:
        (item,) = get_args(kind)
        inner = _anything if item is Any else converter.get_structure_hook(item)

        def check(value: Any, _: Any) -> Any:
            if not isinstance(value, list):
                raise TypeError(must_be("an array", value))
            return [_item(inner, entry, item, index) for index, entry in enumerate(value)]

        return check

    return hook


def _anything(value: Any, _: Any) -> Any:
    return value


def _item(hook: Callable[[Any, Any], Any], entry: Any, kind: Any, index: int) -> Any:
    try:
        return hook(entry, kind)
    except Exception as error:
        error.__notes__ = [*getattr(error, "__notes__", []), IterableValidationNote("", index, kind)]
        raise IterableValidationError("", [error], list) from None


def _typed_dict_hook(converter: Converter, *, detailed: bool) -> Callable[[Any], Callable[[Any, Any], Any]]:
    def hook(kind: Any) -> Callable[[Any, Any], Any]:
        # A rename to the same name makes cattrs drop a required key.
        names = {name: override(rename=camel(name)) for name in kind.__annotations__ if camel(name) != name}
        structure = make_dict_structure_fn(
            kind,
            converter,
            _cattrs_forbid_extra_keys=True,
            _cattrs_detailed_validation=detailed,
            **names,  # type: ignore[arg-type]
        )

        def check(value: Any, _: Any) -> Any:
            if not isinstance(value, dict):
                raise TypeError(must_be("an object", value))
            return structure(value, kind)

        return check

    return hook


def _entity_hook(converter: Converter) -> Callable[[Any], Callable[[Any], Any]]:
    def hook(kind: Any) -> Callable[[Any], Any]:
        names = {
            field.name: override(
                rename=camel(field.name),
                omit_if_default=may_be_left_out(kind, field),
                unstruct_hook=_as_it_is if _is_client_json(kind, field) else None,
            )
            for field in attrs.fields(attrs.resolve_types(kind))
        }
        return make_dict_unstructure_fn(kind, converter, **names)  # type: ignore[arg-type]

    return hook


def _as_it_is(value: Any) -> Any:
    return value


def _is_client_json(kind: Any, field: Any) -> bool:
    """Whether a field of an entity holds what a client sent as JSON: looking at each value in it again would take
    longer than encoding it."""
    return kind.__module__ == model.__name__ and field.type in _CLIENT_JSON


def may_be_left_out(kind: Any, field: Any) -> bool:
    """Texts that were not asked for are left out, not null; so are the parts that a kind of notification lacks."""
    return field.default is None and (kind is Turn or kind.__module__.endswith(".results"))


def _first_fault(error: BaseException, path: str, beside: Collection[str]) -> InvalidParams:
    """The deepest first cause of a detailed error, with the path that leads to it."""
    if isinstance(error, ClassValidationError | IterableValidationError):
        # A field that is missing may be there under a name that is unknown.
        for each in error.exceptions:
            if isinstance(each, ForbiddenExtraKeysError):
                return _unknown_field(each, path, beside, _missing(error))
        cause = error.exceptions[0]
        return _first_fault(cause, path + _step(cause, path), beside)
    if isinstance(error, KeyError):
        return InvalidParams(path, "is missing")
    return InvalidParams(path, str(error))


def _missing(error: BaseExceptionGroup[Exception]) -> list[str]:
    """The fields that have to be there and are not."""
    return [_step(each, "") for each in error.exceptions if isinstance(each, KeyError)]


def _unknown_field(
    error: ForbiddenExtraKeysError, path: str, beside: Collection[str], missing: list[str]
) -> InvalidParams:
    """It comes before a field that is missing, which may have been meant by it."""
    name = min(error.extra_fields)
    fields = [camel(field) for field in error.cl.__annotations__]
    guess = _guess_for_id(fields, missing) if name.lower() == "id" else ""
    guess = guess or did_you_mean(camel(name), fields + ([] if path else list(beside)))
    if not guess and missing:
        guess = f"; {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    elif not guess:
        guess = f"; known are {', '.join(fields)}" if fields else "; there are none"
    return InvalidParams(f"{path}.{name}" if path else name, f"unknown field{guess}")


def _guess_for_id(fields: list[str], missing: list[str]) -> str:
    """Which id was meant by the field ``id``: the one that is missing, or else the first that names what the method is
    about."""
    meant = next((field for field in [*missing, *fields] if field.endswith("Id") and field not in _OF_OTHERS), None)
    return "" if meant is None else f"; did you mean {meant!r}?"


def _step(error: BaseException, path: str) -> str:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return ("." if path else "") + camel(note.name)
        if isinstance(note, IterableValidationNote):
            return f"[{note.index}]"
    return ""


@cache
def _detailed() -> Converter:
    return _converter(detailed=True)


_fast = _converter(detailed=False)
