"""Cursors and page sizes.

A cursor names its list and the last position in it. It stays valid while rows come and go, since a position is an
``index`` or a ``seq``, and neither is ever reused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import frozen

from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.limits import MAX_LIMIT
from mandrake_sessions.quoting import shown
from mandrake_sessions.store.sql.values import is_uuid
from mandrake_sessions.value import Value

T = TypeVar("T")

DEFAULT_LIMIT = 50
PAGE_BYTES = 8 * 1024 * 1024


def check_limit(limit: Any) -> int:
    """Raises InvalidValue."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise InvalidValue("limit", f"must be an integer from 1 to {MAX_LIMIT}, not {shown(limit)}")
    return limit


def encode_cursor(list_name: str, key: Any, position: Sequence[int]) -> str:
    """``key``: whatever distinguishes this list from others: its parent, filter and order. ``position``: the numbers by
    which the list is ordered, of the last row."""
    return encode_values(list_name, key, *position)


def decode_cursor(cursor: str | None, list_name: str, key: Any, numbers: int) -> tuple[int, ...] | None:
    """The position, of so many numbers; None without a cursor. Raises InvalidValue for a cursor of another list."""
    position = decode_values(cursor, list_name, key)
    if position is None:
        return None
    if len(position) != numbers or not all(map(_is_number, position)):
        raise not_of_this_list(cursor)
    return tuple(position)


def encode_values(list_name: str, key: Any, *values: Any) -> str:
    """The cursor of a list whose place no numbers tell: any JSON values."""
    payload = json.dumps([_digest(list_name, key), *values], separators=(",", ":"))
    return base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=")


def decode_values(cursor: str | None, list_name: str, key: Any) -> list[Any] | None:
    """What ``encode_values`` was given, for the caller to check; None without a cursor. Raises InvalidValue for a
    cursor of another list."""
    if cursor is None:
        return None
    values: list[Any]
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        name, *values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (AttributeError, ValueError, TypeError, RecursionError, binascii.Error):
        raise not_of_this_list(cursor) from None
    if name != _digest(list_name, key):
        raise not_of_this_list(cursor)
    return values


@frozen(eq=False, repr=False)
class JoinedPosition(Value):
    """The last row of a page of several stores: its ``moment``, its store and its id. ``seqs``: the ``seq`` of each
    store that gave rows, when it first did."""

    moment: int
    store_id: str
    row_id: str
    seqs: Mapping[str, int]


def encode_joined(list_name: str, key: Any, position: JoinedPosition) -> str:
    """The cursor of a list of several stores, which is ordered by a moment, the store's id and the row's."""
    return encode_values(list_name, key, position.moment, position.store_id, position.row_id, dict(position.seqs))


def decode_joined(cursor: str | None, list_name: str, key: Any) -> JoinedPosition | None:
    """What ``encode_joined`` was given; None without a cursor. Raises InvalidValue for a cursor of another list."""
    values = decode_values(cursor, list_name, key)
    if values is None:
        return None
    if len(values) != 4:
        raise not_of_this_list(cursor)
    moment, store_id, row_id, seqs = values
    if not (_is_number(moment) and is_uuid(store_id) and is_uuid(row_id) and isinstance(seqs, dict)):
        raise not_of_this_list(cursor)
    if not all(_is_number(seq) for seq in seqs.values()):
        raise not_of_this_list(cursor)
    return JoinedPosition(moment, store_id, row_id, seqs)


def encode_index(list_name: str, key: Any, index: int) -> str:
    """The cursor of a list that is ordered by one number."""
    return encode_cursor(list_name, key, (index,))


def decode_index(cursor: str | None, list_name: str, key: Any) -> int | None:
    """What ``encode_index`` was given; None without a cursor. Raises InvalidValue for a cursor of another list."""
    position = decode_cursor(cursor, list_name, key, 1)
    return None if position is None else position[0]


def take_page(items: Iterable[T], size: Callable[[T], int], limit: int) -> tuple[list[T], bool]:
    """The first items that fit into a page of ``limit`` rows and about 8 MiB, at least one; and whether there are more.
    It takes items one by one, at most one more than it gives."""
    kept: list[T] = []
    total = 0
    for item in items:
        total += size(item)
        if kept and (len(kept) == limit or total > PAGE_BYTES):
            return kept, True
        kept.append(item)
    return kept, False


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _digest(list_name: str, key: Any) -> str:
    return hashlib.sha256(json.dumps([list_name, key]).encode()).hexdigest()[:12]


def not_of_this_list(cursor: object) -> InvalidValue:
    """It is damaged, or was given for a list of other params."""
    return InvalidValue(
        "cursor",
        f"{shown(cursor, 40)} is not a cursor of this list. Send all params as they were in the call that gave it"
        " (filters, order, query, store), or begin again without a cursor",
    )
