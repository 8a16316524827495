"""The notification of an append is written by hand: it has to equal what is encoded from the params."""

from __future__ import annotations

import json
from itertools import product

import pytest
from attrs import evolve

from mandrake_sessions.connection.answers import SLICE
from mandrake_sessions.connection.notification_cache import encode_piece
from mandrake_sessions.ids import new_id
from mandrake_sessions.model import Change, ChangeKind, TurnStatus
from mandrake_sessions.protocol.notifications import turn_updated
from mandrake_sessions.transport.jsonrpc import encode

PIECE = Change(
    seq=2**53,
    kind=ChangeKind.TURN_APPENDED,
    session_id=new_id(),
    round_id=new_id(),
    response_id=new_id(),
    turn_id=new_id(),
    index=3,
    status=TurnStatus.STREAMING,
    first_chunk=4,
    last_chunk=7,
    content="text",
    current_tokens=8,
    output_tokens=9,
)
TEXTS = [None, "", "text", '"\\\n\x00\x7f', "\u00e9\u2028\u2029\x85\U0001f600"]


@pytest.mark.parametrize(("content", "raw_response"), list(product(TEXTS, TEXTS)))
@pytest.mark.parametrize(("raw", "text"), list(product([False, True], [False, True])))
def test_it_equals_what_the_encoder_makes(content: str | None, raw_response: str | None, raw: bool, text: bool) -> None:
    change = evolve(PIECE, content=content, raw_response=raw_response)
    subscription = new_id()
    expected = encode(turn_updated(subscription, change, raw=raw, text=text))
    piece = encode_piece(change, raw=raw, text=text)
    assert piece is not None
    ours = b'{"subscriptionId":"' + subscription.encode() + b'"' + piece
    assert ours == expected + b"}"
    assert json.loads(ours[:-1])["turnId"] == change.turn_id


def test_what_is_long_or_no_append_is_encoded_as_ever() -> None:
    def is_short(change: Change) -> bool:
        return encode_piece(change, raw=True, text=True) is not None

    assert is_short(evolve(PIECE, content="x" * (SLICE - 1)))
    assert not is_short(evolve(PIECE, content="x" * SLICE))
    assert not is_short(evolve(PIECE, content=None, raw_response="x" * SLICE))
    assert not is_short(evolve(PIECE, kind=ChangeKind.TURN_UPDATED))
    assert not is_short(evolve(PIECE, turn_id='"'))
