"""``session/usage``: what was used, exactly, in the caller's time zone, in each currency, and copies once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from conformance.backends import Backend
from mandrake_sessions import SessionManager
from mandrake_sessions.errors import NotFound
from mandrake_sessions.model import CurrencyTotal, Origin, ResponseStatus, TurnStatus, UsageTotals
from mandrake_sessions.protocol.converter import unstructure
from model.usage import Conversation, used
from strict import StrictSyncClient

UNKNOWN = "00000000-0000-7000-8000-000000000000"
HOUR = 60 * 60 * 1000
DAY = 24 * HOUR
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def _small_stores_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads sum up a large store, where it has a second snapshot to read; the store in memory has none, and is
    summed up by one."""
    monkeypatch.setattr("mandrake_sessions.store.sql.usage._WORTH_HALVES", 1)


def at(year: int, month: int, day: int, hour: int, minute: int = 0, zone: Any = BERLIN) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=zone).timestamp() * 1000)


THEN = at(2025, 3, 30, 12)


def talk(manager: SessionManager, when: int = THEN, **session: Any) -> tuple[str, str, str]:
    """The ids of a session, of its only round and of the response."""
    session_id = manager.create_session(created_at=when, **session).id
    detail = manager.create_round(session_id, content="?", created_at=when)
    return session_id, detail.round.id, detail.response.id


def turn(manager: SessionManager, response: str, when: int = THEN, lasts: int = 0, **fields: Any) -> str:
    """A turn that has ended."""
    fields = {"status": TurnStatus.COMPLETED, "stream_start_time": when, "stream_end_time": when + lasts, **fields}
    return manager.create_turn(response, created_at=when, **fields).id


def total(currency: str = "USD", **numbers: Any) -> CurrencyTotal:
    names = ("input_tokens", "output_tokens", "thought_tokens", "cache_read_tokens", "cache_write_tokens")
    costs = ("input_cost", "output_cost", "cost")
    return CurrencyTotal(currency, **{**dict.fromkeys(names, 0), **dict.fromkeys(costs, 0.0), **numbers})


def test_an_empty_store_has_used_nothing(manager: SessionManager) -> None:
    assert manager.usage() == UsageTotals([], 0, 0, 0, 0)
    assert manager.usage_by("day") == []
    manager.create_session()
    assert manager.usage() == UsageTotals([], 0, 0, 0, 0)


def test_turns_are_added_up(manager: SessionManager) -> None:
    _, _, response = talk(manager)
    call = {"id": "c"}
    turn(
        manager,
        response,
        lasts=1500,
        input_tokens=3,
        output_tokens=2,
        input_cost=0.1,
        output_cost=0.2,
        tool_calls=[call],
    )
    turn(manager, response, lasts=500, input_tokens=1, thought_tokens=7, cache_read_tokens=8, cache_write_tokens=9)
    summed = total(
        input_tokens=4, output_tokens=2, thought_tokens=7, cache_read_tokens=8, cache_write_tokens=9,
        input_cost=0.1, output_cost=0.2, cost=0.3,
    )  # fmt: skip
    assert manager.usage() == UsageTotals([summed], rounds=1, turns=2, tool_calls=1, streamed_ms=2000)


def test_the_cost_of_a_turn_is_its_own_or_the_sum_of_its_parts(manager: SessionManager) -> None:
    _, _, response = talk(manager)
    turn(manager, response, input_cost=1, output_cost=2, cost=10)
    turn(manager, response, input_cost=0.25)
    assert manager.usage().totals == [total(input_cost=1.25, output_cost=2.0, cost=10.25)]


def test_each_currency_has_a_total_of_its_own(manager: SessionManager) -> None:
    _, _, response = talk(manager)
    turn(manager, response, currency="EUR", cost=1, input_tokens=1)
    turn(manager, response, cost=2, input_tokens=2)
    turn(manager, response, currency="CHF", cost=3, input_tokens=3)
    assert manager.usage().totals == [
        total("CHF", cost=3.0, input_tokens=3), total("EUR", cost=1.0, input_tokens=1), total(cost=2.0, input_tokens=2)
    ]  # fmt: skip


