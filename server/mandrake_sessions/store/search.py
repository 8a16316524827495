"""What searching needs of a store: an index of the words and of the parts of words in its texts.

An index is a copy that can be lost: it stands beside the entities, is filled after them, and tells how far it is. Its
documents are pieces of text, each one field of one entity. It knows them by the numbers (pk) of the entities, so what
is true of an entity now is asked of the store, and a document of an entity that is gone means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from enum import IntEnum
from typing import Protocol

from attrs import frozen


class IndexLost(Exception):
    """The index cannot be read any more: it is damaged, or gone. The store is not affected."""


class Part(IntEnum):
    """Which text of an entity a document is. The numbers are stored."""

    TITLE = 0
    REQUEST = 1
    CONTENT = 2
    ARGUMENTS = 3
    RESPONSE = 4
    OUTPUT = 5


@frozen
class Document:
    """A text and whose it is. ``owner``: the pk of the session, round or turn; ``call``: that of the tool call, else 0;
    ``piece``: a long text is several documents. ``seq``: of the owner's last change; 0 where it has none of its own."""

    session: int
    owner: int
    part: Part
    call: int
    piece: int
    seq: int
    text: str


@frozen
class Found:
    """A document that may match. ``closeness``: from 0 to 1, how much of it is about the words; ``nearness``: 0 where
    they stand anywhere, 1 near each other, 2 one after the other."""

    number: int
    session: int
    owner: int
    part: Part
    call: int
    piece: int
    size: int
    closeness: float = 0.0
    nearness: int = 0


@frozen
class Words:
    """A phrase of words; with ``is_prefix`` the last one may go on."""

    words: tuple[str, ...]
    is_prefix: bool


@frozen
class Within:
    """Which documents are looked at: those numbered below ``below``, the latest ``most`` of them that match; of one
    session, and of some parts alone, where that is given."""

    below: int
    most: int
    session: int | None = None
    parts: frozenset[Part] | None = None


@frozen
class Progress:
    """How far an index is: it holds what the feed told up to ``position``, and what stood before it up to the row
    ``scanned`` of the table with the number ``stage``; None when all of that is in it."""

    position: int
    stage: int | None = None
    scanned: int = 0


class SearchReader(Protocol):
    """One state of an index."""

    @property
    def name(self) -> str:
        """Its numbers mean nothing in an index of another name."""

    @property
    def store_id(self) -> str: ...
    @property
    def progress(self) -> Progress: ...
    @property
    def last(self) -> int:
        """The greatest number of a document."""

    def words(self, wanted: Sequence[Words], within: Within) -> list[Found]:
        """Documents that have all of these phrases, latest first."""

    def parts(self, wanted: Sequence[str], within: Within) -> list[Found]:
        """Documents that may have all of these texts, of three characters or more, anywhere; latest first."""

    def put_off_sessions(self, most: int) -> list[tuple[int, int]]:
        """What ``SearchWriter.put_off`` was told, some of it."""


class SearchWriter(SearchReader, Protocol):
    """A transaction on an index."""

    def set_progress(self, progress: Progress) -> None: ...
    def replace(
        self, session: int, owner: int, documents: Iterable[Document], most: int, seq: int | None = None
    ) -> tuple[int, bool]:
        """Make these the documents of an entity, in place of those that it has; gives how many bytes were put in, and
        whether that is all. After ``most`` bytes it stops: called again with the same, it goes on. With ``seq`` nothing
        is asked of ``documents`` where it has some of the entity, all as of that change."""

    def owners(self, session: int) -> list[int]:
        """The entities of a session that have documents."""

    def remove(self, session: int, owners: Iterable[int]) -> None:
        """Forget their documents."""

    def sessions(self, after: int, most: int) -> list[int]:
        """The sessions that have documents, in order of their numbers."""

    def put_off(self, session: int, after: int) -> None:
        """Remember that what the session holds is still to be put in, from this number on."""

    def done(self, session: int) -> None:
        """What was put off is in."""

    def to_compact(self, most: int) -> list[tuple[int, int]]:
        """Sessions and owners whose documents should be put in again (``again``), so that what was forgotten before
        leaves the index for good; none where too little was forgotten. Frees what can be freed."""

    def again(self, session: int, owner: int) -> None:
        """Forget the documents of an entity; its next ``replace`` puts all of them in."""


class SearchIndex(Protocol):
    """The index of one store. It may be used by any thread. Raises StorageFailure where this program cannot
    search at all."""

    @property
    def trouble(self) -> str | None:
        """Why it cannot be filled, and what to do; None where it can."""

    @property
    def is_wanted(self) -> bool:
        """Whether another thread of this process was told Busy since the last transaction began."""

    def current(self) -> str | None:
        """The name of the index that is there; None where there is none."""

    def reading(self) -> AbstractContextManager[SearchReader | None]:
        """One state of it for the block; None where there is no index that can be read. Raises IndexLost, at any
        statement of the block."""

    def writing(self, store_id: str) -> AbstractContextManager[SearchWriter]:
        """A transaction for the block, in an index of that store, made new where there is none or it is damaged.
        Raises Busy at once where somebody else fills it, and StorageFailure."""

    def remove(self) -> None:
        """Delete it: it is filled again from the beginning. Raises StorageFailure."""
