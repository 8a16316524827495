"""SQL of what was used: tokens and costs, and how many rounds, turns and tool calls there were.

What an agent said of a whole response stands in place of its turns' numbers, field by field. A copy of a round is left
out while an older one of the same origin is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from mandrake_sessions.currencies import DEFAULT_CURRENCY
from mandrake_sessions.model import GroupBy
from mandrake_sessions.store.interface import Dialect, Row, Sql
from mandrake_sessions.store.sql.readable import note
from mandrake_sessions.store.sql.selection import unreadable
from mandrake_sessions.store.sql.session_lists import SessionFilter, session_conditions
from mandrake_sessions.store.sql.standing import LAST_PIECE, TURN_NOW
from mandrake_sessions.store.sql.values import OddValue, decode_name, shown
from mandrake_sessions.timezones import DAY_MS

TOKENS: Final = ("input_tokens", "output_tokens", "thought_tokens", "cache_read_tokens", "cache_write_tokens")
# What a row counts, in this order. `further_cost`: what the whole cost is above those of the input and the output.
COUNTS: Final = ("rounds", "turns", "tool_calls", "streamed_ms")
AMOUNTS: Final = (*TOKENS, "input_cost", "output_cost", "further_cost")
_NUMBERS: Final = (*COUNTS, *AMOUNTS)
_DIFFERENCES: Final = frozenset({_NUMBERS.index("further_cost")})

_OF_SESSIONS: Final[Mapping[GroupBy, str]] = {"session": "s.id", "agent": "s.agent", "cwd": "s.cwd"}
_LAST_TURN = 'FROM turn l WHERE l.round_pk = {round} ORDER BY l."index" DESC LIMIT 1'
_SAID = f"coalesce({', '.join(f'u.{name}' for name in (*TOKENS, 'cost'))})"
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
class UsageRow:
    """A part of what was used: its numbers are in the order of COUNTS and AMOUNTS. Costs are integers of 10⁻⁹ of the
    ``currency``, which is None where nothing was. ``key``: a day is counted from 1970-01-01."""

    key: Any
    currency: str | None
    counts: Sequence[int]
    amounts: Sequence[int]


@frozen
class _Source:
    """Where numbers come from: rows of ``tables``. ``at``: when each counts; ``session``, ``model`` and ``currency``:
    whose it is. ``numbers``: what it adds, by name. ``order``: the columns by which an index has its rows in order."""

    entity: str
    tables: str
    alias: str
    round: str
    session: str
    at: str
    model: str
    currency: str
    numbers: Mapping[str, str]
    condition: str = "true"
    order: tuple[str, ...] = ()
    may_be_negative: bool = False


def usage_rows(sql: Sql, wanted: UsageFilter, grouping: Grouping, *, one_by_one: bool = False) -> Iterator[UsageRow]:
    """All parts of what was used, in any order; several may have one key.

    ``one_by_one``: each turn, round and response is a part of its own. Those that cannot be read are left out then.
    Raises OneByOne without it.
    """
    said = _is_any(sql, "response_usage", "true")
    copied = _is_any(sql, "round", "copied_from_id IS NOT NULL")
    dialect = sql.dialect
    turns = (_turns(said=said), _tool_calls(), _pieces(dialect, said=said))
    for source in (*turns, *([_responses()] if said else []), _rounds()):
        yield from _rows(sql, source, wanted, grouping, copied=copied, one_by_one=one_by_one)


def _is_any(sql: Sql, table: str, condition: str) -> bool:
    return sql.execute(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1").fetchone() is not None


def _turns(*, said: bool) -> _Source:
    """The numbers of turns, but for those that an agent said of the whole response. ``said``: whether any did."""
    tokens = {name: f"CASE WHEN u.{name} IS NULL THEN t.{name} END" if said else f"t.{name}" for name in TOKENS}
    parts = "- t.input_cost - t.output_cost"
    return _Source(
        "turn",
        "turn t LEFT JOIN response_usage u ON u.pk = t.round_pk" if said else "turn t",
        alias="t",
        round="t.round_pk",
        session="t.session_pk",
        at="t.stream_start_time",
        model="t.model",
        currency="t.currency",
        numbers={
            "turns": "1",
            # A clock that was set back may have an end before the start.
            "streamed_ms": "CASE WHEN t.stream_end_time > t.stream_start_time"
            " THEN t.stream_end_time - t.stream_start_time END",
            **tokens,
            "input_cost": "t.input_cost",
            "output_cost": "t.output_cost",
            "further_cost": f"CASE WHEN u.cost IS NULL THEN t.cost {parts} ELSE {parts} END"
            if said
            else f"t.cost {parts}",
        },
        # The index has all columns, so the table is not read.
        order=("t.session_pk", "t.model", "t.currency"),
    )


def _tool_calls() -> _Source:
    """They count with their turns. In the order of their own index this takes half as long as in the turns' order."""
    return _Source(
        "turn",
        "tool_call c JOIN turn t ON t.pk = c.turn_pk",
        alias="t",
        round="t.round_pk",
        session="t.session_pk",
        at="t.stream_start_time",
        model="t.model",
        currency="NULL",
        numbers={"tool_calls": "1"},
    )


def _pieces(dialect: Dialect, *, said: bool) -> _Source:
    """What the pieces of turns that stream have added since the turn's row was written."""
    now = TURN_NOW["output_tokens"].sql
    added = f"{now if isinstance(now, str) else now(dialect)} - t.output_tokens"
    return _Source(
        "turn",
        f"turn t {'LEFT JOIN response_usage u ON u.pk = t.round_pk' if said else ''} {LAST_PIECE}",
        alias="t",
        round="t.round_pk",
        session="t.session_pk",
        at="t.stream_start_time",
        model="t.model",
        currency="t.currency",
        numbers={"output_tokens": added},
        condition=f"t.status = 'streaming' {'AND u.output_tokens IS NULL' if said else ''}",
        may_be_negative=True,
    )


