"""Random writes to several stores, whose servers come and go: what is read of all of them is what a plain model has."""

from __future__ import annotations

import random
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from several import Desk, listed
from wire import Message, Wire

WORKSPACES = ("a", "b", "c", "d")
SYSTEM = ""
AGENTS = (None, "x", "y")
DIRECTORIES = (None, "/w", "/w/sub", "/other")


class Model:
    """The sessions of each store, as they were told last, and the servers that run now."""

    def __init__(self, desk: Desk, chance: random.Random, servers: ExitStack) -> None:
        self.desk = desk
        self.chance = chance
        self._servers = servers
        self.wires: dict[str, Wire] = {}
        self.stores: dict[str, dict[str, Message]] = {name: {} for name in (*WORKSPACES, SYSTEM)}
        self.gone: set[str] = set()
        # Requests that have a fish, by session and round; the session of each turn.
        self.asked: list[tuple[str, str]] = []
        self.turns: list[str] = []
        for name in WORKSPACES:
            self.create(name)
        self.create(SYSTEM)
        self._wait_until_noted()

    def wire(self, name: str) -> Wire:
        """A server for a store; one that runs, or a new one."""
        name = name or self.chance.choice([each for each in WORKSPACES if each not in self.gone])
        if name not in self.wires:
            self.wires[name] = self._servers.enter_context(self.desk.serving(name))
        return self.wires[name]

    def write(self, name: str, method: str, **params: Any) -> Any:
        scope = {"scope": "system"} if name == SYSTEM else {}
        return self.wire(name).request(method, **params, **scope)

    def create(self, name: str) -> None:
        given = {"agent": self.chance.choice(AGENTS), "cwd": self.chance.choice(DIRECTORIES)}
        moment = self.chance.choice((1000, 1000, 2000, 5000 + self.chance.randrange(5)))
        title = self.chance.choice(("Fish", "fishing", "Straße", "else"))
        made = self.write(name, "session/create", title=title, createdAt=moment, **given)
        self.stores[name][made["id"]] = made

    def change(self, name: str) -> None:
        session_id = self.chance.choice(list(self.stores[name]))
        kind = self.chance.choice(("title", "archive", "round", "delete", "turn"))
        if kind == "delete" and len(self.stores[name]) > 1:
            self.write(name, "session/delete", sessionId=session_id)
            del self.stores[name][session_id]
            return
        if kind == "title":
            self.write(name, "session/update", sessionId=session_id, title=self.chance.choice(("Fish", "new")))
        elif kind == "archive":
            self.write(name, "session/update", sessionId=session_id, archived=self.chance.random() < 0.5)
        elif kind == "round":
            made = self.write(name, "round/create", sessionId=session_id, content="a FISH?")
            self.asked.append((session_id, made["round"]["id"]))
        elif kind == "turn":
            made = self.write(name, "round/create", sessionId=session_id, content="?")
            self.write(name, "turn/create", responseId=made["response"]["id"], status="completed", content="!")
            self.turns.append(session_id)
        self.stores[name][session_id] = self.write(name, "session/get", sessionId=session_id)

    def end_server(self, name: str) -> None:
        if name in self.wires:
            self.wires.pop(name).close()

    def remove(self, name: str) -> None:
        """The workspace goes."""
        if len(self.gone) < len(WORKSPACES) - 2:
            self.end_server(name)
            shutil.rmtree(self.desk.workspace(name))
            self.gone.add(name)

    def expected(self, sort: str, **wanted: Any) -> list[tuple[Message, str]]:
        """The sessions with the names of their stores."""
        moment = "updatedAt" if sort == "changed" else "activeAt"
        ids = self.store_ids
        found = [
            (-session[moment], ids[name], session["id"], session, name)
            for name, sessions in self.stores.items()
            if name not in self.gone
            for session in sessions.values()
            if fits(session, **wanted)
        ]
        return [(session, name) for *_, session, name in sorted(found, key=lambda each: each[:3])]

    @property
    def store_ids(self) -> dict[str, str]:
        return {name: store["storeId"] for name, store in self.known.items()}

    def compare(self) -> None:
        asker = self.wire(SYSTEM)
        self.known = listed(asker)
        assert {name for name, store in self.known.items() if not store["available"]} == self.gone
        sort, limit = self.chance.choice(("changed", "active")), self.chance.choice((1, 2, 3, 50))
        wanted = self.chance.choice(
            (
                {},
                {"archived": None},
                {"archived": True},
                {"query": "fish"},
                {"agent": "x"},
                {"cwd": "/w"},
                {"state": "idle", "archived": None},
                {"activeSince": 1500, "activeUntil": 10_000_000_000_000},
            )
        )
        expected = self.expected(sort, **wanted)
        found: list[Message] = []
        cursor = None
        while True:
            page = asker.request("session/list", scope="all", sort=sort, limit=limit, cursor=cursor, **wanted)
            assert {Path(each["path"]).parents[1].name for each in page["unavailable"]} == self.gone
            found += page["sessions"]
            cursor = page["nextCursor"]
            if cursor is None:
                break
            assert len(page["sessions"]) == limit
        assert [(session["title"], session["id"]) for session in found] == [
            (session["title"], session["id"]) for session, _ in expected
        ], (sort, limit, wanted)
        for session, (told, name) in zip(found, expected, strict=True):
            known = self.known[name]
            assert session == told | {"store": {key: known[key] for key in ("storeId", "scope", "workspace")}}
        self._search(asker)
        self._add_up(asker)
        self._read_one(asker)

    @property
    def present(self) -> dict[str, tuple[Message, str]]:
        """The sessions of the stores that are there, each with its store, by id."""
        stores = {name: sessions for name, sessions in self.stores.items() if name not in self.gone}
        return {id_: (session, name) for name, sessions in stores.items() for id_, session in sessions.items()}

    def _search(self, asker: Wire) -> None:
        """Titles and requests; what is said in the last moment may be searched a little later."""
        present = self.present
        wanted: set[tuple[str, str | None, str]]
        wanted = {(id_, None, name) for id_, (session, name) in present.items() if "fish" in session["title"].lower()}
        wanted |= {(id_, round_id, present[id_][1]) for id_, round_id in self.asked if id_ in present}
        archived = self.chance.choice((None, False, True))
        shown = {id_ for id_, (session, _) in present.items() if archived in (None, session["archivedAt"] is not None)}
        wanted = {spot for spot in wanted if spot[0] in shown}
        deadline = time.monotonic() + 20
        while (found := self._found(asker, archived)) != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        assert found == wanted

    def _found(self, asker: Wire, archived: bool | None) -> set[tuple[str, str | None, str]]:
        found: list[Message] = []
        cursor = None
        while True:
            page = asker.request(
                "session/search", scope="all", query="fish", archived=archived, limit=self.chance.choice((2, 50)),
                cursor=cursor,
            )  # fmt: skip
            found += page["hits"]
            cursor = page["nextCursor"]
            if cursor is None:
                break
        names = {store_id: name for name, store_id in self.store_ids.items()}
        spots = [(hit["sessionId"], hit["roundId"], names[hit["store"]["storeId"]]) for hit in found]
        assert len(set(spots)) == len(spots)
        return set(spots)

    def _add_up(self, asker: Wire) -> None:
        """Rounds and turns of all stores, by the agent."""
        present = self.present
        found = asker.request("session/usage", scope="all", groupBy="agent")
        told = {group["key"]: (group["rounds"], group["turns"]) for group in found["groups"]}
        expected: dict[str | None, list[int]] = {}
        for session, _ in present.values():
            if session["roundCount"]:
                expected.setdefault(session["agent"], [0, 0])[0] += session["roundCount"]
        for session_id in self.turns:
            if session_id in present:
                expected[present[session_id][0]["agent"]][1] += 1
        assert told == {agent: tuple(counts) for agent, counts in expected.items()}

    def _read_one(self, asker: Wire) -> None:
        name = self.chance.choice([name for name in self.stores if name not in self.gone])
        session = self.chance.choice(list(self.stores[name].values()))
        assert asker.request("session/get", sessionId=session["id"], store=self.store_ids[name]) == session
        other = self.chance.choice([each for each in self.stores if each != name and each not in self.gone])
        error = asker.error("session/get", sessionId=session["id"], store=self.store_ids[other])
        assert error["data"]["entity"] == "session"

    def _wait_until_noted(self) -> None:
        wire = self.wire("a")
        deadline = time.monotonic() + 20
        while set(listed(wire)) != {*WORKSPACES, SYSTEM}:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def fits(session: Message, **wanted: Any) -> bool:
    archived = wanted.get("archived", False)
    texts = [session[name] or "" for name in ("title", "description", "preview")]
    cwd = session["cwd"] or ""
    return (
        (archived is None or (session["archivedAt"] is not None) is archived)
        and ("query" not in wanted or any(wanted["query"] in text.casefold() for text in texts))
        and all(session[name] == wanted[name] for name in ("agent", "state", "source") if name in wanted)
        and ("cwd" not in wanted or cwd == wanted["cwd"] or cwd.startswith(wanted["cwd"] + "/"))
        and wanted.get("activeSince", 0) <= session["activeAt"] < wanted.get("activeUntil", 2**62)
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(2))
def test_all_stores_hold_what_the_model_holds(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with ExitStack() as servers:
        model = Model(Desk(tmp_path), chance, servers)
        for _ in range(25):
            for _ in range(chance.randrange(6)):
                name = chance.choice([each for each in model.stores if each not in model.gone])
                (model.create if chance.random() < 0.4 else model.change)(name)
            if chance.random() < 0.2:
                model.end_server(chance.choice(WORKSPACES))
            if chance.random() < 0.04:
                model.remove(chance.choice([each for each in WORKSPACES if each not in model.gone]))
            model.compare()
