"""How documents for people say what there was."""

from __future__ import annotations

from typing import Final

from mandrake_sessions.exports.totals import Totals
from mandrake_sessions.model import Origin, ResponseStatus, TurnStatus

ASKED: Final = {Origin.USER: "Request", Origin.AGENT: "Nobody asked", Origin.SYSTEM: "System"}
TURN_ENDED: Final = {
    TurnStatus.STREAMING: "Still streaming",
    TurnStatus.ERROR: "Error",
    TurnStatus.CANCELLED: "Cancelled",
    TurnStatus.INTERRUPTED: "Interrupted",
}
RESPONSE_ENDED: Final = {
    ResponseStatus.ERROR: "The answer ended in an error",
    ResponseStatus.CANCELLED: "The answer was cancelled",
    ResponseStatus.INTERRUPTED: "The answer was interrupted",
    ResponseStatus.REQUIRES_ACTION: "The answer waits for somebody",
}
_TOKENS: Final = (
    ("input_tokens", "tokens in"),
    ("output_tokens", "out"),
    ("thought_tokens", "for thoughts"),
    ("cache_read_tokens", "read from the cache"),
    ("cache_write_tokens", "written to it"),
)


def used(totals: Totals) -> str:
    """Tokens and costs, empty where nothing is known."""
    told = [f"{totals.tokens[name]:,} {word}" for name, word in _TOKENS if totals.tokens[name]]
    told += [
        f"{totals.cost(currency):.9f}".rstrip("0").rstrip(".") + f" {currency}" for currency in sorted(totals.costs)
    ]
    return " · ".join(told)
