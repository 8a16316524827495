"""A received message and its answer: exactly one for a request, none for a notification."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

from mandrake_sessions.connection.answers import carry_through, encode_answer
from mandrake_sessions.connection.metrics import Metrics
from mandrake_sessions.connection.trace import Trace, shown_name
from mandrake_sessions.model import Appended
from mandrake_sessions.protocol.errors import error_object
from mandrake_sessions.protocol.methods import Method
from mandrake_sessions.quoting import shorten
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.transport.errors import INTERNAL_ERROR, NO_INCIDENT
from mandrake_sessions.transport.jsonrpc import (
    Id,
    encode,
    encode_value,
    error_message,
    notification_message,
    result_message,
)
from mandrake_sessions.transport.memory import reserve
from mandrake_sessions.transport.outbound import Outbound
from mandrake_sessions.transport.spool import Encoded, Spool, discard

logger = logging.getLogger(__name__)

NOTIFICATION: Final = object()


def encode_receipt(message_id: Id, receipt: Appended) -> bytes:
    """What ``encode`` gives for the answer; the turn's id is a checked UUID, so nothing in it needs an escape."""
    shown_id = message_id if type(message_id) is int else encode_value(message_id)
    return (
        f'{{"jsonrpc":"2.0","id":{shown_id},"result":{{"turnId":"{receipt.turn_id}","seq":{receipt.seq},'
        f'"chunk":{receipt.chunk},"chunkCount":{receipt.chunk_count}}}}}'
    ).encode("ascii")


class ReplyPath:
    """The way of every answer of a connection: the outbound queue, the counts and the trace."""

    def __init__(self, outbound: Outbound, metrics: Metrics, trace: Trace) -> None:
        self.outbound = outbound
        self.metrics = metrics
        self.trace = trace


class Batch:
    """The answers of a JSON-RPC batch. They are sent together after the last one, and then ``on_answered`` is called.
    Until then they wait as a long answer does: in a file, beyond 1 MiB."""

    def __init__(self, outbound: Outbound, expected: int, on_answered: Callable[[], None]) -> None:
        self._outbound = outbound
        self._missing = expected
        self._on_answered = on_answered
        self._answers = Spool()
        # Of the answered requests: if there is no room for their answers, each gets an error.
        self._ids: list[Id] = []
        self._is_lost = False

    def add(self, answer: Encoded | None, message_id: Id = None) -> None:
        """One message of the batch is done. ``answer``: None for a notification."""
        self._missing -= 1
        try:
            if answer is not None:
                self._ids.append(message_id)
                self._write(answer)
            if not self._missing:
                self._send()
        finally:
            if not self._missing:
                self._on_answered()

    def _write(self, answer: Encoded) -> None:
        if self._is_lost:
            discard(answer)
            return
        try:
            self._answers.write(b"," if self._answers.size else b"[")
            self._answers.add(answer)
        except Exception:
            logger.exception("the answers of a batch could not be kept")
            discard(answer)
            self._lose()

    def _lose(self) -> None:
        self._is_lost = True
        self._answers.discard()

    def _send(self) -> None:
        """Send all answers together; where there is no room for them, an error for each."""
        if not self._ids:
            return
        if not self._is_lost:
            try:
                self._answers.write(b"]")
                self._outbound.send_encoded(self._answers.finish())
            except Exception:
                logger.exception("the answers of a batch could not be sent")
                self._lose()
        if self._is_lost:
            self._outbound.send_encoded(b"[" + b",".join(map(spare_answer, self._ids)) + b"]")


