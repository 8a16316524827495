"""The exceptions of this package. They know no wire codes.

    SessionsError
    ├── InvalidValue            a value breaks a rule of its field
    │   └── TooLarge            … by its size
    ├── NotFound                no entity of that name
    ├── Conflict                the value conflicts with what is stored
    ├── Cancelled               the caller cancelled the request
    ├── FeedPruned              the store no longer keeps changes that a listener has not received
    ├── NotOpen                 the manager is not open
    ├── WorkspaceNotFound       a folder that the client never named, or that does not exist
    └── StoreError              the file is at fault, not the request
        ├── Busy                another process held the write lock for too long
        └── StorageFailure      opening, reading or writing failed; see StorageReason
            ├── Unreadable      … one value, row or table of the file is odd, the rest is fine
            │   └── StrangePart … another program put something on our tables
            ├── StoreMoved      … because somebody deleted, replaced or moved the store
            └── NoStore         … because nothing was stored there yet

Every message says what was wrong, with which value, and what to do. It does so in Python's words; ``worded`` gives it
in the words of another reader (``protocol/words.py``). ``protocol/errors.py`` gives each its code.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Literal

from mandrake_sessions.quoting import shorten


class StorageReason(StrEnum):
    """Why a store cannot do what a caller asked. The words are those of the wire."""

    CREATE_DIRECTORY = "createDirectory"
    """The directory of the store could not be made."""
    OPEN = "open"
    """The file could not be opened, or the store was closed meanwhile."""
    MIGRATE = "migrate"
    """The file has an older schema, and bringing it to this program's failed; nothing was changed."""
    READ_ONLY = "readOnly"
    """The file, or its directory, may only be read. Reads go on."""
    FULL = "full"
    """The disk, or a quota, has no room."""
    CORRUPT = "corrupt"
    """The file is damaged; with `entity` and `id`, that entity alone, and the rest goes on."""
    SCHEMA_TOO_NEW = "schemaTooNew"
    """A newer release wrote the file, and this one must not use it."""
    FOREIGN_DATABASE = "foreignDatabase"
    """The file is the database of another program."""
    UNSUPPORTED_FILESYSTEM = "unsupportedFilesystem"
    """The file system cannot lock the file as SQLite needs it, as on many network file systems."""
    IO = "io"
    """Reading or writing failed, or the file was deleted, replaced or moved just now; then it is retryable."""


ConflictReason = Literal[
    "idInUse",
    "externalIdInUse",
    "ambiguous",
    "chunkGap",
    "chunkDiffers",
    "turnEnded",
    "endTime",
    "tooManySubscriptions",
]
"""Why a request contradicts what is stored.

idInUse: an entity with this `id` was made with other params; send the first params again, or another `id`.
externalIdInUse: another session of this agent has the `externalId`; `actual` is that session's id.
ambiguous: sessions of several agents have the `externalId`; `candidates` are their ids. Give `agent` too.
chunkGap: pieces before this `chunk` are missing; `expected` is the next ordinal, `actual` the one that was sent.
chunkDiffers: the piece of this ordinal is stored with another text; `expected` is the next ordinal of the turn.
turnEnded: the turn has ended, so its text is final; `actual` is its status. Create another turn.
endTime: the given end time contradicts the status, as an end of a turn that streams.
tooManySubscriptions: this connection has as many subscriptions as it may have; `expected` is that number. End one.
"""


class Words:
    """The words that messages use for things: here those of Python."""

    # What mends a store.
    mend = "`maintenance.repair`"
    # What names a store to work on.
    store = "database"
    # How to do the same once more.
    again = "try again"

    def field(self, name: str) -> str:
        """A field of an entity, or an argument of a function of ``maintenance``."""
        return name

    def switch(self, name: str) -> str:
        """An argument of a function of ``maintenance`` that is true."""
        return f"{name}=True"

    def operation(self, name: str) -> str:
        """A method of SessionManager."""
        return f"{name}()"

    def setting(self, name: str) -> str:
        """An argument of SessionManager."""
        return name

    def to_bring_in(self, file: str) -> str:  # noqa: ARG002
        """A sentence for somebody in whose way another program's database is."""
        return ""

    def maintenance(self, function: str, file: str) -> str:  # noqa: ARG002
        """A function of ``maintenance`` that works on a file."""
        return f"`maintenance.{function}`"


PYTHON = Words()

# A message that names such things.
Wording = Callable[[Words], str]


def in_words(message: str | Wording, words: Words) -> str:
    """A message in the words of whoever reads it."""
    return message if isinstance(message, str) else message(words)


class SessionsError(Exception):
    """The root of all errors that this package raises on purpose."""

    def __init__(self, message: str | Wording = "") -> None:
        super().__init__(in_words(message, PYTHON))
        self._wording = message

    def worded(self, words: Words) -> str:
        """The message, in the words of whoever reads it."""
        return in_words(self._wording, words)


class WriteNeeded(BaseException):
    """Not an error: the operation would write to a store that does not exist yet, so the caller has to create the store
    first. Error handlers do not catch it."""


