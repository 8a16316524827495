"""Releases large values that statements keep.

sqlite3 keeps 256 statements of a connection, and each keeps the values that were last bound to it. Values of a few MiB
in many statements would add up to gigabytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from sqlite3 import Connection, Error
from typing import Any

# Characters.
LARGE_VALUE = 64 * 1024


class _Unbindable:
    """A value of no type that SQLite knows."""


def release_large(connection: Connection, statement: str, values: Sequence[Any]) -> None:
    """Let the statement forget its values if they are large.

    The function binds nulls in place of all values but the last, where binding fails, so that the statement does
    nothing. The last value stays, and has to be short.
    """
    for value in values:
        if type(value) is str and len(value) > LARGE_VALUE:
            with suppress(Error):
                connection.execute(statement, (*[None] * (len(values) - 1), _Unbindable()))
            return
