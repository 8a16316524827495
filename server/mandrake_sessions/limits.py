"""Bounds that more than one layer keeps to."""

from __future__ import annotations

from typing import Final

# Levels of objects and arrays, a message's own included.
MAX_JSON_DEPTH: Final = 128
# Each of a turn's two texts, in UTF-8.
MAX_TEXT_BYTES: Final = 64 * 1024 * 1024
# Rows that a page may be asked for.
MAX_LIMIT: Final = 1000
# Digits of an integer: converting is quadratic, so one long number must not stop the server.
MAX_INTEGER_DIGITS: Final = 50_000
