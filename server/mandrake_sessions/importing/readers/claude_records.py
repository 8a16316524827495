"""The records of a transcript of Claude Code, one after the other, as events.

Records form a tree by ``uuid`` and ``parentUuid``, and stand in the order in which they were written. That order is
kept; the tree only tells where somebody went back: the new request has the same parent as an earlier one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mandrake_sessions.importing.events import (
    Answered,
    Called,
    Ended,
    Event,
    Mark,
    Position,
    Requested,
    Said,
    SessionSaid,
    Used,
)
from mandrake_sessions.importing.lines import Line, each_line
from mandrake_sessions.importing.readers.claude_rounds import SKIPPED, ClaudeRounds
from mandrake_sessions.importing.readers.claude_session import uuid_of
from mandrake_sessions.importing.readers.claude_tree import SYNTHETIC, reply_of
from mandrake_sessions.importing.reading import Source, events_of
from mandrake_sessions.importing.values import count_of, joined_texts, moment_of, object_of, objects_of, text_of

Record = dict[str, Any]

_INTERRUPTED: Final = "[Request interrupted by user"
_OUTPUT = re.compile(r"<(local-command-stdout|local-command-stderr|bash-stdout|bash-stderr)>")
_COMMAND = re.compile(r"<command-name>(.*?)</command-name>", re.DOTALL)
_ARGUMENTS = re.compile(r"<command-args>(.*?)</command-args>", re.DOTALL)
_BASH = re.compile(r"\s*<bash-input>(.*?)</bash-input>", re.DOTALL)
_TAG = re.compile(r"</?(?:local-command|bash)-std(?:out|err)>")
# A model that has ended its reply so has ended the round.
_LAST_WORDS: Final = ("end_turn", "stop_sequence", "max_tokens", "refusal")


class ClaudeRecords(ClaudeRounds):
    """The reading of one file from a position on. ``records``: the uuids of those that count, if not all do."""

    def __init__(
        self, source: Source, position: Position, *, is_subagent: bool, records: set[str] | None = None
    ) -> None:
        super().__init__(source, position)
        self._is_subagent = is_subagent
        self._records = records
        self._parent: str | None = None
        # Whether the last answer does not say how it ended.
        self._is_open = False
        self._handlers: Mapping[Any, Callable[[Record, Line], Iterator[Event]]] = {
            "user": self._user,
            "assistant": self._assistant,
            "system": self._system,
            "attachment": self._attachment,
            "custom-title": self.title,
            "summary": self.summary,
            "cost-state": self.cost,
            "queue-operation": self._queued,
        }

    def events(self) -> Iterator[Event]:
        yield Mark(self.begins_at)
        for line in each_line(self.source.path, self.begins_at.offset, SKIPPED, self.source.tail):
            if not isinstance(line, Line):
                yield line
                continue
            if (handled := self.handled(line)) is not None:
                yield from handled
        yield from self.settle_command(is_answered=False)
        yield from self.settle_boundary()

    def handled(self, line: Line) -> Iterator[Event] | None:
        record = line.object
        uuid = record.get("uuid")
        if self._records is not None and text_of(uuid) not in self._records:
            return None
        if type(uuid) is str:
            if self.turning.is_left(line.start) or self.is_doubled(uuid, line):
                return None
            is_aside = record.get("isSidechain") is True and not self._is_subagent
            self.turning.take(uuid, None if is_aside else reply_of(record), line.start)
        handler = self._handlers.get(text_of(record.get("type")))
        return None if handler is None else events_of(line, handler(record, line))

    # What begins a round, and what only looks so.

    def _user(self, record: Record, line: Line) -> Iterator[Event]:
        if record.get("isSidechain") is True and not self._is_subagent:
            return
        if not isinstance(record.get("message"), dict):
            raise TypeError("message")
        content = record["message"].get("content")
        for block in objects_of(content):
            if block.get("type") == "tool_result":
                yield self._answer(record, block)
        if any(block.get("type") == "tool_result" for block in objects_of(content)):
            return
        text = content if isinstance(content, str) else joined_texts(content, "text")
        if record.get("isCompactSummary") is True:
            yield from self.settle_command(is_answered=False)
            yield self.compacted(record, text)
        elif record.get("isMeta") is True:
            self.between.take(text_of(record.get("uuid")), text_of(record.get("parentUuid")))
        elif text.startswith(_INTERRUPTED):
            at = moment_of(record.get("timestamp"))
            yield Ended("interrupted", at, text.strip("[]"), is_cut_off=self._is_open)
        elif _OUTPUT.match(text):
            yield from self._command_output(record, text)
        elif (command := _typed_command(text)) is not None:
            yield from self.settle_command(is_answered=False)
            self.command = (record, command, line.start)
        else:
            yield from self.settle_command(is_answered=False)
            yield from self._begin(record, text, content, line.start)

    def _begin(self, record: Record, text: str, content: Any, start: int) -> Iterator[Event]:
        yield from self.settle_boundary()
        self.queue.recorded(text)
        yield from self.introduce(record)
        yield from self.branch(record, start)
        blocks = content if isinstance(content, list) else None
        if blocks is not None and all(block.get("type") == "text" for block in objects_of(blocks)):
            blocks = None
        at = moment_of(record.get("timestamp"))
        uuid = uuid_of(record, start)
        if _is_injected(record, text):
            # Nobody asked for the round: the text is the program's own, and stands beside.
            yield Requested(uuid, "", at, "system", blocks or [{"type": "text", "text": text}], uuid)
        else:
            yield Requested(uuid, text, at, "user", blocks, uuid)

    def _queued(self, record: Record, line: Line) -> Iterator[Event]:
        self.queue.take(record, line.start)
        return iter(())

    def _queued_alone(self, line: Line, at: int | None) -> Iterator[Event]:
        """The model goes on with what was typed meanwhile."""
        state = self.state()
        for queued in self.queue.alone(at):
            self.here = Mark(Position(line.start, state))
            yield self.here
            name = f"queued {queued.start}"
            self.branches.add(name)
            yield Requested(name, queued.text, queued.at)

    def settle_command(self, *, is_answered: bool) -> Iterator[Event]:
        if self.command is None:
            return
        (record, text, start), self.command = self.command, None
        self.queue.recorded(text)
        yield from self.settle_boundary()
        yield from self.introduce(record)
        yield from self.branch(record, start)
        uuid = uuid_of(record, start)
        at = moment_of(record.get("timestamp"))
        yield Requested(uuid, text, at, "user" if is_answered else "system", None, uuid)
        if not is_answered:
            yield Ended("completed", at)

    def _command_output(self, record: Record, text: str) -> Iterator[Event]:
        was_command = self.command is not None
        yield from self.settle_command(is_answered=False)
        shown = _TAG.sub("", text).strip()
        if was_command and shown and record.get("repeatsCompactSummary") is not True:
            uuid = uuid_of(record, 0)
            yield Said(uuid, uuid, "tool_output", shown, moment_of(record.get("timestamp")))

    def _attachment(self, record: Record, line: Line) -> Iterator[Event]:
        """Context for the model, but for what a person typed while it was at work."""
        attachment = object_of(record.get("attachment"))
        origin = object_of(attachment.get("origin") or record.get("origin"))
        if attachment.get("type") != "queued_command" or origin.get("kind") != "human":
            return
        content = attachment.get("prompt")
        text = content if isinstance(content, str) else joined_texts(content, "text")
        if text:
            yield from self.settle_command(is_answered=False)
            yield from self._begin(record, text, content, line.start)

    # What the model and its tools say.

    def _assistant(self, record: Record, line: Line) -> Iterator[Event]:
        if record.get("isSidechain") is True and not self._is_subagent:
            return
        message = object_of(record.get("message"))
        model = text_of(message.get("model"))
        uuid = uuid_of(record, line.start)
        reply = text_of(message.get("id")) or uuid
        if model == SYNTHETIC:
            yield from self._synthetic(record, message, uuid)
            return
        yield from self.say_again(record, reply, line.start)
        yield from self.settle_command(is_answered=True)
        yield from self.settle_boundary()
        yield from self.introduce(record)
        yield from self._named_parent(record)
        at = moment_of(record.get("timestamp"))
        if self.queue.is_out(at):
            yield from self._queued_alone(line, at)
        is_cut_off = record.get("isAbortedMidStream") is True
        for number, block in enumerate(objects_of(message.get("content"))):
            yield from _block(block, f"{uuid}:{number}", reply, at, model, is_cut_off=is_cut_off)
        if isinstance(usage := message.get("usage"), dict):
            yield _used(reply, usage)
        reason = text_of(message.get("stop_reason"))
        self._is_open = reason is None
        if reason in _LAST_WORDS:
            yield Ended("completed", at, reason)

    def _synthetic(self, record: Record, message: Record, uuid: str) -> Iterator[Event]:
        """The program's own words in the model's place."""
        text = joined_texts(message.get("content"), "text")
        if not text or text == "No response requested.":
            return
        yield from self.settle_command(is_answered=True)
        at = moment_of(record.get("timestamp"))
        is_error = record.get("isApiErrorMessage") is True
        yield Said(uuid, uuid, "message", text, at, error=text if is_error else None)
        if is_error:
            yield Ended("error", at, text)

    def _answer(self, record: Record, block: Record) -> Answered:
        content = block.get("content")
        text = content if isinstance(content, str) else joined_texts(content, "text")
        is_more = any(each.get("type") != "text" for each in objects_of(content))
        decision = object_of(record.get("permissionDecision"))
        metadata: Record = {}
        if decision.get("decision") == "reject":
            metadata = {"rejected": True, "source": text_of(decision.get("source"))}
        return Answered(
            str(block.get("tool_use_id") or ""),
            text,
            moment_of(record.get("timestamp")),
            block.get("is_error") is True or bool(metadata),
            content if is_more else None,
            metadata,
        )

    # What is said of the conversation as a whole.

    def _named_parent(self, record: Record) -> Iterator[Event]:
        """Answers that were copied from another session name it."""
        named = text_of(record.get("requestSessionId"))
        if self._parent is None and named and named != self.source.external_id and not self._is_subagent:
            self._parent = named
            yield SessionSaid(parent=named, relation="fork")

    def _system(self, record: Record, _line: Line) -> Iterator[Event]:
        if record.get("subtype") != "compact_boundary":
            self.between.take(text_of(record.get("uuid")), text_of(record.get("parentUuid")))
        else:
            yield from self.settle_command(is_answered=False)
            yield from self.settle_boundary()
            self.boundary = record
            self.branches.compacted()


def _typed_command(text: str) -> str | None:
    """What a person typed for a command of the program, or of the shell."""
    if (typed := _BASH.match(text)) is not None:
        return f"!{typed[1]}"
    if "<command-name>" in text[:2000] and text.lstrip().startswith("<command-"):
        named, given = _COMMAND.search(text), _ARGUMENTS.search(text)
        if named is not None:
            return f"{named[1].strip()} {given[1].strip() if given else ''}".strip()
    return None


def _is_injected(record: Record, text: str) -> bool:
    origin = text_of(object_of(record.get("origin")).get("kind"))
    return (
        record.get("promptSource") == "system"
        or (origin is not None and origin != "human")
        or text.startswith("<task-notification>")
    )


def _block(
    block: Record, name: str, reply: str, at: int | None, model: str | None, *, is_cut_off: bool
) -> Iterator[Event]:
    kind = block.get("type")
    if kind in ("text", "thinking"):
        text = block.get("text" if kind == "text" else "thinking")
        if isinstance(text, str) and text:
            yield Said(name, reply, "message" if kind == "text" else "thought", text, at, model, is_cut_off=is_cut_off)
    elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
        called = text_of(block.get("name")) or "unknown"
        server = text_of(block.get("server_name"))
        if called.startswith("mcp__") and called.count("__") >= 2:
            _, server, called = called.split("__", 2)
        yield Called(text_of(block.get("id")) or name, reply, called, block.get("input"), at, server, model)
    elif isinstance(kind, str) and kind.endswith("_tool_result"):
        yield Answered(str(block.get("tool_use_id") or ""), None, at, content=block.get("content"))


def _used(reply: str, usage: Record) -> Used:
    return Used(
        reply,
        count_of(usage.get("input_tokens")) or 0,
        count_of(usage.get("output_tokens")) or 0,
        count_of(object_of(usage.get("output_tokens_details")).get("thinking_tokens")),
        count_of(usage.get("cache_read_input_tokens")),
        count_of(usage.get("cache_creation_input_tokens")),
    )
