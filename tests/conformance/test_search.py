"""What ``session/search`` finds, on every kind of store."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import InvalidValue, NotFound
from mandrake_sessions.model import Origin, SearchHit, SearchPage, TurnStatus
from mandrake_sessions.operations import indexing
from mandrake_sessions.operations import search as searching
from mandrake_sessions.operations.indexing import fill_index
from strict import StrictSyncClient

Search = Callable[..., list[SearchHit]]
DONE = TurnStatus.COMPLETED


@pytest.fixture
def search(manager: SessionManager) -> Search:
    """Searches with everything in the index."""

    def found(query: str, **wanted: Any) -> list[SearchHit]:
        fill_index(manager.store)
        page = manager.search(query, **wanted)
        assert page.pending == 0
        return page.hits

    return found


def shown(hit: SearchHit) -> list[str]:
    """The marked parts of a snippet."""
    units = hit.snippet.encode("utf-16-le")
    assert len(units) <= 600, "at most 300 UTF-16 units"
    return [units[2 * start : 2 * end].decode("utf-16-le") for start, end in hit.ranges]


def test_a_hit_says_where_it_is(manager: SessionManager, search: Search) -> None:
    session = manager.create_session(title="Pelican talk", agent="claude-code", cwd="/home/me/zoo")
    detail = manager.create_round(session.id, content="Where do pelicans sleep? A pelican does.")
    turn = manager.create_turn(
        detail.response.id,
        content="A pelican sleeps on the ground.",
        status=DONE,
        stream_start_time=1000,
        tool_calls=[{"id": "c", "title": "Look", "arguments": {"path": "pelican.txt"}, "response": ["pelican", 3]}],
    )
    output = manager.create_turn(
        detail.response.id, kind="tool_output", tool_call_id="c", content="one pelican", status=DONE
    )
    hits = search("PELICAN")
    spots = {(hit.field, hit.role, hit.round_id, hit.turn_id, hit.tool_call_id) for hit in hits}
    assert spots == {
        ("title", "user", None, None, None),
        ("request", "user", detail.round.id, None, None),
        ("content", "agent", detail.round.id, turn.id, None),
        ("arguments", "tool", detail.round.id, turn.id, "c"),
        ("response", "tool", detail.round.id, turn.id, "c"),
        ("response", "tool", detail.round.id, output.id, "c"),
    }
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert [hit.field for hit in hits[:3]] == ["title", "request", "content"]
    assert {hit.session_id for hit in hits} == {session.id}
    assert all(hit.session == manager.get_session(session.id) for hit in hits)
    times = {hit.field: hit.at for hit in hits[:3]}
    assert times == {"title": session.created_at, "request": detail.round.created_at, "content": 1000}


@pytest.mark.parametrize(
    ("text", "query", "marked"),
    [
        ("The Quick brown fox", "quick", ["Quick"]),
        ("the café is open", "CAFE", ["café"]),
        ("the cafe is open", "café", ["cafe"]),
        ("decomposed cafe\u0301 too", "café", ["café"]),
        ("Große Straße", "STRASSE", ["Straße"]),
        ('she said "good morning, all" twice', '"good morning"', ["good morning"]),
        ("good  \n morning", '"good morning"', ["good  \n morning"]),
        ("a database migration", "migrat*", ["migration"[:6]]),
        ("a database migration", "atabas", ["atabas"]),
        ("self.assertEqual(parse_query(text))", "parse_query", ["parse_query"]),
        ("self.assertEqual(parse_query(text))", "sertEq", ["sertEq"]),
        ("if (a=>b) { return }", "=>b)", ["=>b)"]),
        ("今天的会议记录在这里", "会议", ["会议"]),
        ("今天的会议记录在这里", "会议记录", ["会议记录"]),
        ("회의록을 보세요", "회의", ["회의"]),
        ("ประชุมวันนี้", "วันนี้", None),
        ("\uff26\uff35\uff2c\uff2c width", "full", ["\uff26\uff35\uff2c\uff2c"]),
        ("a rocket \U0001f680 and more \U0001f680 words", "words", ["words"]),
        ("one\0two three", "two", ["two"]),
        ("İstanbul", "istanbul", ["İstanbul"]),
        ("fox jumps over the lazy dog", "dog fox", ["fox", "dog"]),
    ],
)  # fmt: skip
def test_what_is_found(
    manager: SessionManager, response: str, search: Search, text: str, query: str, marked: list[str] | None
) -> None:
    turn = manager.create_turn(response, content=text, status=DONE)
    (hit,) = search(query, role="agent")
    assert hit.turn_id == turn.id
    assert marked is None or shown(hit) == marked
    assert hit.ranges, "something is marked"


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("the quick brown fox", "quick slow"),
        ("the quick brown fox", '"brown quick"'),
        ("category", "at"),
        ("a migration", "igration*x"),
        ("plain", ""),
        ("plain", " \t\n "),
        ("plain", "- -> *"),
        ("plain", '""'),
        ("plain", "\0"),
    ],
)
def test_what_is_not_found(manager: SessionManager, response: str, search: Search, text: str, query: str) -> None:
    manager.create_turn(response, content=text, status=DONE)
    assert search(query, role="agent") == []


@pytest.mark.parametrize(
    "query",
    ['"', '"""', "AND", "a AND", "NEAR(a b", "(a OR b)", "a:b", "-a", "^a", "a*b*", "**", "'; DROP TABLE document; --",
     "{x} : y", "\U0001f680", "\ufffd", "é" * 70_000, "word " * 20_000, '"' * 999, "*" * 999, "\0a\0", "a" * 100_000],
)  # fmt: skip
def test_any_text_is_a_query(manager: SessionManager, response: str, search: Search, query: str) -> None:
    manager.create_turn(response, content=query[:50_000] + " end", status=DONE)
    assert all(hit.ranges for hit in search(query))


