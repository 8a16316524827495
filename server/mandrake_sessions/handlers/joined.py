"""What the methods give that can read every store of the user: loaded with the first call that asks for it."""

from __future__ import annotations

from attrs import asdict

from mandrake_sessions.model import UnavailableStore
from mandrake_sessions.operations.joined_search import JoinedSearch
from mandrake_sessions.operations.joining import JoinedSessions
from mandrake_sessions.operations.usage import JoinedUsage
from mandrake_sessions.protocol.results import AllUsage

__all__ = ["JoinedSearch", "JoinedSessions", "UsageOfAll"]


class UsageOfAll(JoinedUsage):
    """What was used in every store, as the wire has it."""

    def result(self, unavailable: list[UnavailableStore]) -> AllUsage:
        if self.is_grouped:
            return AllUsage(groups=self.groups, unavailable=unavailable)
        return AllUsage(**asdict(self.totals, recurse=False), unavailable=unavailable)
