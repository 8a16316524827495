"""What a command says of what it found or did: lines for people, or with ``--json`` objects for programs."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from mandrake_sessions.commands.shared import say, say_line
from mandrake_sessions.commands.titles import title_of
from mandrake_sessions.folding import hint
from mandrake_sessions.model import Session
from mandrake_sessions.protocol.names import camel
from mandrake_sessions.value import Value

# An entity, or values under names that the wire would write in its case.
Result = Value | Mapping[str, Any]


def add_json(parser: Any, prints: str = "one JSON object a line, for a program") -> None:
    """The flag, for a parser or a group of one."""
    parser.add_argument("--json", action="store_true", help=prints)


def say_result(options: Namespace, result: Result, *lines: str) -> None:
    """Write to stdout what was done: as JSON, or else the lines. Raises OutputFailed."""
    if options.json:
        say_json(result)
        return
    for line in lines:
        say(line, indent=2 if line.startswith("- ") else 0)


def tell_done(options: Namespace, session: Session, what: str, result: Result | None = None) -> None:
    """Tell which session a command has changed: a part of a title may have named it. ``result``: what is JSON then,
    if not the session. Raises OutputFailed."""
    if options.json:
        say_json(session if result is None else result)
    else:
        hint(f"{what}: {session.id}  {title_of(session)}")


def say_json(result: Result) -> None:
    """Write one line of ASCII JSON to stdout, with the names of the wire. Raises OutputFailed."""
    say_line(json_of(result))


def json_of(result: Result) -> str:
    """The line."""
    if isinstance(result, Mapping):
        return json.dumps(_in_wire_case(result))
    from mandrake_sessions.protocol.converter import unstructure

    return json.dumps(unstructure(result))


def _in_wire_case(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {camel(name): _in_wire_case(inner) for name, inner in value.items()}
    return [_in_wire_case(inner) for inner in value] if isinstance(value, list) else value
