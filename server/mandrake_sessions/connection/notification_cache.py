"""Notifications of changes, each encoded once, however many subscriptions get it.

Only the id of the subscription differs, and it stands first. The bytes after it are shared, also in the outbound queue.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from mandrake_sessions.connection.answers import SLICE, encode_text, object_parts
from mandrake_sessions.connection.subscription import ServerSubscription
from mandrake_sessions.model import Change, ChangeKind, Session, TurnStatus

# Bytes. What was encoded last is kept beyond that, in two variants: with and without raw responses.
KEPT_BYTES = 1024 * 1024
_VARIANTS = 2

_Key = tuple[int, int, bool, bool, bool]


class NotificationCache:
    """The newest notifications without their subscription. ``find_session``: the session as it is now."""

    def __init__(self, find_session: Callable[[str], Session | None]) -> None:
        self._find_session = find_session
        self._kept: dict[_Key, tuple[bytes, ...]] = {}
        self._size = 0

    def message(self, subscription: ServerSubscription, run: list[Change], *, is_shared: bool) -> tuple[bytes, ...]:
        """The notification of a run of joined changes, in parts. ``is_shared``: other subscriptions may get it too."""
        if not is_shared:
            return (subscription.beginning, *self._encode(subscription, run))
        key = (run[0].seq, run[-1].seq, *subscription.variant)
        rest = self._kept.get(key)
        if rest is None:
            rest = self._encode(subscription, run)
            self._keep(key, rest)
        return (subscription.beginning, *rest)

    def forget(self) -> None:
        self._kept.clear()
        self._size = 0

    def _encode(self, subscription: ServerSubscription, run: list[Change]) -> tuple[bytes, ...]:
        _, raw, text = subscription.variant
        piece = encode_piece(run[0], raw=raw, text=text) if len(run) == 1 else None
        if piece is not None:
            return (piece,)
        session = None if subscription.turns else self._find_session(run[-1].session_id)
        params = subscription.params(run, session)
        del params["subscriptionId"]
        first, *others = object_parts(params)
        if not others:
            return (b"," + first[1:] + b"}",)
        return (b"," + first[1:], *others, b"}")

    def _keep(self, key: _Key, rest: tuple[bytes, ...]) -> None:
        self._kept[key] = rest
        self._size += sum(map(len, rest))
        while self._size > KEPT_BYTES and len(self._kept) > _VARIANTS:
            oldest = next(iter(self._kept))
            self._size -= sum(map(len, self._kept.pop(oldest)))


def encode_piece(change: Change, *, raw: bool, text: bool) -> bytes | None:
    """The notification of a short append behind its subscription's id; None for any other change. It is written by
    hand, as the answer to an append is: encoding a dictionary takes several times as long."""
    if change.kind is not ChangeKind.TURN_APPENDED:
        return None
    content, raw_response = change.content or "", change.raw_response
    if len(content) + len(raw_response or "") >= SLICE:
        return None
    turn = _same_for_all(
        change.session_id, change.round_id, change.response_id, change.turn_id, change.index, change.status
    )
    if turn is None:
        return None
    texts = b'"content":"' + encode_text(content) + b'",' if text else b""
    if raw and text and raw_response is not None:
        texts += b'"rawResponse":"' + encode_text(raw_response) + b'",'
    return (
        f',"seq":{change.seq},"kind":"appended",'.encode("ascii")
        + turn
        + f'"firstChunk":{change.first_chunk},"lastChunk":{change.last_chunk},'.encode("ascii")
        + texts
        + f'"currentTokens":{change.current_tokens},"outputTokens":{change.output_tokens}}}}}'.encode("ascii")
    )


@lru_cache(maxsize=64)
def _same_for_all(
    session_id: str,
    round_id: str | None,
    response_id: str | None,
    turn_id: str | None,
    index: int | None,
    status: TurnStatus | None,
) -> bytes | None:
    """The fields that are the same in the notifications of all pieces of a turn; None where an id needs an escape.
    Anybody may have written it into the file."""
    ids = f"{session_id}{round_id}{response_id}{turn_id}"
    if not (ids.isascii() and ids.replace("-", "").isalnum()):
        return None
    return (
        f'"sessionId":"{session_id}","roundId":"{round_id}","responseId":"{response_id}","turnId":"{turn_id}",'
        f'"index":{index},"status":"{status}",'
    ).encode("ascii")