def _responses() -> _Source:
    """What agents said of whole responses."""
    last_turn = _LAST_TURN.format(round="u.pk")
    return _Source(
        "response",
        "response_usage u JOIN response p ON p.pk = u.pk JOIN round r ON r.pk = u.pk",
        alias="p",
        round="r.pk",
        session="r.session_pk",
        at="coalesce(p.end_time, r.created_at)",
        model=f"(SELECT l.model {last_turn})",
        currency=f"coalesce(u.currency, (SELECT l.currency {last_turn}), '{DEFAULT_CURRENCY}')",
        numbers={**{name: f"u.{name}" for name in TOKENS}, "further_cost": "u.cost"},
        condition=f"{_SAID} IS NOT NULL",
    )


def _rounds() -> _Source:
    return _Source(
        "round",
        "round r",
        alias="r",
        round="r.pk",
        session="r.session_pk",
        at="r.created_at",
        model=f"(SELECT l.model {_LAST_TURN.format(round='r.pk')})",
        currency="NULL",
        numbers={"rounds": "1"},
        order=("r.session_pk",),
    )


def _rows(
    sql: Sql, source: _Source, wanted: UsageFilter, grouping: Grouping, *, copied: bool, one_by_one: bool
) -> Iterator[UsageRow]:
    condition, values = _condition(sql.dialect, source, wanted, copied=copied)
    make = _each if one_by_one else _sums
    statement = make(source, condition, grouping)
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


def _condition(dialect: Dialect, source: _Source, wanted: UsageFilter, *, copied: bool) -> tuple[str, list[Any]]:
    conditions, values = [source.condition], []
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


def _key(source: _Source, grouping: Grouping) -> tuple[str, str]:
    """What a row of the source is grouped by, and the key that it has as ``x.part``."""
    if grouping.by == "day":
        return day_of(source.at, grouping.offsets), "x.part"
    if grouping.by == "model":
        return source.model, "x.part"
    if grouping.by is None:
        # Where an index has the rows by session, that order is kept; elsewhere they would be sorted by it for nothing.
        return (source.session if source.session in source.order else "NULL"), "NULL"
    return source.session, _OF_SESSIONS[grouping.by]


def _sums(source: _Source, condition: str, grouping: Grouping) -> str:
    """The sums for each key and currency. Where the rows are found by session, they are added up in that order first,
    which needs no sorting, and few sums are left to be sorted."""
    part, key = _key(source, grouping)
    first = source.order if part in source.order else (part, source.currency)
    sums = ", ".join(f"{_sum(number)} AS {name}" for name, number in source.numbers.items())
    inner = (
        f"SELECT {part} AS part, {source.currency} AS currency, {sums} FROM {source.tables} WHERE {condition}"
        f" GROUP BY {', '.join(first)}"
    )
    again = ", ".join(f"sum(x.{name})" if name in source.numbers else "0" for name in _NUMBERS)
    return f"SELECT {key}, x.currency, {again} FROM ({inner}) AS x {_session(grouping)} GROUP BY {key}, x.currency"


def _each(source: _Source, condition: str, grouping: Grouping) -> str:
    """The numbers of each row by itself, and at last its id."""
    part, key = _key(source, grouping)
    numbers = ", ".join(f"{number} AS {name}" for name, number in source.numbers.items())
    inner = (
        f"SELECT {part} AS part, {source.currency} AS currency, {source.alias}.id AS id, {numbers}"
        f" FROM {source.tables} WHERE {condition}"
    )
    given = ", ".join(f"x.{name}" if name in source.numbers else "0" for name in _NUMBERS)
    return f"SELECT {key}, x.currency, {given}, x.id FROM ({inner}) AS x {_session(grouping)}"


def _sum(number: str) -> str:
    return "count(*)" if number == "1" else f"sum({number})"


def _session(grouping: Grouping) -> str:
    return "LEFT JOIN session s ON s.pk = x.part" if grouping.by in _OF_SESSIONS else ""


def day_of(at: str, offsets: Sequence[tuple[int, int]]) -> str:
    """The day of a time, counted from 1970-01-01. ``offsets``: see ``timezones.offsets``. The latest are found first:
    most times are of late."""
    if len(offsets) == 1:
        # One day more, so that a division of what lies before 1970 rounds down.
        return f"(({at} + {offsets[0][1] + DAY_MS}) / {DAY_MS} - 1)"
    middle = max(1, len(offsets) * 3 // 4)
    late, early = day_of(at, offsets[middle:]), day_of(at, offsets[:middle])
    return f"CASE WHEN {at} >= {offsets[middle][0]} THEN {late} ELSE {early} END"


def _decoded(source: _Source, row: Row) -> UsageRow:
    """Raises OddValue. A name that cannot be read is none."""
    key, currency, *numbers = row[: 2 + len(_NUMBERS)]
    for position, number in enumerate(numbers):
        if number is None:
            numbers[position] = 0
        elif type(number) is not int or (number < 0 and not source.may_be_negative and position not in _DIFFERENCES):
            raise OddValue(f"its {_NUMBERS[position]} is {shown(number)}")
    return UsageRow(
        key if isinstance(key, str | int) else None,
        None if source.currency == "NULL" else decode_name(currency),
        numbers[: len(COUNTS)],
        numbers[len(COUNTS) :],
    )
