"""Imports in functions, of what few calls need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mandrake_sessions.errors import StorageFailure, StorageReason


@contextmanager
def late_import() -> Iterator[None]:
    """The block imports. Where no more files may be opened, say, the call that needs it fails as one that cannot read
    the store does, and can be sent again. Raises StorageFailure."""
    try:
        yield
    except (OSError, ImportError) as error:
        why = f"a part of this program cannot be loaded ({error}); check how many files this process may open"
        raise StorageFailure(StorageReason.OPEN, why, "") from error
