"""Searching what was said: which texts match, in which order, and the part of each that shows why.

Texts that have all terms as whole words come first, the better the more they are about them; then texts that have them
as parts of words, titles first, each kind with the latest first.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from attrs import frozen

from mandrake_sessions import rules
from mandrake_sessions.errors import StorageFailure, StorageReason, Unreadable
from mandrake_sessions.fields import SearchWanted
from mandrake_sessions.limits import MAX_LIMIT
from mandrake_sessions.model import SearchField, SearchHit, SearchPage, SearchRole
from mandrake_sessions.operations.catching_up import catch_up
from mandrake_sessions.operations.index_state import is_of_store, pending
from mandrake_sessions.paging import (
    DEFAULT_LIMIT,
    check_limit,
    decode_values,
    encode_values,
    not_of_this_list,
    take_page,
)
from mandrake_sessions.search_query import Query, parse_query
from mandrake_sessions.search_text import fold
from mandrake_sessions.snippets import make_snippet
from mandrake_sessions.store.interface import EntityStore, Sql
from mandrake_sessions.store.search import Found, IndexLost, Part, SearchReader, Within, Words
from mandrake_sessions.store.sql import changes, documents, sessions
from mandrake_sessions.store.sql.located import Located, injected, located, place_of, wanted_sessions
from mandrake_sessions.store.sql.readable import note
from mandrake_sessions.store.sql.seq import last_seq
from mandrake_sessions.store.sql.session_lists import SessionFilter
from mandrake_sessions.store.sql.sessions import StoredSession

T = TypeVar("T")

# So many of the latest documents that match are ranked together.
RANKED = 10_000
# So many documents are compared with parts of words for one page.
MAX_COMPARED = 30_000
# So many are looked at together.
FEW = 100
# A search gives so many hits at the most, in all its pages: its cursor remembers them.
MAX_HITS = 10_000
_KEY_BYTES = 6
# For so long a search first puts into the index what it lacks. So most clients find what they have just written.
CATCH_UP_SECONDS = 0.2
# The same for the next page of one, where the index was lost meanwhile.
LOST_SECONDS = 3.0
# What JSON writes as it is.
_SAME_IN_JSON = re.compile(r"[a-z0-9_./+*=<>()#@$%&;|~^!?-]+")
# The names of the fields, numbers and ids.
_FRAME_BYTES = 500

# How much a match counts by where it is, and by how the words stand: anywhere, near each other, one after the other.
_WEIGHTS: Mapping[Part, float] = {
    Part.TITLE: 6.0,
    Part.REQUEST: 4.0,
    Part.CONTENT: 3.0,
    Part.ARGUMENTS: 1.5,
    Part.RESPONSE: 1.0,
    Part.OUTPUT: 1.0,
}
_NEARNESS = (1.0, 1.6, 2.2)
# How much more a text counts that has the terms as they are written: more than its words can stand closer elsewhere.
_AS_WRITTEN = 3.0
# A part of a word counts less than any whole word.
_PART_OF_WORD = 0.05
# How much a text counts that a program has put in by itself, such as a notice or a summary, and what answers it.
_INJECTED = 0.2

_FIELDS: Mapping[Part, SearchField] = {
    Part.TITLE: SearchField.TITLE,
    Part.REQUEST: SearchField.REQUEST,
    Part.CONTENT: SearchField.CONTENT,
    Part.ARGUMENTS: SearchField.ARGUMENTS,
    Part.RESPONSE: SearchField.RESPONSE,
    Part.OUTPUT: SearchField.RESPONSE,
}
_ROLES: Mapping[SearchRole, frozenset[Part]] = {
    SearchRole.USER: frozenset({Part.TITLE, Part.REQUEST}),
    SearchRole.AGENT: frozenset({Part.CONTENT}),
    SearchRole.TOOL: frozenset({Part.ARGUMENTS, Part.RESPONSE, Part.OUTPUT}),
}
_ROLE_OF = {part: role for role, parts in _ROLES.items() for part in parts}


@frozen
class Given:
    """What a cursor knows: the index of the first page, and the keys of the hits that were given. So none is given
    twice, however the ranks move meanwhile. It has no number of a document: an index may put a document again, under a
    new number, though nothing of it changed."""

    index: str = ""
    keys: frozenset[bytes] = frozenset()

    def as_values(self) -> list[Any]:
        """For a cursor; ``given_of`` reads them."""
        return [self.index, base64.b85encode(b"".join(sorted(self.keys))).decode()]


@frozen
class Weighed:
    """A hit, what tells it from others in a cursor, and about how many bytes it takes in an answer."""

    hit: SearchHit
    key: bytes
    weight: int


@frozen
class Asked:
    """What is searched for, checked. ``key``: what tells it from other searches."""

    query: Query
    wanted: Mapping[str, Any]
    key: list[Any]


def search(
    store: EntityStore, query: str, wanted: SearchWanted, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> SearchPage:
    """``OnDemandOperations.search``"""
    asked = ask(query, wanted)
    before = _decode_cursor(cursor, asked.key)
    limit = check_limit(limit)
    return searched(store, asked, before, lambda search, reader: search.page(reader, limit, asked.key))


def ask(query: str, wanted: SearchWanted) -> Asked:
    """Raises InvalidValue."""
    given: dict[str, Any] = {"archived": False, **wanted}
    checked = {name: rules.optional(rules.SEARCH[name])(name, value) for name, value in given.items()}
    return Asked(parse_query(rules.text("query", query)), checked, [query, *sorted(checked.items())])


def searched(entities: EntityStore, asked: Asked, before: Given, take: Callable[[Search, SearchReader | None], T]) -> T:
    """What ``take`` makes of a search in a store, which sees one state of the store and of its index; without the
    index, where that is not there or lost. Raises NotFound, StorageFailure."""
    index = entities.search
    if index is None:
        raise StorageFailure(StorageReason.OPEN, "this kind of store cannot be searched", "")
    with entities.reading() as sql:
        session_id = asked.wanted.get("session_id")
        session_pk = None if session_id is None else sessions.get_session(sql, session_id).pk
        search = Search(sql, asked.query, asked.wanted, session_pk, before)
        if not before.index:
            catch_up(entities, index, CATCH_UP_SECONDS)
        elif index.current() != before.index:
            # It was lost since the first page, and what a cursor leads to may not be in it yet.
            catch_up(entities, index, LOST_SECONDS)
        try:
            with index.reading() as reader:
                return take(search, reader)
        except IndexLost:
            return take(search, None)


@frozen
class FoundHits:
    """What a search has found. ``hits``: best first, each found when it is asked for; ``index``: its name; ``pending``:
    the turns that it lacks."""

    hits: Iterator[Weighed]
    index: str
    pending: int


class Search:
    """One page of one search."""

    def __init__(
        self, sql: Sql, query: Query, wanted: Mapping[str, Any], session_pk: int | None, before: Given
    ) -> None:
        self._sql = sql
        self._query = query
        self._before = before
        self._session_pk = session_pk
        self._parts = None if wanted.get("role") is None else _ROLES[SearchRole(wanted["role"])]
        cwd = wanted.get("cwd")
        self._which = SessionFilter(
            archived=wanted["archived"], agent=wanted.get("agent"), cwd=None if cwd is None else cwd.rstrip("/")
        )
        self._since, self._until = wanted.get("since"), wanted.get("until")
        self._are_wanted: dict[int, bool] = {}
        self._sessions: dict[int, StoredSession | None] = {}
        self._given = set(before.keys)

    def page(self, reader: SearchReader | None, limit: int, key: Any) -> SearchPage:
        seq, store_id = last_seq(self._sql), changes.store_id(self._sql)
        found = self.found(reader)
        page, more = take_page(found.hits, lambda each: each.weight, limit)
        keys = self._before.keys | {each.key for each in page}
        following = _encode_cursor(key, Given(found.index, keys)) if more and len(keys) < MAX_HITS else None
        return SearchPage([each.hit for each in page], following, seq, store_id, found.pending)

    def found(self, reader: SearchReader | None) -> FoundHits:
        """``reader``: None without an index."""
        sql, before = self._sql, self._before
        if reader is None or not is_of_store(sql, reader):
            return FoundHits(iter(()), before.index, pending(sql, None))
        return FoundHits(self._hits(reader), reader.name, pending(sql, reader))

    def _hits(self, reader: SearchReader) -> Iterator[Weighed]:
        """Best first, each found when it is asked for."""
        if not self._query.terms:
            return
        for found, score in self._candidates(reader):
            yield from self._as_hits(found, score)

    def _candidates(self, reader: SearchReader) -> Iterator[tuple[list[Found], dict[int, float]]]:
        """A few at a time, with their scores by number."""
        known: set[int] = set()
        if self._query.worded:
            words = [Words(term.words, term.is_prefix) for term in self._query.terms]
            written = self._as_written(reader)
            for found in self._all(reader, lambda within: reader.words(words, within)):
                known.update(each.number for each in found)
                yield from self._ranked(found, self._scores(found, lambda each: _score(each, written)))
        if self._query.parts:
            compared = 0
            for found in self._all(reader, lambda within: reader.parts(self._query.parts, within)):
                new = [each for each in found if each.number not in known]
                scores = self._scores(new, lambda each: _PART_OF_WORD * _WEIGHTS[each.part])
                for few, _ in self._ranked(new, scores):
                    yield self._compared(few), scores
                compared += len(new)
                if compared >= MAX_COMPARED:
                    return

    def _scores(self, found: list[Found], score: Callable[[Found], float]) -> dict[int, float]:
        """By the numbers of the documents."""
        less = injected(self._sql, {each.session for each in found})
        return {each.number: score(each) * (_INJECTED if each.owner in less else 1) for each in found}

    def _as_written(self, reader: SearchReader) -> set[int]:
        """The latest documents that have the terms with what stands between and around their words, as ``foo::bar()``
        and phrases have it. Without a look at the texts a few may be wrong, which only moves them in the order."""
        written = self._query.written
        within = Within(reader.last + 1, RANKED, self._session_pk, self._parts)
        return {each.number for each in reader.parts(written, within)} if written else set()

    def _compared(self, found: list[Found]) -> list[Found]:
        """Those that have the parts indeed."""
        plain = [text for text in self._query.parts if _SAME_IN_JSON.fullmatch(text)]
        texts = documents.texts_found(
            self._sql, self._in_wanted_sessions(found), lambda encoded: all(text in encoded for text in plain)
        )
        return [each for each, text in texts if self._query.matches_parts(fold(text))]

    def _all(self, reader: SearchReader, find: Callable[[Within], list[Found]]) -> Iterator[list[Found]]:
        below = reader.last + 1
        while found := find(Within(below, RANKED, self._session_pk, self._parts)):
            yield found
            if len(found) < RANKED:
                return
            below = found[-1].number

    def _ranked(self, found: list[Found], scores: dict[int, float]) -> Iterator[tuple[list[Found], dict[int, float]]]:
        found.sort(key=lambda each: (scores[each.number], each.number), reverse=True)
        for start in range(0, len(found), FEW):
            yield found[start : start + FEW], scores

    def _as_hits(self, found: list[Found], scores: dict[int, float]) -> Iterator[Weighed]:
        places = located(self._sql, self._in_wanted_sessions(found))
        few = [each for each in found if self._is_wanted(places.get(place_of(each)))]
        for each, text in documents.texts_found(self._sql, few):
            key = _key(each)
            if key in self._given or (snippet := make_snippet(text, self._query)) is None:
                continue
            session = self._session(each.session)
            if session is None:
                continue
            self._given.add(key)
            place = places[place_of(each)]
            hit = SearchHit(
                session.session.id,
                place.round_id,
                place.turn_id,
                place.tool_call_id,
                _FIELDS[each.part],
                _ROLE_OF[each.part],
                snippet.text,
                snippet.ranges,
                round(scores[each.number], 6),
                place.at,
                session.session,
            )
            yield Weighed(hit, key, _FRAME_BYTES + 4 * len(snippet.text) + session.weight)

    def _in_wanted_sessions(self, found: list[Found]) -> list[Found]:
        unknown = {each.session for each in found} - self._are_wanted.keys()
        if unknown:
            wanted = wanted_sessions(self._sql, unknown, self._which)
            self._are_wanted.update({pk: pk in wanted for pk in unknown})
        return [each for each in found if self._are_wanted[each.session]]

    def _is_wanted(self, place: Located | None) -> bool:
        if place is None:
            return False
        return (self._since is None or place.at >= self._since) and (self._until is None or place.at < self._until)

    def _session(self, pk: int) -> StoredSession | None:
        """None where it cannot be read."""
        if pk not in self._sessions:
            try:
                self._sessions[pk] = sessions.session_by_pk(self._sql, pk)
            except Unreadable as error:
                note(self._sql, error)
                self._sessions[pk] = None
        return self._sessions[pk]


def _score(found: Found, written: Collection[int]) -> float:
    score = _WEIGHTS[found.part] * _NEARNESS[found.nearness] * (0.4 + 0.6 * found.closeness)
    return score * _AS_WRITTEN if found.number in written else score


def _encode_cursor(key: Any, given: Given) -> str:
    return encode_values("search", key, *given.as_values())


def _decode_cursor(cursor: str | None, key: Any) -> Given:
    values = decode_values(cursor, "search", key)
    if values is None:
        return Given()
    given = given_of(values)
    if given is None:
        raise not_of_this_list(cursor)
    return given


def given_of(values: Any) -> Given | None:
    """What ``Given.as_values`` was made of; None for anything else."""
    try:
        index, encoded = values
        keys = base64.b85decode(encoded)
    except (TypeError, ValueError):
        return None
    is_whole = isinstance(index, str) and len(keys) % _KEY_BYTES == 0
    if not is_whole or len(keys) > MAX_HITS * _KEY_BYTES + MAX_LIMIT * _KEY_BYTES:
        return None
    each = (keys[start : start + _KEY_BYTES] for start in range(0, len(keys), _KEY_BYTES))
    return Given(index, frozenset(each))


def _key(found: Found) -> bytes:
    """The same for all pieces of a text, and in an index that was made again."""
    name = f"{found.owner}.{int(found.part)}.{found.call}".encode()
    return hashlib.blake2b(name, digest_size=_KEY_BYTES).digest()
