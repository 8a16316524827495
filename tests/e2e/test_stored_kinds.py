"""The words that the feed stores are those of 0.3.0, which may have the file open; what it stored is read as well."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from wire import Conversation, Message, Wire, serving, store_of

WORDS_OF_0_3_0 = {
    "sessionCreated", "sessionUpdated", "sessionDeleted", "roundCreated", "roundUpdated", "roundDeleted",
    "responseUpdated", "created", "appended", "updated", "deleted", "toolCallDeleted",
}  # fmt: skip


def converse(wire: Wire) -> str:
    talk = Conversation(wire)
    turn = talk.turn(toolCalls=[{"id": "a"}])
    wire.request("toolCall/upsert", turnId=turn, toolCall={"id": "b"})
    wire.request("toolCall/delete", turnId=turn, toolCallId="a")
    wire.request("turn/update", turnId=turn, status="completed")
    wire.request("request/update", requestId=talk.request, content="!")
    wire.request("response/update", responseId=talk.response, status="completed")
    wire.request("round/update", roundId=talk.round, metadata={"kept": "secret"})
    other = wire.request("round/create", sessionId=talk.session, content="?", metadata={"gone": "secret"})
    wire.request("round/delete", roundId=other["round"]["id"])
    wire.request("session/delete", sessionId=wire.request("session/create")["id"])
    return turn


def replay(wire: Wire) -> list[Message]:
    """Everything from the first change on, of both kinds of subscription, but for whose it is."""
    told = []
    for name in ("turn", "session"):
        wire.request(f"{name}/subscribe", since=0)
        told += wire.notifications_until(wire.request("session/list", limit=1)["seq"], f"{name}/updated")
    return [{key: value for key, value in params.items() if key != "subscriptionId"} for params in told]


def test_only_words_that_0_3_0_knows_are_stored(workspace: Path) -> None:
    with serving(workspace) as wire:
        converse(wire)
        kinds = {params["kind"] for params in replay(wire)}
    assert {"toolCallUpdated", "toolCallDeleted", "roundDeleted", "sessionDeleted", "requestUpdated"} <= kinds
    with closing(sqlite3.connect(store_of(workspace))) as database:
        assert {kind for (kind,) in database.execute("SELECT kind FROM feed")} <= WORDS_OF_0_3_0
        # What 0.3.0 reads of a deleted round is a whole one; its metadata is the client's, and gone.
        (gone,) = database.execute("SELECT data FROM feed WHERE kind = 'roundDeleted'").fetchone()
    assert '"metadata":{}' in gone
    assert "secret" not in gone


def test_what_0_3_0_stored_is_read(workspace: Path) -> None:
    """A deleted tool call said nothing of the turn, whose updatedAt stood still then; a deleted round said all."""
    with serving(workspace) as wire:
        turn = converse(wire)
        before = replay(wire)
    with closing(sqlite3.connect(store_of(workspace))) as database:
        database.execute("UPDATE feed SET data = json_remove(data, '$.changes') WHERE kind = 'toolCallDeleted'")
        database.commit()
    with serving(workspace) as wire:
        after = replay(wire)
        assert [call["id"] for call in wire.request("turn/get", turnId=turn)["toolCalls"]] == ["b"]
    for params in before:
        if params["kind"] == "toolCallDeleted":
            params["changes"] = {}
    assert [p for p in after if p["kind"] != "updated"] == [p for p in before if p["kind"] != "updated"]
