"""The commands of the program, a module each: ``declare`` adds its arguments, ``run`` carries it out and gives the exit
code. What a module knows beside its arguments it may import late, so that another command's start does not pay for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from keyword import iskeyword
from typing import Any, Final

# Their names, in the order of ``--help``, and what each does.
COMMANDS: Final[Mapping[str, str]] = {
    "list": "list conversations",
    "show": "show a conversation",
    "tail": "show what is said while it is said",
    "search": "search conversations",
    "usage": "sum up tokens and costs",
    "new": "make a session",
    "append": "store what comes on stdin as a turn, live",
    "record": "run a program, and store what it says, live",
    "acp": "run an editor's agent, and store what is said, live",
    "import": "bring in what other programs have written",
    "restore-transcript": "write the file again that a conversation came from",
    "fork": "copy a session, or its beginning",
    "rename": "give a session another title",
    "archive": "put sessions away",
    "unarchive": "take sessions back that were put away",
    "delete": "delete sessions",
    "stores": "list the stores that you have used",
    "path": "print where the store is",
    "completion": "print what a shell needs to complete names",
    "call": "call a method of the protocol",
    "serve": "serve the client on stdin and stdout",
    "demo": "watch the store while an agent streams into it",
    "export": "write a session as a document",
    "doctor": "check a store, and mend it",
    "backup": "copy a store while it is in use",
    "restore": "make a backup the store again",
    "migrate": "bring a store to the schema of this program",
    "prune": "delete old sessions",
}


def module_of(name: str) -> Any:
    """The module of a command. A word of Python's own has an underscore after it, and hyphens are underscores."""
    return import_module(f"{__name__}.{name}_" if iskeyword(name) else f"{__name__}.{name.replace('-', '_')}")
