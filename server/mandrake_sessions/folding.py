"""Sentences on a terminal: their lines end between words."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, TextIO

from mandrake_sessions.quoting import one_line

# What stands in one line: a word, with what it has between backticks, which somebody may copy.
_WORD: Final = re.compile(r"(?:`[^`]*`|\S)+")


def hint(line: str, *, is_to_copy: bool = False) -> None:
    """Write one line to stderr, which is no part of what a command gives; on a terminal it is folded. Control
    characters in it are escaped. ``is_to_copy``: it has a command in it, and stays one line. Where stderr cannot be
    written there is nobody to tell."""
    text = one_line(line)
    with suppress(OSError):
        sys.stderr.write((text if is_to_copy else folded(text, sys.stderr)) + "\n")
        sys.stderr.flush()


def folded(text: str, stream: TextIO, *, indent: int = 0) -> str:
    """A line as lines of the terminal ``stream``; elsewhere as it is. ``indent``: blanks before all but the first."""
    return fold(text, columns_of(stream), indent) if stream.isatty() else text


def fold(text: str, columns: int, indent: int = 0) -> str:
    """A line as lines that are no wider than ``columns``, but for single words. The blanks between the words of a line
    stay as they are."""
    if _width(text) <= columns:
        return text
    # A column of a word or two reads badly.
    return "\n".join(_lines(text, columns, min(indent, columns // 3)))


def columns_of(stream: TextIO) -> int:
    """How wide a terminal is."""
    if os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL
    except (OSError, ValueError):
        return _USUAL


def _lines(text: str, columns: int, indent: int) -> Iterator[str]:
    start = end = 0
    before = ""
    for word in _WORD.finditer(text):
        if end > start and _width(before + text[start : word.end()]) > columns and text[start:end].strip():
            yield before + text[start:end]
            start, before = word.start(), " " * indent
        end = word.end()
    yield before + text[start:]


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


_USUAL: Final = 80
