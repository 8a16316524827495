"""Notifications of changes, each encoded once, however many subscriptions get it.

Only the id of the subscription differs, and it stands first. The bytes after it are shared, also in the outbound queue.
"""

from __future__ import annotations

from collections.abc import Callable

from mandrake_sessions.connection.answers import SLICE, encode_text, object_parts
from mandrake_sessions.connection.subscription import Subscription
from mandrake_sessions.model import Change, ChangeKind, Session

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

    def message(self, subscription: Subscription, run: list[Change]) -> tuple[bytes, ...]:
        """The notification of a run of joined changes, in parts."""
        key = (run[0].seq, run[-1].seq, *subscription.variant)
        rest = self._kept.get(key)
        if rest is None:
            rest = self._encode(subscription, run)
            self._keep(key, rest)
        return (subscription.beginning, *rest)

    def forget(self) -> None:
        self._kept.clear()
        self._size = 0

    def _encode(self, subscription: Subscription, run: list[Change]) -> tuple[bytes, ...]:
        if len(run) == 1 and is_short_piece(run[0]):
            _, raw, text = subscription.variant
            return (encode_piece(run[0], raw=raw, text=text),)
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


def is_short_piece(change: Change) -> bool:
    """Whether it is an append that ``encode_piece`` takes: one message in one part, with ids that need no escape.
    Anybody may have written an id into the file."""
    if change.kind is not ChangeKind.TURN_APPENDED:
        return False
    ids = f"{change.session_id}{change.round_id}{change.response_id}{change.turn_id}"
    is_short = len(change.content or "") + len(change.raw_response or "") < SLICE
    return is_short and ids.isascii() and ids.replace("-", "").isalnum()


def encode_piece(change: Change, *, raw: bool, text: bool) -> bytes:
    """The notification of an append behind its subscription's id. It is written by hand, as the answer to an append is:
    encoding a dictionary takes several times as long. Nothing but the texts needs an escape."""
    texts = b'"content":"' + encode_text(change.content or "") + b'",' if text else b""
    if raw and text and change.raw_response is not None:
        texts += b'"rawResponse":"' + encode_text(change.raw_response) + b'",'
    before = (
        f',"seq":{change.seq},"kind":"appended","sessionId":"{change.session_id}","roundId":"{change.round_id}",'
        f'"responseId":"{change.response_id}","turnId":"{change.turn_id}","index":{change.index},'
        f'"status":"{change.status}","firstChunk":{change.first_chunk},"lastChunk":{change.last_chunk},'
    )
    after = f'"currentTokens":{change.current_tokens},"outputTokens":{change.output_tokens}}}}}'
    return before.encode("ascii") + texts + after.encode("ascii")
