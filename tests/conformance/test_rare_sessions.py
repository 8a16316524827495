"""Lists of sessions find what is rare: a text in any case, a directory, a source; in every script, in order, page by
page."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.model import Session, Sort
from mandrake_sessions.store.sql import session_lists

TEXTS = [
    "Straße", "STRASSE", "İstanbul", "Kelvin K", "kelvin k", "ﬁx the ﬂow", "Fix the flow", "会議の議事録", "été", "ÉTÉ",
    "a*b", "a?b", "[a-z]", "]", "a\x00b", "a\nb", "100%", "under_score", "\\", "", "ΣΊΣΥΦΟΣ", "σίσυφος",
    "x" * 5000 + "Y",
]  # fmt: skip
QUERIES = [
    *TEXTS,
    "strasse",
    "fix",
    "议",
    "議事",
    "É",
    "*",
    "?",
    "[",
    "[a",
    "-z]",
    "\x00",
    "b\x00",
    "xy",
    "y\n",
    "no such",
    "ss",
]
DIRECTORIES = ["/", "/w", "/w/one", "/w/one/", "/ways", "/nowhere"]


@pytest.fixture(params=[(2000, 5000), (3, 2), (3, 5000), (0, 1)], ids=str)
def bounds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many rows are looked at first, and how many are few: as they are, and so that each way is gone."""
    looked_at, few = request.param
    monkeypatch.setattr(session_lists, "_LOOKED_AT", looked_at)
    monkeypatch.setattr(session_lists, "_FEW", few)


def fill(manager: SessionManager, chance: random.Random) -> None:
    with manager.transaction():
        for _ in range(60):
            fields: dict[str, Any] = {
                "title": chance.choice([None, *TEXTS]), "description": chance.choice([None, None, *TEXTS]),
                "agent": chance.choice([None, "a", "b"]), "source": chance.choice([None, "acp", "odd"]),
                "cwd": chance.choice([None, "/w", "/w/one", "/ways", "/w/one/two"]),
                "created_at": 1_700_000_000_000 + chance.randrange(1000),
            }  # fmt: skip
            session = manager.create_session(**fields).id
            if chance.random() < 0.5:
                made = manager.create_round(session, content=chance.choice(TEXTS))
                if chance.random() < 0.3:
                    manager.update_request(made.request.id, content=chance.choice(TEXTS))
                elif chance.random() < 0.3:
                    manager.delete_round(made.round.id)
            if chance.random() < 0.3:
                manager.update_session(session, title=chance.choice(TEXTS), archived=chance.random() < 0.5)
            if chance.random() < 0.1:
                manager.fork_session(session)


def wanted(session: Session, filters: dict[str, Any]) -> bool:
    texts = [text for text in (session.title, session.description, session.preview) if text is not None]
    query, cwd = filters.get("query"), filters.get("cwd")
    archived = filters.get("archived", False)
    return (
        (query is None or any(query.casefold() in text.casefold() for text in texts))
        and (cwd is None or (f"{session.cwd or ''}/".startswith(f"{cwd.rstrip('/')}/") and session.cwd is not None))
        and filters.get("source") in (None, session.source)
        and filters.get("agent") in (None, session.agent)
        and archived in (None, session.archived_at is not None)
    )


def pages(manager: SessionManager, limit: int, **filters: Any) -> Iterator[Session]:
    cursor = None
    while True:
        page = manager.list_sessions(limit=limit, cursor=cursor, **filters)
        assert len(page.sessions) == limit or page.next_cursor is None
        yield from page.sessions
        if (cursor := page.next_cursor) is None:
            return


@pytest.mark.parametrize("sort", ["changed", "active"])
@pytest.mark.usefixtures("bounds")
def test_all_that_is_wanted_is_found_in_order(manager: SessionManager, sort: Sort) -> None:
    fill(manager, random.Random(1))
    every = list(pages(manager, 1000, archived=None, sort=sort))
    filters: list[dict[str, Any]] = [{"query": query, "archived": None} for query in QUERIES]
    filters += [{"cwd": cwd} for cwd in DIRECTORIES] + [{"source": source} for source in ("acp", "odd", "none")]
    filters += [
        {"query": "f", "cwd": "/w", "source": "odd", "archived": None}, {"query": "s", "agent": "a", "archived": True},
        {"query": "e", "cwd": "/w/one"}, {"source": "acp", "agent": "b", "archived": None},
    ]  # fmt: skip
    for each in filters:
        expected = [session.id for session in every if wanted(session, each)]
        for limit in (2, 50):
            assert [session.id for session in pages(manager, limit, sort=sort, **each)] == expected, each


@pytest.mark.usefixtures("bounds")
def test_a_page_goes_on_where_it_ended_while_sessions_change(manager: SessionManager) -> None:
    made = [manager.create_session(title="find me" if number % 3 else "other").id for number in range(30)]
    first = manager.list_sessions(limit=5, query="FIND")
    manager.update_session(first.sessions[0].id, description="moves to the front")
    manager.delete_session(first.sessions[1].id)
    left = [session.id for session in pages(manager, 5, query="FIND")][1:]
    rest = manager.list_sessions(limit=50, query="FIND", cursor=first.next_cursor)
    assert [session.id for session in rest.sessions] == left[3:]
    assert {*made} >= {*left}


def test_what_a_query_is_looked_for_in_follows_each_change(manager: SessionManager, monkeypatch: Any) -> None:
    monkeypatch.setattr(session_lists, "_LOOKED_AT", 0)

    def found(query: str) -> int:
        return len(manager.list_sessions(query=query).sessions)

    session = manager.create_session(title="One").id
    assert (found("one"), found("two")) == (1, 0)
    manager.update_session(session, title="Two")
    assert (found("one"), found("two")) == (0, 1)
    manager.update_session(session, title=None, description="Three")
    assert (found("two"), found("three")) == (0, 1)
    first = manager.create_round(session, content="Four")
    second = manager.create_round(session, content="Five")
    assert (found("four"), found("five")) == (1, 0)
    manager.update_request(first.request.id, content="Six")
    assert (found("four"), found("six")) == (0, 1)
    manager.delete_round(first.round.id)
    assert (found("six"), found("five")) == (0, 1)
    manager.delete_round(second.round.id)
    assert found("five") == 0
    manager.create_round(session, content="Seven")
    assert found("seven") == 1
    assert manager.fork_session(session, title="Eight").title == "Eight"
    assert (found("eight"), found("seven")) == (1, 2)