def test_sums_are_exact(manager: SessionManager) -> None:
    _, _, response = talk(manager)
    with manager.transaction():
        for _ in range(1000):
            turn(manager, response, cost=0.1, input_cost=1e-9)
    assert manager.usage().totals == [total(cost=100.0, input_cost=1e-6)]


def test_sums_beyond_64_bits_are_exact(manager: SessionManager) -> None:
    _, _, response = talk(manager)
    with manager.transaction():
        for _ in range(5):
            turn(manager, response, input_tokens=2**63 - 1, output_tokens=1, model="m")
    (found,) = manager.usage().totals
    assert (found.input_tokens, found.output_tokens) == (5 * (2**63 - 1), 5)
    assert manager.usage_by("model")[0].totals == [found]
    assert manager.usage_by("day")[0].totals == [found]


def test_greatest_costs_never_overflow(manager: SessionManager) -> None:
    _, _, response = talk(manager)
    with manager.transaction():
        for _ in range(9300):
            manager.create_turn(response, status=TurnStatus.COMPLETED, cost=999999.999999999)
    assert manager.usage().totals[0].cost == 9300 * 999999.999999999


def test_what_an_agent_said_stands_in_place_of_the_turns_numbers(manager: SessionManager) -> None:
    _, _, response = talk(manager)
    turn(manager, response, input_tokens=1, output_tokens=2, thought_tokens=3, input_cost=0.5, output_cost=0.25)
    turn(manager, response, input_tokens=1, output_tokens=2, cost=9)
    manager.update_response(response, usage={"output_tokens": 100, "cost": 0.01})
    expected = total(input_tokens=2, output_tokens=100, thought_tokens=3, input_cost=0.5, output_cost=0.25, cost=0.01)
    assert manager.usage().totals == [expected]
    manager.update_response(response, usage={"context_used": 5})
    assert manager.usage().totals[0].output_tokens == 4
    assert manager.usage().totals[0].cost == 9.75
    manager.update_response(response, usage={"input_tokens": 0})
    assert manager.usage().totals[0].input_tokens == 0
    manager.update_response(response, usage=None)
    assert manager.usage().totals[0].input_tokens == 2


def test_the_currency_of_what_was_said(manager: SessionManager) -> None:
    """Its own, else that of the last turn, else USD."""
    _, _, response = talk(manager)
    manager.update_response(response, usage={"cost": 1})
    assert manager.usage().totals == [total(cost=1.0)]
    turn(manager, response, currency="EUR")
    assert manager.usage().totals == [total("EUR", cost=1.0)]
    manager.update_response(response, usage={"cost": 1, "currency": "GBP"})
    assert manager.usage().totals == [total("GBP", cost=1.0)]


@pytest.mark.parametrize("said", [None, {"input_tokens": 0}, {"cost": 0, "currency": "GBP"}, {"context_used": 7}])
def test_a_currency_is_listed_where_a_number_is_not_zero(manager: SessionManager, said: Any) -> None:
    """Whatever the agent said of the response: the same numbers have one shape."""
    session, _, response = talk(manager)
    turn(manager, response, currency="EUR")
    turn(manager, response, currency="USD")
    manager.update_response(response, usage=said)
    assert manager.usage() == UsageTotals([], 1, 2, 0, 0)
    assert manager.usage(session_id=session).totals == manager.usage_by("session")[0].totals == []
    turn(manager, response, currency="CHF", output_tokens=1)
    assert manager.usage().totals == [total("CHF", output_tokens=1)]
    assert manager.usage_by("day")[0].totals == [total("CHF", output_tokens=1)]


def test_an_end_before_the_start_counts_as_no_time(client: StrictSyncClient) -> None:
    """A clock that is set back gives such times, so they are kept as they are."""
    session = client.session_create()
    response = client.round_create(session_id=session.id, content="?").response.id
    for start, end in ((10_000, 5_000), (10_000, 12_000), (0, 0), (10_000, 0)):
        made = client.turn_create(
            response_id=response, status=TurnStatus.COMPLETED, stream_start_time=start, stream_end_time=end
        )
        assert (made.stream_start_time, made.stream_end_time) == (start, end)
    late = client.turn_create(response_id=response, stream_start_time=THEN)
    client.turn_update(turn_id=late.id, status=TurnStatus.COMPLETED, stream_end_time=THEN - HOUR)
    assert client.session_usage().streamed_ms == 2_000
    assert [group.streamed_ms for group in client.session_usage(group_by="session").groups or ()] == [2_000]
    assert client.session_usage(until=11_000).streamed_ms == 2_000
    assert client.session_usage(since=THEN).streamed_ms == 0


