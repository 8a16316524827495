"""Random operations. Each is drawn without knowing the store: what it is about is a number, which picks an entity of
the model once its turn has come (mostly a new one, now and then one that was deleted or never was).

To draw an operation with all its values is slow, so a pool of them is drawn once, and sequences are drawn from it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from model.profile import examples
from model.reference import (
    NULLABLE_COUNTS,
    ORIGINS,
    OTHERS,
    RELATIONS,
    RESPONSE_STATUS,
    USAGE_COUNTS,
    WRITES,
    Params,
    Reference,
    Refused,
)

SPECIAL_TEXTS = (
    "\x00", "a\x00b", "\u2028", "line\r\nline\n", "\U0001f9d1\u200d\U0001f680", "\ufeff", "\uffff", "e\u0301", "ẞß",
    '{"jsonrpc": "2.0", "id": 1}', "\x7f\x85\u2029", "Straße", "%_'\"\\", "\ud7ff\ue000", "x" * 250,
)  # fmt: skip
texts = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(SPECIAL_TEXTS)
words = texts.filter(bool)
numbers = st.integers() | st.integers(-(10**60), 10**60) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
objects: st.SearchStrategy[Params] = (
    st.just({}) | st.just({"jsonrpc": "2.0", "method": "exit"}) | st.dictionaries(texts, values, max_size=2)
)
counts = st.integers(0, 5) | st.integers(0, 2**63 - 1)
costs = st.integers(0, 10**6) | st.floats(0, 1e6) | st.sampled_from([0.1, 5e-10, 1.5e-9, 2.5e-9, 999999.9999999999])
# A day ahead of the clock is the latest that may be.
moments = st.sampled_from([0, 1, 1_500_000_000_000, 1_700_000_000_000, 1_700_000_000_001, 10**15])


def some_of(fields: dict[str, st.SearchStrategy[Any]], **needed: st.SearchStrategy[Any]) -> st.SearchStrategy[Params]:
    return st.fixed_dictionaries(dict(needed), optional={k: v for k, v in fields.items() if k not in needed})


def few_of(fields: dict[str, st.SearchStrategy[Any]], **needed: st.SearchStrategy[Any]) -> st.SearchStrategy[Params]:
    """At most three of the fields, so that values of one call are seen beside those of another."""
    chosen = st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names} | needed))


# Few, so that they meet; the same for every kind of entity.
OWN_IDS = [f"0000000{digit}-aaaa-4bbb-8ccc-dddddddddddd" for digit in range(5)]
STRANGE_ID = "ffffffff-0000-4000-8000-000000000000"
own_ids = st.sampled_from([*OWN_IDS, *map(str.upper, OWN_IDS[:2])])
turn_statuses = st.sampled_from(["streaming"] * 3 + ["interrupted"] * 3 + ["completed", "error", "cancelled"])
call_ids = st.sampled_from(["call-1", "call-2", "\x00ß"])

tool_call_fields: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("title", "kind", "serverName", "methodName"), st.none() | texts),
    **dict.fromkeys(("arguments", "response", "content", "locations"), values),
    "status": st.sampled_from(["pending", "in_progress", "completed", "failed"]),
    **dict.fromkeys(("startTime", "endTime"), st.none() | counts),
    "metadata": objects,
}
tool_calls = few_of(tool_call_fields, id=call_ids)
session_fields: dict[str, st.SearchStrategy[Any]] = {
    "externalId": st.sampled_from([None, "", "thread-1", "thread-2", "\x00"]),
    "agent": st.sampled_from([None, "codex", "claude-code"]),
    "source": st.sampled_from([None, "acp", "import:codex"]),
    "cwd": st.sampled_from([None, "/", "/src", "/src/", "/src/a", "/srcs", "relative"]),
    "relation": st.sampled_from([None, *RELATIONS]),
    "title": st.none() | texts,
    "description": st.none() | texts,
    "metadata": objects,
}
turn_fields: dict[str, st.SearchStrategy[Any]] = {
    "kind": st.sampled_from(["message", "thought", "plan", "tool_output", "Ω"]),
    "toolCallId": st.sampled_from([None, "call-1", ""]),
    "content": texts,
    "rawResponse": texts,
    "status": turn_statuses,
    "model": st.none() | texts,
    "metadata": objects,
    **dict.fromkeys(("currentTokens", "inputTokens", "outputTokens"), counts),
    **dict.fromkeys(NULLABLE_COUNTS, st.none() | counts),
    **dict.fromkeys(("inputCost", "outputCost"), costs),
    "cost": st.none() | costs,
    "currency": st.sampled_from(["USD", "EUR", "usd"]),
    "includeText": st.booleans(),
}


turn_changes = turn_fields | {"error": st.none() | texts, "streamEndTime": st.none() | moments}
new_turn_fields = turn_fields | {
    "createdAt": moments,
    "streamStartTime": moments,
    "streamEndTime": st.none() | moments,
}
usages = few_of(dict.fromkeys(USAGE_COUNTS, st.none() | counts) | {"cost": costs, "currency": st.just("EUR")})

# Every turn is detached: it belongs to no process, and the end of one leaves it alone.
FIELDS: dict[str, st.SearchStrategy[Params]] = {
    "session/create": few_of(
        {"id": own_ids, **session_fields, "parentId": st.none() | own_ids, "parentToolCallId": st.none() | call_ids}
        | {"createdAt": moments}
    ),
    "session/update": few_of(session_fields) | few_of(session_fields, archived=st.booleans()),
    "session/delete": st.just({}),
    # The round is a number, which picks one of the session.
    "session/fork": few_of({"id": own_ids, "throughRoundId": st.integers(0, 5), "title": st.none() | texts}),
    "round/create": some_of(
        {
            **dict.fromkeys(("id", "requestId", "responseId"), own_ids),
            "blocks": st.none() | st.lists(values, max_size=2),
            "metadata": objects,
            "origin": st.sampled_from(ORIGINS),
            "createdAt": moments,
        },
        content=texts,
    ),
    "round/update": some_of({}, metadata=objects),
    "round/delete": some_of({"following": st.booleans()}),
    "request/update": some_of({"content": texts, "blocks": st.none() | st.lists(values, max_size=2)}),
    "response/update": few_of(
        {"status": st.sampled_from(RESPONSE_STATUS), "stopReason": st.none() | texts, "usage": st.none() | usages}
        | {"endTime": st.none() | moments}
    )
    | some_of({}, status=st.sampled_from(RESPONSE_STATUS)),
    "turn/create": few_of(
        new_turn_fields | {"id": own_ids, "toolCalls": st.lists(tool_calls, max_size=2)}, detached=st.just(True)
    ),
    "turn/append": some_of(
        {"content": texts, "rawResponse": texts, "currentTokens": counts, "outputTokens": counts}
    ).map(lambda given: given if {"content", "rawResponse"} & given.keys() else {**given, "content": "piece "}),
    "turn/update": (
        few_of(turn_changes)
        | few_of(turn_changes, status=turn_statuses)
        | few_of(turn_changes, content=texts | st.just(""), rawResponse=texts | st.just(""))
    ),
    "turn/delete": st.just({}),
    "toolCall/upsert": st.fixed_dictionaries({"toolCall": tool_calls}),
    "toolCall/delete": st.fixed_dictionaries({"toolCallId": call_ids}),
}
WEIGHTS = {
    "session/create": 4, "session/update": 6, "session/delete": 1, "session/fork": 2, "round/create": 6,
    "round/update": 2, "round/delete": 2, "request/update": 2, "response/update": 4, "turn/create": 10,
    "turn/append": 28, "turn/update": 18, "turn/delete": 2, "toolCall/upsert": 11, "toolCall/delete": 6,
}  # fmt: skip
WRONG_VALUES: tuple[Any, ...] = (
    None,
    -1,
    True,
    1.5,
    "",
    "nonsense",
    "\ud800",
    [],
    [1],
    {},
    {"id": ""},
    2**63,
)


@dataclass(frozen=True)
class Operation:
    """``about`` picks the entity; ``chunk`` is relative to the next one of the turn; ``loud``: the id in capitals;
    ``spoilt``: a field and a value that may break its rule; ``parts`` are those of a transaction. The method ``again``
    sends a create once more, ``twice`` the last call, whatever it was."""

    method: str
    about: int
    fields: Params = field(default_factory=dict)
    chunk: int | None = None
    loud: bool = False
    spoilt: tuple[int, int] | None = None
    parts: tuple[Operation, ...] = ()


# 0 and 1: see _pick; 2 is the newest.
abouts = st.sampled_from([2] * 24 + [3] * 8 + [4] * 4 + [*range(5, 12), 0, 1])


def _operation(method: str) -> st.SearchStrategy[Operation]:
    return st.builds(
        Operation,
        st.just(method),
        abouts,
        FIELDS[method],
        chunk=st.sampled_from([None, None, None, 0, 0, 0, -1, -2, 1]) if method == "turn/append" else st.none(),
        loud=st.sampled_from([False, False, False, True]),
        spoilt=st.sampled_from([None] * 19 + [()]).flatmap(
            lambda none: st.none() if none is None else st.tuples(st.integers(0, 30), st.integers(0, 30))
        ),
    )


_writes = st.sampled_from([name for name, weight in WEIGHTS.items() for _ in range(weight)]).flatmap(_operation)
_changed: list[Params] = [{}, {}, {}, {"metadata": {"x": 1}}]
_again = st.builds(Operation, st.just("again"), abouts, st.sampled_from(_changed))
_strange = st.builds(Operation, st.sampled_from(["no/such", *OTHERS]), st.just(0))
_transactions = st.builds(
    Operation,
    st.just("transaction/run"),
    st.just(0),
    parts=st.lists(st.one_of(*[_writes] * 12, _again, _strange), min_size=1, max_size=5).map(tuple),
)
Burst = list[Operation]
Call = tuple[str, Params]
KINDS = {name: (weight, _operation(name)) for name, weight in WEIGHTS.items()}
KINDS |= {"again": (5, _again), "twice": (8, st.just(Operation("twice", 0))), "transaction/run": (12, _transactions)}
_by_weight = [name for name, (weight, _) in KINDS.items() for _ in range(weight)]
_VARIANTS = 60


@cache
def pool() -> dict[str, list[Operation]]:
    """Many operations of each kind. To be called once before a test draws from it."""
    return {kind: _variants(strategy) for kind, (_, strategy) in KINDS.items()}


def _variants(strategy: st.SearchStrategy[Operation]) -> list[Operation]:
    found: list[Operation] = []

    @examples(_VARIANTS)
    @given(strategy)
    def fill(operation: Operation) -> None:
        found.append(operation)

    fill()
    return found


@st.composite
def sequences(draw: st.DrawFn, longest: int, shortest: int = 0) -> list[Burst]:
    """Bursts of operations, each of which is sent without waiting for answers in between; most are of one."""
    every = pool()
    variants = st.integers(0, 100)
    step = st.tuples(st.sampled_from(_by_weight), variants, abouts, st.integers(0, 3))
    length = draw(st.integers(shortest, longest))
    found: list[Burst] = []
    for kind, variant, about, place in draw(st.lists(step, min_size=length, max_size=length)):
        if place < 3 or not found:
            found.append([])
        found[-1].append(replace(every[kind][variant % len(every[kind])], about=about))
    return found


BEGINNING = [
    Operation(method, 2, {"content": "A first question"} if method == "round/create" else fields)
    for method, fields in (("session/create", {}), ("round/create", {}), ("turn/create", {"detached": True}))
]


def concrete(operation: Operation, model: Reference, sent: list[Call]) -> Call:
    """The method and params of an operation, with the store as the model has it. ``sent``: the calls until now."""
    if operation.method == "twice" and sent:
        return copy.deepcopy(sent[-1])
    if operation.method in ("again", "twice"):
        sent = [call for call in sent if call[0].endswith("/create") and "id" in call[1]]
        if not sent:
            return concrete(Operation("session/create", 0, {"id": OWN_IDS[0]}), model, sent)
        method, params = copy.deepcopy(sent[-1 - operation.about % len(sent)])
        return method, params | operation.fields
    if operation.method == "transaction/run":
        return operation.method, {"operations": _parts(operation, model, sent)}
    if operation.method not in WRITES:
        return operation.method, {}
    params = copy.deepcopy(operation.fields)
    required, checks = WRITES[operation.method]
    for name in required[:1]:
        params[name] = _pick(name.removesuffix("Id"), operation.about, model)
        if operation.chunk is not None:
            params["chunk"] = max(0, _chunk_count(model, params[name]) + operation.chunk)
            if operation.chunk == -1:
                # The last piece, sent again as it was; any other is sent again with another text.
                params |= _last_piece(model, params[name])
        if operation.loud:
            params[name] = params[name].upper()
    if "throughRoundId" in params:
        params["throughRoundId"] = _pick_round(model, params["sessionId"], params["throughRoundId"])
    if operation.spoilt is not None:
        names = sorted({*required, *checks, "typo", "_ignored"})
        where, what = operation.spoilt
        params[names[where % len(names)]] = copy.deepcopy(WRONG_VALUES[what % len(WRONG_VALUES)])
    return operation.method, params


def _parts(operation: Operation, model: Reference, sent: list[Call]) -> list[Params]:
    """Each as the ones before it leave the store."""
    trial = model.copy()
    parts = []
    for part in operation.parts:
        method, params = concrete(part, trial, sent)
        parts.append({"method": method, "params": params})
        try:
            trial.carry_out("transaction/run", {"operations": [parts[-1]]})
        except Refused:
            continue
    return parts


def _pick(entity: str, about: int, model: Reference) -> str:
    """The id of an entity. Only such ids as are known can be sent."""
    gone = [entity_id for kind, entity_id in model.gone if kind == entity]
    live = _ids(entity, model)
    chosen = gone if (about == 0 or not live) and gone else live
    if about == 1 or not chosen:
        return STRANGE_ID
    return chosen[-1 - max(0, about - 2) % len(chosen)]


def _pick_round(model: Reference, session_id: str, about: int) -> str:
    """One of the session, or now and then of another one."""
    try:
        own = [each.fields["id"] for each in model.session(session_id).rounds]
    except Refused:
        own = []
    known = [getattr(round_id, "value", round_id) for round_id in own]
    chosen = [round_id for round_id in known if round_id is not None]
    return chosen[about % len(chosen)] if about and chosen else _pick("round", about, model)


def _ids(entity: str, model: Reference) -> list[str]:
    if entity == "session":
        every = [session.fields["id"] for session in model.sessions]
    elif entity == "turn":
        every = [turn.fields["id"] for *_, turn in model.turns()]
    else:
        part = {"round": "fields"}.get(entity, entity)
        every = [getattr(each, part)["id"] for _, each in model.rounds()]
    known = [entity_id if isinstance(entity_id, str) else entity_id.value for entity_id in every]
    return [entity_id for entity_id in known if entity_id is not None]


def _last_piece(model: Reference, turn_id: str) -> Params:
    try:
        piece = model.turn(turn_id)[2].pieces[-1]
    except (Refused, IndexError):
        return {}
    if piece is None:
        return {}
    content, raw_response = piece
    return {"content": content, "rawResponse": raw_response}


def _chunk_count(model: Reference, turn_id: str) -> int:
    try:
        return len(model.turn(turn_id)[2].chunks)
    except Refused:
        return 0
