"""What a param may be at most and at least, from the rule that checks it: as a JSON Schema has it, and in words."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mandrake_sessions import rules
from mandrake_sessions.limits import MAX_LIMIT, MAX_OPERATIONS


@frozen
class Bound:
    """``words`` go on after the type of the field."""

    facets: dict[str, Any]
    words: str


NONE = Bound({}, "")
_OF_RULES: dict[rules.Rule, Bound] = {
    rules.uuid: Bound({"format": "uuid"}, "a UUID"),
    rules.count: Bound({"minimum": 0, "maximum": rules.MAX_COUNT}, "from 0 to 2⁶³-1"),
    rules.moment: Bound({"minimum": 0, "maximum": rules.MAX_COUNT}, "ms since the epoch, at most a day ahead"),
    rules.cost: Bound({"minimum": 0, "exclusiveMaximum": rules.COST_BOUND}, "from 0 and below 10⁶"),
    rules.name: Bound({"minLength": 1}, "not empty"),
    rules.long_text: Bound({}, "at most 64 MiB in UTF-8"),
    rules.metadata: Bound({}, "at most 8 MiB as JSON"),
    rules.currency: Bound({"pattern": "^[A-Z]{3}$"}, "a code of ISO 4217"),
    rules.directory: Bound({}, "an absolute path"),
    rules.tool_calls: Bound({}, "no id twice"),
}
# The rules of the fields that stand in a class.
_RULES_OF = {
    "SessionFields": rules.SESSION,
    "NewSession": rules.SESSION,
    "SessionUpdate": rules.SESSION_UPDATE,
    "NewRound": rules.ROUND,
    "SearchWanted": rules.SEARCH,
    "RequestUpdate": rules.REQUEST,
    "UsageFields": rules.USAGE,
    "ResponseUpdate": rules.RESPONSE,
    "ToolCallFields": rules.TOOL_CALL,
    "TurnFields": rules.TURN,
    "NewTurn": rules.TURN,
    "TurnUpdate": rules.TURN_UPDATE,
    "Piece": rules.PIECE,
    "TurnPiece": rules.PIECE,
}
# Where the rules of an entity do not apply.
_OF_NAMES = {
    "limit": Bound({"minimum": 1, "maximum": MAX_LIMIT}, f"from 1 to {MAX_LIMIT}"),
    "operations": Bound({"maxItems": MAX_OPERATIONS}, f"at most {MAX_OPERATIONS}"),
    "metadata": _OF_RULES[rules.metadata],
    "cwd": _OF_RULES[rules.directory],
    "id": _OF_RULES[rules.uuid],
    "store": _OF_RULES[rules.uuid],
    **dict.fromkeys(("since", "until", "active_since", "active_until"), _OF_RULES[rules.count]),
}
# Names that clients or other programs give, or that the server makes in its own way; every other id is a UUID.
FREE_IDS = frozenset({"external_id", "tool_call_id", "parent_tool_call_id", "subscription_id", "store_id"})


def bound(owner: str, name: str) -> Bound:
    """The bound of a field that stands in the class ``owner``."""
    if owner.endswith("ErrorData"):
        return NONE
    rule = _RULES_OF.get(owner, {}).get(name)
    if rule is not None:
        return _OF_RULES.get(rules.of_values(rule), NONE)
    if name in _OF_NAMES:
        return _OF_NAMES[name]
    return _OF_RULES[rules.uuid] if name.endswith("_id") and name not in FREE_IDS else NONE