def test_a_streaming_turn_counts_as_it_is_now(manager: SessionManager) -> None:
    _, _, response = talk(manager)
    streaming = manager.create_turn(response, output_tokens=5)
    manager.append_turn(streaming.id, content="x", output_tokens=30)
    assert manager.usage() == UsageTotals([total(output_tokens=30)], 1, 1, 0, 0)
    manager.append_turn(streaming.id, content="x", output_tokens=3)
    assert manager.usage_by("session")[0].totals == [total(output_tokens=3)]
    manager.update_response(response, usage={"output_tokens": 7})
    assert manager.usage().totals == [total(output_tokens=7)]


def test_each_number_counts_at_its_own_time(manager: SessionManager) -> None:
    _, _, response = talk(manager, THEN)
    turn(manager, response, THEN + 10, input_tokens=1, output_tokens=1)
    manager.update_response(response, status=ResponseStatus.COMPLETED, end_time=THEN + 20)
    manager.update_response(response, usage={"output_tokens": 50})
    assert manager.usage(until=THEN + 10) == UsageTotals([], 1, 0, 0, 0)
    assert manager.usage(since=THEN + 10, until=THEN + 20) == UsageTotals([total(input_tokens=1)], 0, 1, 0, 0)
    assert manager.usage(since=THEN + 20, until=THEN + 21) == UsageTotals([total(output_tokens=50)], 0, 0, 0, 0)
    assert manager.usage(since=THEN + 21) == UsageTotals([], 0, 0, 0, 0)


def test_without_an_end_what_was_said_counts_with_its_round(manager: SessionManager) -> None:
    _, _, response = talk(manager, THEN)
    manager.update_response(response, usage={"output_tokens": 50})
    assert manager.usage(since=THEN, until=THEN + 1).totals == [total(output_tokens=50)]


def test_days_are_those_of_the_time_zone(manager: SessionManager) -> None:
    _, _, response = talk(manager, at(2025, 1, 1, 12))
    for when in (at(2025, 1, 1, 23, 59), at(2025, 1, 2, 0), at(2025, 1, 2, 0, 59), at(2025, 1, 2, 1)):
        turn(manager, response, when)

    def counts(zone: str) -> dict[str | None, int]:
        return {group.key: group.turns for group in manager.usage_by("day", timezone=zone)}

    assert counts("Europe/Berlin") == {"2025-01-01": 1, "2025-01-02": 3}
    assert counts("UTC") == {"2025-01-01": 3, "2025-01-02": 1}
    assert counts("Pacific/Kiritimati") == {"2025-01-02": 4}


# A day of 23 hours, one of 25, one that was left out, and clocks that differ by parts of an hour.
DAYS = [
    ("Europe/Berlin", (2025, 3, 30)), ("Europe/Berlin", (2025, 10, 26)), ("America/New_York", (2024, 11, 3)),
    ("Australia/Lord_Howe", (2025, 4, 6)), ("Asia/Kathmandu", (2025, 4, 6)), ("Pacific/Apia", (2011, 12, 31)),
    ("Africa/Monrovia", (1971, 5, 1)), ("America/Sao_Paulo", (2018, 11, 4)), ("Africa/Casablanca", (2024, 3, 10)),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "day"), DAYS)