class TakesLong(BaseException):
    """Not an error: the operation would take longer than a brief one may, and has done nothing. Error handlers do not
    catch it."""


class InvalidValue(SessionsError):
    """A value breaks a rule of its field.

    ``field`` is the field's path in Python names, such as ``tool_calls[0].id``; empty for the call as a whole.
    """

    def __init__(self, field: str, reason: str | Wording) -> None:
        super().__init__(
            lambda words: f"{words.field(field)}: {in_words(reason, words)}" if field else in_words(reason, words)
        )
        self.field = field
        self.reason = in_words(reason, PYTHON)
        self._reason = reason

    def reason_in(self, words: Words) -> str:
        """The reason, in the words of whoever reads it."""
        return in_words(self._reason, words)


class TooLarge(InvalidValue):
    """A text, metadata or list of operations is beyond its limit."""


class NotFound(SessionsError):
    """No such entity. ``entity``: its word (``session``, ``tool_call``). ``entity_id``: the id that the caller gave.
    ``where``: where it was looked for, and where it may be."""

    def __init__(
        self, entity: str, entity_id: str, where: str = "in this store; it was deleted, or is in another store"
    ) -> None:
        shown = shorten(repr(entity_id))
        super().__init__(lambda words: f"no {words.field(entity)} {shown} {where}")
        self.entity = entity
        self.entity_id = entity_id


class Conflict(SessionsError):
    """The request conflicts with what is stored. ``reason`` is one word; the message says the rest. ``candidates``: the
    ids of what an ambiguous name may mean."""

    def __init__(
        self,
        reason: ConflictReason,
        message: str | Wording,
        *,
        expected: Any = None,
        actual: Any = None,
        candidates: list[str] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.expected = expected
        self.actual = actual
        self.candidates = candidates


class Cancelled(SessionsError):
    """The caller cancelled the request before it was done. Nothing of it is stored."""


class FeedPruned(SessionsError):
    """The store no longer keeps the changes above ``seq``; read the state again."""

    def __init__(self, seq: int) -> None:
        super().__init__(f"changes above {seq} are no longer kept; read the state again, and go on from its seq")
        self.seq = seq


class NotOpen(SessionsError):
    """The manager is not open: call ``init()`` first, or it was closed."""


class WorkspaceNotFound(SessionsError):
    """``workspace`` is not one of the client's folders, or the directory does not exist."""

    def __init__(self, workspace: str, message: str | Wording) -> None:
        super().__init__(message)
        self.workspace = workspace


class StoreError(SessionsError):
    """The file could not do what a caller asked, whatever that was."""

    def __init__(self, message: str | Wording, path: str) -> None:
        super().__init__(message)
        self.path = path


class Busy(StoreError):
    """Another process held the lock for the whole time budget. Nothing was written; try again."""

    def __init__(self, path: str, waited_ms: int, holder: str | None = None) -> None:
        who = f" by {holder}" if holder else ""
        what = f"the database {path} was locked{who} for {waited_ms} ms"
        super().__init__(lambda words: f"{what}; try again, or raise {words.setting('busy_timeout')}", path)
        self.waited_ms = waited_ms
        self.holder = holder


class StorageFailure(StoreError):
    """Opening, reading or writing the file failed. Trying again does not help by itself."""

    def __init__(self, reason: StorageReason, message: str | Wording, path: str) -> None:
        super().__init__(message, path)
        self.reason = reason


class Unreadable(StorageFailure):
    """A value, row or table of the file is not what this program could have stored. Nothing else is affected; the store
    stays open and writable. ``entity``: its word (``session``, ``table`` …). ``entity_id``: its id or name."""

    def __init__(self, entity: str, entity_id: str, why: str, path: str = "") -> None:
        super().__init__(
            StorageReason.CORRUPT,
            lambda words: (
                f"{entity} {entity_id} cannot be read: {why}. The rest of the store is not affected. "
                f"Run {words.mend}, which mends it after a backup"
            ),
            path,
        )
        self.entity = entity
        self.entity_id = entity_id


class StrangePart(Unreadable):
    """Another program has put a part on our tables, such as a trigger, which may change or delete what is written."""

    def __init__(self, kind: str, name: str) -> None:
        StorageFailure.__init__(
            self,
            StorageReason.CORRUPT,
            lambda words: (
                f"the {kind} {name}, of another program, may change or delete what is written; "
                f"{words.mend} takes it away, after a backup"
            ),
            "",
        )
        self.entity, self.entity_id = kind, name


class StoreMoved(StorageFailure):
    """Somebody deleted, replaced or moved the open store, so the operation was not done in the store that has the name
    now. The next call opens that one; try again."""

    def __init__(self, path: str) -> None:
        super().__init__(
            StorageReason.IO,
            lambda words: f"database {path}: it was deleted, replaced or moved just now; {words.again}",
            path,
        )


class NoStore(StorageFailure):
    """There is no file where a store was looked for."""

    def __init__(self, path: str) -> None:
        super().__init__(
            StorageReason.OPEN,
            lambda words: (
                f"there is no store at {path}: nothing has been stored there yet, and the first write creates it; "
                f"name another one with {words.store}"
            ),
            path,
        )
