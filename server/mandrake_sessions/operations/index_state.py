"""How far a search index is behind its store."""

from __future__ import annotations

from mandrake_sessions.store.interface import EntityStore, Sql
from mandrake_sessions.store.search import IndexLost, SearchIndex, SearchReader
from mandrake_sessions.store.sql import changes, indexed
from mandrake_sessions.store.sql.indexed import TABLES

# So many sessions that came whole are counted.
_MANY_SESSIONS = 1000


def is_of_store(sql: Sql, reader: SearchReader) -> bool:
    """Whether the index is that of this store, and not of one that was in its place before."""
    return reader.store_id == changes.store_id(sql)


def lacks(sql: Sql, reader: SearchReader | None, known: int = 0) -> bool:
    """Whether the store has anything, but for appends, that the index has not. ``reader``: None where there is no
    index; ``known``: up to this seq there was nothing."""
    if reader is None or reader.progress.stage is not None or reader.put_off_sessions(1):
        return True
    position = reader.progress.position
    if not is_of_store(sql, reader) or changes.pruned_seq(sql) > position:
        return True
    return indexed.has_changes(sql, max(position, known))


def pending(sql: Sql, reader: SearchReader | None) -> int:
    """How many turns that have ended are not in the index; ``reader``: None where there is none."""
    if reader is None:
        return indexed.count_turns(sql, 0)
    progress = reader.progress
    position, stage = progress.position, progress.stage
    if changes.pruned_seq(sql) > position:
        return indexed.count_turns(sql, position)
    waiting = indexed.count_changed_turns(sql, position)
    # After the last table it is looked for what is gone.
    if stage is not None and stage < len(TABLES):
        after = progress.scanned if TABLES[stage] == "turn" else 0
        return waiting + indexed.count_turns(sql, after, position)
    came_whole = reader.put_off_sessions(_MANY_SESSIONS)
    return waiting + sum(indexed.count_turns_of_session(sql, *each, position) for each in came_whole)


def missing(store: EntityStore, index: SearchIndex) -> int:
    """``pending``, now."""
    with store.reading() as sql:
        try:
            with index.reading() as reader:
                is_ours = reader is not None and is_of_store(sql, reader)
                return pending(sql, reader if is_ours else None)
        except IndexLost:
            return pending(sql, None)
