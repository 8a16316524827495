"""A tool call as the recorder follows it: what all messages about it have said together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, field

from mandrake_sessions.acp.members import Json, Object, list_of, object_of, text_of
from mandrake_sessions.acp.secret_members import without_secrets
from mandrake_sessions.acp.terminals import Terminal
from mandrake_sessions.ids import new_id

_STATUSES: Final[Mapping[str, tuple[str, Object]]] = {
    "pending": ("pending", {}),
    "in_progress": ("in_progress", {}),
    "paused": ("in_progress", {"paused": True}),
    "completed": ("completed", {}),
    "failed": ("failed", {}),
    "cancelled": ("failed", {"cancelled": True}),
}
# Why a call stands as it does; said again with each status.
_REASONS: Final = ("paused", "cancelled", "unfinished")
_TEXTS: Final = {"title": "title", "kind": "kind", "name": "method_name"}
_VALUES: Final = {"rawInput": "arguments", "rawOutput": "response"}
_DONE: Final = ("completed", "failed")
# Of one member of `_meta`, in characters of JSON.
_MAX_META: Final = 64 * 1024
# Content that comes in pieces, and is kept until the call has ended.
_MAX_CONTENT: Final = 4 * 1024 * 1024
# The same of one that has ended; it may still get a piece, but there are many of those.
_MAX_DONE_CONTENT: Final = 64 * 1024

# Gives the terminal of a name.
Terminals = Callable[[str], Terminal]


@define(eq=False)
class Call:
    id: str
    turn: str = field(factory=new_id)
    status: str = "pending"
    is_rejected: bool = False
    metadata: Object = field(factory=dict)
    terminals: dict[str, Terminal] = field(factory=dict)
    _content: list[Json] = field(factory=list)
    _size: int = 0
    _has_begun: bool = False
    _has_end: bool = False
    # Its content is too much to be kept, so that pieces can no more be added.
    _is_full: bool = False

    @property
    def is_done(self) -> bool:
        return self.status in _DONE

    def change(self, update: Object, at: int, terminals: Terminals, *, clears: bool) -> Object:
        """The fields that a message changes. ``clears``: a null is no member left out, but empties a field."""
        fields: Object = self._begun(at)
        for theirs, ours in _TEXTS.items():
            if (text := text_of(update, theirs)) is not None:
                fields[ours] = text
            elif clears and theirs in update and update[theirs] is None:
                fields[ours] = None
        for theirs, ours in _VALUES.items():
            if theirs in update and (clears or update[theirs] is not None):
                fields[ours] = without_secrets(update[theirs])
        if isinstance(update.get("locations"), list):
            fields["locations"] = without_secrets(update["locations"])
        fields |= self._named_by(object_of(update, "_meta"))
        if isinstance(update.get("content"), list) or (clears and "content" in update):
            fields["content"] = self._replace(list_of(update, "content"), terminals)
        status = text_of(update, "status")
        if status is not None or (clears and "status" in update):
            fields |= self._stand(status or "pending", at)
        return self._with_metadata(fields, object_of(update, "_meta"))

    def add(self, item: Json, at: int, terminals: Terminals) -> Object:
        """The fields that change with one more piece of content."""
        size = len(json.dumps(item))
        if self._is_full or self._size + size > _MAX_CONTENT:
            return self._begun(at)
        self._size += size
        self._content.append(without_secrets(item))
        self._look_for_terminals(terminals)
        return self._begun(at) | {"content": self._shown()}

    def tell(self, name: str, value: Json) -> Object:
        """A member of its metadata."""
        self.metadata = {**self.metadata, name: value}
        return {"metadata": self.metadata}

    def reject(self, at: int) -> Object:
        """A person has rejected it, whatever the agent says of it."""
        self.is_rejected = True
        return self._with_metadata(self._stand("failed", at), {}, {"rejected": True})

    def output(self) -> Object:
        """The fields that change with the output of its terminals."""
        return {"content": self._shown()} if self.terminals else {}

    def leave(self, at: int, status: str) -> Object:
        """The fields that change because the round has ended: a call that has not ended by then never does."""
        fields: Object = {}
        if not self.is_done:
            reason = "cancelled" if status == "cancelled" else "unfinished"
            fields = self._with_metadata(self._stand("failed", at), {}, {reason: True})
        elif any(terminal.is_changed for terminal in self.terminals.values()):
            fields = self.output()
        if "status" not in fields:
            self.terminals = {}
        self._drop_content(_MAX_DONE_CONTENT)
        return fields

    def _begun(self, at: int) -> Object:
        """What is said of a call with the first message about it."""
        if self._has_begun:
            return {}
        self._has_begun = True
        return {"start_time": at, "status": self.status}

    def _stand(self, theirs: str, at: int) -> Object:
        status, reasons = _STATUSES.get(theirs, (self.status, {}))
        if self.is_rejected:
            status, reasons = "failed", {}
        kept = {name: value for name, value in self.metadata.items() if name not in _REASONS}
        fields: Object = {"status": status}
        if kept | reasons != self.metadata:
            self.metadata = kept | reasons
            fields["metadata"] = self.metadata
        self.status = status
        if self.is_done and not self.terminals:
            self._drop_content(_MAX_DONE_CONTENT)
        if self.is_done and not self._has_end:
            self._has_end = True
            fields["end_time"] = at
        elif not self.is_done and self._has_end:
            self._has_end = False
            fields["end_time"] = None
        return fields

    def _with_metadata(self, fields: Object, meta: Object, told: Object | None = None) -> Object:
        made = dict(self.metadata)
        if meta:
            made["_meta"] = _merged(object_of(made, "_meta"), meta)
            parent = object_of(meta, "claudeCode").get("parentToolUseId")
            if isinstance(parent, str):
                made["parentToolCallId"] = parent
        made |= told or {}
        if made != self.metadata:
            self.metadata = made
            fields["metadata"] = made
        return fields

    def _named_by(self, meta: Object) -> Object:
        """The tool's name, where an agent tells it beside the members that ACP has for it."""
        name = text_of(object_of(meta, "claudeCode"), "toolName")
        return {} if name is None else {"method_name": name}

    def _replace(self, content: list[Json], terminals: Terminals) -> list[Json]:
        content = without_secrets(content)
        self._size = len(json.dumps(content)) if content else 0
        self._content, self._is_full = content, False
        self._look_for_terminals(terminals)
        shown = self._shown() if self.terminals else content
        self._drop_content(_MAX_CONTENT)
        return shown

    def _drop_content(self, allowed: int) -> None:
        if self._size > allowed:
            self._content, self._size, self._is_full = [], 0, True

    def _look_for_terminals(self, terminals: Terminals) -> None:
        for item in self._content:
            if text_of(item, "type") == "terminal" and (name := text_of(item, "terminalId")) is not None:
                self.terminals[name] = terminals(name)

    def _shown(self) -> list[Json]:
        """Its content, with what its terminals say."""
        shown: list[Json] = []
        for item in self._content:
            terminal = self.terminals.get(text_of(item, "terminalId") or "")
            if terminal is not None and text_of(item, "type") == "terminal":
                item = {**item, **terminal.shown()}
            shown.append(item)
        return shown


def _merged(before: Object, meta: Object) -> Object:
    """What `_meta` says, with what it has said before: members of the objects in it add up."""
    made = dict(before)
    for name, value in meta.items():
        value = _short(without_secrets({name: value})[name])
        old = made.get(name)
        made[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return made


def _short(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _short_text(item) for name, item in value.items()}
    return _short_text(value)


def _short_text(value: Json) -> Json:
    if isinstance(value, str) and len(value) < _MAX_META:
        return value
    if isinstance(value, str | dict | list) and (size := len(json.dumps(value))) > _MAX_META:
        return f"[left out: {size} characters]"
    return value
