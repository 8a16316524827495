"""The records of a rollout of Codex, one after the other, as events.

A rollout tells most things twice, as an item of the model's input and output (``response_item``) and as an event. Items
are taken, and of the events what items do not say: who typed a request, how a command ended, what a reply used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mandrake_sessions.importing.events import (
    Answered,
    Called,
    Compacted,
    Ended,
    Event,
    Mark,
    Position,
    Said,
    SessionSaid,
    Spawned,
)
from mandrake_sessions.importing.lines import Line, each_line
from mandrake_sessions.importing.readers.codex_requests import CodexRequests, Handler, Record, at_of, name_of
from mandrake_sessions.importing.reading import Source, events_of
from mandrake_sessions.importing.values import joined_texts, moment_of, object_of, objects_of, text_of

_EXIT_CODE = re.compile(r"^(?:Process exited with code|Exit code:) (-?\d+)$", re.MULTILINE)
_REJECTED: Final = ("rejected by user", "Rejected(")
_ABORTED: Final = "aborted by user"
# How much of a tool's output says how it ended.
_HEAD: Final = 500


class CodexRecords(CodexRequests):
    """The reading of one file from a position on."""

    def __init__(self, source: Source, position: Position) -> None:
        super().__init__(position.state)
        self._source = source
        self._from = position
        self._announced: set[str] = set()
        self._outcomes: dict[str, tuple[bool, Record]] = {}
        self._spawning: set[str] = set()
        self._has_parent = False
        self._kinds: Mapping[Any, Handler] = {
            "session_meta": self._meta,
            "turn_context": self._context,
            "response_item": self._item,
            "event_msg": self._event,
            "compacted": self._compacted,
            "token_usage_record": self._usage_record,
        }
        self._items: Mapping[Any, Handler] = {
            "message": self._message,
            "reasoning": self._reasoning,
            "function_call": self._call,
            "custom_tool_call": self._call,
            "local_shell_call": self._call,
            "web_search_call": self._call,
            "function_call_output": self._output,
            "custom_tool_call_output": self._output,
        }
        self._events: Mapping[Any, Handler] = {
            "user_message": self.user_message,
            "item_completed": self._completed,
            "agent_message": self._announce,
            "task_started": self._task_started,
            "token_count": self._token_count,
            "turn_aborted": self._aborted,
            "task_complete": self._task_complete,
            "thread_rolled_back": self.rolled_back,
        }

    def events(self) -> Iterator[Event]:
        yield Mark(self._from)
        for line in each_line(self._source.path, self._from.offset, tail=self._source.tail):
            if not isinstance(line, Line):
                yield line
                continue
            record = line.object
            payload = record.get("payload")
            if isinstance(payload, dict):
                handler = self._kinds.get(text_of(record.get("type")))
            else:
                # The earliest files have items without an envelope.
                handler, payload = self._flat(record), record
            if handler is not None:
                yield from events_of(line, handler(payload, line))
        yield from self.settle()
        yield from self.settle_unannounced()

    def _flat(self, record: Record) -> Handler | None:
        if text_of(record.get("type")) in self._items:
            return self._item
        return self._meta if text_of(record.get("id")) and "instructions" in record else None

    # The conversation as a whole.

    def _meta(self, payload: Record, line: Line) -> Iterator[Event]:
        """The head. What follows later is that of a conversation which this one was copied from."""
        thread = (text_of(payload.get("id")) or "").lower()
        if self.is_introduced:
            if thread and thread != self.origin and not self.is_begun():
                self.origin = thread
                if not self._has_parent and thread != self._source.external_id:
                    self._has_parent = True
                    yield SessionSaid(parent=thread, relation="fork")
            return
        self.is_introduced = True
        self.origin = thread
        spawned = object_of(object_of(object_of(payload.get("source")).get("subagent")).get("thread_spawn"))
        parent = text_of(payload.get("parent_thread_id")) or text_of(spawned.get("parent_thread_id"))
        relation = "subagent" if parent else "fork"
        parent = parent or text_of(payload.get("forked_from_id"))
        named = {
            "version": payload.get("cli_version"),
            "gitBranch": object_of(payload.get("git")).get("branch"),
            "nickname": spawned.get("agent_nickname"),
            "agentType": spawned.get("agent_role"),
        }
        metadata: Record = {name: value for name, value in named.items() if isinstance(value, str) and value}
        if "archived_sessions" in self._source.path.replace("\\", "/").split("/"):
            metadata["archived"] = True
        at = moment_of(payload.get("timestamp")) or at_of(line)
        cwd = text_of(payload.get("cwd"))
        self._has_parent = parent is not None
        if parent is None:
            yield SessionSaid(cwd=cwd, at=at, metadata=metadata)
        else:
            yield SessionSaid(cwd=cwd, at=at, parent=parent, relation=relation, metadata=metadata)  # type: ignore[arg-type]

    def _context(self, payload: Record, _line: Line) -> Iterator[Event]:
        self.model = text_of(payload.get("model")) or self.model
        return iter(())

    # What the model and its tools say.

    def _completed(self, payload: Record, line: Line) -> Iterator[Event]:
        self.has_items = True
        item = object_of(payload.get("item"))
        kind, name = item.get("type"), text_of(item.get("id")) or ""
        if kind == "UserMessage":
            yield from self.user_message_item(item, line)
        elif kind in ("AgentMessage", "Reasoning"):
            self._announced.add(name)
        elif kind in ("CommandExecution", "FileChange", "CollabAgentToolCall", "McpToolCall"):
            code = item.get("exit_code")
            told = {"exitCode": code} if type(code) is int else {}
            self._outcomes[name] = item.get("status") in ("failed", "declined"), told

    def _item(self, payload: Record, line: Line) -> Iterator[Event]:
        handler = self._items.get(text_of(payload.get("type")))
        if handler is not None:
            yield from handler(payload, line)

    def _event(self, payload: Record, line: Line) -> Iterator[Event]:
        handler = self._events.get(text_of(payload.get("type")))
        if handler is not None:
            yield from handler(payload, line)

    def _message(self, payload: Record, line: Line) -> Iterator[Event]:
        content = payload.get("content")
        if payload.get("role") == "user":
            yield from self.user_item(payload, content, line)
            return
        text = joined_texts(content, "output_text", "text")
        if payload.get("role") != "assistant" or not text:
            return
        yield from self.settle()
        yield from self.settle_unannounced()
        name = name_of(payload, line)
        reply = self.replies.of_item()
        said = Said(name, reply, "message", text, at_of(line), self.model)
        is_announced = name in self._announced if self.has_items else self.announcement in (None, text)
        if is_announced:
            yield said
        else:
            self.unannounced = said
        self._announced.discard(name)

    def _reasoning(self, payload: Record, line: Line) -> Iterator[Event]:
        texts = [text_of(part.get("text")) for part in objects_of(payload.get("summary"))]
        texts = texts or [text_of(part.get("text")) for part in objects_of(payload.get("content"))]
        text = "\n\n".join(text for text in texts if text)
        yield from self.settle()
        yield from self.settle_unannounced()
        reply = self.replies.of_item()
        if text:
            yield Said(name_of(payload, line), reply, "thought", text, at_of(line), self.model)

    def _call(self, payload: Record, line: Line) -> Iterator[Event]:
        yield from self.settle()
        yield from self.settle_unannounced()
        call = text_of(payload.get("call_id")) or name_of(payload, line)
        kind = str(payload.get("type"))
        name = text_of(payload.get("name")) or kind.removesuffix("_call")
        given = payload.get("arguments", payload.get("input", payload.get("action")))
        server = text_of(payload.get("namespace"))
        if name.startswith("mcp__") and name.count("__") >= 2:
            _, server, name = name.split("__", 2)
        if name == "spawn_agent":
            self._spawning.add(call)
        reply = self.replies.of_item()
        yield Called(call, reply, name, _decoded(given), at_of(line), server, self.model)
        if kind in ("local_shell_call", "web_search_call"):
            yield Answered(call, None, at_of(line), is_failed=payload.get("status") in ("failed", "incomplete"))

    def _output(self, payload: Record, line: Line) -> Iterator[Event]:
        call = text_of(payload.get("call_id")) or ""
        output = payload.get("output")
        content = None
        if not isinstance(output, str):
            content, output = (
                output,
                joined_texts(output, "input_text", "text") or text_of(object_of(output).get("content")),
            )
        is_failed, metadata = self._outcomes.pop(call) if call in self._outcomes else _outcome(output or "")
        if any(word in (output or "")[:_HEAD] for word in _REJECTED) and not metadata:
            is_failed, metadata = True, {"rejected": True}
        elif (output or "").startswith(_ABORTED):
            is_failed = True
        yield Answered(call, output, at_of(line), is_failed, content, metadata)
        if call in self._spawning:
            self._spawning.discard(call)
            if agent := text_of(object_of(_decoded(output)).get("agent_id")):
                yield Spawned(call, agent.lower())

    # Ends, compactions, and what was used.

    def _compacted(self, payload: Record, line: Line) -> Iterator[Event]:
        summary = text_of(payload.get("message")) or ""
        if self.unannounced is not None:
            summary, self.unannounced = self.unannounced.text, None
        self.is_compacted = True
        yield Compacted(f"byte {line.start}", summary, at_of(line), self.replies.of_compaction())

    def _token_count(self, payload: Record, _line: Line) -> Iterator[Event]:
        return self.replies.counted(payload)

    def _usage_record(self, payload: Record, _line: Line) -> Iterator[Event]:
        return self.replies.recorded(payload)

    def _aborted(self, payload: Record, line: Line) -> Iterator[Event]:
        yield from self.settle()
        self.replies.cut()
        yield Ended("interrupted", at_of(line), text_of(payload.get("reason")))

    def _task_complete(self, payload: Record, line: Line) -> Iterator[Event]:
        yield from self.settle()
        yield from self.settle_unannounced()
        if (error := payload.get("error")) is not None:
            told = text_of(error) or text_of(object_of(error).get("message")) or "error"
            yield Ended("error", at_of(line), told)
        elif payload.get("last_agent_message") is not None:
            yield Ended("completed", at_of(line))
        elif self.is_asked and not self.is_compacted and not self.has_items:
            # Older versions do not say what went wrong.
            yield Ended("error", at_of(line))

    def _task_started(self, _payload: Record, _line: Line) -> Iterator[Event]:
        self.is_asked = self.is_compacted = False
        return iter(())

    def _announce(self, payload: Record, _line: Line) -> Iterator[Event]:
        """In older versions this stands before an answer or after it. The summary of a compaction has none."""
        self.announcement = text_of(payload.get("message"))
        if self.unannounced is not None and self.unannounced.text == self.announcement:
            yield from self.settle_unannounced()


def _decoded(value: Any) -> Any:
    """What a text of JSON holds, or the value itself."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _outcome(output: str) -> tuple[bool, Record]:
    """Whether a command failed, as its output says."""
    if output.startswith('{"output"'):
        code = object_of(object_of(_decoded(output)).get("metadata")).get("exit_code")
        if type(code) is int:
            return code != 0, {"exitCode": code}
    if (found := _EXIT_CODE.search(output[:_HEAD])) is not None:
        return int(found[1]) != 0, {"exitCode": int(found[1])}
    return False, {}
