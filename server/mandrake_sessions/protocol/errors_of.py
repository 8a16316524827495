"""Which kinds of errors a method can be answered with: those of every request, and what its row in the table adds."""

from __future__ import annotations

from mandrake_sessions.protocol.error_data import ErrorKind
from mandrake_sessions.protocol.methods import Access, Entity, Method

# Of any message, whatever method it names or whether it names one.
OF_MESSAGES: tuple[ErrorKind, ...] = ("parse", "invalidRequest", "tooLarge", "methodNotFound")
# Of any request that names a method of the table.
OF_REQUESTS: tuple[ErrorKind, ...] = ("invalidRequest", "tooLarge", "invalidParams", "internal", "cancelled")
# Of any request about a store: it may have to be opened, migrated or waited for.
OF_STORES: tuple[ErrorKind, ...] = ("busy", "storage", "workspaceNotFound")


def entities_of(method: Method) -> tuple[Entity, ...]:
    """What its `notFound` may be about: a read can name a store of `store/list` too."""
    return (*method.not_found, *(("store",) if method.reads else ()))


def kinds_of(method: Method) -> tuple[ErrorKind, ...]:
    """All kinds, its own first."""
    own: tuple[ErrorKind, ...] = (
        *(("notFound",) if entities_of(method) else ()),
        *(("conflict",) if method.conflict else ()),
    )
    about_a_store = method.takes_store and method.access is not Access.UNSUBSCRIBE
    return (*own, *(OF_STORES if about_a_store else ()), *OF_REQUESTS)
