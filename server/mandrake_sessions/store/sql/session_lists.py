"""SQL of the lists of sessions.

A list is in the order of an index, and so is each part of it that has a state, an agent or a parent: a page costs the
same however many sessions there are. What else may be asked for (a directory, a source, a text) may be rare: the newest
sessions are looked at, and where these are not enough, an index that has nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from mandrake_sessions.model import SessionState, Sort
from mandrake_sessions.store.interface import Dialect, Row, Sql
from mandrake_sessions.store.sql.readable import readable_page
from mandrake_sessions.store.sql.sessions import SHOWN, WORDS, SessionRow, equals, in_directory, readable_row, select
from mandrake_sessions.value import Value


@frozen
class SessionFilter:
    """Which sessions a list holds; None: whatever. ``query`` is casefolded already; ``cwd`` is a directory, with all
    below it."""

    archived: bool | None = False
    query: str | None = None
    parent_id: str | None = None
    streaming: bool | None = None
    state: str | None = None
    agent: str | None = None
    source: str | None = None
    cwd: str | None = None
    active_since: int | None = None
    active_until: int | None = None


def list_sessions(
    sql: Sql, wanted: SessionFilter, before: Sequence[int] | None, limit: int, *, sort: Sort = "changed"
) -> Iterator[SessionRow]:
    """Last changed, or last active, first, those beyond ``before`` (see ``SessionRow.position``); each read when it is
    asked for, and left out if it cannot be read."""
    arms = _arms(sql, wanted)
    rare = _rare(sql.dialect, wanted)
    _release_later(sql, wanted)

    def fetch(beyond: Sequence[int] | None, count: int | None) -> Iterable[Row]:
        found = _Range(sort, beyond)
        return _rows(sql, arms, found, count) if rare is None else _rare_rows(sql, arms, rare, found, count)

    return readable_page(sql, fetch, lambda row: SessionRow(row).position(sort), before, limit, readable_row)


_SORTED: Mapping[Sort, tuple[str, str]] = {
    "changed": ("s.seq", "s.seq DESC"),
    "active": ("s.active_at, s.pk", "s.active_at DESC, s.pk DESC"),
}


# A part of a list: conditions that are a range of an index, further ones, and the values of each.
_Arm = tuple[tuple[list[str], list[Any]], tuple[list[str], list[Any]]]


@frozen(eq=False, repr=False)
class _Range(Value):
    """A range of positions in a list: those beyond one, down to and with another; None: no bound."""

    sort: Sort
    beyond: Sequence[int] | None = None
    down_to: Sequence[int] | None = None

    def condition(self) -> tuple[list[str], list[int]]:
        columns, _ = _SORTED[self.sort]
        bounds = [(sign, bound) for sign, bound in (("<", self.beyond), (">=", self.down_to)) if bound is not None]
        conditions = [f"({columns}) {sign} ({', '.join('?' * len(bound))})" for sign, bound in bounds]
        return conditions, [number for _, bound in bounds for number in bound]


def _rows(
    sql: Sql, arms: list[_Arm], found: _Range, count: int | None, among: tuple[str, Sequence[Any]] | None = None
) -> Iterable[Row]:
    """The first rows of the range that are in one of the arms. ``among``: a condition on their pks, with its values."""
    _, descending = _SORTED[found.sort]
    bounds, given = found.condition()
    if among is not None:
        bounds, given = [*bounds, among[0]], [*given, *among[1]]
    wheres = [" AND ".join([*own, *further, *bounds]) for (own, _), (further, _) in arms]
    values = [value for (_, own), (_, further) in arms for value in (*own, *further, *given, count)]
    if len(arms) == 1 and among is None:
        return sql.execute(select(sql.dialect, f"WHERE {wheres[0]} ORDER BY {descending} LIMIT ?"), values)
    pks = " UNION ALL ".join(
        f"SELECT * FROM (SELECT s.pk FROM session s WHERE {where} ORDER BY {descending} LIMIT ?) AS arm"
        for where in wheres
    )
    statement = select(sql.dialect, f"WHERE s.pk IN ({pks}) ORDER BY {descending} LIMIT ?")
    return sql.execute(statement, (*values, count))


# So many rows of a list are looked at before all sessions are looked through for what is rare.
_LOOKED_AT = 2000
# So many sessions are looked up by themselves; where there are more, the list is walked along until it has enough.
_FEW = 5000


def _rare_rows(
    sql: Sql, arms: list[_Arm], rare: tuple[str, list[Any]], found: _Range, count: int | None
) -> Iterator[Row]:
    """The same for what may be rare: the newest are looked at, and where these are not enough, an index of all."""
    bound = _position_after(sql, arms, found)
    rows = 0
    for row in _rows(sql, arms, _Range(found.sort, found.beyond, bound), count):
        yield row
        rows += 1
    if bound is None or (count is not None and rows == count):
        return
    left = count if count is None or count < 0 else count - rows
    condition, values = rare
    pks = [pk for (pk,) in sql.execute(f"SELECT r.pk FROM session r WHERE {condition} LIMIT ?", (*values, _FEW + 1))]
    among: tuple[str, Sequence[Any]]
    if len(pks) <= _FEW:
        among = sql.dialect.among("s.pk"), [sql.dialect.numbers(pks)]
    else:
        # What is reckoned of a column is not looked up in an index, so the rows come in the order of the list.
        among = f"s.pk + 0 IN (SELECT r.pk FROM session r WHERE {condition})", values
    yield from _rows(sql, arms, _Range(found.sort, bound), left, among)


def _position_after(sql: Sql, arms: list[_Arm], found: _Range) -> tuple[int, ...] | None:
    """Where a list has been looked at far enough; None where it is no longer than that."""
    columns, descending = _SORTED[found.sort]
    bounds, given = found.condition()
    positions = []
    for (own, values), _ in arms:
        where = " AND ".join([*own, *bounds])
        statement = f"SELECT {columns} FROM session s WHERE {where} ORDER BY {descending} LIMIT 1 OFFSET ?"
        position = sql.execute(statement, (*values, *given, _LOOKED_AT)).fetchone()
        if position is not None:
            positions.append(tuple(position))
    return max(positions, default=None)


def _rare(dialect: Dialect, wanted: SessionFilter) -> tuple[str, list[Any]] | None:
    """What an index tells of the sessions ``r`` that are wanted, with the values; None where it tells nothing."""
    conditions: list[str] = []
    values: list[Any] = []
    if wanted.cwd is not None:
        condition, directories = in_directory(wanted.cwd, "r")
        conditions.append(condition)
        values += directories
    if wanted.source is not None:
        conditions.append("r.source = ?")
        values.append(wanted.source)
    if wanted.query is not None:
        conditions.append(dialect.may_contain("r.words"))
        values.append(dialect.findable_value(wanted.query))
    return (" AND ".join(conditions), values) if conditions else None


def list_sessions_by_time(
    sql: Sql,
    wanted: SessionFilter,
    beyond: tuple[int, str] | None,
    limit: int,
    *,
    sort: Sort,
    changed_until: int | None = None,
) -> Iterator[SessionRow]:
    """For lists of several stores, whose ``seq`` cannot be compared: by ``updated_at`` or, with ``sort="active"``, by
    ``active_at``, latest first, then by id. ``beyond``: a moment, and an id or what compares as one; rows of that
    moment with a greater id are wanted, and all earlier ones. ``changed_until``: the ``seq`` of the last change that
    they may have."""
    moment = _MOMENTS[sort]
    order = f"{moment} DESC, s.id"
    conditions, values = session_conditions(sql.dialect, wanted)
    if changed_until is not None:
        conditions, values = [*conditions, "s.seq <= ?"], [*values, changed_until]
    if wanted.archived is not None:
        conditions, values = [*conditions, "(s.archived_at IS NOT NULL) = ?"], [*values, wanted.archived]
    _release_later(sql, wanted)

    def fetch(after: tuple[int, str] | None, count: int | None) -> Iterable[Row]:
        bounds = [] if after is None else [f"{moment} <= ? AND ({moment} < ? OR s.id > ?)"]
        where = " AND ".join([*conditions, *bounds])
        given = [*values, *(() if after is None else (after[0], *after)), count]
        # The pks first, so that not all of each row is sorted.
        found = f"SELECT s.pk FROM session s WHERE {where} ORDER BY {order} LIMIT ?"
        statement = f"WHERE s.pk IN (SELECT * FROM ({found}) AS found) ORDER BY {order} LIMIT ?"
        return sql.execute(select(sql.dialect, statement), (*given, count))

    return readable_page(sql, fetch, lambda row: SessionRow(row).moment(sort), beyond, limit, readable_row)


_MOMENTS: Mapping[Sort, str] = {"changed": "s.updated_at", "active": "s.active_at"}


def _arms(sql: Sql, wanted: SessionFilter) -> list[_Arm]:
    """The parts of a list, each of which is one range of an index, so that a page costs the same however many sessions
    there are."""
    further = session_conditions(sql.dialect, wanted)
    arms: list[tuple[list[str], list[Any]]] = [([], [])]
    if wanted.parent_id is None and (wanted.agent, wanted.state, wanted.streaming) != (None, None, None):
        pairs = _states_and_agents(sql, wanted)
        if len(pairs) <= _MAX_PAIRS:
            of_agents = [(state, *equals("s.agent", agent)) for state, agent in pairs]
            arms = [(["s.state = ?", whose], [state, *given]) for state, whose, given in of_agents]
    archived = (False, True) if wanted.archived is None else (wanted.archived,)
    return [
        (([*own, "(s.archived_at IS NOT NULL) = ?"], [*given, value]), further)
        for own, given in arms
        for value in archived
    ]


# Of so many states and agents, each is looked up by itself.
_MAX_PAIRS = 60


def _states_and_agents(sql: Sql, wanted: SessionFilter) -> list[tuple[str, str | None]]:
    """Each state that is wanted, with each agent that has sessions in it."""
    states = [
        state.value
        for state in SessionState
        if wanted.state in (None, state.value) and wanted.streaming in (None, state is SessionState.RUNNING)
    ]
    if wanted.agent is not None:
        return [(state, wanted.agent) for state in states]
    pairs: list[tuple[str, str | None]] = []
    for state in states:
        agent: str | None = ""
        pairs.append((state, None))
        while len(pairs) <= _MAX_PAIRS:
            statement = "SELECT min(agent) FROM session WHERE state = ? AND agent > ?"
            (agent,) = sql.execute(statement, (state, agent)).fetchone()
            if agent is None:
                break
            pairs.append((state, agent))
    return pairs


def session_conditions(dialect: Dialect, wanted: SessionFilter) -> tuple[list[str], list[Any]]:
    """What sessions ``s`` have to fulfil, with the values: all but whether they are archived."""
    conditions = [SHOWN]
    values: list[Any] = []
    for column in ("parent_id", "state", "agent", "source"):
        if (value := getattr(wanted, column)) is not None:
            conditions.append(f"s.{column} = ?")
            values.append(value)
    if wanted.streaming is not None:
        conditions.append("s.state = 'running'" if wanted.streaming else "s.state <> 'running'")
    if wanted.cwd is not None:
        condition, directories = in_directory(wanted.cwd)
        conditions.append(condition)
        values += directories
    for condition, moment in (("s.active_at >= ?", wanted.active_since), ("s.active_at < ?", wanted.active_until)):
        if moment is not None:
            conditions.append(condition)
            values.append(moment)
    if wanted.query is not None:
        parts = [dialect.contains_folded(f"s.{column}") for column in WORDS]
        conditions.append(f"{dialect.may_contain('s.words')} AND ({' OR '.join(parts)})")
        values += [dialect.findable_value(wanted.query), *[wanted.query] * len(WORDS)]
    return conditions, values


def _release_later(sql: Sql, wanted: SessionFilter) -> None:
    for text in (wanted.query, wanted.cwd, wanted.agent, wanted.source):
        if text is not None:
            sql.release_later(text)
