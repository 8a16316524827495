"""The running totals that some agents tell of a session, and what of them is a round's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from mandrake_sessions.acp.rounds import Round
from mandrake_sessions.acp.usage import own_share


@define(eq=False)
class Totals:
    """``known``: what was said last. ``is_from_zero``: what was not said yet is zero; for a session that is older than
    the agent's process it is not known, since some go on from where they were and some begin again.
    ``is_inherited``: what a fork has of its parent may never be known."""

    known: dict[str, Any] = field(factory=dict)
    is_from_zero: bool = True
    is_inherited: bool = False

    def begin(self, round_: Round) -> None:
        """A round is at work from now on."""
        round_.totals_before = dict(self.known)

    def see(self, totals: Mapping[str, Any]) -> None:
        self.known |= totals

    def split(self, round_: Round, totals: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What of the totals is the round's own, and those of which only the store may know that."""
        before = round_.totals_before
        known = {name: total for name, total in totals.items() if self.is_from_zero or name in before}
        unknown = {name: total for name, total in totals.items() if name not in known}
        return own_share(known, before), {} if self.is_inherited else unknown