def test_what_a_program_put_in_is_found_last(manager: SessionManager, search: Search) -> None:
    """Its words stand in the blocks of a round that nobody typed; those of a person's round repeat the request."""
    session = manager.create_session()
    image = {"type": "image", "data": "pelican"}
    words = [{"type": "text", "text": "A heron says:"}, image, {"type": "text", "text": "the pelican is back"}]
    put_in = manager.create_round(session.id, content="", origin=Origin.SYSTEM, blocks=words)
    manager.create_round(session.id, content="See this", blocks=[{"type": "text", "text": "heron"}])
    typed = manager.create_round(session.id, content="Where is the pelican?")
    assert [(hit.round_id, hit.field, shown(hit)) for hit in search("pelican")] == [
        (typed.round.id, "request", ["pelican"]), (put_in.round.id, "request", ["pelican"]),
    ]  # fmt: skip
    (hit,) = search("heron")
    assert (hit.round_id, hit.snippet) == (put_in.round.id, "A heron says:\nthe pelican is back")
    manager.update_request(put_in.request.id, blocks=[{"type": "text", "text": "An otter"}, {"type": "text"}, 3])
    assert search("heron") == []
    assert [hit.round_id for hit in search("otter")] == [put_in.round.id]


def test_a_lone_surrogate_is_no_text(manager: SessionManager) -> None:
    with pytest.raises(InvalidValue, match="surrogate"):
        manager.search("\ud800")


def test_a_turn_is_found_from_its_end_on(manager: SessionManager, response: str, search: Search) -> None:
    turn = manager.create_turn(response, content="An ele")
    manager.append_turn(turn.id, content="phant walks")
    assert search("elephant") == []
    manager.update_turn(turn.id, status=DONE)
    assert [hit.turn_id for hit in search("elephant")] == [turn.id]


