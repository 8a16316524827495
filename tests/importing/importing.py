"""The command, and what it has brought into a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrs import frozen

from commands.running import Ended, run
from mandrake_sessions import SessionManager
from mandrake_sessions.model import HistoryRound, Session
from wire import clean_environment


@frozen
class Place:
    """A user's home directory, and the workspace that the command runs in."""

    home: Path
    workspace: Path

    @property
    def database(self) -> Path:
        return self.workspace / "store.sqlite"

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that a test starts itself."""
        return clean_environment(self.workspace) | {"HOME": str(self.home)}

    def bring(self, *arguments: str | Path, code: int = 0) -> Ended:
        """Bring everything of this user into the workspace's file, or what the arguments name."""
        given = ("--database", self.database, *arguments)
        return run(self.workspace, "import", *given, code=code, HOME=str(self.home))

    def told(self, *arguments: str | Path, code: int = 0) -> list[dict[str, Any]]:
        """The lines of JSON that it says."""
        return [json.loads(line) for line in self.bring("--json", *arguments, code=code).out.splitlines()]

    def sessions(self) -> list[Session]:
        with SessionManager(self.database) as manager:
            return list(manager.list_sessions(archived=None).sessions)

    def rounds(self, external_id: str | None = None, session_id: str | None = None) -> list[HistoryRound]:
        with SessionManager(self.database) as manager:
            found = manager.get_session(session_id, external_id=external_id)
            return list(manager.history(found.id).rounds)

    def talk(self, external_id: str | None = None, session_id: str | None = None) -> list[tuple[str, list[str | None]]]:
        """The requests, each with the texts of its turns."""
        return [
            (each.request.content, [turn.content for turn in each.response.turns])
            for each in self.rounds(external_id, session_id)
        ]

    def is_sound(self) -> bool:
        return "0 problems" in run(self.workspace, "doctor", "--database", self.database).out