def test_days_begin_and_end_where_the_clock_says(manager: SessionManager, zone: str, day: tuple[int, int, int]) -> None:
    _, _, response = talk(manager, 0)
    noon = int(datetime(*day, 12, tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    name = f"{day[0]:04}-{day[1]:02}-{day[2]:02}"

    def is_that_day(when: int) -> bool:
        return datetime.fromtimestamp(when / 1000, ZoneInfo(zone)).date().isoformat() == name

    first = next(when for when in range(noon - 26 * HOUR, noon, 30_000) if is_that_day(when))
    after = next(when for when in range(noon, noon + 26 * HOUR, 30_000) if not is_that_day(when))
    for when in (first - 1, first, after - 1, after):
        turn(manager, response, when)
    found = {group.key: group.turns for group in manager.usage_by("day", timezone=zone) if group.turns}
    assert found[name] == 2
    assert len(found) == 3


def test_a_day_that_comes_twice(manager: SessionManager) -> None:
    """At a minute past midnight the clock was set back by an hour."""
    zone = "America/St_Johns"
    first = int(datetime(2010, 11, 6, 23, 30, tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    minutes = range(0, 120, 1)
    _, _, response = talk(manager, first)
    for minute in minutes:
        turn(manager, response, first + minute * 60_000 + 30_000)
    times = [datetime.fromtimestamp(first / 1000 + minute * 60 + 30, ZoneInfo(zone)) for minute in minutes]
    days = Counter(when.date().isoformat() for when in times)
    assert {group.key: group.turns for group in manager.usage_by("day", timezone=zone)} == days
    assert [when.day for when in times[28:34]] == [6, 6, 7, 6, 6, 6]


def test_a_name_of_no_time_zone_is_refused(client: StrictSyncClient) -> None:
    for name in ("Europe/Nowhere", "", "../../etc/passwd", "Europe", "/etc/localtime", "localtime", "x" * 5000, "\x00"):
        for params in ({}, {"groupBy": "day"}):
            error = client.error("session/usage", timezone=name, **params)
            assert error.data["kind"] == "invalidParams"
            assert error.data["path"] == "params.timezone"
            assert "Europe/Berlin" in str(error)
    assert "Nowhere" in str(client.error("session/usage", timezone="Europe/Nowhere"))


def test_keys_ascend_and_null_comes_first(manager: SessionManager) -> None:
    for agent, model in (("b", "y"), (None, None), ("a", "x"), ("é", "Z"), ("B", "10")):
        _, _, response = talk(manager, agent=agent, cwd=None if agent is None else f"/{agent}")
        turn(manager, response, model=model, input_tokens=1)
    assert [group.key for group in manager.usage_by("agent")] == [None, "B", "a", "b", "é"]
    assert [group.key for group in manager.usage_by("cwd")] == [None, "/B", "/a", "/b", "/é"]
    assert [group.key for group in manager.usage_by("model")] == [None, "10", "Z", "x", "y"]
    by_session = [group.key for group in manager.usage_by("session")]
    assert by_session == sorted(session.id for session in manager.list_sessions().sessions)


@pytest.mark.parametrize("count", [1, 64, 65, 200])
def test_many_groups_arrive_whole(client: StrictSyncClient, count: int) -> None:
    """An answer is written many groups at a time."""
    agents = [f"agent {number:03} ü\u2028" for number in range(count)]
    writes: list[Any] = []
    for agent in agents:
        session_id, round_id = str(uuid4()), str(uuid4())
        writes.append({"method": "session/create", "params": {"id": session_id, "agent": agent}})
        writes.append({"method": "round/create", "params": {"id": round_id, "sessionId": session_id, "content": "?"}})
    client.transaction_run(operations=writes)
    groups = client.session_usage(group_by="agent").groups or []
    assert [(group.key, group.rounds) for group in groups] == [(agent, 1) for agent in agents]


def test_what_was_said_belongs_to_the_model_of_the_last_turn(manager: SessionManager) -> None:
    _, _, response = talk(manager)
    turn(manager, response, model="first", input_tokens=1)
    turn(manager, response, model="last", input_tokens=2)
    manager.update_response(response, usage={"output_tokens": 9})
    first, last = manager.usage_by("model")
    assert (first.key, first.rounds, first.turns, first.totals) == ("first", 0, 1, [total(input_tokens=1)])
    assert (last.key, last.rounds, last.turns) == ("last", 1, 1)
    assert last.totals == [total(input_tokens=2, output_tokens=9)]


def test_filters(manager: SessionManager) -> None:
    one, _, response = talk(manager, agent="a", cwd="/w")
    turn(manager, response, input_tokens=1)
    _, _, response = talk(manager, agent="a", cwd="/w/below", parent_id=one, relation="subagent")
    turn(manager, response, input_tokens=10)
    _, _, response = talk(manager, agent="b", cwd="/ways")
    turn(manager, response, input_tokens=100)

    def tokens(**wanted: Any) -> int:
        return sum(each.input_tokens for each in manager.usage(**wanted).totals)

    assert tokens(session_id=one) == 1
    assert tokens(agent="a") == 11
    assert tokens(agent="a", cwd="/w/below/") == 10
    assert tokens(cwd="/w") == 11
    assert tokens(cwd="/") == 111
    assert tokens(agent="none") == 0
    manager.update_session(one, archived=True)
    assert tokens() == 111


def test_an_unknown_session_is_not_found(client: StrictSyncClient) -> None:
    client.session_create()
    assert client.error("session/usage", sessionId=UNKNOWN).data["kind"] == "notFound"


def test_copies_count_once_and_stay_when_the_original_is_gone(manager: SessionManager) -> None:
    original, _, response = talk(manager)
    turn(manager, response, input_tokens=5, model="m", tool_calls=[{"id": "c"}])
    manager.update_response(response, usage={"output_tokens": 3})
    fork = manager.fork_session(original).id
    fork_of_the_fork = manager.fork_session(fork).id
    once = UsageTotals([total(input_tokens=5, output_tokens=3)], 1, 1, 1, 0)
    assert manager.usage() == once
    assert [group.key for group in manager.usage_by("session")] == [original]
    assert manager.usage(session_id=fork) == UsageTotals([], 0, 0, 0, 0)
    manager.delete_session(original)
    assert manager.usage() == once
    assert [group.key for group in manager.usage_by("session")] == [fork]
    manager.delete_session(fork)
    assert [group.key for group in manager.usage_by("session")] == [fork_of_the_fork]
    assert manager.usage_by("day")[0].totals == once.totals


def test_rounds_that_a_program_put_in_are_not_counted_and_what_they_used_is(manager: SessionManager) -> None:
    session, _, response = talk(manager, agent="claude-code")
    turn(manager, response, input_tokens=5, model="m")
    injected = manager.create_round(session, content="", origin=Origin.SYSTEM, created_at=THEN + DAY)
    turn(manager, injected.response.id, THEN + DAY, input_tokens=70, model="m", tool_calls=[{"id": "c"}])
    manager.create_round(session, content="", origin=Origin.AGENT, created_at=THEN)
    manager.create_round(session, content="/compact", origin=Origin.SYSTEM, created_at=THEN + 2 * DAY)
    counted = UsageTotals([total(input_tokens=75)], 2, 2, 1, 0)
    assert manager.usage() == manager.usage(session_id=session) == counted
    by_day = [(group.totals, group.rounds, group.turns) for group in manager.usage_by("day")]
    assert by_day == [([total(input_tokens=5)], 2, 1), ([total(input_tokens=70)], 0, 1), ([], 0, 0)]
    assert [(group.key, group.rounds) for group in manager.usage_by("model")] == [(None, 1), ("m", 1)]
    assert [(group.key, group.rounds) for group in manager.usage_by("agent")] == [("claude-code", 2)]
    # A copy of it takes nothing away either.
    manager.fork_session(session)
    assert manager.usage() == counted
    manager.delete_session(session)
    assert manager.usage() == counted


def test_what_is_new_in_a_fork_counts(manager: SessionManager) -> None:
    original, _, response = talk(manager)
    turn(manager, response, input_tokens=5)
    fork = manager.fork_session(original).id
    response = manager.create_round(fork, content="?", created_at=THEN).response.id
    turn(manager, response, input_tokens=70)
    assert manager.usage().totals == [total(input_tokens=75)]
    assert manager.usage(session_id=fork) == UsageTotals([total(input_tokens=70)], 1, 1, 0, 0)


def test_half_a_copy_does_not_count(manager: SessionManager) -> None:
    """A copy that is being made is hidden; an original that is deleted meanwhile is not replaced by it."""
    original, _, response = talk(manager)
    turn(manager, response, input_tokens=5)
    half, whole = manager.fork_session(original).id, manager.fork_session(original).id
    with manager.store.transaction() as tx:
        tx.sql.execute("UPDATE session SET copying_lease = ?, parent_id = NULL WHERE id = ?", (UNKNOWN, half))
    assert manager.usage().turns == 1
    manager.delete_session(original)
    assert [group.key for group in manager.usage_by("session")] == [whole]
    assert manager.usage().totals == [total(input_tokens=5)]
    with pytest.raises(NotFound):
        manager.usage(session_id=half)


@pytest.mark.parametrize("seed", range(3))
def test_all_of_it_is_what_a_plain_sum_gives(manager: SessionManager, seed: int) -> None:
    _fill(manager, random.Random(seed))
    for session in manager.list_sessions().sessions[:2]:
        manager.fork_session(session.id)
    talks = list(_conversations(manager))
    session_id = talks[1].session["id"]
    wanted: list[dict[str, Any]] = [
        {}, {"since": THEN, "until": THEN + DAY}, {"agent": "a"}, {"cwd": "/w"}, {"session_id": session_id},
        {"agent": "b", "cwd": "/w/1", "since": THEN - HOUR},
    ]  # fmt: skip
    for params in wanted:
        wire = {"sessionId" if name == "session_id" else name: value for name, value in params.items()}
        assert _wire(manager.usage(**params)) == used(talks, **wire)
        for by in ("day", "model", "session", "agent", "cwd"):
            for zone in ("UTC", "America/New_York") if by == "day" else ("UTC",):
                found = [_wire(group) for group in manager.usage_by(by, timezone=zone, **params)]
                assert {"groups": found} == used(talks, groupBy=by, timezone=zone, **wire), (params, by)


def _fill(manager: SessionManager, chance: random.Random) -> None:
    def cost() -> float:
        return chance.choice([0, 0.1, 1e-9, round(chance.random() * 100, 9), 999999.999999999])

    def count() -> int:
        return chance.choice([0, 1, chance.randrange(10**6)])

    with manager.transaction():
        for _ in range(8):
            when = THEN + chance.randrange(-2 * DAY, 2 * DAY)
            cwd = chance.choice([None, "/w", "/w/1", "/v"])
            session = manager.create_session(agent=chance.choice(["a", "b", None]), cwd=cwd, created_at=when).id
            for _ in range(chance.randrange(5)):
                when += chance.randrange(6 * HOUR)
                response = manager.create_round(session, content="?", created_at=when).response.id
                for _ in range(chance.randrange(4)):
                    when += chance.randrange(HOUR)
                    turn(
                        manager, response, when, chance.randrange(10_000), model=chance.choice([None, "m", "n"]),
                        input_tokens=count(), output_tokens=count(), thought_tokens=chance.choice([None, 5]),
                        cache_read_tokens=chance.choice([None, 7]), input_cost=cost(), output_cost=cost(),
                        cost=chance.choice([None, cost()]), currency=chance.choice(["USD", "EUR"]),
                        tool_calls=[{"id": str(n)} for n in range(chance.randrange(3))],
                    )  # fmt: skip
                if chance.random() < 0.5:
                    usage: Any = {name: chance.choice([None, count()]) for name in ("input_tokens", "output_tokens")}
                    usage |= {"cost": chance.choice([None, cost()]), "currency": chance.choice([None, "EUR"])}
                    manager.update_response(response, usage=usage)
                    if chance.random() < 0.5:
                        ended = when + chance.randrange(DAY)
                        manager.update_response(response, status=ResponseStatus.ERROR, end_time=ended)


def _conversations(manager: SessionManager) -> Iterator[Conversation]:
    for session in reversed(manager.list_sessions(archived=None, limit=1000).sessions):
        found = manager.history(session.id, limit=1000)
        yield Conversation(_wire(found.session), [_wire(each) for each in found.rounds])


def _wire(entity: Any) -> Any:
    return unstructure(entity)


def test_groups_of_more_than_an_answer_holds(backend: Backend) -> None:
    with backend.manager(quick=True) as manager:
        _, _, response = talk(manager)
        with manager.transaction():
            for number in range(90):
                turn(manager, response, model=f"{number}" + "m" * 100_000)
        with pytest.raises(Exception, match="8 MiB") as caught:
            manager.usage_by("model")
        assert "since" in str(caught.value)
        assert manager.usage().turns == 90
