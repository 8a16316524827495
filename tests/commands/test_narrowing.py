"""What narrows down where commands look, and what they say where nothing is left."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from commands.running import TIMEOUT, names, run, store_of
from commands.test_reading import listed, rows, talk
from commands.test_terminal import on_a_terminal
from commands.test_writing import appended, started
from mandrake_sessions import SessionManager
from mandrake_sessions.model import TurnStatus


@pytest.fixture
def other(workspace: Path, tmp_path: Path) -> Path:
    """Another workspace of the same user, with a store that is known to all commands."""
    path = tmp_path / "other"
    (path / ".git").mkdir(parents=True)
    session = run(path, "new", "x", MANDRAKE_HOME=str(workspace / "home" / ".mandrake")).out.strip()
    with SessionManager(store_of(path)) as manager:
        manager.delete_session(session)
    return path


# ---- --agent, --cwd, --since


def test_an_agent_narrows_every_name_but_a_whole_id(workspace: Path) -> None:
    database = store_of(workspace)
    badgers = talk(database, "A talk on badgers", agent="codex")
    otters = talk(database, "A talk on otters", agent="claude-code")
    for name, agent, wanted in (
        ("@last", "codex", badgers), ("@1", "codex", badgers), ("@1", "claude-code", otters),
        ("a talk", "codex", badgers), (badgers[:20], "codex", badgers), (otters, "codex", otters),
    ):  # fmt: skip
        shown = rows(run(workspace, "show", name, "--agent", agent, "--json"))
        assert [row["id"] for row in shown if row["type"] == "session"] == [wanted], (name, agent)
    for name, agent in (("@2", "codex"), ("badgers", "claude-code"), (badgers[:20], "claude-code"), ("@last", "x")):
        assert f"no session '{name}' " in run(workspace, "show", name, "--agent", agent, code=1).err
    run(workspace, "archive", "@last", "--agent", "codex")
    assert listed(workspace) == ["A talk on otters"]


def test_an_export_of_all_can_be_narrowed(workspace: Path) -> None:
    database = store_of(workspace)
    talk(database, "below", cwd=str(workspace / "below" / "it"))
    talk(database, "beside", cwd=str(workspace / "beside"), agent="codex")
    with SessionManager(database) as manager:
        manager.create_session(title="old", created_at=1_700_000_000_000)
    for flags, wanted in (
        (["--cwd", "below"], {"below"}), (["--since", "1d"], {"below", "beside"}), (["--agent", "codex"], {"beside"}),
        ([], {"below", "beside", "old"}), (["--cwd", "below", "--agent", "codex"], set()),
    ):  # fmt: skip
        out = run(workspace, "export", "--all", *flags).out
        assert {line[2:] for line in out.splitlines() if line.startswith("# ")} == wanted, flags


def test_a_tail_can_be_narrowed(workspace: Path) -> None:
    run(workspace, "new", "there")
    with (
        started(workspace, "tail", "--agent", "codex", "--json") as by_agent,
        started(workspace, "tail", "--cwd", "below", "--json") as by_cwd,
    ):
        assert by_agent.stdout is not None
        assert by_cwd.stdout is not None
        time.sleep(1.5)
        appended(workspace, b"neither", "--prompt", "?")
        of_codex = appended(workspace, b"one", "--prompt", "?", "--agent", "codex")
        below = appended(workspace, b"the other", "--prompt", "?", "--cwd", "below/it")
        for process, wanted in ((by_agent, of_codex), (by_cwd, below)):
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["sessionId"] == wanted
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT) == 0


# ---- nothing found


def test_where_nothing_is_found_a_line_says_how_much_there_is(workspace: Path, other: Path) -> None:
    session = talk(store_of(other), "A talk on badgers")
    for command, said in (
        (["list"], "No conversation found here; --all finds 1."),
        (["usage"], "No usage found here; --all finds that of 1 round."),
    ):
        assert run(workspace, *command).err == f"{said}\n"
        assert run(workspace, *command, "--json").err == f"{said}\n"
    for name in ("badgers", session, session[:20]):
        told = run(workspace, "show", name, code=1).err
        assert told.endswith("here, but in another store: add --all, which finds 1\n")
    told = run(workspace, "show", "@last", code=1).err
    assert told.endswith("among 0 here; mandrake-sessions list lists them, and --all finds 1\n")
    assert "and --all finds none either" in run(workspace, "show", "whales", code=1).err
    assert "among 1 in all stores" in run(workspace, "show", "@2", "--all", code=1).err


def test_a_number_that_was_not_counted_to_its_end_is_told_so(workspace: Path, other: Path) -> None:
    with SessionManager(store_of(other)) as manager, manager.transaction():
        for number in range(1001):
            manager.create_session(title=f"A talk {number}")
    assert run(workspace, "list").err == "No conversation found here; --all finds 1000 or more.\n"
    assert "which finds 20 or more\n" in run(workspace, "show", "A talk", code=1).err


def test_what_the_index_of_another_store_lacks_is_told_with_what_to_do(workspace: Path, other: Path) -> None:
    with SessionManager(store_of(other)) as manager:
        response = manager.create_round(manager.create_session(title="t").id, content="Who?").response.id
        manager.create_turn(response, content="a badger", status=TurnStatus.COMPLETED)
    before = names(other / ".ws")
    told = run(workspace, "search", "badger", "--all")
    assert told.out == ""
    assert "in a moment" not in told.err
    assert f"1 turn of {store_of(other)} could not be searched: its search index lacks them until" in told.err
    assert f"mandrake-sessions search --database={store_of(other)} QUERY\n" in told.err
    assert names(other / ".ws") == before
    run(workspace, "search", f"--database={store_of(other)}", "badger")
    told = run(workspace, "search", "badger", "--all")
    assert "a badger" in told.out
    assert told.err == ""


def test_a_sum_without_a_name_says_of_what(workspace: Path) -> None:
    with SessionManager(store_of(workspace)) as manager:
        response = manager.create_round(manager.create_session(title="t").id, content="Who?").response.id
        manager.create_turn(response, content="I.", input_tokens=1, cost=0.5, status=TurnStatus.COMPLETED)
    for by, name in (("agent", "(no agent)"), ("model", "(no model)"), ("cwd", "(no directory)")):
        assert run(workspace, "usage", "--by", by).out.splitlines()[1].startswith(f"{name} ")
    assert run(workspace, "usage").out.splitlines()[1].startswith("all ")


# ---- the pager


@pytest.mark.parametrize("command", [["list"], ["search", "badger"], ["usage", "--by", "agent"], ["stores"]])
def test_what_may_be_long_goes_through_the_pager(workspace: Path, command: list[str]) -> None:
    run(workspace, "new", "of a badger", "--agent", "badger")
    talk(store_of(workspace), "badger", "a badger", agent="badger")
    before = "STORE" if command == ["stores"] else "badger"
    environment = {"PAGER": f"sed s/{before}/SHOWN/g", "NO_COLOR": "1"}
    code, shown = on_a_terminal(workspace, *command, environment=environment)
    assert code == 0
    assert "SHOWN" in shown
    assert before not in shown
    assert "SHOWN" not in on_a_terminal(workspace, *command, "--json", environment=environment)[1]


def test_nothing_found_needs_no_pager(workspace: Path) -> None:
    for command in (["list"], ["search", "badger"], ["usage"], ["stores"]):
        _, shown = on_a_terminal(workspace, *command, environment={"PAGER": "echo PAGED"})
        assert "PAGED" not in shown
