"""What agents mean by usage and cost. ACP names the members and leaves open what they count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from mandrake_sessions.acp.members import Json, Object, amount_of, count_of, object_of, text_of

# What the usage in a prompt's answer counts. Agents that are not here mean the prompt.
_MEANT: Final[Mapping[str, Literal["last reply", "session"]]] = {"opencode": "last reply", "vibe": "session"}
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "input_tokens": ("inputTokens", "input_tokens"),
    "output_tokens": ("outputTokens", "output_tokens"),
    "thought_tokens": ("thoughtTokens", "thought_tokens"),
    "cache_read_tokens": ("cachedReadTokens", "cached_read_tokens"),
    "cache_write_tokens": ("cachedWriteTokens", "cached_write_tokens"),
}
_DIGITS: Final = 12


def counts_of(result: Object) -> Object:
    """The counts that an answer tells, as members of ``fields.UsageFields``; a turn has them by the same names."""
    usage = object_of(result, "usage") or object_of(object_of(object_of(result, "_meta"), "quota"), "token_count")
    return _counts(usage)


def meaning(agent: str) -> Literal["prompt", "last reply", "session"]:
    return _MEANT.get(agent, "prompt")


def cost_of(update: Object) -> tuple[float, str] | None:
    """The running cost of a session, and its currency."""
    cost = object_of(update, "cost")
    amount, currency = amount_of(cost, "amount"), text_of(cost, "currency")
    return None if amount is None else (float(amount), currency or "USD")


def context_of(update: Object) -> Object:
    """How full the model's context is."""
    used, size = count_of(update, "used"), count_of(update, "size")
    return {name: count for name, count in (("context_used", used), ("context_size", size)) if count is not None}


def own_share(totals: Mapping[str, Json], before: Mapping[str, Json]) -> dict[str, Any]:
    """What a response used, from the running totals of its session and those before it. A total that is lower than the
    one before was counted from zero again, by a new process. Another currency has a total of its own."""
    own: dict[str, Any] = {}
    for name, total in totals.items():
        if name == "currency":
            own[name] = total
            continue
        old = amount_of(before, name) or 0
        if name == "cost" and before.get("currency", totals.get("currency")) != totals.get("currency"):
            old = 0
        own[name] = total if total < old else total - old
    if "cost" in own:
        own["cost"] = round(own["cost"], _DIGITS)
    return own


def _counts(usage: Object) -> Object:
    made: Object = {}
    for name, theirs in _NAMES.items():
        count = next((count for each in theirs if (count := count_of(usage, each)) is not None), None)
        if count is not None:
            made[name] = count
    return made
