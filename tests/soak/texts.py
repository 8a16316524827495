"""Texts that can be made again from a few numbers, so that megabytes that were sent need not be kept."""

from __future__ import annotations

import random
from functools import cache

from attrs import frozen

_POOL_LENGTH = 300_000
_WORDS = ("lorem ", "жуй ", "🙂", "\u0000", "\n", '"\\', "漢字", "é", "\u2028", "x", '{"jsonrpc":"2.0"}', "</b>", "\t")


@cache
def _pool() -> str:
    chance = random.Random(0)
    return "".join(chance.choices(_WORDS, k=_POOL_LENGTH))[:_POOL_LENGTH]


@frozen
class Text:
    """``size`` characters; from 20 on, two of them with different tags are never alike."""

    tag: str
    offset: int
    size: int

    def __str__(self) -> str:
        if self.size < 20:
            return _pool()[self.offset : self.offset + self.size]
        pool = _pool()
        head = f"<{self.tag}>"
        length = self.size - len(head)
        return head + (pool[self.offset :] + pool * (length // len(pool) + 1))[:length]


def any_text(chance: random.Random, tag: str, size: int) -> Text:
    return Text(tag, chance.randrange(_POOL_LENGTH - 20), size)


def any_size(chance: random.Random) -> int:
    """Mostly the pieces of a model's stream; now and then one byte, and whole files."""
    kind = chance.random()
    if kind < 0.35:
        return 1
    if kind < 0.90:
        return chance.randrange(20, 400)
    if kind < 0.97:
        return chance.randrange(400, 40_000)
    if kind < 0.9985:
        return chance.randrange(40_000, 300_000)
    return chance.randrange(1_000_000, 6_000_000)
