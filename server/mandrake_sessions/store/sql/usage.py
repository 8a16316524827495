"""SQL of what was used: tokens and costs, and how many rounds, turns and tool calls there were.

What an agent said of a whole response stands in place of its turns' numbers, field by field. A copy of a round is left
out while an older one of the same origin is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from mandrake_sessions.model import GroupBy
from mandrake_sessions.store.interface import Dialect, Row, Sql
from mandrake_sessions.store.sql.days import are_of_one_day, day_of
from mandrake_sessions.store.sql.readable import note
from mandrake_sessions.store.sql.selection import unreadable
from mandrake_sessions.store.sql.session_lists import SessionFilter, session_conditions
from mandrake_sessions.store.sql.usage_sources import COUNTS, DIFFERENCES, NUMBERS, Source, sources
from mandrake_sessions.store.sql.values import OddValue, decode_name, shown

_OF_SESSIONS: Final[Mapping[GroupBy, str]] = {"session": "s.id", "agent": "s.agent", "cwd": "s.cwd"}
_HIDDEN = "SELECT h.pk FROM session h WHERE h.copying_lease IS NOT NULL"
# The rounds of which an older one of the same origin is stored.
_COPIES = f"""
SELECT c.pk FROM round c WHERE c.copied_from_id IS NOT NULL AND (
    c.pk > (SELECT min(e.pk) FROM round e WHERE e.copied_from_id = c.copied_from_id AND e.session_pk NOT IN ({_HIDDEN}))
    OR c.pk > (SELECT o.pk FROM round o WHERE o.id = c.copied_from_id))
UNION ALL
SELECT o.pk FROM round o WHERE o.copied_from_id IS NULL
    AND o.id IN (SELECT c.copied_from_id FROM round c WHERE c.copied_from_id IS NOT NULL)
    AND o.pk > (SELECT min(e.pk) FROM round e WHERE e.copied_from_id = o.id AND e.session_pk NOT IN ({_HIDDEN}))
