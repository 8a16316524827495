"""Records what clients and real servers say to each other, message by message, for the chapters of docs/protocol/."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wire import Framing, Message, Wire, store_of

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Of an exchange that is about something else.
_VOLATILE = {"version": "<version>", "waitedMs": "<waitedMs>"}
_HOLDER = re.compile(r"process \d+ \([^)]*\)")
_WAITED = re.compile(r"for \d+ ms")
# The clients' own, as a reader sees them.
GIVEN = "00000000-0000-4000-8000-"


class Player:
    """A client with a server of its own. Each message is noted when it is sent, or looked at."""

    def __init__(self, stage: Stage, name: str, wire: Wire) -> None:
        self.name = name
        self.wire = wire
        self._stage = stage
        self._last = 0

    def sends(self, message: Any) -> None:
        self._stage.note(self.name, "server", message)
        self.wire.send(message)

    def notifies(self, method: str, **params: Any) -> None:
        self.sends({"jsonrpc": "2.0", "method": method, "params": params})

    def posts(self, method: str, **params: Any) -> int:
        """Send a request and do not wait."""
        self._last += 1
        self.sends({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})
        return self._last

    def gets(self, message_id: Any) -> Any:
        """The answer to a request: its result or its error."""
        answer = self.wire.answer(message_id)
        self._stage.note(self.name, "client", answer)
        return answer.get("result", answer.get("error"))

    def asks(self, method: str, **params: Any) -> Any:
        """Send a request and get its answer."""
        return self.gets(self.posts(method, **params))

    def hears(self, method: str) -> Message:
        """The next notification of a method."""
        message: Message = self.wire.wait_for(lambda each: isinstance(each, dict) and each.get("method") == method)
        self._stage.note(self.name, "client", message)
        return message

    def hears_anything(self) -> Any:
        """The next message, whatever it is."""
        message = self.wire.next_message()
        self._stage.note(self.name, "client", message)
        return message


class Stage:
    """One workspace and its players. ``steps``: what was said, with names in place of ids and clocks."""

    def __init__(self, workspace: Path) -> None:
        (workspace / ".git").mkdir()
        (workspace / "home").mkdir()
        self.workspace = workspace
        self.steps: list[dict[str, Any]] = []
        self._names: dict[str, str] = {}
        self._places = {store_of(workspace): "<path>", workspace / "home": "<home>", workspace: "<workspace>"}

    @contextmanager
    def player(self, name: str = "A", framing: Framing = "lines", *flags: str) -> Iterator[Player]:
        wire = Wire(self.workspace, framing, *flags)
        player = Player(self, name, wire)
        try:
            yield player
        except BaseException:
            wire.kill()
            raise
        if wire.process.poll() != -signal.SIGKILL:
            wire.close()

    def tells(self, client: str, event: str) -> None:
        """Something happens that is no message."""
        self.steps.append({"client": client, "event": event})

    def note(self, client: str, to: str, message: Any) -> None:
        self.steps.append({"client": client, "to": to, "message": self._normal(message)})

    def _normal(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self._normal(item, name) for name, item in value.items()}
        if key in ("methods", "notifications"):
            # So that it stays as it is when the protocol grows.
            return [*value[:2], "…"]
        if isinstance(value, list):
            return [self._normal(item) for item in value]
        if isinstance(value, int) and re.search(r"(Time|At)$", key):
            return "<time>"
        if key in _VOLATILE:
            return _VOLATILE[key]
        if not isinstance(value, str):
            return value
        for place, name in self._places.items():
            value = value.replace(str(place), name)
        value = _WAITED.sub("for <waitedMs> ms", _HOLDER.sub("process <pid> (python)", value))
        return _UUID.sub(self._name, value)

    def _name(self, match: re.Match[str]) -> str:
        if match[0].startswith(GIVEN):
            return match[0]
        return self._names.setdefault(match[0], f"<id {len(self._names) + 1}>")
