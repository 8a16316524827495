"""Frames to calls. Each message becomes a call, a response to a request of the server's, or an answer that says what
is wrong with it.

A burst of many messages is decoded in slices, so that the event loop goes on meanwhile. Requests about the server
itself overtake a long burst.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from mandrake_sessions.connection.call import NOTIFICATION, Batch, Call, ReplyPath, release_frames
from mandrake_sessions.connection.duration import LARGE_MESSAGE, message_weight, value_weight
from mandrake_sessions.limits import MAX_BATCH
from mandrake_sessions.protocol.methods import METHODS, Access
from mandrake_sessions.protocol.words import WIRE_WORDS
from mandrake_sessions.transport.errors import batch_too_large, invalid_request, on_one_line
from mandrake_sessions.transport.framing import PREFIX_BYTES, Frame
from mandrake_sessions.transport.jsonrpc import (
    BrokenMessage,
    decode,
    decode_frame,
    envelope_fault,
    is_id,
    salvage_id,
)
from mandrake_sessions.transport.memory import reserve
from mandrake_sessions.transport.reader import Reader, frame_size

# Bytes of the longest request about the server itself; what each of them contains; the methods that none overtakes.
_URGENT_BYTES = 1024
_URGENT_MARK = b'"server/'
_ENDS = (b'"shutdown"', b'"exit"')
_TOO_LONG = f"raise {WIRE_WORDS.setting('max_message_bytes')} or send it in pieces"
# Requests about the server itself overtake others only if so many frames wait. Else their turn comes soon, and a client
# that reads answers in order meets no surprise.
MANY_FRAMES = 100


class Intake:
    """Decodes the frames of one connection in their order. ``route`` gets each call, and its exception is the answer to
    the call; ``respond`` gets the client's responses. While ``may_go_on`` is false, only requests about the server
    itself are decoded."""

    def __init__(
        self,
        reader: Reader,
        reply_path: ReplyPath,
        route: Callable[[Call, Any], None],
        respond: Callable[[dict[str, Any]], None],
        may_go_on: Callable[[], bool],
    ) -> None:
        self.max_message_bytes = 0
        # Whether a line is a message.
        self.is_by_lines = False
        self._reader = reader
        self._reply_path = reply_path
        self._route = route
        self._respond = respond
        self._may_go_on = may_go_on
        self._frames: deque[Frame] = deque()
        self._urgent: deque[Frame] = deque()
        # How many of the frames that wait may end the server. Counted, so that no request looks through all of them.
        self._ends = 0
        # The messages left of a batch, and the batch of their answers.
        self._batch: Batch | None = None
        self._messages: deque[Any] = deque()
        self._batch_is_large = False

    @property
    def is_empty(self) -> bool:
        return not self._frames and not self._messages and not self._urgent

    def add(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._queue(frame, may_overtake=len(self._frames) >= MANY_FRAMES)

    def _queue(self, frame: Frame, *, may_overtake: bool) -> None:
        if may_overtake and not self._ends and _is_urgent(frame):
            self._urgent.append(frame)
        else:
            self._frames.append(frame)
            self._ends += _may_end(frame)

    def work(self, seconds: float) -> None:
        """Decode waiting frames for about so many seconds."""
        until = time.monotonic() + seconds
        while not self.is_empty:
            if self._urgent:
                self._take(self._urgent.popleft())
            elif not self._may_go_on():
                self._pull_urgent()
                if not self._urgent:
                    return
                continue
            elif self._messages:
                self._take_of_batch(self._messages.popleft())
            else:
                self._take(self._next_frame())
            if time.monotonic() >= until:
                return

    def _pull_urgent(self) -> None:
        """Find the requests about the server itself among the frames that have to wait."""
        waiting, self._frames, self._ends = self._frames, deque(), 0
        for frame in waiting:
            self._queue(frame, may_overtake=True)

    def _next_frame(self) -> Frame:
        frame = self._frames.popleft()
        if self._ends:
            self._ends -= _may_end(frame)
        return frame

    def work_urgent(self) -> None:
        """Decode one request about the server itself, if there is one."""
        if self._urgent:
            self._take(self._urgent.popleft())

    def _take(self, frame: Frame) -> None:
        """Decode one frame. Any exception in that is its answer."""
        size = frame_size(frame)
        release = partial(self._reader.done, size)
        weight = message_weight(frame) if isinstance(frame, bytes) else 0
        try:
            value = decode_frame(frame, self.max_message_bytes, _TOO_LONG)
            if isinstance(value, list):
                self._begin_batch(value, size, weight)
                return
        except BrokenMessage as broken:
            is_part = self.is_by_lines and broken.error.kind == "parse" and not _is_whole(frame)
            self._refuse(broken.id, on_one_line(broken.error) if is_part else broken.error, None, release)
            return
        except Exception as error:
            # For lack of memory, above all: free what was decoded so far before the answer is made.
            reserve.spend()
            release_frames(error)
            self._refuse(_id_at_beginning(frame), error, None, release)
            return
        self._accept(value, None, release, weight)

    def _begin_batch(self, messages: list[Any], size: int, weight: int) -> None:
        """Raises BrokenMessage for a batch that gets one answer as a whole."""
        count = len(messages)
        if not count:
            raise BrokenMessage(invalid_request("an empty batch"))
        if count > MAX_BATCH:
            raise BrokenMessage(batch_too_large(count, MAX_BATCH))
        self._reader.found(count)
        self._batch = Batch(self._reply_path.outbound, count, partial(self._reader.done, size, count))
        # Else none of its messages is large. Weighing one takes longer than decoding it.
        self._batch_is_large = weight > LARGE_MESSAGE
        self._messages.extend(messages)

    def _take_of_batch(self, message: Any) -> None:
        # Small messages are the rule, and a batch may hold very many.
        self._accept(message, self._batch, _nothing, value_weight(message) if self._batch_is_large else 0)

    def _accept(self, message: Any, batch: Batch | None, release: Callable[[], None], weight: int) -> None:
        """Queue one message, carry it out at once, or refuse it."""
        fault = envelope_fault(message)
        if fault is not None:
            found = message.get("id") if isinstance(message, dict) else None
            self._refuse(found if is_id(found) else None, invalid_request(fault), batch, release)
            return
        name = message.get("method")
        if name is None:
            release()
            if batch is not None:
                batch.add(None)
            self._respond(message)
            return
        given = message.get("params")
        params = {} if given is None else given
        message_id = message.get("id", NOTIFICATION)
        call = Call(message_id, name, METHODS.get(name), params, self._reply_path, batch, release, weight)
        try:
            if self._reply_path.trace.is_on:
                self._reply_path.trace.received(call)
            self._route(call, params)
        except Exception as error:
            call.fail(error)

    def _refuse(self, message_id: Any, error: Exception, batch: Batch | None, release: Callable[[], None]) -> None:
        Call(message_id, "", None, {}, self._reply_path, batch, release).fail(error)


def _is_urgent(frame: Frame) -> bool:
    """Whether it is a request about the server itself. Each frame of a long burst is asked: the bytes are looked at
    before they are decoded, and any text may contain the mark."""
    if not (isinstance(frame, bytes) and len(frame) <= _URGENT_BYTES and _URGENT_MARK in frame):
        return False
    try:
        message = decode(frame)
    except BrokenMessage:
        return False
    name = message.get("method") if isinstance(message, dict) else None
    method = METHODS.get(name) if isinstance(name, str) else None
    return method is not None and method.access is Access.SERVICE


def _may_end(frame: Frame) -> bool:
    """Whether a short message contains the name of a method that none overtakes."""
    if not isinstance(frame, bytes) or len(frame) > _URGENT_BYTES:
        return False
    return _ENDS[0] in frame or _ENDS[1] in frame


def _is_whole(frame: Frame) -> bool:
    """Whether a broken line begins and ends as a message does."""
    return isinstance(frame, bytes) and frame[:1] in (b"{", b"[") and frame[-1:] in (b"}", b"]") and len(frame) > 1


def _nothing() -> None:
    """The reader releases a batch as one unit."""


def _id_at_beginning(frame: Frame) -> Any:
    return salvage_id(frame[:PREFIX_BYTES]) if isinstance(frame, bytes) else None
