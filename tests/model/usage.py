"""What was used, added up from whole conversations in plain Python: what ``session/usage`` has to give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from attrs import field, frozen

Json = dict[str, Any]

TOKENS = ("inputTokens", "outputTokens", "thoughtTokens", "cacheReadTokens", "cacheWriteTokens")
COSTS = ("inputCost", "outputCost", "cost")
COUNTS = ("rounds", "turns", "toolCalls", "streamedMs")


@frozen
class Conversation:
    """A session and its rounds, as ``session/history`` gives them."""

    session: Json
    rounds: list[Json]


@frozen
class Counted:
    """Something that counts: when, in which session, of which model; numbers, some of them in a currency."""

    at: int
    session: Json
    model: str | None
    counts: Json = field(factory=dict)
    currency: str | None = None
    amounts: Json = field(factory=dict)


def used(conversations: list[Conversation], **params: Any) -> Json:
    """``conversations``: all of the store, oldest first."""
    wanted = [each for each in counted(conversations) if _is_wanted(each, params)]
    if (by := params.get("groupBy")) is None:
        return _added_up(wanted)
    groups: dict[str | None, list[Counted]] = defaultdict(list)
    for each in wanted:
        groups[_key(each, by, params.get("timezone", "UTC"))].append(each)
    keys = sorted(groups, key=lambda key: (key is not None, key))
    return {"groups": [{"key": key, **_added_up(groups[key])} for key in keys]}


def counted(conversations: list[Conversation]) -> Iterator[Counted]:
    seen: set[str] = set()
    originals = {each["id"] for talk in conversations for each in talk.rounds if each["copiedFromId"] is None}
    for talk in conversations:
        for each in talk.rounds:
            origin = each["copiedFromId"]
            if origin is not None and (origin in originals or origin in seen):
                continue
            seen.add(origin or each["id"])
            yield from _of_round(talk.session, each)


def _of_round(session: Json, each: Json) -> Iterator[Counted]:
    turns, said = each["response"]["turns"], each["response"]["usage"] or {}
    last = turns[-1] if turns else {"model": None, "currency": "USD"}
    yield Counted(each["createdAt"], session, last["model"], {"rounds": int(each["origin"] != "system")})
    for turn in turns:
        parts = Decimal(str(turn["inputCost"])) + Decimal(str(turn["outputCost"]))
        own = {name: turn[name] or 0 for name in TOKENS}
        own |= {name: Decimal(str(turn[name])) for name in ("inputCost", "outputCost")}
        own["cost"] = parts if turn["cost"] is None else Decimal(str(turn["cost"]))
        own = {name: value for name, value in own.items() if said.get(name) is None}
        streamed = max(0, (turn["streamEndTime"] or 0) - turn["streamStartTime"])
        counts = {"turns": 1, "toolCalls": len(turn["toolCalls"]), "streamedMs": streamed}
        yield Counted(turn["streamStartTime"], session, turn["model"], counts, turn["currency"], own)
    numbers = {name: said[name] for name in TOKENS if said.get(name) is not None}
    if said.get("cost") is not None:
        numbers["cost"] = Decimal(str(said["cost"]))
    if numbers:
        ended = each["response"]["endTime"]
        at = each["createdAt"] if ended is None else ended
        yield Counted(at, session, last["model"], {}, said["currency"] or last["currency"], numbers)


def _is_wanted(each: Counted, params: Json) -> bool:
    cwd, own = params.get("cwd"), each.session["cwd"]
    return (
        params.get("sessionId") in (None, each.session["id"])
        and params.get("agent") in (None, each.session["agent"])
        and (cwd is None or (own is not None and f"{own}/".startswith(f"{cwd.rstrip('/')}/")))
        and params.get("since", 0) <= each.at
        and each.at < params.get("until", 2**63)
    )


def _key(each: Counted, by: str, timezone: str) -> str | None:
    if by == "day":
        return datetime.fromtimestamp(each.at / 1000, ZoneInfo(timezone)).date().isoformat()
    if by == "model":
        return each.model
    name: str | None = each.session["id" if by == "session" else by]
    return name


def _added_up(parts: list[Counted]) -> Json:
    totals: dict[str, Json] = {}
    for each in parts:
        if each.currency is not None:
            total = totals.setdefault(each.currency, dict.fromkeys(TOKENS, 0) | dict.fromkeys(COSTS, Decimal()))
            for name, number in each.amounts.items():
                total[name] += number
    return {
        "totals": [
            {"currency": currency, **{name: total[name] for name in TOKENS}, **{n: float(total[n]) for n in COSTS}}
            for currency, total in sorted(totals.items())
            if any(total.values())
        ],
        **{name: sum(each.counts.get(name, 0) for each in parts) for name in COUNTS},
    }
