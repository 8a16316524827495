"""``scope: "all"`` and ``store``: what is read of stores that are not open in the server that is asked."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from several import Desk, files, listed, pages, titles
from wire import OLDEST_SCHEMA, Message, Wire, serving

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def reasons(page: Message) -> dict[str, str]:
    """Why each workspace is not available."""
    return {Path(each["path"]).parents[1].name: each["reason"] for each in page["unavailable"]}


def test_sessions_of_all_stores_latest_first_with_their_store(desk: Desk) -> None:
    with ExitStack() as servers:
        wires = {name: servers.enter_context(desk.serving(name)) for name in "abc"}
        made = []
        for number in range(4):
            for name, wire in wires.items():
                made.append(wire.request("session/create", title=f"{name}{number}", createdAt=1000 - number))
                time.sleep(0.002)
        made.append(wires["a"].request("session/create", title="own", scope="system"))
        time.sleep(0.002)
        wires["b"].request("session/update", sessionId=made[1]["id"], title="b0 again")
        time.sleep(0.3)
        expected = ["b0 again", *[session["title"] for session in reversed(made) if session["title"] != "b0"]]
        for name, wire in wires.items():
            for limit in (1, 2, 5, 50):
                assert titles(wire, limit) == expected, (name, limit)
        wire = wires["c"]
        by_activity = [s["title"] for page in pages(wire, 2, sort="active") for s in page["sessions"]]
        assert by_activity[0] == "own"
        assert [title[1] for title in by_activity[1:]] == ["0"] * 3 + ["1"] * 3 + ["2"] * 3 + ["3"] * 3
        known = listed(wire)
        for session in [s for page in pages(wire, 3) for s in page["sessions"]]:
            own = known["" if session["title"] == "own" else session["title"][0]]
            assert session["store"] == {name: own[name] for name in ("storeId", "scope", "workspace")}
            of_one = wire.request("session/get", store=own["storeId"].upper(), sessionId=session["id"])
            assert of_one == {name: value for name, value in session.items() if name != "store"}
        assert titles(wire, 2, query="A") == ["b0 again", "a3", "a2", "a1", "a0"]


def test_sessions_of_one_moment_are_ordered_by_store_and_id(desk: Desk) -> None:
    for name in "abc":
        with desk.serving(name) as wire:
            for _ in range(5):
                wire.request("session/create", title=name, createdAt=5)
    with desk.serving("a") as wire:
        for limit in (1, 2, 3, 7):
            found = [s for page in pages(wire, limit, sort="active") for s in page["sessions"]]
            keys = [(s["store"]["storeId"], s["id"]) for s in found]
            assert keys == sorted(keys)
            assert len(set(keys)) == 15


def test_a_cursor_never_repeats_and_never_skips_what_did_not_change(desk: Desk) -> None:
    with ExitStack() as servers:
        wires = {name: servers.enter_context(desk.serving(name)) for name in "abc"}
        sessions: dict[str, list[Message]] = {name: [] for name in wires}
        for _ in range(6):
            for name, wire in wires.items():
                sessions[name].append(wire.request("session/create"))
        time.sleep(0.3)
        kept = {s["id"] for name in wires for s in sessions[name]}
        seen: list[str] = []
        for number, page in enumerate(pages(wires["a"], 4)):
            seen += [s["id"] for s in page["sessions"]]
            if number < 3:
                # One that is still to come, one that was there, and new ones.
                for session in (sessions["b"][number], sessions["c"][5 - number]):
                    wires["b" if session in sessions["b"] else "c"].request(
                        "session/update", sessionId=session["id"], title="changed"
                    )
                    kept.discard(session["id"])
                wires["a"].request("session/create")
        assert len(seen) == len(set(seen))
        assert kept <= set(seen)


def test_a_store_that_cannot_be_read_takes_nothing_from_the_others(desk: Desk) -> None:
    names = ["good", "damaged", "foreign", "new", "old", "gone", "fifo", "directory", "empty", "looped", "locked"]
    desk.filled(*names, "asked")
    with closing(sqlite3.connect(desk.store("new"))) as connection:
        connection.execute("PRAGMA user_version=99")
    desk.store("damaged").write_bytes(b"no database at all" * 1000)
    shutil.copy(OLDEST_SCHEMA, desk.store("old"))
    shutil.rmtree(desk.workspace("gone"))
    for name in ("foreign", "fifo", "directory", "empty", "looped"):
        desk.store(name).unlink()
    with closing(sqlite3.connect(desk.store("foreign"))) as connection:
        connection.execute("CREATE TABLE other (a)")
    os.mkfifo(desk.store("fifo"))
    desk.store("directory").mkdir()
    desk.store("empty").touch()
    desk.store("looped").symlink_to(desk.store("looped"))
    before = {name: files(desk.workspace(name)) for name in names}
    with desk.serving("asked") as wire, closing(sqlite3.connect(desk.store("locked"), isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        page = wire.request("session/list", scope="all")
        assert time.monotonic() - began < 10
        assert [session["title"] for session in page["sessions"]] == ["asked 0", "good 0"]
        assert reasons(page) == {
            "damaged": "corrupt",
            "foreign": "foreignDatabase",
            "new": "schemaTooNew",
            "old": "migrate",
            "locked": "busy",
            "gone": "gone",
            **dict.fromkeys(("fifo", "directory", "empty", "looped"), "open"),
        }
        assert {each["storeId"] for each in page["unavailable"]} < {each["storeId"] for each in listed(wire).values()}
        available = {name for name, store in listed(wire).items() if store["available"]}
        assert available == {"asked", "good", "damaged", "foreign", "new", "old", "locked"}
        holder.execute("ROLLBACK")
    for name in set(names) - {"locked"}:
        if name != "gone":
            assert files(desk.workspace(name)) == before[name], f"{name} was written to"
    for name in ("old", "new", "foreign", "damaged", "gone"):
        store_id = known_id(desk, name)
        with desk.serving("asked") as wire:
            error = wire.error("session/list", store=store_id)
            assert error["data"]["kind"] in ("storage", "notFound"), error


def test_a_read_of_one_store_waits_for_its_lock(desk: Desk) -> None:
    """As long as a read of the server's own store does; a read of all stores waits for none of them."""
    desk.filled("asked", "locked")
    store_id = known_id(desk, "locked")
    with desk.serving("asked", "--busy-timeout", "1") as wire:
        with closing(sqlite3.connect(desk.store("locked"), isolation_level=None)) as holder:
            holder.execute("PRAGMA locking_mode=EXCLUSIVE")
            holder.execute("BEGIN EXCLUSIVE")
            error = wire.error("session/list", store=store_id)
            assert error["data"]["kind"] == "busy"
            assert error["data"]["waitedMs"] >= 1000
            assert reasons(wire.request("session/list", scope="all")) == {"locked": "busy"}
            waiting = wire.post("session/list", store=store_id)
            time.sleep(0.2)
            holder.execute("ROLLBACK")
        assert len(wire.answer(waiting)["result"]["sessions"]) == 1