class Call:
    """A request or notification. ``arrived``: on the monotonic clock, in seconds; ``name``: the method's, as the client
    sent it; empty if the message names none."""

    def __init__(
        self,
        message_id: Any,
        name: str,
        method: Method | None,
        params: Any,
        reply_path: ReplyPath,
        batch: Batch | None,
        on_answered: Callable[[], None],
        weight: int = 0,
    ) -> None:
        self.id: Id = None if message_id is NOTIFICATION else message_id
        self.is_request = message_id is not NOTIFICATION
        self.name = name
        self.method = method
        self.params = params
        # Bytes of the message, with more for its values; or 0 for one of a batch of small messages.
        self.weight = weight
        self.arrived = time.monotonic()
        self.answered = False
        # Which store it is about, or why there is none; set when it is queued.
        self.place: StorePlace | None = None
        # Whether it is about all stores, or one that is named by its id, and so about no place yet.
        self.asks_others = False
        self.failed: Exception | None = None
        # Whether it is a write for a thread; None until that is decided.
        self.is_long: bool | None = None
        self._reply_path = reply_path
        self._batch = batch
        self._on_answered = on_answered

    @property
    def waited(self) -> float:
        """Seconds since it arrived."""
        return time.monotonic() - self.arrived

    def has_id(self, message_id: Any) -> bool:
        """Whether it is a request with this id that has no answer yet; 1 and 1.0 are two ids."""
        return self.is_request and self.id == message_id and type(self.id) is type(message_id) and not self.answered

    def succeed(self, result: Any) -> None:
        """Answer with a JSON value; with an error if it cannot be encoded."""
        if self.answered:
            return
        try:
            answer = encode(result_message(self.id, result)) if self.is_request else b""
        except Exception as error:
            self.fail(error)
        else:
            self._answer(answer)

    def encode_result(self, result: Any) -> Encoded:
        """The whole answer to what a handler gave, for ``succeed_encoded``. Rows of it are read, and operations of a
        transaction carried out, here: so it is called inside the pin or transaction. May be called on another thread.
        """
        if not self.is_request:
            carry_through(result)
            return b""
        directory = None if self.place is None else self.place.directory
        return encode_answer(self.id, result, directory)

    def succeed_encoded(self, answer: Encoded) -> None:
        """Answer with what ``encode_result`` gave."""
        self._answer(answer)

    def acknowledge(self, receipt: Appended) -> None:
        """Answer an append. It is written by hand, since there are more of these than of all other answers: encoding
        a dictionary takes four times as long."""
        self._answer(encode_receipt(self.id, receipt) if self.is_request else b"")

    def fail(self, error: BaseException) -> None:
        """Answer with an error. The error of a notification goes to the log, its message only at debug level, since it
        may quote the client. It always answers: where there is no memory to describe the error, with one that needs
        almost none."""
        if self.answered:
            return
        try:
            described = _described(error)
            answer = encode(error_message(self.id, described)) if self.is_request else b""
        except MemoryError:
            reserve.spend()
            release_frames(error)
            self._answer(self._spare(), failed=True)
            return
        if not self.is_request:
            # In the server's own words, since the message of an error may quote the client.
            logger.warning("notification %s failed: %s", shown_name(self.name), _why(described["data"]))
            logger.debug("notification %s failed: %s", self.name, described["message"])
            if self.name == "turn/append":
                self._reply_path.outbound.send(notification_message("turn/rejected", self._rejected(described)))
        self._answer(answer, failed=True)
        if described["data"]["kind"] == "internal":
            release_frames(error)

    def _rejected(self, error: dict[str, Any]) -> dict[str, Any]:
        """The params of ``turn/rejected``: an append without an id must not fail in silence (protocol, section 4)."""
        params = self.params if isinstance(self.params, dict) else {}
        turn_id, chunk = params.get("turnId"), params.get("chunk")
        return {
            "turnId": shorten(turn_id) if isinstance(turn_id, str) else None,
            "chunk": chunk if isinstance(chunk, int) and not isinstance(chunk, bool) else None,
            "error": error,
        }

    def _answer(self, answer: Encoded, *, failed: bool = False) -> None:
        """The one place where a call ends. It frees the call's place in the queue even if the answer cannot be sent."""
        if self.answered:
            discard(answer)
            return
        self.answered = True
        try:
            self._send(answer)
        except Exception:
            # The caller goes on with the next call. The outbound queue reports its own failure.
            logger.exception("an answer could not be sent")
        finally:
            self._on_answered()
            # A cancelled call may stay referenced for a while by the thread that carries it out.
            self.params = None
            self._tell(len(answer), failed=failed)

    def _send(self, answer: Encoded) -> None:
        if self._batch is not None:
            self._batch.add(answer if len(answer) else None, self.id)
            return
        if not len(answer):
            return
        try:
            self._reply_path.outbound.send_encoded(answer)
        except MemoryError:
            reserve.spend()
            # The answer is made, but there is no room for another copy of it.
            discard(answer)
            del answer
            self._reply_path.outbound.send_encoded(self._spare())

    def _spare(self) -> bytes:
        """An error whose making needs no more memory than the id of the request."""
        return b"" if not self.is_request else spare_answer(self.id)

    def _tell(self, size: int, *, failed: bool) -> None:
        path = self._reply_path
        seconds = time.monotonic() - self.arrived
        path.metrics.answered(self.name, seconds, failed=failed)
        if path.trace.is_on:
            path.trace.answered(self, seconds, size, failed=failed)


def spare_answer(message_id: Id) -> bytes:
    """The error for a request whose own answer, or its description, needs more memory than there is."""
    try:
        shown_id = encode_value(message_id)
    except Exception:
        shown_id = "null"
    return (
        f'{{"jsonrpc":"2.0","id":{shown_id},"error":{{"code":{INTERNAL_ERROR},"message":"the server has no memory for'
        ' this request; send it again, or less at a time","data":{"kind":"internal","retryable":true,"incident":"'
        + NO_INCIDENT
        + '"}}}'
    ).encode("ascii")


def release_frames(error: BaseException | None) -> None:
    """Free what the frames of a traceback hold: after a failure for lack of memory, that is most of the memory."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _described(error: BaseException) -> dict[str, Any]:
    """The error as the wire has it. Where that cannot be made, it is the fault of this program: ``internal``. Raises
    MemoryError."""
    try:
        return error_object(error)
    except MemoryError:
        raise
    except Exception as fault:
        return error_object(fault)


def _why(data: dict[str, Any]) -> str:
    """What went wrong, in the server's own words."""
    kind = str(data["kind"])
    return f"{kind}: {data['reason']}" if kind in ("conflict", "storage") else kind
