"""Turns that are streamed, and the feed that they fill."""

from __future__ import annotations

from mandrake_sessions import SessionManager
from mandrake_sessions.operations.housekeeping import housekeeper
from mandrake_sessions.store.idle import LATER


def keep_house(manager: SessionManager, max_bytes: int = 1024, max_age: float = 1000.0) -> None:
    keeper = housekeeper(manager.store, max_bytes, max_age)
    for _ in range(10_000):
        if keeper.step() == LATER:
            return
    raise AssertionError("the work never ends")


def stream(manager: SessionManager, pieces: int, **fields: str | bool) -> str:
    session = manager.create_session(title="long")
    turn = manager.create_turn(manager.create_round(session.id, content="?").response.id, **fields)  # type: ignore[arg-type]
    for start in range(0, pieces, 500):
        manager.append_pieces(
            {"turn_id": turn.id, "content": f"{n} piece, ", "raw_response": "<>"}
            for n in range(start, min(pieces, start + 500))
        )
    return turn.id


def feed_rows(manager: SessionManager) -> int:
    with manager.store.reading() as sql:
        return int(sql.execute("SELECT count(*) FROM feed").fetchone()[0])


def feed_bytes(manager: SessionManager) -> int:
    with manager.store.reading() as sql:
        rows = sql.execute("SELECT content, raw_response, data FROM feed").fetchall()
    return sum(90 + sum(len(text.encode()) for text in row if text is not None) for row in rows)
