"""A page of ``session/list``, however many sessions there are, by each filter, and what is rare among them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from benchmarks import fill
from benchmarks.driver import Server, connected, request
from benchmarks.report import Options, Row, at_most, median, milliseconds

FEW, PAGE, MANY = 10, 50, 100_000
FILL_SECONDS = 45.0
SAMPLES = 30
# What one session at the most has, among those of ``fill.sessions``; none of it is among the newest.
RARE = {"query": "session 1234 ", "cwd": "/rare", "source": "rare"}
# What is rare beside what is frequent, and all together.
COMBINED: list[dict[str, Any]] = [
    {"query": "session", "cwd": "/rare"},
    {"query": "session", "source": "rare"},
    {"query": "session 1234 ", "agent": "codex"},
    {"query": "session 1234 ", "agent": "codex", "state": "idle", "archived": None},
    {"cwd": "/rare", "source": "rare", "streaming": False},
    {"query": "session 1234 ", "cwd": "/rare", "source": "rare", "agent": "codex", "state": "idle"},
]
RARE_MS = 60
# Each is asked for in both orders.
FILTERED: dict[str, dict[str, Any]] = {
    "archived": {"archived": True}, "archived: null": {"archived": None}, "parentId": {"parentId": fill.PARENT},
    "streaming": {"streaming": True}, "state": {"state": "running"}, "agent": {"agent": "codex"},
    "agent, state and parentId": {"agent": "codex", "state": "running", "parentId": fill.PARENT},
}  # fmt: skip
FILTERED_SAMPLES = 10


def run(options: Options) -> list[Row]:
    """Ten sessions do not fill a page; so the bound is for 50 against many, and the ten are shown beside."""
    message = request(1, "session/list", {"limit": PAGE})
    with ExitStack() as stack:
        stores: dict[int, Server] = {}
        for count in (FEW, PAGE, MANY):
            directory = options.directory / str(count)
            directory.mkdir()
            with connected(directory) as client:
                done = fill.carry_out(client, fill.sessions(count), FILL_SECONDS)
                latest = [session.id for session in client.session_list(limit=PAGE // 2).sessions]
                fill.carry_out(client, fill.standing(latest, PAGE // 2), FILL_SECONDS)
            stores[done] = stack.enter_context(Server(directory))
            # Opens the store, which is not measured.
            stores[done].exchange(message)
        taken: dict[int, list[float]] = {count: [] for count in stores}
        for _ in range(SAMPLES):
            for count, server in stores.items():
                taken[count].append(server.seconds_of(message))
        rare = _rare(stores[max(stores)])
        filtered = _filtered(stores[sorted(stores)[1]], stores[max(stores)], max(stores))
    few, page, many = (median(found) for found in taken.values())
    what = f"session/list of {PAGE}, {max(stores):,} sessions"
    beside = f"{PAGE} sessions {milliseconds(page)}; {FEW}: {milliseconds(few)}"
    return [Row(what, milliseconds(many), beside, many / page, at_most(1.25)), *filtered, *rare]


def _filtered(few: Server, many: Server, count: int) -> list[Row]:
    """The same page of the small store and of the largest one, in turns."""
    rows = []
    for name, wanted in FILTERED.items():
        for sort in ("changed", "active"):
            message = request(1, "session/list", {**wanted, "sort": sort, "limit": PAGE // 2})
            taken: tuple[list[float], list[float]] = ([], [])
            for _ in range(FILTERED_SAMPLES):
                for server, found in zip((few, many), taken, strict=True):
                    found.append(server.seconds_of(message))
            small, large = map(median, taken)
            what = f"session/list by {name}, {sort}, {count:,} sessions"
            beside = f"{PAGE} sessions {milliseconds(small)}"
            rows.append(Row(what, milliseconds(large), beside, large / small, at_most(1.5)))
    return rows


def _rare(server: Server) -> list[Row]:
    """Each looks through all sessions."""
    rows = []
    for wanted in [*({name: value} for name, value in RARE.items()), *COMBINED]:
        for sort in ("changed", "active"):
            message = request(1, "session/list", {**wanted, "sort": sort})
            taken = median([server.seconds_of(message) for _ in range(SAMPLES)])
            what = f"session/list by {', '.join(wanted)}, rare, {sort}"
            rows.append(Row(what, milliseconds(taken), "", taken * 1000, at_most(RARE_MS, "ms")))
    return rows
