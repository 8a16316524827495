"""SQL of what a search has found: where in the conversations it stands, and whether its session is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from attrs import frozen

from mandrake_sessions.store.interface import Dialect, Sql
from mandrake_sessions.store.search import Found, Part
from mandrake_sessions.store.sql.session_lists import SessionFilter, session_conditions

# A part, and the pk of what it is of: the tool call, else the owner.
Place = tuple[Part, int]


@frozen
class Located:
    """The names of what a document is of, and when that was."""

    round_id: str | None
    turn_id: str | None
    tool_call_id: str | None
    at: int


def place_of(found: Found) -> Place:
    return found.part, found.call or found.owner


def located(sql: Sql, found: Sequence[Found]) -> dict[Place, Located]:
    """Where they stand; what is no longer there is left out."""
    places: dict[Place, Located] = {}
    for part in {each.part for each in found}:
        numbers = sql.dialect.numbers({place_of(each)[1] for each in found if each.part is part})
        for pk, *names in sql.execute(_located(sql.dialect, part), (numbers,)):
            places[part, pk] = Located(*names)
    return places


def wanted_sessions(sql: Sql, pks: Iterable[int], wanted: SessionFilter) -> set[int]:
    """Those of the sessions that are searched."""
    conditions, values = session_conditions(sql.dialect, wanted)
    if wanted.archived is not None:
        # Not as the indexes have it: with one of those SQLite would walk along all sessions, not look up these.
        conditions.append("s.archived_at IS NOT NULL" if wanted.archived else "s.archived_at IS NULL")
    statement = f"SELECT s.pk FROM session s WHERE {' AND '.join([sql.dialect.among('s.pk'), *conditions])}"
    return {pk for (pk,) in sql.execute(statement, (sql.dialect.numbers(pks), *values))}


def injected(sql: Sql, session_pks: Iterable[int]) -> set[int]:
    """The rounds of these sessions that are of origin ``system``, and their turns, by their pk."""
    of_sessions = f"r.origin = 'system' AND {sql.dialect.among('r.session_pk')}"
    numbers = sql.dialect.numbers(session_pks)
    found = {pk for (pk,) in sql.execute(f"SELECT r.pk FROM round r WHERE {of_sessions}", (numbers,))}
    if found:
        statement = f"SELECT t.pk FROM turn t WHERE {sql.dialect.among('t.round_pk')}"
        found.update(pk for (pk,) in sql.execute(statement, (sql.dialect.numbers(found),)))
    return found


_FROM_TURN = "FROM turn t JOIN round r ON r.pk = t.round_pk"
_SELECTS = {
    Part.TITLE: ("s.pk", "SELECT s.pk, NULL, NULL, NULL, s.created_at FROM session s"),
    Part.REQUEST: ("r.pk", "SELECT r.pk, r.id, NULL, NULL, r.created_at FROM round r"),
    Part.CONTENT: ("t.pk", f"SELECT t.pk, r.id, t.id, NULL, t.stream_start_time {_FROM_TURN}"),
    Part.OUTPUT: ("t.pk", f"SELECT t.pk, r.id, t.id, t.tool_call_id, t.stream_start_time {_FROM_TURN}"),
}
_OF_CALL = (
    "c.pk",
    f"SELECT c.pk, r.id, t.id, c.id, t.stream_start_time {_FROM_TURN} JOIN tool_call c ON c.turn_pk = t.pk",
)


@cache
def _located(dialect: Dialect, part: Part) -> str:
    pk, select = _SELECTS.get(part, _OF_CALL)
    return f"{select} WHERE {dialect.among(pk)}"
