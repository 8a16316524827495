"""The command ``mandrake-sessions new``."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from mandrake_sessions.commands.arguments import add_store, check_not_empty, directory, is_text, path, usage
from mandrake_sessions.commands.results import add_json, say_result
from mandrake_sessions.commands.shared import DONE, told
from mandrake_sessions.commands.writing import store_to_write
from mandrake_sessions.fields import NewSession
from mandrake_sessions.folding import hint

DESCRIPTION = "Make a session, and print its id. It is about the working directory, unless --cwd names another."
EXAMPLE = 'mandrake-sessions new "A talk on files"'


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("[TITLE]")
    title = parser.add_mutually_exclusive_group()
    title.add_argument("title", metavar="TITLE", nargs="?", help="what a list shows for the session")
    title.add_argument("--title", dest="named", metavar="TITLE", help="the same as a flag, as append has it")
    add_store(parser)
    add_about(parser)
    add_json(parser, "print the session as a JSON object, for a program")


def add_about(parser: ArgumentParser) -> None:
    """The flags that say of a new session whose it is."""
    parser.add_argument("--agent", metavar="AGENT", help="the program whose session it is, such as claude-code")
    parser.add_argument("--external-id", metavar="NAME", help="the name that this program has for it")
    parser.add_argument(
        "--cwd",
        dest="about",
        metavar="PATH",
        type=path,
        help="the directory that it is about (default: the working directory)",
    )


def run(options: Namespace) -> int:
    """0: it made the session. 1: it failed."""
    return told(options, lambda: _new(options))


def _new(options: Namespace) -> int:
    if options.title is None:
        options.title = options.named
    check_not_empty(options)
    with store_to_write(options) as manager:
        made = manager.create_session(**about(options))
        say_result(options, made, made.id)
    return DONE


def _working_directory() -> str:
    """Empty where it is gone, which ``directory`` tells."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return ""


def about(options: Namespace) -> NewSession:
    """The fields of the session that is made. Raises BadSetting."""
    given: NewSession = {}
    if options.about or is_text(_working_directory()):
        given["cwd"] = directory("--cwd", options.about or os.curdir)
    else:
        hint(
            f"mandrake-sessions {options.command}: the name of the working directory is not UTF-8, so the session is "
            "about none; --cwd names another"
        )
    if options.title is not None:
        given["title"] = options.title
    if options.agent is not None:
        given["agent"] = options.agent
    if options.external_id is not None:
        given["external_id"] = options.external_id
    return given
