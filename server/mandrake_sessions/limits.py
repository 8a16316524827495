"""Limits that more than one layer applies. ``server/info`` reports them, docs/limits.md says what happens beyond."""

from __future__ import annotations

from typing import Final

# Levels of objects and arrays, a message's own included.
MAX_JSON_DEPTH: Final = 128
# Values in a message: its arrays, objects, and what stands in them. Two bytes of a message may take eighty in memory.
MAX_VALUES: Final = 850_000
# Each of a turn's two texts, in UTF-8.
MAX_TEXT_BYTES: Final = 64 * 1024 * 1024
# A metadata object as it is stored: JSON without blanks, in UTF-8. Lists and pages give it with every row.
MAX_METADATA_BYTES: Final = 8 * 1024 * 1024
# Rows that a page may be asked for.
MAX_LIMIT: Final = 1000
# Digits of an integer: converting is quadratic, so one long number must not stop the server.
MAX_INTEGER_DIGITS: Final = 50_000
# Subscriptions of a connection: each commit is matched against all of them.
MAX_SUBSCRIPTIONS: Final = 1024
# Operations of a transaction, which holds the write lock against every other process until its end.
MAX_OPERATIONS: Final = 10_000
# What a fork inside a transaction copies: rounds, turns and tool calls, and about the bytes of them.
MAX_FORK_PARTS: Final = 2000
MAX_FORK_BYTES: Final = 4 * 1024 * 1024
# Messages of a JSON-RPC batch: each may take an answer, all of which are held until the last is there.
MAX_BATCH: Final = 10_000
# Messages that are received and not yet answered, and what they hold together (or one message, if that is more): beyond
# that nothing more is read.
MAX_PENDING: Final = 10_000
MAX_PENDING_BYTES: Final = 2 * 1024 * 1024
