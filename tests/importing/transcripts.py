"""Small transcripts, in the forms that the readers read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]
CWD = "/home/somebody/project"


class Claude:
    """A transcript of Claude Code that is being written."""

    def __init__(self, path: Path, session: str) -> None:
        self.path = path
        self.session = session
        self.last: str | None = None
        self.records: list[Record] = []
        self._count = 0

    def add(self, kind: str, *, parent: str | None = "", **fields: Any) -> str:
        """A record below the last one, or below ``parent``; gives its uuid."""
        self._count += 1
        uuid = fields.pop("uuid", f"{self.session}-{self._count}")
        hour, minute, second = 10 + self._count // 3600, self._count // 60 % 60, self._count % 60
        record = {
            "parentUuid": self.last if parent == "" else parent,
            "isSidechain": False,
            "type": kind,
            "uuid": uuid,
            "timestamp": f"2026-03-01T{hour:02}:{minute:02}:{second:02}.000Z",
            "cwd": CWD,
            "sessionId": self.session,
            "version": "2.1.0",
        }
        self.records.append(record | fields)
        self.last = uuid
        return str(uuid)

    def ask(self, text: str, **fields: Any) -> str:
        return self.add("user", message={"role": "user", "content": text}, **fields)

    def say(self, text: str, reply: str, *, tokens: int = 10, stop: str | None = "end_turn", **fields: Any) -> str:
        return self.block({"type": "text", "text": text}, reply, tokens=tokens, stop=stop, **fields)

    def call(self, call: str, reply: str, *, tokens: int = 10) -> str:
        block = {"type": "tool_use", "id": call, "name": "Bash", "input": {"command": "ls"}}
        return self.block(block, reply, tokens=tokens, stop="tool_use")

    def block(self, block: Record, reply: str, *, tokens: int = 10, stop: str | None = None, **fields: Any) -> str:
        usage = {"input_tokens": tokens, "output_tokens": 2 * tokens}
        message = {"id": reply, "role": "assistant", "model": "m", "content": [block], "stop_reason": stop,
                   "usage": usage}  # fmt: skip
        return self.add("assistant", message=message, **fields)

    def answer(self, call: str, text: str, **fields: Any) -> str:
        block = {"type": "tool_result", "tool_use_id": call, "content": text}
        return self.add("user", message={"role": "user", "content": [block]}, **fields)

    def write(self, *, upto: int | None = None, tail: bytes = b"") -> None:
        """Write the file again, as far as ``upto`` records, with ``tail`` at its end."""
        write_lines(self.path, self.records[:upto], tail)


def claude(home: Path, session: str, directory: str = "-home-somebody-project") -> Claude:
    """A transcript where Claude Code keeps it."""
    return Claude(home / ".claude" / "projects" / directory / f"{session}.jsonl", session)


def codex_path(home: Path, thread: str) -> Path:
    """Where Codex keeps a thread."""
    return home / ".codex" / "sessions" / "2026" / "03" / "01" / f"rollout-2026-03-01T10-00-00-{thread}.jsonl"


def codex(kind: str, payload: Record, second: int = 0) -> Record:
    """A record of Codex."""
    return {"timestamp": f"2026-03-01T10:00:{second:02}.000Z", "type": kind, "payload": payload}


def codex_item(role: str, text: str, second: int = 0) -> Record:
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": text}]
    return codex("response_item", {"type": "message", "role": role, "content": content}, second)


def codex_event(kind: str, second: int = 0, **fields: Any) -> Record:
    return codex("event_msg", {"type": kind, **fields}, second)


def write_lines(path: Path, records: Sequence[Any], tail: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in records) + tail)
