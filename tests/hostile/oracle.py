"""What bytes must be answered with, told by a plain reading of JSON-RPC 2.0 and the protocol's first section."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

from attrs import field, frozen

from hostile.fuzzing import canonical
from mandrake_sessions.limits import MAX_BATCH, MAX_JSON_DEPTH

_BLANK = " \t\r\n"
_ID = re.compile(r'"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)')


@frozen
class Expected:
    """One answer. ``ids``: those that it may have, canonical; ``batch``: what is in it, where it is one. ``error``:
    whether it must be one (False: it must not; None: it may)."""

    ids: frozenset[str] = frozenset()
    error: bool | None = None
    batch: tuple[Expected, ...] = ()


NULL = frozenset({canonical(None)})
ONE_ERROR = Expected(NULL, error=True)


@frozen
class Reading:
    """What a message must be answered with, and the calls in it that nobody waits for."""

    answer: Expected | None
    silent: int = field(default=0)


def read(body: bytes, max_bytes: int) -> Reading:
    """For the bytes of one message."""
    if not body.strip(_BLANK.encode()):
        return Reading(ONE_ERROR)
    if len(body) > max_bytes:
        return Reading(Expected(NULL | _ids_in(body), error=True))
    try:
        value = _strict(body.decode().strip(_BLANK))
    except (ValueError, RecursionError):
        return Reading(Expected(NULL | _ids_in(body), error=True))
    if _depth(value) > MAX_JSON_DEPTH:
        return Reading(Expected(NULL | _ids_in(body), error=True))
    if not isinstance(value, list):
        return _one(value)
    if not 0 < len(value) <= MAX_BATCH:
        return Reading(ONE_ERROR)
    members = [_one(member) for member in value]
    answers = tuple(member.answer for member in members if member.answer is not None)
    return Reading(Expected(batch=answers) if answers else None, sum(member.silent for member in members))


def _one(message: Any) -> Reading:
    if not isinstance(message, dict):
        return Reading(ONE_ERROR)
    given = message.get("id")
    has_id = given is None or isinstance(given, str) or (isinstance(given, int | float) and not isinstance(given, bool))
    fault = Reading(Expected(frozenset({canonical(given)}) if has_id else NULL, error=True))
    if message.get("jsonrpc") != "2.0" or not has_id:
        return fault
    if "method" in message:
        if not isinstance(message["method"], str):
            return fault
        return Reading(Expected(frozenset({canonical(given)}))) if "id" in message else Reading(None, silent=1)
    return Reading(None) if "id" in message and ("result" in message) != ("error" in message) else fault


def _strict(text: str) -> Any:
    def no_constant(name: str) -> NoReturn:
        raise ValueError(name)

    def finite(digits: str) -> float:
        if math.isinf(number := float(digits)):
            raise ValueError(digits)
        return number

    return json.loads(text, parse_constant=no_constant, parse_float=finite)


def _depth(value: Any) -> int:
    depth, layer = 0, [value]
    while layer := [item for item in layer if isinstance(item, dict | list)]:
        depth += 1
        layer = [child for item in layer for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _ids_in(body: bytes) -> frozenset[str]:
    """Whatever may be taken for the id of a message that cannot be read as a whole."""
    found = set()
    for text in _ID.findall(body.decode(errors="replace")):
        try:
            found.add(canonical(json.loads(text, strict=False)))
        except ValueError:
            continue
    return frozenset(found)


def compare(expected: list[Expected], answers: list[Any]) -> None:
    """Every expected answer came once, and no other. Order is not compared: long reads may be answered later."""
    assert len(expected) == len(answers), _difference(expected, answers)
    singles = [answer for answer in answers if not isinstance(answer, list)]
    _compare_singles([one for one in expected if not one.batch], singles)
    wanted = Counter(_shape(one.batch) for one in expected if one.batch)
    found = Counter(
        tuple(sorted(canonical(answer["id"]) for answer in batch)) for batch in answers if isinstance(batch, list)
    )
    assert wanted == found, (wanted - found, found - wanted)


def _compare_singles(expected: list[Expected], answers: list[Any]) -> None:
    left = Counter(canonical(answer["id"]) for answer in answers)
    certain = Counter(next(iter(one.ids)) for one in expected if len(one.ids) == 1)
    assert certain <= left, f"not answered: {dict(certain - left)}"
    left -= certain
    allowed = Counter(key for one in expected if len(one.ids) > 1 for key in one.ids)
    for key, count in left.items():
        assert count <= allowed[key], f"answered too often: {key}"
    by_id: dict[str, list[Any]] = {}
    for answer in answers:
        by_id.setdefault(canonical(answer["id"]), []).append(answer)
    for one in expected:
        if len(one.ids) == 1 and one.error is not None and certain[key := next(iter(one.ids))] == len(by_id[key]) == 1:
            assert ("error" in by_id[key][0]) is one.error, by_id[key][0]


def _shape(batch: tuple[Expected, ...]) -> tuple[str, ...]:
    return tuple(sorted(next(iter(one.ids)) for one in batch))


def _difference(expected: list[Expected], answers: list[Any]) -> str:
    wanted = Counter(next(iter(one.ids)) for one in expected if len(one.ids) == 1)
    found = Counter(canonical(answer["id"]) for answer in answers if not isinstance(answer, list))
    return (
        f"{len(expected)} answers expected, {len(answers)} came; missing {dict(wanted - found)}, "
        f"too many {dict(found - wanted)}"
    )
