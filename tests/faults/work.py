"""What is written in these tests: every kind of write, alone and in bursts, small and large, from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from faults.ledger import Params, new_id

# Writes that are sent together.
Batch = list[tuple[str, Params]]


class Conversation:
    """A session with a round, whose ids the client has given."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.session, self.round, self.request, self.response = (new_id(chance) for _ in range(4))

    def create(self) -> Iterator[Batch]:
        yield [("session/create", {"id": self.session, "title": text(self.chance, 20)})]
        yield [("round/create", self.new_round())]

    def new_round(self) -> Params:
        return {
            "sessionId": self.session,
            "id": self.round,
            "requestId": self.request,
            "responseId": self.response,
            "content": text(self.chance, 100),
        }

    def turn(self, **fields: Any) -> tuple[str, tuple[str, Params]]:
        """The id of a new turn, and the write that makes it."""
        turn_id = new_id(self.chance)
        return turn_id, ("turn/create", {"responseId": self.response, "id": turn_id, **fields})


def text(chance: random.Random, size: int) -> str:
    """So many characters, which compress badly and are not all ASCII."""
    words = (f"{chance.getrandbits(64):x}é" for _ in range(size // 12 + 1))
    return " ".join(words)[:size]


def pieces(chance: random.Random, turn_id: str, first: int, count: int, size: int) -> Batch:
    """Appends that say which they are, so that each can be sent again."""
    return [
        ("turn/append", {"turnId": turn_id, "chunk": n, "content": text(chance, chance.randint(1, size))})
        for n in range(first, first + count)
    ]


def every_write(chance: random.Random) -> Iterator[Batch]:
    """Each write method, in a conversation of its own, one at a time."""
    one, two = Conversation(chance), Conversation(chance)
    for conversation in (one, two):
        yield from conversation.create()
    turn_id, create = one.turn(content="begun ", toolCalls=[{"id": "call", "title": "reads"}])
    yield [create]
    yield from ([piece] for piece in pieces(chance, turn_id, 0, 3, 300))
    yield [("turn/append", {"turnId": turn_id, "chunk": 3, "rawResponse": "{}", "outputTokens": 4})]
    yield [("turn/update", {"turnId": turn_id, "metadata": {"of": text(chance, 30)}})]
    yield [("toolCall/upsert", {"turnId": turn_id, "toolCall": {"id": "call", "title": "has read"}})]
    yield [("toolCall/upsert", {"turnId": turn_id, "toolCall": {"id": "other", "title": "writes"}})]
    yield [("toolCall/delete", {"turnId": turn_id, "toolCallId": "call"})]
    yield [("turn/update", {"turnId": turn_id, "status": "completed", "outputTokens": 5})]
    yield [("session/update", {"sessionId": one.session, "title": text(chance, 20), "archived": True})]
    yield [("round/update", {"roundId": one.round, "metadata": {"of": text(chance, 30)}})]
    yield [("request/update", {"requestId": one.request, "content": text(chance, 50)})]
    yield [("response/update", {"responseId": one.response, "status": "completed"})]
    yield [transaction(two)]
    yield [("turn/delete", {"turnId": turn_id})]
    yield [("round/delete", {"roundId": one.round})]
    yield [("session/delete", {"sessionId": one.session})]


def transaction(conversation: Conversation) -> tuple[str, Params]:
    """A turn begun, streamed and ended, and its session renamed: all or nothing."""
    turn_id, create = conversation.turn(content="in one go: ")
    writes: Batch = [
        create,
        *pieces(conversation.chance, turn_id, 0, 5, 200),
        ("turn/update", {"turnId": turn_id, "status": "completed"}),
        ("session/update", {"sessionId": conversation.session, "title": text(conversation.chance, 20)}),
    ]
    return "transaction/run", {"operations": [{"method": method, "params": params} for method, params in writes]}


def mixed(chance: random.Random, *, large: int = 300_000) -> Iterator[Batch]:
    """A bit of everything: appends alone and in bursts, folds by their number and by their size, and enough text that
    the -wal is checkpointed on the way (twice its 1,000 pages, with the ``large`` that is the default)."""
    yield from every_write(chance)
    kept = Conversation(chance)
    yield from kept.create()
    short, create_short = kept.turn()
    long, create_long = kept.turn()
    yield [create_short]
    yield from ([piece] for piece in pieces(chance, short, 0, 25, 2000))
    yield pieces(chance, short, 25, 60, 300)
    yield [create_long]
    for first in range(0, 24, 4):
        yield pieces(chance, long, first, 3, large)
        yield from ([piece] for piece in pieces(chance, long, first + 3, 1, 500))
        yield from ([piece] for piece in pieces(chance, short, 85 + first, 4, 500))
    yield [("turn/update", {"turnId": long, "status": "completed"})]
    yield [transaction(kept)]
    yield from every_write(chance)
    yield pieces(chance, short, 109, 60, 100)
    yield from ([piece] for piece in pieces(chance, short, 169, 12, 500))
