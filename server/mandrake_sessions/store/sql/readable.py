"""Rows that can be read for what they are; lists leave the others out, and note them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from mandrake_sessions.errors import Unreadable
from mandrake_sessions.store.interface import Sql

T = TypeVar("T")
R = TypeVar("R")


def note(sql: Sql, error: Unreadable) -> None:
    """Note what a list leaves out."""
    error.path = error.path or sql.path
    if sql.oddities is not None:
        sql.oddities.note(error)


def readable(sql: Sql, rows: Iterable[R], read: Callable[[R], T]) -> Iterator[T]:
    """What can be read; the rest is left out, and noted."""
    for row in rows:
        try:
            found = read(row)
        except Unreadable as error:
            note(sql, error)
        else:
            yield found


def readable_page(
    sql: Sql,
    fetch: Callable[[Any, int | None], Iterable[R]],
    position: Callable[[R], Any],
    after: Any,
    limit: int | None,
    read: Callable[[R], T],
) -> Iterator[T]:
    """The first ``limit`` rows beyond ``after`` that can be read, all of them where it is None: more are fetched in the
    place of those that are left out, so that a page which is not full is the last one. ``fetch`` takes ``after`` and
    the value of a LIMIT."""
    if limit is None:
        yield from readable(sql, fetch(after, sql.dialect.no_limit), read)
        return
    while limit:
        fetched = 0
        left = limit
        for row in fetch(after, limit):
            fetched += 1
            after = position(row)
            for found in readable(sql, (row,), read):
                left -= 1
                yield found
        if fetched < limit:
            return
        limit = left
