"""The command ``mandrake-sessions path``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from mandrake_sessions.commands.arguments import add_store, settings_of, usage
from mandrake_sessions.commands.results import add_json, say_json
from mandrake_sessions.commands.shared import DONE, place_of, say_line, told
from mandrake_sessions.quoting import one_line

DESCRIPTION = (
    "Print the path of the file in which the store of this workspace is, or will be; with --scope system, that of your "
    "own store."
)
EXAMPLE = "mandrake-sessions path --scope system"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage()
    add_store(parser)
    add_json(parser, "one JSON object, for a program")


def run(options: Namespace) -> int:
    """0: it printed the path. 2: there is no such workspace."""
    return told(options, lambda: _path(options))


def _path(options: Namespace) -> int:
    place = place_of(settings_of(options), options.scope)
    place.check_workspace()
    if options.json:
        say_json({"scope": place.scope, "workspace": place.workspace, "path": place.path})
    else:
        say_line(one_line(place.path))
    return DONE