@pytest.fixture
def no_catching_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches put nothing in."""
    monkeypatch.setattr(searching, "CATCH_UP_SECONDS", 0)


@pytest.mark.usefixtures("no_catching_up")
def test_pending_counts_turns_that_have_ended(manager: SessionManager, response: str) -> None:
    fill_index(manager.store)
    manager.create_turn(response, content="first", status=DONE)
    manager.create_turn(response, content="second", status=DONE)
    manager.create_turn(response, content="third")
    assert manager.search("first").pending == 2
    fill_index(manager.store)
    assert manager.search("first").pending == 0


@pytest.mark.usefixtures("no_catching_up")
def test_pending_counts_the_turns_of_a_fork(manager: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its session is one change; its turns are put in afterwards."""
    session = manager.create_session(title="plum session")
    for number in range(6):
        detail = manager.create_round(session.id, content=f"request {number}")
        manager.create_turn(detail.response.id, content=f"plum answer {number}", status=DONE)
    fill_index(manager.store)
    fork = manager.fork_session(session.id)
    monkeypatch.setattr(indexing, "STEP_BYTES", 200)
    seen: list[tuple[int, int]] = []
    while (page := manager.search("answer", session_id=fork.id)).pending or not seen:
        seen.append((page.pending, len(page.hits)))
        assert sum(seen[-1]) == 6, "each is found, or pending"
        # Each time by another process, so to say.
        indexing.Indexer(manager.store).step()
    assert len(seen) > 1
    assert len(manager.search("answer", session_id=fork.id).hits) == 6


