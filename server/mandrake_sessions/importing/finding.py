"""What there is to bring in: of programs, and in the files and directories that somebody names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from attrs import define, field

from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.files import explain
from mandrake_sessions.importing.reading import Reader, Source, parents_first, storable, unreadable_below
from mandrake_sessions.quoting import nearest_name, shorten
from mandrake_sessions.workspaces import given_path


@define
class Found:
    """``sources``: each once, parents before their children. ``troubles``: a line for each place that cannot be read,
    or that somebody named and has nothing. ``empty``: the programs that somebody named and that left nothing, with the
    places that were looked at."""

    sources: list[Source] = field(factory=list)
    troubles: list[str] = field(factory=list)
    empty: dict[str, list[str]] = field(factory=dict)


def find(named: Sequence[str], known: Mapping[str, Reader]) -> Found:
    """``named``: names of readers and paths; none for all that this user has. Raises InvalidValue."""
    found = Found()
    sources: dict[tuple[str, str], Source] = {}
    for name in named or known:
        own = list(_of_reader(known[name], found) if name in known else _at_path(name, known, found))
        if not own and named and name in known:
            found.empty[name] = _places(known[name])
        for source in own:
            sources.setdefault((source.path, source.key), source)
    found.sources = parents_first(sources.values())
    return found


def home() -> str:
    """The directory of the user, which may be a link."""
    return os.path.expanduser("~")  # noqa: PTH111


def _of_reader(reader: Reader, found: Found) -> Iterator[Source]:
    for place in _places(reader):
        found.troubles += map(_told, unreadable_below(place))
    yield from reader.discover(home(), os.environ)


def _places(reader: Reader) -> list[str]:
    places = getattr(reader, "places", None)
    return [] if places is None else list(places(home(), os.environ))


def _at_path(name: str, known: Mapping[str, Reader], found: Found) -> Iterator[Source]:
    if not name:
        raise InvalidValue("sources", "is empty; name a program, a file or a directory")
    place = given_path("sources", name)
    if not os.path.lexists(place):
        similar = nearest_name(name, list(known), cutoff=0.6)
        advice = f"known are {', '.join(known)}" if similar is None else f"did you mean {similar}?"
        raise InvalidValue("sources", f"there is no file {shorten(name)!r}, and no program of that name; {advice}")
    path = os.path.realpath(place)
    read: set[str] = set()
    for reader in known.values():
        for source in reader.sources_at(path):
            read.add(source.path)
            yield source
    # What is known by its name says itself that it cannot be read.
    troubles = [_told(error) for error in unreadable_below(path) if error.filename not in read]
    if not (read or troubles):
        what = "no conversation of a known program is in it" if place.is_dir() else "no known program has written it"
        troubles.append(f"{storable(path)}: {what} ({', '.join(known)})")
    found.troubles += troubles


def _told(error: OSError) -> str:
    path = os.fsdecode(error.filename) if error.filename is not None else ""
    return f"{storable(path)}: cannot be read, so what is in it is left out: {explain(error, path)}"
