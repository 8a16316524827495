"""The command ``mandrake-sessions restore-transcript SESSION``."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from itertools import chain, count
from pathlib import Path

from mandrake_sessions.amounts import plural, size_text
from mandrake_sessions.commands.arguments import path, usage
from mandrake_sessions.commands.looking import Looking, add_looking
from mandrake_sessions.commands.naming import add_session, named
from mandrake_sessions.commands.results import add_json, say_result
from mandrake_sessions.commands.shared import DONE, FAILED, told
from mandrake_sessions.errors import InvalidValue, NotFound
from mandrake_sessions.folding import hint
from mandrake_sessions.importing.placing import COMPRESSED, NotPlaced, Place, inside_of, write_original
from mandrake_sessions.importing.readers import readers
from mandrake_sessions.importing.reading import Reader
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Relation
from mandrake_sessions.operations.originals import Original, Originals
from mandrake_sessions.workspaces import given_path

DESCRIPTION = (
    "Write the file again that a conversation was brought in from, byte for byte, and those of its subagents: where "
    "the program keeps them, or where --to says. A file that is there is never overwritten; one that is "
    "the same already is fine."
)
EXAMPLE = "mandrake-sessions restore-transcript @last --agent claude-code --to ."


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SESSION")
    add_session(parser)
    add_looking(parser)
    parser.add_argument(
        "--to",
        metavar="PATH",
        type=path,
        help="a directory, or a file that is not there (of SESSION alone, without subagents)",
    )
    add_json(parser)


def run(options: Namespace) -> int:
    """0: all of it is written. 1: something is not; each is named. 2: the place that --to names cannot be used."""
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
            wanted = [(each, _usual(each, known)) for each in kept]
        else:
            wanted = _given(options.to, kept, own[0])
        return _write_each(wanted, originals, options)


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
    session = manager.get_session(session_id)
    if session.relation is Relation.FORK and session.parent_id is not None:
        return f"kept here: it is a branch of {session.parent_id}; restore-transcript {session.parent_id} has its file"
    if (session.source or "").startswith("import:"):
        return "kept here: import --no-originals left it out, or its program has no file of this conversation alone"
    return "kept here: it was not brought in from a file"


def _usual(original: Original, known: dict[str, Reader]) -> Place | str:
    """Where the program keeps it; or why that is not known."""
    reader = known.get(original.reader)
    places = getattr(reader, "places", None)
    # The directory of the user may be a link.
    own = [] if places is None else places(os.path.expanduser("~"), os.environ)  # noqa: PTH111
    place = inside_of(own, original.path)
    return place or f"that is not where {original.reader or 'a program'} keeps its files; say where with --to"


def _given(to: str, kept: list[Original], main: Original) -> list[tuple[Original, Place | str]]:
    """Where ``--to`` says: the files lie in a directory as they lay around the transcript."""
    if not to:
        raise InvalidValue("to", "is empty; name a directory, or a file that is not there")
    where = os.path.realpath(given_path("to", to))
    if not (os.path.isdir(where) or to.endswith(("/", os.sep))):  # noqa: PTH112
        directory, name = os.path.split(where)
        if not os.path.isdir(directory):  # noqa: PTH112
            raise InvalidValue("to", f"there is no directory {directory}")
        if len(kept) > 1:
            hint(f"left out, since --to names a file: {plural(len(kept) - 1, 'other file')}; name a directory for all")
        return [(main, Place(directory, (name,)))]
    around = os.path.dirname(main.path)  # noqa: PTH120
    places: dict[str, tuple[Original, Place | str]] = {}
    for each in kept:
        place = inside_of([around], each.path, at=where) or _beside(where, each.path, places)
        places[place.path] = each, place
    return list(places.values())


def _beside(where: str, path: str, taken: Mapping[str, object]) -> Place:
    """The place of a file that lay elsewhere: in the directory, or where another one of that name goes there, in one
    that is called as its own was."""
    parts = Path(path).parts
    name, own = parts[-1].removesuffix(COMPRESSED), parts[-2] if len(parts) > 2 else "other"
    folders = chain([(), (own,)], ((f"{own}-{number}",) for number in count(2)))
    return next(place for each in folders if (place := Place(where, (*each, name))).path not in taken)


def _write_each(wanted: list[tuple[Original, Place | str]], originals: Originals, options: Namespace) -> int:
    code = DONE
    for original, place in wanted:
        if isinstance(place, str):
            hint(f"not written: {original.path}: {place}")
            code = FAILED
            continue
        try:
            is_new = write_original(place, originals.pieces(original))
        except NotPlaced as error:
            hint(f"not written: {error}")
            code = FAILED
            continue
        facts = {"session_id": original.session_id, "path": place.path, "bytes": original.size, "is_new": is_new}
        done = size_text(original.size) if is_new else "is there already, and is the same"
        say_result(options, {**facts, "is_whole": original.is_whole}, f"{place.path}: {done}")
        if not original.is_whole:
            hint(f"{place.path}: the file was longer when it was read last, and is not kept to its end")
    return code
