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


def test_a_tail_of_an_agent_that_no_session_has_says_so(workspace: Path) -> None:
    talk(store_of(workspace), "there", agent="codex")
    with started(workspace, "tail", "--agent", "codx") as process:
        assert process.stderr is not None
        said = process.stderr.readline().decode()
        assert said == "No session of the agent codx is stored yet (did you mean codex?); agents here: codex.\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) in (0, 130)


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
    assert told.endswith("one; import brings in those of other programs), and --all finds 1\n")
    assert "and --all finds none either" in run(workspace, "show", "whales", code=1).err
    assert "among 1 in all stores" in run(workspace, "show", "@2", "--all", code=1).err


def test_what_only_archived_sessions_have_is_told(workspace: Path, other: Path) -> None:
    talk(store_of(workspace), "A talk on badgers")
    talk(store_of(other), "A talk on otters")
    run(workspace, "archive", "badgers")
    run(other, "archive", "otters", MANDRAKE_HOME=str(workspace / "home" / ".mandrake"))
    talk(store_of(other), "Another talk on badgers")
    # Whoever only visits a store puts nothing into its search index.
    run(other, "search", "badgers", MANDRAKE_HOME=str(workspace / "home" / ".mandrake"))
    for command, what in ((["search"], "text"), (["list", "--query"], "conversation")):
        for flags, word, said in (
            ([], "badgers", "here; --archived finds 1, and --all finds 1"),
            (["--scope", "system"], "otters", "here; --all --archived finds 1"),
            (["--all"], "otters", "in any store; --archived finds 1"),
            (["--all"], "whales", "in any store"),
            ([], "whales", "here or in any other store"),
            (["--archived"], "otters", "here; --all finds 1"),
        ):
            told = run(workspace, *command, word, *flags).err
            assert told == f"No {what} found{',' if 'other' in said else ''} {said}.\n", (command, flags, word)
    assert "badgers" in run(workspace, "search", "badgers", "--archived").out
    # What was used in archived sessions counts as any.
    assert "archived" not in run(workspace, "usage", "--agent", "nobody").err


def test_usage_of_each_session_has_its_title(workspace: Path, other: Path) -> None:
    here = talk(store_of(workspace), "A talk on badgers")
    untitled = talk(store_of(workspace), None, request="What is an otter?")
    there = talk(store_of(other), "A talk on whales")
    run(workspace, "archive", "badgers")
    heading, *lines = run(workspace, "usage", "--by", "session", "--all").out.splitlines()
    assert heading.startswith("SESSION ")
    assert heading.endswith("TITLE")
    ends = {here: "A talk on badgers", untitled: "What is an otter?", there: "A talk on whales"}
    assert len(lines) == len(ends)
    for session, title in ends.items():
        assert [line for line in lines if line.startswith(f"{session[:13]} ") and line.endswith(f"  {title}")]


def test_usage_of_little_does_not_look_like_nothing(workspace: Path) -> None:
    for title, cost, tokens in (("few", 0.0, 5), ("many", 0.0, 5000), ("little", 0.0048, 1), ("much", 12.5, 1)):
        with SessionManager(store_of(workspace)) as manager:
            response = manager.create_round(manager.create_session(title=title).id, content="?").response.id
            manager.create_turn(response, cost=cost, output_tokens=tokens, status=TurnStatus.COMPLETED)
    _, *lines = run(workspace, "usage", "--by", "session").out.splitlines()
    assert [line.split()[-1] for line in lines] == ["much", "little", "many", "few"]
    assert [" 12.50 USD " in lines[0], " 0.0048 USD " in lines[1]] == [True, True]


def test_a_place_without_its_sign_is_told_how_to_name_it(workspace: Path) -> None:
    for name, flags in (("1", []), ("last", []), ("last", ["--all"]), ("tail", [])):
        where = "in any store" if flags else "here"
        told = run(workspace, "show", name, *flags, code=1).err
        assert f"no session {name!r} {where}: none is stored yet (record, append and new make one; import " in told
    talk(store_of(workspace), "A talk on badgers")
    for name, flags in (("1", []), ("last", []), ("LAST", ["--all"])):
        told = run(workspace, "show", name, *flags, code=1).err
        assert f"; did you mean @{name.lower()}? mandrake-sessions list{' --all' if flags else ''} lists them" in told
    for name in ("@lst", "@Lats"):
        assert "; did you mean @last? mandrake-sessions list" in run(workspace, "show", name, code=1).err
    assert "did you mean" not in run(workspace, "show", "tail", code=1).err


def test_an_agent_that_has_none_is_told_which_agents_there_are(workspace: Path, other: Path) -> None:
    nothing = run(workspace, "list", "--agent", "claude").err
    begin = " Other programs may have left some: mandrake-sessions import"
    assert nothing == f"No conversation found, here or in any other store.{begin}\n"
    for agent in ("codex", "claude-code", "codex", None):
        talk(store_of(workspace), "A talk", agent=agent)
    talk(store_of(other), "A talk", agent="goose")
    named = "; agents here: claude-code, codex.\n"
    for command in (["list"], ["usage"], ["search", "talk"], ["export", "--all", "--scope", "workspace"]):
        assert run(workspace, *command, "--agent", "claude").err.endswith(named)
    told = run(workspace, "list", "--all", "--agent", "claude").err
    assert told.endswith("; agents there: claude-code, codex, goose.\n")
    for agent, near in (("cloude-code", "claude-code"), ("codx", "codex")):
        told = run(workspace, "list", "--agent", agent).err
        assert f"(did you mean {near}?); agents here:" in told
    assert "did you mean" not in run(workspace, "list", "--agent", "aider").err
    assert "agents" not in run(workspace, "list", "--agent", "codex", "--cwd", "elsewhere").err


def test_a_file_that_is_named_has_to_be_there(workspace: Path) -> None:
    for command in (["list"], ["show", "@last"], ["search", "x"], ["usage"], ["export", "x"], ["rename", "x", "y"]):
        told = run(workspace, *command, "--database", "nowhere.sqlite", code=2).err
        assert told == f"mandrake-sessions {command[0]}: --database: there is no file {workspace / 'nowhere.sqlite'}\n"
    run(workspace, "new", "x", "--database", "nowhere.sqlite")
    assert "  x\n" in run(workspace, "list", "--database", "nowhere.sqlite").out


def test_days_as_people_write_them(workspace: Path) -> None:
    session = talk(store_of(workspace), "A talk")
    with SessionManager(store_of(workspace)) as manager:
        moment = manager.get_session(session).active_at / 1000
    # The day of the session as a place has it where it is noon there.
    hours = 12 - time.gmtime(moment).tm_hour
    zone = f"<here>{-hours:+d}"
    noon = time.gmtime(moment + hours * 3600)
    day = f"{noon.tm_year}-{noon.tm_mon}-{noon.tm_mday}"
    before = time.gmtime(moment + (hours - 24) * 3600)
    for since in ("today", "yesterday", day, f"{before.tm_year}-{before.tm_mon}-{before.tm_mday}"):
        assert run(workspace, "list", "--since", since, TZ=zone).out, since
    assert run(workspace, "usage", "--since", "yesterday", "--until", "today", TZ=zone).out == ""
    assert run(workspace, "usage", "--since", "today", TZ=zone).out
    assert "is not a day that the calendar has" in run(workspace, "list", "--since", "2026-2-30", code=2).err
    for since, until in (("today", "yesterday"), ("2d", "5d"), ("2026-1-2", "2026-01-01")):
        told = run(workspace, "usage", "--since", since, "--until", until, code=2).err
        assert f"--since: {since} is later than --until {until}" in told


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
