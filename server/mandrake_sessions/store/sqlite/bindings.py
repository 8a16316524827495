"""What statements hold of the values that they were given.

sqlite3 keeps the statements of a connection, 256 of them, and each keeps the values that were bound to it last until
others are bound. Those of a few MiB, each in another statement, would add up to gigabytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from sqlite3 import Connection, Error
from typing import Any

# Characters.
LARGE_VALUE = 64 * 1024


class _Unbindable:
    """No value that SQLite has a type for."""


def release_large(connection: Connection, statement: str, values: Sequence[Any]) -> None:
    """Let the statement forget what it was carried out with, where that is large.

    Nulls are bound in place of all values but the last, where binding fails, so that nothing is carried out. The last
    one stays, and is to be short.
    """
    for value in values:
        if type(value) is str and len(value) > LARGE_VALUE:
            with suppress(Error):
                connection.execute(statement, (*[None] * (len(values) - 1), _Unbindable()))
            return