def known_id(desk: Desk, name: str) -> str:
    (found,) = [store_id for path, store_id, *_ in desk.registered() if path == os.fsencode(desk.store(name))]
    return str(found)


def test_a_visit_leaves_no_trace(desk: Desk) -> None:
    store_ids = desk.filled("a", "b", sessions=3)
    before = files(desk.workspace("b"))
    time.sleep(0.1)
    with desk.serving("a") as wire:
        for _ in range(3):
            assert len(titles(wire, 2)) == 6
            wire.request("session/list", store=store_ids["b"])
        wire.request("store/list")
        assert [store["workspace"] for store in wire.request("server/info")["stores"]] == [str(desk.workspace("a"))]
        assert len(wire.request("server/health")["stores"]) == 1
    assert files(desk.workspace("b")) == before


def open_files(wire: Wire) -> int:
    """How many files the server has open."""
    return sum(1 for _ in Path(f"/proc/{wire.process.pid}/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by /proc")
def test_hundreds_of_stores_need_few_files_and_little_time(desk: Desk) -> None:
    desk.filled("a")
    with closing(sqlite3.connect(desk.register, isolation_level=None)) as register:
        (row,) = register.execute("SELECT * FROM store").fetchall()
        register.execute("BEGIN")
        for number in range(200):
            copy = desk.store(f"n{number:03}")
            copy.parent.mkdir()
            shutil.copy(desk.store("a"), copy)
            with closing(sqlite3.connect(copy)) as connection:
                store_id = f"01890a5d-ac96-774b-bcce-{number:012}"
                connection.execute("UPDATE store SET store_id = ?, file_id = ?", (store_id, str(copy.stat().st_ino)))
                connection.commit()
            file = f"{copy.stat().st_dev}:{copy.stat().st_ino}"
            changed = (os.fsencode(copy), store_id, "workspace", os.fsencode(copy.parents[1]), file, *row[5:])
            register.execute("INSERT INTO store VALUES (?, ?, ?, ?, ?, ?, ?, ?)", changed)
        register.execute("COMMIT")
    with desk.serving("a") as wire:
        wire.request("session/list")
        at_rest, most = open_files(wire), 0
        asked = wire.post("session/list", scope="all", limit=1000)
        deadline = time.monotonic() + 15
        while wire._messages.empty() and time.monotonic() < deadline:
            most = max(most, open_files(wire))
        page = wire.result(asked)
        assert len(page["sessions"]) == 201
        assert page["unavailable"] == []
        assert most <= at_rest + 20
        assert open_files(wire) <= at_rest + 5


def test_a_call_in_between_sees_what_came_before_and_not_what_comes_after(desk: Desk) -> None:
    desk.filled("b")
    with desk.serving("a") as wire:
        posted = [
            wire.post("session/create", title="before"),
            wire.post("session/list", scope="all"),
            wire.post("session/create", title="after"),
        ]
        answers = [wire.result(each) for each in posted]
        assert [session["title"] for session in answers[1]["sessions"]] == ["before", "b 0"]


def test_every_read_takes_a_store(desk: Desk) -> None:
    with desk.serving("b") as wire:
        session = wire.request("session/create", title="there", externalId="x")
        made = wire.request("round/create", sessionId=session["id"], content="?")
        response = made["response"]["id"]
        turn = wire.request("turn/create", responseId=response, content="text" * 100_000, status="completed")
        reads: list[tuple[str, dict[str, Any]]] = [
            ("session/get", {"externalId": "x"}),
            ("session/list", {}),
            ("session/history", {"sessionId": session["id"]}),
            ("round/get", {"roundId": made["round"]["id"]}),
            ("round/list", {"sessionId": session["id"]}),
            ("request/get", {"requestId": made["request"]["id"]}),
            ("response/get", {"responseId": response}),
            ("response/status", {"responseId": response}),
            ("turn/get", {"turnId": turn["id"]}),
            ("turn/list", {"responseId": response}),
            ("turn/latest", {"responseId": response}),
        ]
        answers = [wire.request(method, **params) for method, params in reads]
        store_id = answers[1]["storeId"]
        # The same store, open here and by its id.
        assert [wire.request(method, store=store_id, **params) for method, params in reads] == answers
    with desk.serving("a") as wire:
        assert [wire.request(method, store=store_id, **params) for method, params in reads] == answers
        error = wire.error("turn/get", store=store_id, turnId=UNKNOWN)
        assert (error["data"]["kind"], error["data"]["entity"]) == ("notFound", "turn")
        error = wire.error("turn/get", store=UNKNOWN, turnId=turn["id"])
        assert error["data"] == {"kind": "notFound", "retryable": False, "entity": "store", "id": UNKNOWN}
    with desk.serving("b") as wire:
        # Not open yet.
        assert wire.request("session/list", store=store_id) == answers[1]


@pytest.mark.parametrize(
    ("method", "params", "path"),
    [
        ("session/create", {"scope": "all"}, "params.scope"),
        ("session/get", {"scope": "all", "externalId": "x"}, "params.scope"),
        ("session/subscribe", {"store": UNKNOWN}, "params.store"),
        ("session/create", {"store": UNKNOWN}, "params.store"),
        ("session/list", {"store": "x"}, "params.store"),
        ("session/list", {"store": None}, "params.store"),
        ("session/list", {"store": UNKNOWN, "scope": "system"}, "params.scope"),
        ("session/list", {"scope": "all", "workspace": "file:///"}, "params.workspace"),
        ("session/list", {"scope": "every"}, "params.scope"),
        ("session/list", {"scope": "all", "cursor": "AAAA"}, "params.cursor"),
        ("session/list", {"scope": "all", "limit": 0}, "params.limit"),
        ("session/list", {"scope": "all", "sort": "best"}, "params.sort"),
        ("store/list", {"scope": "all"}, "params.scope"),
        ("transaction/run", {"operations": [], "store": UNKNOWN}, "params.store"),
    ],
)
def test_what_is_no_store(wire: Wire, method: str, params: dict[str, Any], path: str) -> None:
    error = wire.error(method, **params)
    assert (error["code"], error["data"]["path"]) == (-32602, path)


def test_a_cursor_of_one_list_is_none_of_the_other(desk: Desk) -> None:
    desk.filled("a", "b", sessions=2)
    with desk.serving("a") as wire:
        of_all = wire.request("session/list", scope="all", limit=1)["nextCursor"]
        of_one = wire.request("session/list", limit=1)["nextCursor"]
        for params in (
            {"cursor": of_all},
            {"cursor": of_one, "scope": "all"},
            {"cursor": of_all, "scope": "all", "sort": "active"},
        ):
            assert wire.error("session/list", **params)["data"]["path"] == "params.cursor"


def test_a_page_of_large_rows_ends_early(desk: Desk) -> None:
    for name in "abcd":
        with desk.serving(name) as wire:
            for _ in range(2):
                wire.request("session/create", metadata={"text": "x" * (3 * 1024 * 1024)})
    with desk.serving("a") as wire:
        sizes = []
        seen = set()
        for page in pages(wire, 50):
            sizes.append(len(page["sessions"]))
            seen |= {session["id"] for session in page["sessions"]}
        assert len(seen) == 8
        assert max(sizes) == 2


def test_a_store_that_is_written_meanwhile(desk: Desk) -> None:
    """Many reads beside a server that begins, writes and ends again and again."""
    desk.filled("a", "b", sessions=2)
    with desk.serving("a") as wire:
        for number in range(4):
            with serving(desk.workspace("b"), environment=desk.environment) as other:
                asked = [wire.post("session/list", scope="all", limit=1000) for _ in range(10)]
                for _ in range(5):
                    other.request("session/create", title="b")
                for each in asked:
                    page = wire.result(each)
                    assert page["unavailable"] == []
                    count = len(page["sessions"])
                    assert 4 + 5 * number <= count <= 9 + 5 * number


def test_a_store_that_is_opened_later_is_read_as_it_was(desk: Desk) -> None:
    """The user's own store, which is not open when it is asked for with all others, and is written to at once."""
    desk.filled("a", "b", "c")
    for _ in range(5):
        with desk.serving("a") as wire:
            wire.request("session/list")
            before = titles(wire)
            asked = wire.post("session/list", scope="all")
            made = wire.post("session/create", scope="system", title="later")
            again = wire.post("session/list", scope="all")
            assert [session["title"] for session in wire.result(asked)["sessions"]] == before
            wire.result(made)
            assert [session["title"] for session in wire.result(again)["sessions"]] == ["later", *before]


def test_a_read_of_all_stores_can_be_cancelled(desk: Desk) -> None:
    desk.filled("a", "b")
    with desk.serving("a") as wire:
        asked = [wire.post("session/list", scope="all") for _ in range(20)]
        for each in asked:
            wire.notify("$/cancelRequest", id=each)
        answers = [wire.answer(each) for each in asked]
        for answer in answers:
            assert "result" in answer or answer["error"]["code"] == -32800
        assert len(titles(wire)) == 2


def test_usage_of_all_stores_is_the_sum(desk: Desk) -> None:
    sessions = {}
    for number, name in enumerate("abc", 1):
        with desk.serving(name) as wire:
            session = sessions[name] = wire.request("session/create", agent=name if name != "c" else "a")["id"]
            made = wire.request("round/create", sessionId=session, content="?")
            for currency in ("USD", "EUR")[: 1 + number % 2]:
                wire.request(
                    "turn/create",
                    responseId=made["response"]["id"],
                    status="completed",
                    model=f"m{number % 2}",
                    inputTokens=10**number,
                    cost=0.1,
                    currency=currency,
                )
    with desk.serving("a") as wire:
        total = wire.request("session/usage", scope="all")
        assert total["unavailable"] == []
        assert (total["rounds"], total["turns"]) == (3, 5)
        sums = {each["currency"]: (each["inputTokens"], each["cost"]) for each in total["totals"]}
        # Exact: 0.1 + 0.1 + 0.1 is not 0.30000000000000004.
        assert sums == {"EUR": (1010, 0.2), "USD": (1110, 0.3)}
        for group_by, keys in (("agent", ["a", "b"]), ("model", ["m0", "m1"]), ("session", sorted(sessions.values()))):
            groups = wire.request("session/usage", scope="all", groupBy=group_by)
            assert [group["key"] for group in groups["groups"]] == keys
            assert sum(group["turns"] for group in groups["groups"]) == 5
            assert groups["unavailable"] == []
        (day,) = wire.request("session/usage", scope="all", groupBy="day", timezone="Europe/Berlin")["groups"]
        assert day["turns"] == 5
        of_b = wire.request("session/usage", scope="all", sessionId=sessions["b"])
        assert (of_b["turns"], of_b["unavailable"]) == (1, [])
        assert wire.error("session/usage", scope="all", sessionId=UNKNOWN)["data"]["entity"] == "session"
        assert wire.error("session/usage", scope="all", timezone="No/Where")["data"]["path"] == "params.timezone"
        shutil.rmtree(desk.workspace("b"))
        rest = wire.request("session/usage", scope="all")
        assert (rest["turns"], reasons(rest)) == (4, {"b": "gone"})


def say(wire: Wire, *texts: str) -> str:
    """A session in which the agent says these; the server has found the last of them when this returns."""
    session: str = wire.request("session/create", title="untitled")["id"]
    for text in texts:
        made = wire.request("round/create", sessionId=session, content="?")
        wire.request("turn/create", responseId=made["response"]["id"], content=text, status="completed")
    deadline = time.monotonic() + 30
    while wire.request("session/search", query=texts[-1], sessionId=session)["pending"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return session


def found(wire: Wire, limit: int, **params: Any) -> list[Message]:
    """Every hit of all stores."""
    hits: list[Message] = []
    cursor = None
    while True:
        page = wire.request("session/search", scope="all", limit=limit, cursor=cursor, **params)
        assert (page["seq"], page["storeId"], page["unavailable"], page["pending"]) == (None, None, [], 0)
        hits += page["hits"]
        cursor = page["nextCursor"]
        if cursor is None:
            return hits
        assert len(page["hits"]) == limit


def test_a_search_in_all_stores_joins_hits_by_rank(desk: Desk) -> None:
    sessions = {}
    for name, count in (("a", 1), ("b", 5), ("c", 3), ("d", 1)):
        with desk.serving(name) as wire:
            word = "walrus" if name != "d" else "else"
            sessions[name] = say(wire, *[f"{word} {name}{number}" for number in range(count)])
    before = files(desk.workspace("b"))
    with desk.serving("a") as wire:
        names = {store["storeId"]: name for name, store in listed(wire).items()}
        for limit in (1, 2, 4, 50):
            hits = found(wire, limit, query="walrus")
            assert len(hits) == 9
            assert len({(hit["store"]["storeId"], hit["turnId"]) for hit in hits}) == 9
            by_rank = [names[hit["store"]["storeId"]] for hit in hits]
            assert set(by_rank[:3]) == {"a", "b", "c"}
            assert by_rank[3:] == [*by_rank[3:5], *by_rank[3:5], "b", "b"]
            assert set(by_rank[3:5]) == {"b", "c"}
        for name, session in sessions.items():
            own = [hit for hit in hits if names[hit["store"]["storeId"]] == name]
            of_one = wire.request("session/search", query="walrus", store=listed(wire)[name]["storeId"])["hits"]
            assert [{key: value for key, value in hit.items() if key != "store"} for hit in own] == of_one
            assert all(hit["sessionId"] == session for hit in own)
        assert len(found(wire, 2, query="walrus", sessionId=sessions["c"])) == 3
        assert wire.error("session/search", scope="all", query="walrus", sessionId=UNKNOWN)["code"] == -32010
        cursor = wire.request("session/search", scope="all", query="walrus", limit=1)["nextCursor"]
        for params in ({"query": "other", "scope": "all"}, {"query": "walrus"}):
            assert wire.error("session/search", cursor=cursor, **params)["data"]["path"] == "params.cursor"
    # A search index keeps its -shm, and readers note themselves in it.
    after = files(desk.workspace("b"))
    assert after.keys() == before.keys()
    assert not {path for path in after if after[path] != before[path] and not path.endswith("-shm")}
