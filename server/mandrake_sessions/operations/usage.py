"""What was used: tokens, costs, rounds, turns and tool calls, in all and by what people ask for."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from copy import copy
from functools import partial
from typing import Any, Final, Self, Unpack, get_args

from mandrake_sessions import rules
from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.fields import UsageWanted
from mandrake_sessions.model import GroupBy, StoreRef, UsageGroup, UsageTotals
from mandrake_sessions.operations.two_threads import in_two_threads
from mandrake_sessions.operations.usage_sums import Group, Sum
from mandrake_sessions.quoting import must_be_one_of
from mandrake_sessions.store.interface import EntityStore, Sql
from mandrake_sessions.store.sql import session_lists, sessions
from mandrake_sessions.store.sql.usage import Grouping, Half, OneByOne, UsageFilter, UsageRow, halves, usage_rows
from mandrake_sessions.timezones import DEFAULT_TIMEZONE, day_name, offsets


def usage(store: EntityStore, wanted: UsageWanted, timezone: str | None) -> UsageTotals:
    """``OnDemandOperations.usage``"""
    grouping = _grouping(None, timezone)
    with store.reading() as sql:
        groups = _groups(store, sql, _filter(sql, wanted), grouping)
    return groups.get(None, Group()).as_totals()


def usage_by(store: EntityStore, group_by: GroupBy, wanted: UsageWanted, timezone: str | None) -> list[UsageGroup]:
    """``OnDemandOperations.usage_by``"""
    grouping = _grouping(group_by, timezone)
    with store.reading() as sql:
        found = _groups(store, sql, _filter(sql, wanted), grouping)
    return _in_order(found)


class JoinedUsage:
    """What was used in every store, added up: see ``usage_by``. Without ``group_by`` it is one group, of key None.

    Raises InvalidValue.
    """

    def __init__(
        self, group_by: GroupBy | None = None, *, timezone: str | None = None, **wanted: Unpack[UsageWanted]
    ) -> None:
        self.is_grouped = group_by is not None
        self._grouping = _grouping(group_by, timezone)
        self._wanted = wanted
        _checked(wanted)
        self._sum = Sum()
        self._lock = threading.Lock()

    def narrowed(self, cwd: str) -> Self:
        """``Joining.narrowed``"""
        narrower = copy(self)
        narrower._wanted = {**self._wanted, "cwd": cwd}
        return narrower

    def read(self, _: StoreRef, entities: EntityStore) -> dict[Any, Group]:
        """Raises NotFound, TooLarge."""
        with entities.reading() as sql:
            return _groups(entities, sql, _filter(sql, self._wanted), self._grouping)

    def add(self, part: dict[Any, Group]) -> None:
        """Raises TooLarge."""
        with self._lock:
            self._sum.add_groups(part)

    @property
    def groups(self) -> list[UsageGroup]:
        return _in_order(self._sum.groups)

    @property
    def totals(self) -> UsageTotals:
        return self._sum.groups.get(None, Group()).as_totals()


def _grouping(group_by: GroupBy | None, timezone: str | None) -> Grouping:
    """Raises InvalidValue."""
    if group_by is not None and group_by not in get_args(GroupBy):
        raise InvalidValue("group_by", must_be_one_of(get_args(GroupBy), group_by))
    zone = rules.optional(rules.timezone)("timezone", timezone) or DEFAULT_TIMEZONE
    if group_by is None:
        return Grouping()
    return Grouping(group_by, offsets(zone)) if group_by == "day" else Grouping(group_by)


def _in_order(found: dict[Any, Group]) -> list[UsageGroup]:
    keys = sorted(found, key=lambda key: (key is not None, key))
    return [found[key].as_group(day_name(key) if isinstance(key, int) else key) for key in keys]


def _groups(store: EntityStore, sql: Sql, wanted: UsageFilter, grouping: Grouping) -> dict[Any, Group]:
    """By their keys. Raises TooLarge."""

    def read(half: Half | None, sql: Sql) -> Sum:
        return _added_up(usage_rows(sql, wanted, grouping, half))

    try:
        # A session is not divided.
        parts = None if wanted.session_pk is not None else halves(sql)
        found = None if parts is None else in_two_threads(store, *(partial(read, half) for half in parts))
        if found is None:
            return read(None, sql).groups
    except OneByOne:
        return _added_up(usage_rows(sql, wanted, grouping, one_by_one=True)).groups
    whole, rest = found
    whole.add_groups(rest.groups)
    return whole.groups


def _added_up(rows: Iterator[UsageRow]) -> Sum:
    found = Sum()
    for row in rows:
        found.add(row)
    return found


_RULES: Final[Mapping[str, rules.Rule]] = {
    "since": rules.count,
    "until": rules.count,
    "agent": rules.text,
    "cwd": rules.directory,
    "session_id": rules.uuid,
}


def _checked(wanted: UsageWanted) -> dict[str, Any]:
    """Raises InvalidValue."""
    return {name: rules.optional(rule)(name, wanted.get(name)) for name, rule in _RULES.items()}


def _filter(sql: Sql, wanted: UsageWanted) -> UsageFilter:
    """Raises InvalidValue, NotFound."""
    given = _checked(wanted)
    session_id, agent, cwd = given["session_id"], given["agent"], given["cwd"]
    session_pk = None if session_id is None else sessions.pk_of_session(sql, session_id)
    of = None
    if (agent, cwd) != (None, None):
        of = session_lists.SessionFilter(archived=None, agent=agent, cwd=None if cwd is None else cwd.rstrip("/"))
    return UsageFilter(session_pk, of, given["since"], given["until"])
