"""Which rows of which tables say what was used, and what each adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from attrs import evolve, frozen

from mandrake_sessions.currencies import DEFAULT_CURRENCY
from mandrake_sessions.store.interface import Dialect
from mandrake_sessions.store.sql.standing import LAST_PIECE, TURN_NOW

TOKENS: Final = ("input_tokens", "output_tokens", "thought_tokens", "cache_read_tokens", "cache_write_tokens")
# What a row counts, in this order. `further_cost`: what the whole cost is above those of the input and the output.
COUNTS: Final = ("rounds", "turns", "tool_calls", "streamed_ms")
AMOUNTS: Final = (*TOKENS, "input_cost", "output_cost", "further_cost")
NUMBERS: Final = (*COUNTS, *AMOUNTS)
# Those that may be below zero.
DIFFERENCES: Final = frozenset({"further_cost"})

_LAST_TURN = 'FROM turn l WHERE l.round_pk = {round} ORDER BY l."index" DESC LIMIT 1'
_SAID = f"coalesce({', '.join(f'u.{name}' for name in (*TOKENS, 'cost'))})"


@frozen
class Source:
    """Where numbers come from: rows of ``tables``. ``at``: when each counts; ``session``, ``model`` and ``currency``:
    whose it is. ``numbers``: what it adds, by name. ``half``: the column that tells in which ``Half`` a row lies, and
    the one of that to compare it with. ``order``: the columns by which an index has its rows in order."""

    entity: str
    tables: str
    alias: str
    round: str
    session: str
    at: str
    model: str
    currency: str
    numbers: Mapping[str, str]
    half: tuple[str, Literal["session_pk", "round_pk", "turn_pk"]]
    condition: str = "true"
    order: tuple[str, ...] = ()
    may_be_negative: bool = False


def sources(dialect: Dialect, *, said: bool, injected: bool) -> Iterator[Source]:
    """All of them. ``said``: whether an agent said something of any whole response; ``injected``: whether any round is
    of origin ``system``."""
    yield from (_turns(said=said), _tool_calls(), _pieces(dialect, said=said))
    if said:
        yield _responses()
    yield _rounds()
    if injected:
        yield _injected()


_OF_TURNS: Final = Source(
    "turn",
    "turn t",
    alias="t",
    round="t.round_pk",
    session="t.session_pk",
    at="t.stream_start_time",
    model="t.model",
    currency="t.currency",
    numbers={},
    half=("t.session_pk", "session_pk"),
)


def _turns(*, said: bool) -> Source:
    """The numbers of turns, but for those that an agent said of the whole response. ``said``: whether any did."""
    tokens = {name: f"CASE WHEN u.{name} IS NULL THEN t.{name} END" if said else f"t.{name}" for name in TOKENS}
    parts = "- t.input_cost - t.output_cost"
    return evolve(
        _OF_TURNS,
        tables="turn t LEFT JOIN response_usage u ON u.pk = t.round_pk" if said else "turn t",
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


def _tool_calls() -> Source:
    """They count with their turns. In the order of their own index this takes half as long as in the turns' order."""
    return evolve(
        _OF_TURNS,
        tables="tool_call c JOIN turn t ON t.pk = c.turn_pk",
        currency="NULL",
        numbers={"tool_calls": "1"},
        half=("c.turn_pk", "turn_pk"),
    )


def _pieces(dialect: Dialect, *, said: bool) -> Source:
    """What the pieces of turns that stream have added since the turn's row was written."""
    now = TURN_NOW["output_tokens"].sql
    added = f"{now if isinstance(now, str) else now(dialect)} - t.output_tokens"
    return evolve(
        _OF_TURNS,
        tables=f"turn t {'LEFT JOIN response_usage u ON u.pk = t.round_pk' if said else ''} {LAST_PIECE}",
        numbers={"output_tokens": added},
        condition=f"t.status = 'streaming' {'AND u.output_tokens IS NULL' if said else ''}",
        may_be_negative=True,
    )


def _responses() -> Source:
    """What agents said of whole responses."""
    last_turn = _LAST_TURN.format(round="u.pk")
    return Source(
        "response",
        "response_usage u JOIN response p ON p.pk = u.pk JOIN round r ON r.pk = u.pk",
        alias="p",
        round="r.pk",
        session="r.session_pk",
        at="coalesce(p.end_time, r.created_at)",
        model=f"(SELECT l.model {last_turn})",
        currency=f"coalesce(u.currency, (SELECT l.currency {last_turn}), '{DEFAULT_CURRENCY}')",
        half=("u.pk", "round_pk"),
        numbers={**{name: f"u.{name}" for name in TOKENS}, "further_cost": "u.cost"},
        condition=f"{_SAID} IS NOT NULL",
    )


def _rounds() -> Source:
    return Source(
        "round",
        "round r",
        alias="r",
        round="r.pk",
        session="r.session_pk",
        at="r.created_at",
        model=f"(SELECT l.model {_LAST_TURN.format(round='r.pk')})",
        currency="NULL",
        half=("r.session_pk", "session_pk"),
        numbers={"rounds": "1"},
        order=("r.session_pk",),
    )


def _injected() -> Source:
    """Rounds that nobody asked for and no agent began are not counted. They are few, and taken away again: an index has
    them alone, and that of all rounds does not have what they are. What they used counts like all else."""
    return evolve(_rounds(), numbers={"rounds": "-1"}, condition="r.origin = 'system'", order=(), may_be_negative=True)