"""

# From so many turns on, two halves beside each other are summed up sooner than one after the other.
_WORTH_HALVES: Final = 10_000
# How many turns are looked at to find the middle.
_LOOKS: Final = 15
_INTEGERS: Final = {int}
_TURN_AT = "SELECT t.session_pk, t.round_pk, t.pk FROM turn t WHERE t.pk >= ? ORDER BY t.pk LIMIT 1"


class OneByOne(Exception):
    """Sums of so many rows do not fit an integer of the database, or one of the rows is odd."""


@frozen
class UsageFilter:
    """What is counted; None: whatever. ``sessions``: those of an agent, or about a directory. ``since`` is inclusive,
    ``until`` is not."""

    session_pk: int | None = None
    sessions: SessionFilter | None = None
    since: int | None = None
    until: int | None = None


@frozen
class Grouping:
    """What the keys of rows are; None: all have None. ``offsets``: of the time zone, for days (``timezones``)."""

    by: GroupBy | None = None
    offsets: Sequence[tuple[int, int]] = ((0, 0),)


@frozen
class Half:
    """A part of a store: what lies up to these rows, or what lies beyond."""

    is_first: bool
    session_pk: int
    round_pk: int
    turn_pk: int


@frozen
class UsageRow:
    """A part of what was used: its numbers are in the order of COUNTS and AMOUNTS. Costs are integers of 10⁻⁹ of the
    ``currency``, which is None where nothing was. ``key``: a day is counted from 1970-01-01."""

    key: Any
    currency: str | None
    counts: Sequence[int]
    amounts: Sequence[int]


def halves(sql: Sql) -> tuple[Half, Half] | None:
    """Two parts of the store, about equal unless one session has most of the turns; None where there are few."""
    last = sql.execute("SELECT max(pk) FROM turn").fetchone()[0]
    if last is None or last < _WORTH_HALVES:
        return None
    places = (last * part // _LOOKS for part in range(1, _LOOKS + 1))
    found = [sql.execute(_TURN_AT, (place,)).fetchone() for place in places]
    middle = [sorted(column)[_LOOKS // 2] for column in zip(*found, strict=True)]
    return Half(True, *middle), Half(False, *middle)


def usage_rows(
    sql: Sql, wanted: UsageFilter, grouping: Grouping, half: Half | None = None, *, one_by_one: bool = False
) -> Iterator[UsageRow]:
    """All parts of what was used, of the whole store or in one half of it, in any order; several may have one key.

    ``one_by_one``: each turn, round and response is a part of its own. Those that cannot be read are left out then.
    Raises OneByOne without it.
    """
    said = _is_any(sql, "response_usage", "true")
    copied = _is_any(sql, "round", "copied_from_id IS NOT NULL")
    make = _each if one_by_one else _sums
    injected = _is_any(sql, "round", "origin = 'system'")
    for source in sources(sql.dialect, said=said, injected=injected):
        condition, values = _condition(sql.dialect, source, wanted, half, copied=copied)
        statement = make(source, condition, grouping)
        # By day it stands there twice.
        yield from _rows(sql, source, statement, values * statement.count(condition), one_by_one=one_by_one)


def _is_any(sql: Sql, table: str, condition: str) -> bool:
    return sql.execute(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1").fetchone() is not None


def _rows(sql: Sql, source: Source, statement: str, values: list[Any], *, one_by_one: bool) -> Iterator[UsageRow]:
    try:
        for row in sql.execute(statement, values):
            try:
                yield _decoded(source, row)
            except OddValue as odd:
                if not one_by_one:
                    raise OneByOne from None
                note(sql, unreadable(source.entity, row[-1], str(odd)))
    except Exception as error:
        if sql.dialect.is_too_large_a_sum(error):
            raise OneByOne from None
        raise


def _condition(
    dialect: Dialect, source: Source, wanted: UsageFilter, half: Half | None, *, copied: bool
) -> tuple[str, list[Any]]:
    conditions: list[str] = [source.condition]
    values: list[Any] = []
    if half is not None:
        column, refers_to = source.half
        conditions.append(f"{column} {'<=' if half.is_first else '>'} ?")
        values.append(getattr(half, refers_to))
    if wanted.session_pk is not None:
        conditions.append(f"{source.session} = ?")
        values.append(wanted.session_pk)
    if wanted.sessions is not None:
        of_sessions, given = session_conditions(dialect, wanted.sessions)
        conditions.append(f"{source.session} IN (SELECT s.pk FROM session s WHERE {' AND '.join(of_sessions)})")
        values += given
    for comparison, moment in ((">=", wanted.since), ("<", wanted.until)):
        if moment is not None:
            conditions.append(f"{source.at} {comparison} ?")
            values.append(moment)
    if copied:
        # What is in a half copy is a copy.
        conditions += [f"{source.round} NOT IN ({_COPIES})", f"{source.session} NOT IN ({_HIDDEN})"]
    return " AND ".join(conditions), values


def _key(source: Source, grouping: Grouping) -> tuple[str, str]:
    """What a row of the source is grouped by, and the key that it has as ``x.part``."""
    if grouping.by == "day":
        return day_of(source.at, grouping.offsets), "x.part"
    if grouping.by == "model":
        return source.model, "x.part"
    if grouping.by is None:
        # Where an index has the rows by session, that order is kept; elsewhere they would be sorted by it for nothing.
        return (source.session if source.session in source.order else "NULL"), "NULL"
    return source.session, _OF_SESSIONS[grouping.by]


def _sums(source: Source, condition: str, grouping: Grouping) -> str:
    """The sums for each key and currency."""
    part, key = _key(source, grouping)
    if grouping.by == "day" and source.order:
        inner = _by_day(source, condition, grouping.offsets)
    else:
        # Where an index has the rows in order, they are added up in that order first, which needs no sorting, and few
        # sums are left to be sorted.
        inner = _added_up(source, part, condition, source.order if part in source.order else (part, source.currency))
    sums = ", ".join(f"coalesce(sum(x.{name}), 0)" if name in source.numbers else "0" for name in NUMBERS)
    return f"SELECT {key}, x.currency, {sums} FROM ({inner}) AS x {_session(grouping)} GROUP BY {key}, x.currency"


def _added_up(source: Source, part: str, condition: str, group_by: Sequence[str], more: str = "") -> str:
    sums = "".join(f", {_sum(number)} AS {name}" for name, number in source.numbers.items())
    return (
        f"SELECT {part} AS part, {source.currency} AS currency{sums}{more} FROM {source.tables} WHERE {condition}"
        f" GROUP BY {', '.join(group_by)}"
    )


def _by_day(source: Source, condition: str, offsets: Sequence[tuple[int, int]]) -> str:
    """What lies within a day of one session is added up in the order of an index, which needs no sorting. Sessions that
    have several days are read once more, and their rows sorted; most have one."""
    times = f", min({source.at}) AS first, max({source.at}) AS last"
    ordered = _added_up(source, source.session, condition, source.order, times)
    day, crosses = day_of(source.at, offsets), f"{source.session} IN (SELECT z.part FROM crossing z)"
    numbers = "".join(f", y.{name}" for name in source.numbers)
    return (
        f"WITH ordered AS MATERIALIZED ({ordered}), crossing AS MATERIALIZED (SELECT y.part FROM ordered y"
        f" GROUP BY y.part HAVING NOT ({are_of_one_day('min(y.first)', 'max(y.last)', offsets)}))"
        f" SELECT {day_of('y.first', offsets)} AS part, y.currency{numbers} FROM ordered y"
        f" WHERE y.part NOT IN (SELECT z.part FROM crossing z)"
        f" UNION ALL {_added_up(source, day, f'{crosses} AND {condition}', (day, source.currency))}"
    )


def _each(source: Source, condition: str, grouping: Grouping) -> str:
    """The numbers of each row by itself, and at last its id."""
    part, key = _key(source, grouping)
    numbers = ", ".join(f"{number} AS {name}" for name, number in source.numbers.items())
    inner = (
        f"SELECT {part} AS part, {source.currency} AS currency, {source.alias}.id AS id, {numbers}"
        f" FROM {source.tables} WHERE {condition}"
    )
    given = ", ".join(f"x.{name}" if name in source.numbers else "0" for name in NUMBERS)
    return f"SELECT {key}, x.currency, {given}, x.id FROM ({inner}) AS x {_session(grouping)}"


def _sum(number: str) -> str:
    return "count(*)" if number == "1" else f"sum({number})"


def _session(grouping: Grouping) -> str:
    return "LEFT JOIN session s ON s.pk = x.part" if grouping.by in _OF_SESSIONS else ""


def _decoded(source: Source, row: Row) -> UsageRow:
    """Raises OddValue. A name that cannot be read is none."""
    key, currency, *numbers = row[: 2 + len(NUMBERS)]
    # Most rows are plain, and looking at each number takes longer than all else that is done with a row.
    if set(map(type, numbers)) != _INTEGERS or min(numbers) < 0:
        numbers = [_number(source, *named) for named in zip(NUMBERS, numbers, strict=True)]
    return UsageRow(
        key if isinstance(key, str | int) else None,
        None if source.currency == "NULL" else decode_name(currency),
        numbers[: len(COUNTS)],
        numbers[len(COUNTS) :],
    )


def _number(source: Source, name: str, value: Any) -> int:
    """Raises OddValue."""
    if value is None:
        return 0
    if type(value) is not int or (value < 0 and not source.may_be_negative and name not in DIFFERENCES):
        raise OddValue(f"its {name} is {shown(value)}")
    return value
