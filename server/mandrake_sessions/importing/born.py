"""A session that begins while its source is followed: whoever subscribes sees its first words too."""

from __future__ import annotations

from typing import Any

from mandrake_sessions.importing.assembling import safe_text
from mandrake_sessions.importing.events import Requested
from mandrake_sessions.importing.names import shared_round_id
from mandrake_sessions.importing.sinks import GrowingSink, usable


class BeginsWithCopies(Exception):
    """The session begins with rounds of another one, which are written as a whole."""


class BornSink(GrowingSink):
    """The session is made with its first round, by the operations of everybody."""

    is_born = False

    def add_round(self, requested: Requested, at: int | None) -> Any:
        if not self.is_born:
            self._be_born(requested, usable(at))
        return super().add_round(requested, at)

    def finish(self) -> None:
        if self.is_born:
            super().finish()

    def _be_born(self, requested: Requested, at: int) -> None:
        """Raises BeginsWithCopies."""
        shared = requested.shared_id
        if shared is not None and self._imports.original(shared_round_id(self._source.agent, shared)) is not None:
            raise BeginsWithCopies
        began = usable(self.told.at if self.told.at is not None else at)
        fields = self.session_fields()
        title = fields.get("title")
        self._manager.create_session(
            **fields | ({} if title is None else {"title": safe_text(title)}),
            id=self.session_id,
            agent=self._source.agent,
            source=f"import:{self._source.reader}",
            external_id=self._source.external_id,
            created_at=min(began, at),
        )
        self.counts.sessions += 1
        self.is_born = True
