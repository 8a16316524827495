"""The tool calls of a chat of Gemini CLI: what was called, what it answered, and which subagent it started."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Final

from mandrake_sessions.importing.events import Answered, Broken
from mandrake_sessions.importing.lines import Line, each_line
from mandrake_sessions.importing.reading import beginning, files_below
from mandrake_sessions.importing.values import moment_of, object_of, objects_of, text_of

Record = dict[str, Any]

_EXIT_CODE: Final = re.compile(r"^Exit Code: (-?\d+)$", re.MULTILINE)
_REFUSED: Final = "canceled by the user"
_HEAD_BYTES: Final = 64 * 1024
_ID: Final = re.compile(rb'"sessionId"\s*:\s*"([^"\\]{1,200})"')
_START: Final = re.compile(rb'"startTime"\s*:\s*"([^"\\]{1,100})"')
_NOT_ALL: Final = re.compile(rb'(?!\{"\$set"\s*:\s*\{"messages")')


class Chat:
    """Looks for the arguments of calls that have no record: what the model sees has them, which is written later."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._calls: dict[str, Any] = {}
        self._until = 0

    def arguments(self, call: str, line: Line) -> Any:
        """Raises OSError, SourceUnreadable."""
        if line.end >= self._until and not self._path.endswith(".json"):
            self._look(line.end)
        return self._calls.get(call)

    def _look(self, offset: int) -> None:
        """Remember the calls of the first such record from a byte on."""
        self._calls, self._until = {}, 2**62
        for found in each_line(self._path, offset, _NOT_ALL):
            if isinstance(found, Broken):
                continue
            for message in objects_of(object_of(found.object.get("$set")).get("messages")):
                for part in objects_of(message.get("content")):
                    call = object_of(part.get("functionCall"))
                    if name := text_of(call.get("id")):
                        self._calls[name] = call.get("args")
            self._until = found.end
            return


def call_of(record: Record) -> tuple[str, str]:
    """The id and the name of a call, or of an answer to one."""
    called = text_of(record.get("name")) or "unknown"
    return text_of(record.get("id")) or f"{called} without an id", called


def answer_of(call: str, record: Record, at: int | None) -> Answered | None:
    """What a tool has answered; None as long as it has not."""
    status, result = record.get("status"), record.get("result")
    parts = list(objects_of(result))
    responses = [object_of(object_of(part.get("functionResponse")).get("response")) for part in parts]
    if not parts and status not in ("success", "error", "cancelled"):
        return None
    texts = [_text(response) for response in responses if response]
    text = result if isinstance(result, str) else "\n".join(texts)
    others = [part for part in parts if "functionResponse" not in part]
    failed = [text_of(response.get("error")) or "" for response in responses if "error" in response]
    metadata: Record = {}
    if (found := _EXIT_CODE.search(text)) is not None:
        metadata["exitCode"] = int(found[1][:10])
    if any(_REFUSED in each for each in failed):
        metadata["rejected"] = True
    is_failed = bool(failed) or status in ("error", "cancelled") or bool(metadata.get("exitCode"))
    return Answered(call, text, at, is_failed, others or None, metadata)


def _text(response: Record) -> str:
    for name in ("output", "error"):
        if isinstance(value := response.get(name), str):
            return value
    return json.dumps(response)


def subagent_of(path: str, session: str, record: Record) -> str | None:
    """The session that a call has started: its file lies below, begins while the call ran, and has its arguments."""
    if (agent := text_of(record.get("agentId"))) is not None:
        return agent
    if object_of(record.get("resultDisplay")).get("isSubagentProgress") is not True:
        return None
    given = object_of(record.get("args"))
    texts = [value for name, value in given.items() if isinstance(value, str) and name != "agent_name"]
    asked = max(texts, key=len, default="")
    words = json.dumps(asked, ensure_ascii=False)[1:-1].encode("utf-8", "replace")
    ended = moment_of(record.get("timestamp"))
    if not words or ended is None or os.path.basename(session) != session or session in (".", ".."):  # noqa: PTH119
        return None
    started: list[tuple[int, str]] = []
    directory = os.path.join(os.path.dirname(path), session)  # noqa: PTH118, PTH120
    for entry in files_below(directory, (".jsonl",)):
        head = beginning(entry.path, _HEAD_BYTES)
        named, begun = _ID.search(head), _START.search(head)
        at = moment_of(begun[1].decode(errors="replace")) if begun is not None else None
        if named is not None and at is not None and at <= ended and words in head:
            started.append((at, named[1].decode(errors="replace")))
    return max(started)[1] if started else None