@pytest.mark.parametrize("seconds", [1e-9, 60], ids=["late", "in time"])
def test_a_search_finds_what_was_written_before(
    manager: SessionManager, response: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody fills the index beside it, and though opening the index took all the time that there is. What a
    transaction has written is not committed, and not put in."""
    monkeypatch.setattr(searching, "CATCH_UP_SECONDS", seconds)
    monkeypatch.setattr(indexing, "STEP_SECONDS", 60)
    turn = manager.create_turn(response, content="first walrus", status=DONE)
    page = manager.search("walrus")
    assert ([hit.turn_id for hit in page.hits], page.pending) == ([turn.id], 0)
    with manager.transaction():
        manager.create_turn(response, content="second walrus", status=DONE)
        assert [hit.turn_id for hit in manager.search("walrus").hits] == [turn.id]
    assert len(manager.search("walrus").hits) == 2


@pytest.mark.usefixtures("no_catching_up")
def test_searching_while_the_index_is_filled(manager: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each step the page says how much is missing, and what is found grows."""
    monkeypatch.setattr(indexing, "STEP_BYTES", 200)
    monkeypatch.setattr(indexing, "ROWS", 2)
    for number in range(6):
        session = manager.create_session(title=f"papaya {number}")
        detail = manager.create_round(session.id, content="papaya request")
        manager.create_turn(detail.response.id, content="papaya turn", status=DONE)
    task = indexing.Indexer(manager.store)
    seen = [manager.search("papaya")]
    while task.step() == indexing.NEXT:
        seen.append(manager.search("papaya"))
    seen.append(manager.search("papaya"))
    assert len(seen) > 5
    assert [page.pending for page in seen] == sorted((page.pending for page in seen), reverse=True)
    assert [len(page.hits) for page in seen] == sorted(len(page.hits) for page in seen)
    assert (seen[0].pending, len(seen[0].hits), seen[-1].pending, len(seen[-1].hits)) == (6, 0, 0, 18)


def test_changes_are_followed(manager: SessionManager, search: Search) -> None:
    session = manager.create_session(title="apples")
    detail = manager.create_round(session.id, content="bananas")
    turn = manager.create_turn(detail.response.id, content="cherries", tool_calls=[{"id": "c"}])
    search("apples")
    manager.update_session(session.id, title="avocados")
    manager.update_request(detail.request.id, content="blueberries")
    manager.upsert_tool_call(turn.id, {"id": "c", "response": "damsons"})
    manager.update_turn(turn.id, content="currants", status=DONE)
    found = {word: len(search(word)) for word in ("apples", "bananas", "cherries", "avocados", "blueberries")}
    assert found == {"apples": 0, "bananas": 0, "cherries": 0, "avocados": 1, "blueberries": 1}
    assert [len(search(word)) for word in ("currants", "damsons")] == [1, 1]
    manager.upsert_tool_call(turn.id, {"id": "c", "response": "elderberries"})
    assert [len(search(word)) for word in ("damsons", "elderberries")] == [0, 1]
    manager.delete_tool_call(turn.id, "c")
    assert search("elderberries") == []


def test_what_is_deleted_is_not_found(manager: SessionManager, search: Search) -> None:
    session = manager.create_session(title="kiwi session")
    rounds = [manager.create_round(session.id, content=f"kiwi {n}") for n in range(3)]
    turns = [manager.create_turn(each.response.id, content="kiwi turn", status=DONE) for each in rounds]
    assert len(search("kiwi")) == 7
    manager.delete_turn(turns[0].id)
    # Before the index knows of it, too.
    assert len(manager.search("kiwi").hits) == 6
    assert len(search("kiwi")) == 6
    manager.delete_round(rounds[1].round.id)
    assert len(search("kiwi")) == 4
    manager.delete_session(session.id)
    assert manager.search("kiwi").hits == []
    assert search("kiwi") == []


def test_a_fork_is_found_whole(manager: SessionManager, search: Search) -> None:
    session = manager.create_session(title="plum session")
    for number in range(30):
        detail = manager.create_round(session.id, content=f"plum request {number}")
        manager.create_turn(detail.response.id, content=f"plum answer {number}", status=DONE)
    assert len(search("plum", limit=1000)) == 61
    fork = manager.fork_session(session.id)
    assert len(search("plum", limit=1000)) == 122
    assert {hit.session_id for hit in search("answer", session_id=fork.id)} == {fork.id}
    manager.delete_session(fork.id)
    assert len(search("plum", limit=1000)) == 61


def test_filters(manager: SessionManager, search: Search) -> None:
    made = {}
    for name, agent, cwd in (("one", "a", "/p"), ("two", "b", "/p/sub"), ("three", None, "/pq")):
        made[name] = manager.create_session(title=f"{name} lemon", agent=agent, cwd=cwd, created_at=1000)
        response = manager.create_round(made[name].id, content="a lemon", created_at=2000).response.id
        manager.create_turn(response, content="the lemon", status=DONE, stream_start_time=3000)

    def sessions(**wanted: Any) -> set[str]:
        names = {session.id: name for name, session in made.items()}
        return {names[hit.session_id] for hit in search("lemon", **wanted)}

    assert sessions() == {"one", "two", "three"}
    assert sessions(agent="a") == {"one"}
    assert sessions(cwd="/p") == {"one", "two"}
    assert sessions(cwd="/p/") == {"one", "two"}
    assert sessions(session_id=made["two"].id) == {"two"}
    assert {hit.field for hit in search("lemon", role="user")} == {"title", "request"}
    assert {hit.field for hit in search("lemon", role="agent")} == {"content"}
    assert search("lemon", role="tool") == []
    assert {hit.field for hit in search("lemon", since=2000)} == {"request", "content"}
    assert {hit.field for hit in search("lemon", until=2000)} == {"title"}
    assert search("lemon", since=2001, until=3000) == []
    manager.update_session(made["one"].id, archived=True)
    assert sessions() == {"two", "three"}
    assert sessions(archived=True) == {"one"}
    assert sessions(archived=None) == {"one", "two", "three"}


def test_what_is_wrong_with_params(manager: SessionManager) -> None:
    with pytest.raises(NotFound):
        manager.search("x", session_id="01890a5d-ac96-774b-bcce-b302099a8057")
    for wanted in ({"role": "nobody"}, {"since": -1}, {"cwd": "here"}, {"limit": 0}, {"cursor": "nonsense"}):
        with pytest.raises(InvalidValue):
            manager.search("x", **wanted)


def test_near_words_come_first(manager: SessionManager, response: str, search: Search) -> None:
    far = manager.create_turn(response, content="red " + "filler " * 30 + "balloon", status=DONE)
    near = manager.create_turn(response, content="balloon which is very red " + "filler " * 30, status=DONE)
    together = manager.create_turn(response, content="a red balloon " + "filler " * 30, status=DONE)
    tool = manager.create_turn(
        response, tool_calls=[{"id": "t", "response": "red balloon " + "filler " * 30}], status=DONE
    )
    assert [hit.turn_id for hit in search("red balloon")] == [together.id, near.id, far.id, tool.id]


@pytest.mark.parametrize(
    ("query", "written", "others"),
    [
        ("c++", "In the end we used C++ for this one part", ["C and C compilers of grade C", "C"]),
        (
            "foo::bar()",
            "something calls foo::bar() at last, far from all",
            ["foo bar foo bar", "Foo.bar bar"],
        ),
        (".env", "copy the file named .env to the directory, then go on", ["my env is an env env", "env"]),
        ('"lift off"', "a long text before the lift off of the rocket", ["lift \U0001f680 off lift-off", "Lift, off"]),
        ("get_value(", "and here get_value( is called by somebody", ["get value get value", "get.value"]),
    ],
)
def test_what_is_written_like_the_query_comes_first(
    manager: SessionManager, response: str, search: Search, query: str, written: str, others: list[str]
) -> None:
    for text in (written, *(f"{other} {number}" for other in others for number in range(60))):
        manager.create_turn(response, content=text, status=DONE)
    first, *rest = search(query, limit=200)
    assert first.snippet == written
    assert "".join(shown(first)).casefold() == query.strip('"').casefold()
    assert len(rest) == 60 * len(others)


def test_words_come_before_parts_of_words(manager: SessionManager, response: str, search: Search) -> None:
    part = manager.create_turn(response, content="rebinding", status=DONE)
    word = manager.create_turn(response, content="filler " * 50 + "bind", status=DONE)
    assert [hit.turn_id for hit in search("bind")] == [word.id, part.id]


def test_what_a_program_put_in_comes_last(manager: SessionManager, response: str, search: Search) -> None:
    session = manager.list_sessions().sessions[0].id
    injected = manager.create_round(session, content="bind", origin=Origin.SYSTEM)
    answer = manager.create_turn(injected.response.id, content="bind", status=DONE)
    typed = manager.create_round(session, content="A text that says bind once " + "filler " * 30)
    said = manager.create_turn(typed.response.id, content="And bind again " + "filler " * 30, status=DONE)
    part = manager.create_turn(response, content="rebinding", status=DONE)
    found = [hit.turn_id or hit.round_id for hit in search("bind")]
    assert found[:2] == [typed.round.id, said.id]
    assert set(found[2:4]) == {injected.round.id, answer.id}
    assert found[4:] == [part.id]
    # So do parts of words.
    found = [hit.turn_id or hit.round_id for hit in search("bin")]
    assert set(found[:3]) == {typed.round.id, said.id, part.id}
    assert set(found[3:]) == {injected.round.id, answer.id}


def test_pages_have_each_hit_once(manager: SessionManager, response: str, search: Search) -> None:
    turns = [manager.create_turn(response, content=f"orange {'x ' * n}", status=DONE) for n in range(25)]
    turns += [manager.create_turn(response, content=f"oranges {'x ' * n}", status=DONE) for n in range(25)]
    search("orange")
    found: list[SearchHit] = []
    page = manager.search("orange", limit=7)
    while True:
        found += page.hits
        if page.next_cursor is None:
            break
        # What comes and goes meanwhile neither repeats nor hides anything else.
        manager.create_turn(response, content="orange again", status=DONE)
        fill_index(manager.store)
        page = manager.search("orange", limit=7, cursor=page.next_cursor)
        assert page.hits
    ids = [hit.turn_id for hit in found]
    assert len(ids) == len(set(ids))
    assert set(ids) >= {turn.id for turn in turns}
    with pytest.raises(InvalidValue, match="cursor"):
        manager.search("another", cursor=manager.search("orange", limit=7).next_cursor)


@pytest.mark.parametrize("seed", range(4))
def test_pages_skip_nothing_that_did_not_change(manager: SessionManager, seed: int) -> None:
    """The index puts texts again whose neighbours were forgotten, in the middle of paging too."""
    random = Random(seed)
    ids = [manager.create_session(title=f"orange {number}").id for number in range(120)]
    fill_index(manager.store)
    for session_id in random.choices(ids, k=60):
        manager.update_session(session_id, title="orange again")
        fill_index(manager.store)
    seen: list[str] = []
    changed: set[str] = set()
    cursor = None
    while True:
        page = manager.search("orange", limit=20, cursor=cursor)
        seen += [hit.session_id for hit in page.hits]
        cursor = page.next_cursor
        if cursor is None:
            break
        for session_id in random.sample(sorted(set(ids) - changed), 8):
            changed.add(session_id)
            manager.delete_session(session_id)
            fill_index(manager.store)
    assert len(set(seen)) == len(seen)
    assert set(ids) - changed <= set(seen)


def test_long_texts(manager: SessionManager, response: str, search: Search) -> None:
    """All of a message is searched, whatever its length; of a tool's texts the first 64 KiB."""
    filler = "filler text " * 100_000
    turn = manager.create_turn(response, content=f"{filler} zebra crossing {filler} okapi", status=DONE)
    result = "x" * 60_000 + " gnu " + "y" * 10_000 + " impala"
    tool = manager.create_turn(response, tool_calls=[{"id": "t", "response": {"out": result}}], status=DONE)
    output = manager.create_turn(response, kind="tool_output", content=result, status=DONE)
    assert len(filler) * 2 > 2 * 1024 * 1024, "more than one step puts in"
    for query in ('"zebra crossing"', "okapi", "kap", "filler"):
        (hit,) = search(query, role="agent")
        assert hit.turn_id == turn.id
        assert shown(hit)
    assert {hit.turn_id for hit in search("gnu")} == {tool.id, output.id}
    assert search("impala") == []


def test_all_texts_of_a_tool_call(manager: SessionManager, response: str, search: Search) -> None:
    """Each counts for its own first 64 KiB: a long one leaves the others their room."""
    long = "x" * 70_000
    blocks = [{"type": "content", "content": {"type": "text", "text": "marmoset"}}]
    call: Any = {
        "id": "c",
        "title": "gibbon",
        "server_name": "lemur",
        "method_name": "tarsier_call",
        "arguments": {"first": "macaque", "then": long, "last": "baboon"},
        "response": f"colobus {long} mandrill",
        "content": blocks,
    }
    manager.create_turn(response, tool_calls=[call], status=DONE)
    fields = {
        "arguments": ("gibbon", "lemur", "tarsier_call", "tarsier", "macaque"),
        "response": ("colobus", "marmoset"),
    }
    for field, words in fields.items():
        for word in (*words, *(word[1:-1] for word in words)):
            assert [(hit.field, hit.tool_call_id) for hit in search(word)] == [(field, "c")], word
    assert search("baboon") == search("mandrill") == []


def test_a_server_finds_within_a_second(client: StrictSyncClient) -> None:
    """Of the end of a turn, without being asked before."""
    session = client.session_create(title="A talk").id
    response = client.round_create(session_id=session, content="?").response.id
    client.turn_create(response_id=response, content="first", status=DONE)
    time.sleep(1)
    turn = client.turn_create(response_id=response, content="A capybara swims")
    for piece in range(50):
        client.turn_append(turn_id=turn.id, content=f" {piece}")
    client.turn_update(turn_id=turn.id, status=DONE)
    ended = time.monotonic()
    while not (page := client.session_search(query="capybara")).hits:
        assert time.monotonic() - ended < 5
        time.sleep(0.05)
    assert isinstance(page, SearchPage)
    assert page.hits[0].turn_id == turn.id
