"""A session that begins while its source is followed: whoever subscribes sees its first words too."""

from __future__ import annotations

from typing import Any

from mandrake_sessions.importing.events import Requested
from mandrake_sessions.importing.shaping import usable
from mandrake_sessions.importing.sinks import GrowingSink


class BornSink(GrowingSink):
    """The session is made with its first round, by the operations of everybody."""

    is_born = False

    def add_round(self, requested: Requested, at: int | None) -> Any:
        if not self.is_born:
            self._be_born(usable(at))
        return super().add_round(requested, at)

    def finish(self) -> None:
        if not self.is_born and self.told.is_kept_empty:
            self._be_born(usable(self.told.at))
        if self.is_born:
            super().finish()

    def _be_born(self, at: int) -> None:
        began = usable(self.told.at if self.told.at is not None else at)
        self._manager.create_session(
            **self.session_fields(),
            id=self.session_id,
            agent=self._source.agent,
            source=f"import:{self._source.reader}",
            external_id=self._source.external_id,
            created_at=min(began, at),
        )
        self.counts.sessions += 1
        self.is_born = True
