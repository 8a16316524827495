"""The search index of a store: whether it is whole and how much is missing in it; and filling it without a server."""

from __future__ import annotations

from mandrake_sessions.amounts import plural
from mandrake_sessions.errors import SessionsError
from mandrake_sessions.maintenance.findings import Cure, Finding, Level
from mandrake_sessions.operations.index_state import is_of_store, pending
from mandrake_sessions.operations.indexing import fill_index
from mandrake_sessions.store.search import IndexLost
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.permissions import may_write
from mandrake_sessions.store.sqlite.search_files import obstacle
from mandrake_sessions.store.sqlite.search_index import SqliteSearchIndex
from mandrake_sessions.store.sqlite.store import SqliteStore

# A repair fills the index for so long; the rest is left to servers.
FILLING_SECONDS = 10.0


def look_at_search(connection: StoreConnection, database: str) -> Finding:
    """What is wrong with the index. One that is missing or behind is in order, if a server can fill it. That of a store
    that may not be written to stays as it is."""
    if may_write(database) and (found := obstacle(database)) is not None:
        text = f"the index cannot be filled, so what is new is not found: {found}"
        return Finding("search", Level.PROBLEM, text, Cure.SEARCH, "a server fills it once that is mended")
    index = SqliteSearchIndex(database, is_visited=True)
    try:
        with index.reading() as reader:
            if reader is None:
                if index.current() is not None or index.is_damaged:
                    return _damaged("it cannot be read")
                return _behind("there is no index yet", pending(connection, None))
            if not is_of_store(connection, reader):
                return Finding("search", Level.WARNING, "the index is that of another store", Cure.SEARCH)
            if faults := reader.faults():
                return _damaged(faults[0])
            return _behind("the index is whole", pending(connection, reader))
    except IndexLost as error:
        return _damaged(str(error))
    except SessionsError as error:
        return Finding("search", Level.WARNING, str(error))


def fill_search(store: SqliteStore) -> str | None:
    """Make the index again if it is damaged, and fill it; for an open store."""
    with store.reading() as connection:
        found = look_at_search(connection, store.name)
    made_again = found.level is not Level.OK
    if made_again:
        store.search.remove()
    filled = fill_index(store, most=FILLING_SECONDS)
    if made_again:
        return f"made the search index again, with {plural(filled, 'turn')}"
    return f"put {plural(filled, 'turn')} into the search index" if filled else None


def _damaged(how: str) -> Finding:
    return Finding(
        "search", Level.WARNING, f"the index is damaged ({how}); the next server makes it again", Cure.SEARCH
    )


def _behind(what: str, missing: int) -> Finding:
    if not missing:
        return Finding("search", Level.OK, what)
    return Finding(
        "search", Level.OK, f"{what}, {plural(missing, 'turn')} to be put in; a server does that", Cure.SEARCH
    )
