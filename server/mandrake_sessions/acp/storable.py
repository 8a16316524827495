"""What a store does not take, made into what it takes: lone surrogates, values that are nested too deep, and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.importing.assembling import cleaned, safe_value
from mandrake_sessions.rules import Rule

Made = TypeVar("Made")

_SHORTENED: Final = 100_000
_NONE: Final = object()
# What a value that is no JSON raises, or one that is nested too deep to be looked at.
BROKEN: Final = (InvalidValue, ValueError, TypeError, RecursionError)


def lenient(write: Callable[[dict[str, Any]], Made], fields: Mapping[str, Any], rules: Mapping[str, Rule]) -> Made:
    """Write fields. Where one breaks its rule, each that does becomes one that does not, or is left out."""
    try:
        return write(dict(fields))
    except BROKEN:
        return write(storable(fields, rules))


def storable(fields: Mapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The fields that keep the rules, some of them as a text that says the same."""
    made = {}
    for name, value in fields.items():
        if name in rules and (found := _fitting(name, value, rules[name])) is not _NONE:
            made[name] = found
    return made


def _fitting(name: str, value: Any, rule: Rule) -> Any:
    makers: tuple[Callable[[Any], Any], ...] = (_as_it_is, cleaned, partial(_as_text, name))
    for make in makers:
        with suppress(*BROKEN):
            found = make(value)
            rule(name, found)
            return found
    return _NONE


def _as_it_is(value: Any) -> Any:
    return value


def _as_text(name: str, value: Any) -> Any:
    text = safe_value(value)[:_SHORTENED]
    return {"text": text} if name == "metadata" else [text] if name == "blocks" else text


def cut(text: str, room: int) -> tuple[str, str]:
    """A text in two: the first part has at most so many bytes in UTF-8."""
    if len(text) * 4 <= room:
        return text, ""
    encoded = text.encode()
    if len(encoded) <= room:
        return text, ""
    first = encoded[: max(room, 0)].decode(errors="ignore")
    return first, text[len(first) :]
