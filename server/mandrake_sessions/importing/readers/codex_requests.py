"""The requests of a rollout of Codex: what was typed, told from what the program says to the model as if it were."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

from attrs import frozen

from mandrake_sessions.importing.events import Event, Left, Mark, Position, Requested, Said
from mandrake_sessions.importing.lines import Line
from mandrake_sessions.importing.readers.codex_usage import Replies
from mandrake_sessions.importing.values import joined_texts, moment_of, object_of, objects_of, text_of

Record = dict[str, Any]
Handler = Callable[[Record, Line], Iterator[Event]]

_INJECTED: Final = (
    "<environment_context>", "# AGENTS.md instructions", "<turn_aborted>", "<subagent_notification>",
    "<user_instructions>", "<user_shell_command>", "<skill>", "<permissions instructions>", "<skills_instructions>",
    "<codex_internal_context",
)  # fmt: skip
# What an editor puts before the typed words.
_WRAPPER: Final = re.compile(
    r"# (?:Context from my IDE setup|Files mentioned by the user):.*?^## My request(?: for \w+)?:[ \t]*\n?(.*)",
    re.DOTALL | re.MULTILINE,
)
# So many requests can be taken back by a later reading.
_REMEMBERED: Final = 2000


@frozen
class _Typed:
    """A user's item. ``start``: where it begins."""

    text: str
    at: int | None
    blocks: list[Any] | None
    start: int


class CodexRequests:
    """What is remembered of a rollout, and its requests. A user's item waits until it is seen whether an event says the
    same."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.replies = Replies(object_of(state.get("replies")))
        self.is_introduced = bool(state.get("introduced"))
        self.model = text_of(state.get("model"))
        # Does the file say of each item that it is complete? Then an answer of which it does not is none.
        self.has_items = bool(state.get("items"))
        # The name of each, and one that a copy of it in a fork has too.
        self._requests = [each for each in state.get("requests", []) if isinstance(each, str)]
        # The thread that the conversation began in, and what was asked in it until now.
        self.origin = text_of(state.get("origin")) or ""
        self._asked = text_of(state.get("asked")) or ""
        # What an event has announced of the answer that follows, in older versions.
        self.announcement = text_of(state.get("announcement"))
        # Whether the turn that runs has had a request, and a compaction.
        self.is_asked = self.is_compacted = False
        self._unconfirmed: _Typed | None = None
        # An answer that may be the summary of a compaction.
        self.unannounced: Said | None = None

    def is_begun(self) -> bool:
        """Whether there was a request."""
        return bool(self._asked)

    def user_item(self, payload: Record, content: Any, line: Line) -> Iterator[Event]:
        """An item of role ``user``."""
        yield from self.settle()
        passed = object_of(payload.get("internal_chat_message_metadata_passthrough"))
        kinds = passed.get("content_item_kinds")
        text = joined_texts(content, "input_text", "text")
        if isinstance(kinds, list) and kinds:
            is_typed = any(isinstance(kind, str) and kind.startswith("user.") for kind in kinds)
        else:
            is_typed = not text.lstrip().startswith(_INJECTED)
        is_more = any(block.get("type") not in ("input_text", "text") for block in objects_of(content))
        if is_typed and (text or is_more):
            self._unconfirmed = _Typed(text, at_of(line), content if is_more else None, line.start)

    def user_message(self, payload: Record, line: Line) -> Iterator[Event]:
        """The event of a request, in older versions."""
        text = text_of(payload.get("message")) or ""
        images = payload.get("images")
        urls = [url for url in images if isinstance(url, str)] if isinstance(images, list) else []
        blocks = [{"type": "input_text", "text": text}, *({"type": "input_image", "image_url": url} for url in urls)]
        yield from self._confirm(_Typed(text, at_of(line), blocks if urls else None, line.start))

    def user_message_item(self, item: Record, line: Line) -> Iterator[Event]:
        """The event of a request, in newer versions."""
        content = item.get("content")
        is_more = any(block.get("type") != "text" for block in objects_of(content))
        text = joined_texts(content, "text")
        yield from self._confirm(_Typed(text, at_of(line), content if is_more else None, line.start))

    def settle(self) -> Iterator[Event]:
        """No event says what a user's item says: it was typed all the same."""
        typed, self._unconfirmed = self._unconfirmed, None
        if typed is not None:
            yield from self._begin(typed)

    def settle_unannounced(self) -> Iterator[Event]:
        """The answer was no summary."""
        said, self.unannounced = self.unannounced, None
        if said is not None:
            yield said

    def rolled_back(self, payload: Record, line: Line) -> Iterator[Event]:
        """Somebody took back the last rounds."""
        count = payload.get("num_turns")
        if type(count) is not int or count <= 0 or not self._requests:
            return
        yield from self.settle()
        yield Mark(Position(line.start, self._state()))
        gone, self._requests = self._requests[-count:], self._requests[:-count]
        yield Left(tuple(gone), f"byte {line.start}")

    def _confirm(self, typed: _Typed) -> Iterator[Event]:
        """A request for certain. It has the place of its item, if that was just read."""
        start = typed.start
        if self._unconfirmed is not None and self._unconfirmed.text.strip() == typed.text.strip():
            start = self._unconfirmed.start
            self._unconfirmed = None
        yield from self.settle()
        yield from self._begin(_Typed(typed.text, typed.at, typed.blocks, start))

    def _begin(self, typed: _Typed) -> Iterator[Event]:
        yield from self.settle_unannounced()
        yield Mark(Position(typed.start, self._state()))
        name = f"byte {typed.start}"
        self._asked = blake2b(f"{self._asked} {typed.text}".encode("utf-8", "replace"), digest_size=8).hexdigest()
        shared = f"{self.origin} {self._asked}"
        self._requests.append(name)
        self.is_asked = True
        text, blocks = typed.text, typed.blocks
        if (wrapped := _WRAPPER.match(text)) is not None:
            # The whole of it is kept beside.
            text, blocks = wrapped[1].strip(), blocks or [{"type": "input_text", "text": text}]
        yield Requested(name, text, typed.at, "user", blocks, shared)

    def _state(self) -> Record:
        return {
            "introduced": self.is_introduced,
            "model": self.model,
            "items": self.has_items,
            "replies": self.replies.state(),
            "requests": self._requests[-_REMEMBERED:],
            "origin": self.origin,
            "asked": self._asked,
            "announcement": None if self.announcement is None else "",
        }


def at_of(line: Line) -> int | None:
    return moment_of(line.object.get("timestamp"))


def name_of(payload: Record, line: Line) -> str:
    """An item's own name; where it has none, its place."""
    return text_of(payload.get("id")) or f"byte {line.start}"
