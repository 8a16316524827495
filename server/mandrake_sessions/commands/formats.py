"""The formats of documents, as people name them: by a word, or by the ending of a file."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any, Final

from mandrake_sessions.model import ExportFormat
from mandrake_sessions.settings import BadSetting

USUAL: Final[ExportFormat] = "markdown"
# The first ending of a format is that of the files that are named for somebody.
ENDINGS: Final[dict[str, ExportFormat]] = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".jsonl": "jsonl",
    ".json": "atif",
}
# Of a text, which may be Markdown.
_OF_TEXTS: Final = ("", ".txt")
_ALIASES: Final[dict[str, ExportFormat]] = {"md": "markdown", "htm": "html"}


def add_format(parser: ArgumentParser, *more: str, default: str) -> None:
    """The flag that chooses one. ``more``: what a command has beside the formats. ``default``: what it says of it."""
    parser.add_argument(
        "--format",
        type=_named,
        choices=(*more, *dict.fromkeys(ENDINGS.values())),
        help=f"md means markdown, htm means html (default: {default})",
    )


def format_of_file(flag: str, path: str) -> ExportFormat:
    """The one that the ending of a file names. Raises BadSetting."""
    ending = os.path.splitext(path)[1].lower()  # noqa: PTH122
    if ending in _OF_TEXTS:
        return USUAL
    if ending not in ENDINGS:
        raise BadSetting(flag, f"{ending} is none of {', '.join(ENDINGS)}; say what it is to be with --format")
    return ENDINGS[ending]


def ending_of(chosen: ExportFormat) -> str:
    """With its point."""
    return next(ending for ending, each in ENDINGS.items() if each == chosen)


def _named(word: str) -> Any:
    """Other words stay as they are: argparse says which there are."""
    return _ALIASES.get(word, word)
