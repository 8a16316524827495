"""SQLite's spelling of what the statements of the entities need (``interface.Dialect``)."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable
from typing import Any, Final

# The least of SQLite's bounds on a pattern is 50,000 bytes; a part of a value may be contained where the value is not.
_MAX_PATTERN = 1000
_MAX_FINDABLE_BYTES = 4000
_GLOB_SIGNS = re.compile(r"[*?\[]")


class SqliteDialect:
    """Of a connection for which ``add_functions`` was called.

    ``length`` and ``instr`` of a text count characters and end at a NUL; of a blob they count bytes.
    """

    no_limit: Final = -1

    def among(self, column: str) -> str:
        return f"{column} IN (SELECT value FROM json_each(?))"

    def numbers(self, values: Iterable[int]) -> Any:
        return json.dumps(list(values))

    def pairs(self, alias: str, first: str, second: str) -> str:
        columns = f"json_extract(value, '$[0]') AS {first}, json_extract(value, '$[1]') AS {second}"
        return f"(SELECT {columns} FROM json_each(?)) AS {alias}"

    def number_pairs(self, values: Iterable[tuple[int, int]]) -> Any:
        return json.dumps(list(values))

    def as_bytes(self, text: str) -> str:
        return f"CAST({text} AS BLOB)"

    def byte_length(self, text: str) -> str:
        return f"length({self.as_bytes(text)})"

    def contains(self, text: str) -> str:
        return f"instr({text}, ?) > 0"

    def contains_folded(self, text: str) -> str:
        return f"instr(casefold({self.as_bytes(text)}), ?) > 0"

    def findable(self, *texts: str) -> str:
        """The migrations spell it in the same way. GLOB ends at a NUL."""
        joined = self.as_bytes(" || char(10) || ".join(f"coalesce({text}, '')" for text in texts))
        is_short = f"length({joined}) <= {_MAX_FINDABLE_BYTES} AND instr({joined}, x'00') = 0"
        return f"CASE WHEN {is_short} THEN casefold({joined}) END"

    def may_contain(self, findable: str) -> str:
        """GLOB looks for the first letter of a pattern in the fastest way that SQLite has: 100,000 texts of 230 bytes
        take 25 to 45 ms, where instr takes 45 to 60."""
        return f"({findable} IS NULL OR {findable} GLOB ?)"

    def findable_value(self, value: str) -> Any:
        literal = _GLOB_SIGNS.sub(r"[\g<0>]", value[:_MAX_PATTERN])
        return f"*{literal}*"

    def greatest(self, *numbers: str) -> str:
        return f"max({', '.join(numbers)})"

    def is_too_large_a_sum(self, error: Exception) -> bool:
        return isinstance(error, sqlite3.Error) and str(error) == "integer overflow"

    def json_at(self, column: str, *path: str | int) -> str:
        """An index may be on the expression: another spelling would not use it. The value stands in an array, with a
        null: json_extract gives a text on its own without its escapes, and ends it at a NUL."""
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
        return f"CASE WHEN json_valid({column}) THEN json_extract({column}, '${steps}', '$.none') END"

    def json_value(self, value: Any) -> Any:
        return f"[{json.dumps(value, ensure_ascii=False, separators=(',', ':'))},null]"


DIALECT: Final = SqliteDialect()


def add_functions(connection: sqlite3.Connection) -> None:
    """What the dialect needs beyond SQLite's own functions."""
    connection.create_function("casefold", 1, _casefold, deterministic=True)


def _casefold(text: bytes | None) -> str | None:
    """SQLite folds the case of ASCII alone; titles are in every script. It is called with blobs, since sqlite3 would
    fail on a text that is not UTF-8."""
    return None if text is None else text.decode(errors="replace").casefold()
