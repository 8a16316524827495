"""The readers: one module for each program. This table has them all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Final

from mandrake_sessions.importing.reading import Reader

logger = logging.getLogger(__name__)

GROUP: Final = "mandrake_sessions.readers"
# The name of a reader, and its module, whose `reader` makes it.
_OWN: Final[Mapping[str, str]] = {
    "claude-code": "claude_code",
    "codex": "codex",
    "gemini-cli": "gemini_cli",
    "opencode": "opencode",
    "goose": "goose",
    "aider": "aider",
    "original": "original",
    "jsonl": "own",
}


# What the command line takes without loading a reader.
OWN_NAMES: Final = tuple(_OWN)


def readers(names: Collection[str] | None = None) -> dict[str, Reader]:
    """All readers by their names, or those that are named: our own, and those of other packages."""
    wanted = [name for name in _OWN if names is None or name in names]
    made = {name: import_module(f"{__name__}.{_OWN[name]}").reader() for name in wanted}
    for point in entry_points(group=GROUP):
        if names is not None and (point.name not in names or point.name in _OWN):
            continue
        if point.name in _OWN:
            logger.warning("the reader %s of %s is not used: there is one of that name", point.name, point.value)
            continue
        try:
            make: Callable[[], Reader] = point.load()
            made[point.name] = make()
        except Exception as error:
            logger.warning("the reader %s of %s cannot be loaded: %s", point.name, point.value, error)
    return made
