"""The command ``mandrake-sessions new``."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from mandrake_sessions.commands.arguments import add_store, check_texts, directory, usage
from mandrake_sessions.commands.shared import DONE, say, told
from mandrake_sessions.commands.writing import store_to_write
from mandrake_sessions.fields import NewSession

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


def add_about(parser: ArgumentParser) -> None:
    """The flags that say of a new session whose it is."""
    parser.add_argument("--agent", metavar="AGENT", help="the program whose session it is, such as claude-code")
    parser.add_argument("--external-id", metavar="NAME", help="the name that this program has for it")
    parser.add_argument("--cwd", metavar="PATH", help="the directory that it is about (default: the working directory)")


def run(options: Namespace) -> int:
    """0: it made the session. 1: it failed."""
    return told(options, lambda: _new(options))


def _new(options: Namespace) -> int:
    if options.title is None:
        options.title = options.named
    check_texts(options)
    with store_to_write(options) as manager:
        say(manager.create_session(**about(options)).id)
    return DONE


def about(options: Namespace) -> NewSession:
    """The fields of the session that is made. Raises BadSetting."""
    given: NewSession = {"cwd": directory("--cwd", options.cwd or os.curdir)}
    if options.title is not None:
        given["title"] = options.title
    if options.agent is not None:
        given["agent"] = options.agent
    if options.external_id is not None:
        given["external_id"] = options.external_id
    return given
