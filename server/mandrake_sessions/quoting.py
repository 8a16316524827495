"""Values that others gave, as a message of ours shows them: short, and on one line."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

# Characters of a quoted value.
MAX_QUOTED: Final = 200
# Of one that breaks a rule, and of one that is of another type: there a text may be anything, a secret too.
MAX_SHOWN: Final = 80
_MAX_OF_OTHER_TYPE: Final = 24
# An integer below it is shown.
_LONG = 10**40
# What turns the direction of the text, so that it reads as another.
_DIRECTIONS = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
# What some reader takes for the end of a line, or a terminal for a command; and what no encoding has.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_ESCAPES |= {code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *_DIRECTIONS, *range(0xD800, 0xE000))}
# A byte of a file's name that is not UTF-8: some outputs write it as it is.
_ESCAPES |= {code: f"\\x{code - 0xDC00:02x}" for code in range(0xDC80, 0xDD00)}
_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
_ESCAPES_IN_LINES = {code: escape for code, escape in _ESCAPES.items() if code not in (9, 10)}
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


def shorten(value: str, limit: int = MAX_QUOTED) -> str:
    """At most ``limit`` characters: the beginning and the end, where names differ."""
    if len(value) <= limit:
        return value
    half = (limit - 3) // 2
    return f"{value[: limit - 3 - half]}...{value[-half:]}"


def shown(value: Any, limit: int = MAX_SHOWN) -> str:
    """A value that breaks a rule, in JSON's words: a text or a number in short, of the rest what it is. ``limit``:
    characters of a text, with its escapes."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _quoted(str(value), limit)
    if isinstance(value, int):
        return str(value) if abs(value) < _LONG else "a number of many digits"
    for kind, word in ((float, repr(value)), (list | tuple, "an array"), (Mapping, "an object")):
        if isinstance(value, kind):
            return word
    return type(value).__name__


def must_be(wanted: str, value: Any) -> str:
    """What is wrong with a value of another type than the one that is wanted."""
    return f"must be {wanted}, not {shown(value, _MAX_OF_OTHER_TYPE)}"


def must_be_one_of(words: Iterable[str], value: Any) -> str:
    """What is wrong with a value that is none of these words."""
    return f"must be one of {', '.join(words)}, not {shown(value)}"


def _quoted(text: str, limit: int) -> str:
    """In quotes. A cut never falls into an escape: of a text with many of them less is taken."""
    taken = limit
    while len(quoted := ascii(shorten(text, taken))) > limit + 2 and taken > 8:
        taken //= 2
    return quoted


def nearest_name(name: str, known: Collection[str], *, cutoff: float) -> str | None:
    """The known name that somebody may have misspelled; None if none is like it. ``cutoff``: from 0, anything, to 1,
    the same name."""
    from difflib import get_close_matches  # costs the start of the program more than it is used

    near = get_close_matches(name[:MAX_QUOTED], known, n=1, cutoff=cutoff)
    return near[0] if near else None


def one_line(text: str) -> str:
    """The text without anything that ends a line or moves a terminal's cursor: for all that is printed or logged."""
    return text.translate(_ESCAPES)


def printable(text: str) -> str:
    """The same with its line ends and tabs kept: for what is printed at length."""
    return text.translate(_ESCAPES_IN_LINES)


def ascii_json(text: str) -> str:
    """A JSON text, or a part of one, in ASCII: it means what it meant."""
    return text if text.isascii() else _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
