"""The register of stores: what it holds, and that nothing which happens to it concerns a request."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from faults.servers import with_module
from faults.test_clock import YEAR, Clock
from several import Desk, files, listed, pages, titles
from wire import TIMEOUT, Wire

DAY = 86_400.0
OTHER_USER = 65534


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def wait_for(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + TIMEOUT
    while not (found := what()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


def names(desk: Desk) -> set[str]:
    """The workspaces in the register."""
    paths = [Path(os.fsdecode(path)).parts for path, *_ in desk.registered()]
    return {parts[-3] for parts in paths if len(parts) > 2}


def used_after(desk: Desk, moment: float) -> bool:
    """Whether a store was noted after that."""
    return any(used_at > moment for _, _, used_at, _ in desk.registered())


def test_a_store_is_noted_once_and_not_with_every_request(desk: Desk) -> None:
    with desk.serving("a") as wire:
        wire.request("session/create")
        wait_for(desk.register.exists)
        wait_for(desk.registered)
        time.sleep(0.5)
        before = files(desk.home)
        for _ in range(20):
            wire.request("session/create")
            wire.request("store/list")
        time.sleep(1.2)
        assert files(desk.home) == before
    with desk.serving("a") as wire:
        wire.request("session/create")
    assert files(desk.home) == before
    (store,) = desk.registered()
    assert stat.S_IMODE(desk.register.stat().st_mode) == 0o600
    assert stat.S_IMODE(desk.home.stat().st_mode) == 0o700
    assert store[3] is None


@pytest.mark.parametrize("by", ["flag", "variable", "option"])
def test_a_server_can_leave_its_stores_out(desk: Desk, by: str) -> None:
    flags = ("--no-register",) if by == "flag" else ()
    more = {"MANDRAKE_SESSIONS_NO_REGISTER": "1"} if by == "variable" else {}
    with desk.serving("a", *flags, environment=desk.environment | more) as wire:
        if by == "option":
            options = {"noRegister": True}
            wire.request("initialize", capabilities={}, processId=None, initializationOptions=options)
            wire.notify("initialized")
        wire.request("session/create", title="hidden")
        assert set(listed(wire)) == {"a"}
        assert titles(wire) == ["hidden"]
        time.sleep(0.3)
        if by == "option":
            wire.request("shutdown")
            wire.notify("exit")
    assert not desk.register.exists()
    with desk.serving("b") as wire:
        assert listed(wire) == {}


def test_the_last_used_comes_first(desk: Desk) -> None:
    desk.filled("a", "b", "c")
    with desk.serving("b") as wire:
        assert list(listed(wire)) == ["c", "b", "a"]
        # Noted ten minutes ago, so it is noted again.
        desk.change_register("UPDATE store SET last_used_at = last_used_at - 3600000")
        wire.request("session/create")
        wait_for(lambda: list(listed(wire)) == ["b", "c", "a"])


def test_the_own_store_of_the_user_counts_without_being_noted(desk: Desk) -> None:
    with desk.serving("a", "--no-register") as wire:
        wire.request("session/create", scope="system", title="own")
    with desk.serving("b") as wire:
        store = listed(wire)[""]
        assert (store["scope"], store["workspace"], store["available"]) == ("system", None, True)
        assert titles(wire) == ["own"]


def test_what_is_gone_is_forgotten_after_90_days(desk: Desk, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    options: dict[str, Any] = {"command": with_module("clock")}
    options["environment"] = desk.environment | {"FAULTS_CLOCK": str(tmp_path / "clock")}
    desk.filled("a", "b", "c")
    desk.remove("b")
    for days, kept in ((1, True), (40, True), (80, True), (92, False)):
        clock.set(days * DAY)
        with desk.serving("a", **options) as wire:
            wire.request("session/create")
            wait_for(partial(used_after, desk, (time.time() + (days - 1) * DAY) * 1000))
            time.sleep(0.3)
            known = listed(wire)
            assert ("b" in known) is kept, days
            if kept:
                assert known["b"]["available"] is False
            assert known["c"]["available"] is True


def test_a_clock_that_is_far_ahead_or_set_back_forgets_nothing(desk: Desk, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    options: dict[str, Any] = {"command": with_module("clock")}
    options["environment"] = desk.environment | {"FAULTS_CLOCK": str(tmp_path / "clock")}
    desk.filled("a", "b", "c")
    desk.remove("b")
    for moved in (DAY * 2, 5 * YEAR, 0, -3 * YEAR, 0, 10 * YEAR, 0):
        clock.set(moved)
        with desk.serving("a", **options) as wire:
            wire.request("session/create")
            time.sleep(0.3)
            assert set(listed(wire)) == {"a", "b", "c"}, moved
    # Times in the future were set right.
    assert all(used < (time.time() + 2 * DAY) * 1000 for _, _, used, _ in desk.registered() if used)


def broken(desk: Desk, kind: str) -> None:
    register = desk.register
    desk.home.mkdir(parents=True, exist_ok=True)
    content = register.read_bytes() if register.exists() else b""
    register.unlink(missing_ok=True)
    if kind == "text":
        register.write_text("no database at all" * 500)
    elif kind == "cut":
        register.write_bytes(content[: len(content) // 2])
    elif kind == "overwritten":
        register.write_bytes(content[:200] + b"\xff" * (len(content) - 200))
    elif kind == "empty":
        register.touch()
    elif kind == "no table":
        register.write_bytes(content)
        desk.change_register("DROP TABLE store")
    elif kind == "directory":
        register.mkdir()
    elif kind == "fifo":
        os.mkfifo(register)
    elif kind == "link":
        register.symlink_to(desk.store("b"))
    elif kind == "newer":
        register.write_bytes(content)
        desk.change_register("PRAGMA user_version=7")
    elif kind == "foreign":
        with closing(sqlite3.connect(register)) as connection:
            connection.execute("CREATE TABLE other (a)")


@pytest.mark.parametrize("kind", ["text", "cut", "overwritten", "empty", "no table"])
def test_a_damaged_register_is_begun_again(desk: Desk, kind: str) -> None:
    desk.filled("a", "b")
    broken(desk, kind)
    with desk.serving("c") as wire:
        assert set(listed(wire)) <= {"a", "b"}
        wire.request("session/create", title="c")
        wait_for(lambda: desk.register.is_file() and "c" in (names_or_none(desk) or ()))
        assert "c" in listed(wire)
        assert "c" in titles(wire)


def names_or_none(desk: Desk) -> set[str] | None:
    try:
        return names(desk)
    except sqlite3.DatabaseError:
        return None


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "newer", "foreign"])
def test_what_is_no_register_is_left_alone(desk: Desk, kind: str) -> None:
    desk.filled("a", "b")
    broken(desk, kind)
    before = files(desk.home), files(desk.workspace("b"))
    with desk.serving("c") as wire:
        wire.request("session/create", title="c")
        time.sleep(0.3)
        assert set(listed(wire)) == {"c"}
        assert titles(wire) == ["c"]
    assert (files(desk.home), files(desk.workspace("b"))) == before


def test_without_a_home_a_server_knows_its_own_stores(desk: Desk) -> None:
    environment = {name: value for name, value in desk.environment.items() if name not in ("HOME", "MANDRAKE_HOME")}
    for home in ({"MANDRAKE_HOME": "/proc/none"}, {"HOME": "relative"}, {"MANDRAKE_HOME": "/dev/null/home"}):
        with desk.serving("a", environment={**environment, "MANDRAKE_HOME": "", **home}) as wire:
            wire.request("session/create", title="a")
            time.sleep(0.2)
            assert "a" in listed(wire)
            assert "a" in titles(wire)


def test_a_register_that_others_hold_keeps_nobody_waiting(desk: Desk) -> None:
    desk.filled("a", "b")
    with closing(sqlite3.connect(desk.register, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with desk.serving("c") as wire:
            wire.request("server/info")
            began = time.monotonic()
            wire.request("session/create", title="c")
            wire.request("session/list")
            assert time.monotonic() - began < 3
            assert set(listed(wire)) == {"c"}
            holder.execute("ROLLBACK")
            assert set(listed(wire)) == {"a", "b", "c"}


def test_many_servers_that_start_at_once_are_all_noted(desk: Desk) -> None:
    wanted = [f"n{number}" for number in range(8)]
    for name in wanted:
        desk.workspace(name)
    with ExitStack() as servers:
        wires = [servers.enter_context(desk.serving(name)) for name in wanted]
        threads = [threading.Thread(target=wire.request, args=("session/create",)) for wire in wires]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: desk.register.exists() and (names_or_none(desk) or set()) == set(wanted))
        assert set(listed(wires[0])) == set(wanted)


def test_one_store_under_two_paths_is_one_store(desk: Desk) -> None:
    desk.filled("a", "b")
    link = desk.directory / "link"
    link.symlink_to(desk.workspace("a"))
    with desk.serving("b", "--workspace", str(link)) as wire:
        wire.request("session/create", title="by the link")
        assert set(listed(wire)) == {"link", "b"}
        assert sorted(titles(wire)) == ["a 0", "b 0", "by the link"]
    assert names(desk) == {"link", "b"}
    with desk.serving("b") as wire:
        assert sorted(titles(wire)) == ["a 0", "b 0", "by the link"]


def test_a_workspace_that_was_moved_is_listed_where_it_is(desk: Desk) -> None:
    store_ids = desk.filled("a", "b")
    desk.workspace("a").rename(desk.directory / "moved")
    with desk.serving("b") as wire:
        assert listed(wire)["a"]["available"] is False
    desk.filled("moved")
    with desk.serving("b") as wire:
        known = listed(wire)
        assert set(known) == {"moved", "b"}
        assert known["moved"]["storeId"] == store_ids["a"]
        assert sorted(titles(wire)) == ["a 0", "b 0", "moved 0"]


def test_a_copied_workspace_is_another_store_once_it_is_used(desk: Desk) -> None:
    store_ids = desk.filled("a", "b", "c")
    # A backup tool put the store of a in the place of b.
    shutil.copy(desk.store("a"), desk.directory / "copy")
    (desk.directory / "copy").replace(desk.store("b"))
    with desk.serving("c") as wire:
        page = wire.request("session/list", scope="all")
        assert [session["title"] for session in page["sessions"]] == ["c 0", "a 0"]
        assert [each["reason"] for each in page["unavailable"]] == ["copied"]
        of_a = wire.request("session/list", store=store_ids["a"])
        assert [session["title"] for session in of_a["sessions"]] == ["a 0"]
    with desk.serving("b") as wire:
        wire.request("session/list")
    with desk.serving("c") as wire:
        wire.request("session/list")
        assert sorted(titles(wire)) == ["a 0", "a 0", "c 0"]
        assert len({store["storeId"] for store in listed(wire).values()}) == 3
        error = wire.error("session/list", store=store_ids["b"])
        assert error["data"]["kind"] == "notFound"


def test_a_path_that_holds_another_store_by_now(desk: Desk) -> None:
    store_ids = desk.filled("a", "b")
    desk.remove("a")
    with desk.serving("a", "--no-register") as wire:
        wire.request("session/create", title="another")
        new_id = wire.request("session/list")["storeId"]
    assert new_id != store_ids["a"]
    with desk.serving("b") as wire:
        assert listed(wire)["a"]["storeId"] == new_id
        assert titles(wire) == ["another", "b 0"]
        assert wire.error("session/list", store=store_ids["a"])["data"]["entity"] == "store"
        assert wire.request("session/list", store=new_id)["sessions"][0]["title"] == "another"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_read(desk: Desk) -> None:
    desk.filled("a", "b")
    os.chown(desk.store("a"), OTHER_USER, OTHER_USER)
    with desk.serving("b") as wire:
        assert listed(wire)["a"]["available"] is False
        page = wire.request("session/list", scope="all")
        assert [session["title"] for session in page["sessions"]] == ["b 0"]
        assert [each["reason"] for each in page["unavailable"]] == ["open"]


STRANGE: list[tuple[str, tuple[Any, ...]]] = [
    ("UPDATE store SET path = x'00', store_id = ?", ("x",)),
    ("UPDATE store SET path = ?", (b"relative/db.sqlite",)),
    ("UPDATE store SET path = ?", (b"/" + b"a" * 20_000,)),
    ("UPDATE store SET path = ?", (b"/dev/zero",)),
    ("UPDATE store SET path = ?", (b"/proc/self/mem",)),
    ("UPDATE store SET path = ?", (b"/nul\0l",)),
    ("UPDATE store SET path = ?", (b"/not/utf8/\xff\xfe/db.sqlite",)),
    ("UPDATE store SET store_id = ?", ("../../etc/passwd",)),
    ("UPDATE store SET scope = ?", ("everything",)),
    ("UPDATE store SET workspace = ?", (b"\0",)),
    ("UPDATE store SET last_used_at = ?", (-(2**63),)),
    ("UPDATE store SET last_used_at = ?", (2**63 - 1,)),
    ("UPDATE store SET owner = ?", (-1,)),
    ("UPDATE store SET gone_since = ?", (2**62,)),
    ("UPDATE store SET file = ?", ("\U0001f680" * 1000,)),
]


@pytest.mark.parametrize(("statement", "values"), STRANGE, ids=range(len(STRANGE)))
def test_what_the_register_says_is_not_believed(desk: Desk, statement: str, values: tuple[Any, ...]) -> None:
    desk.filled("a")
    desk.change_register(statement, *values)
    with desk.serving("b") as wire:
        wire.request("session/create", title="b")
        for store in wire.request("store/list")["stores"]:
            assert store["scope"] in ("workspace", "system")
            assert len(store["storeId"]) == 36
        assert "b" in [session["title"] for session in wire.request("session/list", scope="all")["sessions"]]
        wait_for(lambda: "b" in (names_or_none(desk) or ()))


def test_a_script_notes_its_store_before_it_ends(desk: Desk) -> None:
    wire = Wire(desk.workspace("a"), environment=desk.environment)
    wire.request("session/create")
    wire.close()
    assert names(desk) == {"a"}


def test_a_clock_that_is_set_back_repeats_nothing(desk: Desk, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    options: dict[str, Any] = {"command": with_module("clock")}
    options["environment"] = desk.environment | {"FAULTS_CLOCK": str(tmp_path / "clock")}
    desk.filled("a", "b", sessions=6)
    with desk.serving("a", **options) as wire, desk.serving("b", **options) as other:
        seen: list[str] = []
        of_a = [session["id"] for session in wire.request("session/list")["sessions"]]
        untouched = {session["id"] for session in other.request("session/list")["sessions"][3:]} | set(of_a[:3])
        for number, page in enumerate(pages(wire, 3)):
            seen += [session["id"] for session in page["sessions"]]
            clock.set(-YEAR * (number + 1))
            for session_id in set(seen) - untouched:
                writer = wire if session_id in of_a else other
                writer.request("session/update", sessionId=session_id, title=str(number))
        assert len(seen) == len(set(seen))
        assert untouched <= set(seen)
