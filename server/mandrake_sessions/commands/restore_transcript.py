"""The command ``mandrake-sessions restore-transcript SESSION``."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.looking import Looking, add_looking
from mandrake_sessions.commands.naming import add_session, named
from mandrake_sessions.commands.shared import DONE, FAILED, say, told
from mandrake_sessions.folding import hint
from mandrake_sessions.errors import InvalidValue, NotFound
from mandrake_sessions.importing.placing import NotPlaced, Place, inside_of, write_original
from mandrake_sessions.importing.readers import readers
from mandrake_sessions.importing.reading import Reader
from mandrake_sessions.maintenance.words import given_path, size_text
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.operations.originals import Original, Originals

DESCRIPTION = (
    "Write the file again that a conversation was brought in from, byte for byte, and those of its subagents: where "
    "the program keeps them, or where --to says. A file that is there is never overwritten."
)
EXAMPLE = "mandrake-sessions restore-transcript @last --to ."


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SESSION")
    add_session(parser)
    add_looking(parser)
    parser.add_argument(
        "--to", metavar="PATH", help="a directory, or a file that is not there (of SESSION alone, without subagents)"
    )


def run(options: Namespace) -> int:
    """0: all of it is written. 1: something is not; each is named. 2: --to cannot be used."""
    return told(options, lambda: _restore(options))


def _restore(options: Namespace) -> int:
    with Looking(options) as looking:
        found = named(looking, options)
        originals = Originals(found.manager.store)
        kept = _kept(originals, found.session.id)
        own = [each for each in kept if each.session_id == found.session.id]
        if not own:
            raise NotFound("transcript", found.session.id, _why_none(found.manager, found.session.id))
        known = readers()
        if options.to is None:
            return _write_each([(each, _usual(each, known)) for each in kept], originals)
        return _write_each(_given(options.to, kept, own[0]), originals)


def _kept(originals: Originals, session_id: str) -> list[Original]:
    """The files of a session, then those of its subagents, and of theirs."""
    found, waiting, seen = [], [session_id], set[str]()
    while waiting:
        each = waiting.pop(0)
        if each not in seen:
            seen.add(each)
            found += originals.originals(each)
            waiting += originals.subagents(each)
    return found


def _why_none(manager: SessionManager, session_id: str) -> str:
    source = manager.get_session(session_id).source or ""
    if source.startswith("import:"):
        return "kept here: import --no-originals left it out, or its program has no file of this conversation alone"
    return "kept here: it was not brought in from a file"


def _usual(original: Original, known: dict[str, Reader]) -> Place | str:
    """Where the program keeps it; or why that is not known."""
    reader = known.get(original.reader)
    directories = getattr(reader, "directories", None)
    # The directory of the user may be a link.
    own = [] if directories is None else directories(os.path.expanduser("~"), os.environ)  # noqa: PTH111
    place = inside_of(own, original.path)
    return place or f"that is not where {original.reader or 'a program'} keeps its files; say where with --to"


def _given(to: str, kept: list[Original], main: Original) -> list[tuple[Original, Place | str]]:
    """Where ``--to`` says: the files lie in a directory as they lay around the transcript."""
    path = os.path.realpath(given_path("to", to))
    if not (os.path.isdir(path) or to.endswith(("/", os.sep))):  # noqa: PTH112
        directory, name = os.path.split(path)
        if not os.path.isdir(directory):  # noqa: PTH112
            raise InvalidValue("to", f"there is no directory {directory}")
        return [(main, Place(directory, (name,)))]
    around = os.path.dirname(main.path)  # noqa: PTH120
    places: list[tuple[Original, Place | str]] = []
    for each in kept:
        place = inside_of([around], each.path, at=path)
        places.append((each, place or Place(path, (os.path.basename(each.path),))))  # noqa: PTH119
    return places


def _write_each(wanted: list[tuple[Original, Place | str]], originals: Originals) -> int:
    code = DONE
    for original, place in wanted:
        if isinstance(place, str):
            hint(f"{original.path}: was not written: {place}")
            code = FAILED
            continue
        try:
            path = write_original(place, originals.pieces(original))
        except NotPlaced as error:
            hint(f"{original.path}: was not written: {error}")
            code = FAILED
            continue
        say(f"{path}: {size_text(original.size)}")
        if not original.is_whole:
            hint(f"{path}: the file was longer when it was read last, and is not kept to its end")
    return code
