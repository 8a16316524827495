"""Fills a search index for who is about to search it. So a client finds what it has written before, and a script what
others have, though no server ran for long enough to fill the index."""

from __future__ import annotations

import time

from mandrake_sessions.errors import Busy, StorageFailure
from mandrake_sessions.operations.index_state import is_of_store, lacks
from mandrake_sessions.operations.indexing import fill
from mandrake_sessions.stopping import check_wanted
from mandrake_sessions.store.interface import EntityStore
from mandrake_sessions.store.search import IndexLost, SearchIndex
from mandrake_sessions.store.sql import changes
from mandrake_sessions.store.sql.seq import last_seq

# Between two tries, while somebody else fills it.
TRY_SECONDS = 0.005


def catch_up(store: EntityStore, index: SearchIndex, seconds: float) -> None:
    """Put in what the index lacks of the state that this thread reads, for about so many seconds; one step at the
    least, however long the index took to open. What is in the way of that is no failure of who wants to search.

    Raises Cancelled."""
    if not seconds or store.is_writing or not store.may_be_written:
        # What is not committed yet may still be undone.
        return
    until = time.monotonic() + seconds
    while True:
        check_wanted()
        try:
            if not _catch_up_a_step(store, index) or time.monotonic() >= until:
                return
        except Busy:
            if time.monotonic() >= until:
                return
            time.sleep(TRY_SECONDS)
        except IndexLost:
            # The next step makes it again.
            if time.monotonic() >= until + seconds:
                return
        except StorageFailure:
            return


def _catch_up_a_step(store: EntityStore, index: SearchIndex) -> bool:
    """Whether another step may help."""
    with store.reading() as sql:
        if not last_seq(sql):
            return False
        with index.reading() as reader:
            if not lacks(sql, reader):
                return False
        with index.writing(changes.store_id(sql) or "") as writer, store.reading() as same:
            if not is_of_store(same, writer) or writer.progress.position > last_seq(same):
                # The store was opened again, as another one; or somebody else was quicker, and knows what came later.
                return False
            fill(same, writer, compacts=False)
            return True
