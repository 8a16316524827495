"""How documents for people say what there was."""

from __future__ import annotations

from typing import Final

from mandrake_sessions.exports.totals import Totals
from mandrake_sessions.model import Origin, Response, ResponseStatus, Turn, TurnStatus

ASKED: Final = {Origin.USER: "Request", Origin.AGENT: "No request", Origin.SYSTEM: "System"}
_TURN_ENDED: Final = {
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
    ("input_tokens", "in"),
    ("output_tokens", "out"),
    ("thought_tokens", "for thoughts"),
    ("cache_read_tokens", "read from the cache"),
    ("cache_write_tokens", "written to it"),
)


class Endings:
    """How a response and its turns ended, each thing told once: all turns of a program that failed have its error, and
    a response that was cancelled has a turn that was."""

    def __init__(self, response: Response) -> None:
        # A turn that may still grow once somebody has answered is not one that was cut off.
        self._waits = response.status is ResponseStatus.REQUIRES_ACTION
        self._told: set[tuple[str, str | None]] = set()

    def of_turn(self, turn: Turn) -> str | None:
        """None where it ended well, and where an earlier turn has told the same."""
        if self._waits and turn.status is TurnStatus.INTERRUPTED and not turn.error:
            return None
        ended = _TURN_ENDED.get(turn.status) or ("Error" if turn.error else None)
        told = turn.status.value, turn.error
        if turn.error and told in self._told:
            return None
        self._told.add(told)
        return ended

    def of_response(self, response: Response) -> str | None:
        """None where it ended well, and where a turn has told why it did not."""
        if response.status.value in (status for status, _ in self._told):
            return None
        return RESPONSE_ENDED.get(response.status)


def why_stopped(response: Response) -> str | None:
    """What the agent has said of that; None where it had said all."""
    reason = response.stop_reason
    return reason if reason and reason != "end_turn" else None


def used(totals: Totals) -> str:
    """Tokens and costs, empty where nothing is known."""
    counts = [(totals.tokens[name], word) for name, word in _TOKENS if totals.tokens[name]]
    # What the numbers count is said once.
    told = [f"{count:,} {'' if at else 'tokens '}{word}" for at, (count, word) in enumerate(counts)]
    told += [
        f"{totals.cost(currency):.9f}".rstrip("0").rstrip(".") + f" {currency}" for currency in sorted(totals.costs)
    ]
    return " · ".join(told)
