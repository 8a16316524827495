"""A search that is read page by page, while its index goes."""

from __future__ import annotations

import shutil
from pathlib import Path

from wire import Conversation, serving, store_of


def test_a_cursor_leads_on_where_the_index_was_lost(workspace: Path) -> None:
    with serving(workspace, "lines") as wire:
        conversation = Conversation(wire)
        for number in range(12):
            made = wire.request("turn/create", responseId=conversation.response, content=f"lighthouse {number}")
            wire.request("turn/update", turnId=made["id"], status="completed")
        first = wire.request("session/search", query="lighthouse", limit=5)
    shutil.rmtree(store_of(workspace).with_name("db.sqlite-search"))
    found = [hit["turnId"] for hit in first["hits"]]
    cursor = first["nextCursor"]
    with serving(workspace, "lines") as wire:
        while cursor is not None:
            page = wire.request("session/search", query="lighthouse", limit=5, cursor=cursor)
            found += [hit["turnId"] for hit in page["hits"]]
            cursor = page["nextCursor"]
    assert len(found) == len(set(found)) == 12
