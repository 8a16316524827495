"""The commands that make, change and delete sessions, and those that follow them."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from commands.running import TIMEOUT, names, run, run_program, state, store_of, titles
from commands.test_terminal import on_a_terminal
from mandrake_sessions import SessionManager
from mandrake_sessions.model import (
    HistoryRound,
    Origin,
    ResponseStatus,
    Session,
    SessionState,
    ToolCallStatus,
    TurnStatus,
)
from wire import SERVER, clean_environment


@contextmanager
def started(workspace: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command with pipes; killed at the end, if it is still there."""
    process = subprocess.Popen(
        [*SERVER, *arguments],
        cwd=workspace,
        env=clean_environment(workspace),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        if process.stdin is not None and not process.stdin.closed:
            process.communicate()


@contextmanager
def streaming(workspace: Path, text: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An ``append`` that has stored this much, and waits for more; with the session's id."""
    with started(workspace, "append", "--prompt", "?") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        made = process.stdout.readline().decode().strip()
        process.stdin.write(text.encode())
        process.stdin.flush()
        while said(workspace, made) != [(TurnStatus.STREAMING, text)]:
            time.sleep(0.01)
        yield process, made


def appended(workspace: Path, text: bytes, *flags: str, code: int = 0, **environment: str) -> str:
    """Give a whole text to ``append``; gives the id that it prints."""
    done = subprocess.run(
        [*SERVER, "append", *flags],
        cwd=workspace,
        env=clean_environment(workspace) | environment,
        input=text,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout.decode().strip()


@contextmanager
def locked(workspace: Path) -> Iterator[None]:
    """Another process writes to the store."""
    holder = sqlite3.connect(store_of(workspace), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


def session(workspace: Path, session_id: str) -> Session:
    with SessionManager(store_of(workspace)) as manager:
        return manager.get_session(session_id)


def rounds(workspace: Path, session_id: str) -> list[HistoryRound]:
    with SessionManager(store_of(workspace)) as manager:
        return list(manager.history(session_id).rounds)


def said(workspace: Path, session_id: str) -> list[tuple[TurnStatus, str]]:
    return [(turn.status, turn.content or "") for each in rounds(workspace, session_id) for turn in each.response.turns]


# ---- sessions


def test_a_session_from_its_beginning_to_its_end(workspace: Path) -> None:
    made = run(workspace, "new", "A talk", "--agent", "codex", "--external-id", "x").out.strip()
    found = session(workspace, made)
    assert (found.title, found.agent, found.external_id, found.cwd) == ("A talk", "codex", "x", str(workspace))
    assert run(workspace, "rename", "x", "").err.startswith(
        f"It has no title now; lists show its first request: {made}"
    )
    assert session(workspace, made).title is None
    assert run(workspace, "rename", "x", "Another talk").err == f"Renamed: {made}  Another talk\n"
    appended(workspace, b"Yes.", "--session", "x", "--prompt", "Is it?")
    appended(workspace, b"No.", "--session", "x", "--prompt", "Is it not?")
    copy = run(workspace, "fork", "x", "--through", "1", "--title", "A copy").out.strip()
    assert [each.request.content for each in rounds(workspace, copy)] == ["Is it?"]
    run(workspace, "archive", "x", copy)
    assert run(workspace, "list", "--json").out == ""
    run(workspace, "unarchive", "x", "A copy")
    assert len(run(workspace, "list", "--json").out.splitlines()) == 2
    run(workspace, "delete", "x", "x", copy)
    assert titles(store_of(workspace)) == []


def test_a_title_is_given_in_either_way(workspace: Path) -> None:
    run(workspace, "new", "--title", "one")
    run(workspace, "new", "two")
    assert titles(store_of(workspace)) == ["one", "two"]
    assert "--title" in run(workspace, "new", "one", "--title", "two", code=2).err


def test_one_wrong_name_deletes_nothing(workspace: Path) -> None:
    for title in ("one", "two"):
        run(workspace, "new", title)
    assert "no session 'three'" in run(workspace, "delete", "one", "three", code=1).err
    assert titles(store_of(workspace)) == ["one", "two"]


def test_delete_asks_on_a_terminal(workspace: Path) -> None:
    run(workspace, "new", "one")
    code, shown = on_a_terminal(workspace, "delete", "one", answer="n\n", question="[y/N]")
    assert (code, titles(store_of(workspace))) == (0, ["one"])
    assert "Delete 1 session for good? [y/N]" in shown
    assert "Nothing was deleted." in shown
    on_a_terminal(workspace, "delete", "one", answer="y\n", question="[y/N]")
    assert titles(store_of(workspace)) == []
    made = run(workspace, "new", "two").out.strip()
    code, shown = on_a_terminal(workspace, "delete", "two", "--yes")
    assert (code, shown.strip(), titles(store_of(workspace))) == (0, f"Deleted: {made}  two", [])


def test_a_round_that_is_not_there_is_not_forked_at(workspace: Path) -> None:
    run(workspace, "new", "one")
    assert "--through: there is no round 2" in run(workspace, "fork", "one", "--through", "2", code=2).err


# ---- append


def test_append_makes_what_is_missing(workspace: Path) -> None:
    made = appended(workspace, b"A few files.", "--prompt", "What is here?", "--title", "A talk", "--model", "m")
    (only,) = rounds(workspace, made)
    assert (only.request.content, only.origin, only.response.status) == (
        "What is here?", Origin.USER, ResponseStatus.COMPLETED
    )  # fmt: skip
    assert said(workspace, made) == [(TurnStatus.COMPLETED, "A few files.")]
    assert appended(workspace, b"And a directory.", "--session", "A talk") == made
    (only,) = rounds(workspace, made)
    assert [turn.content for turn in only.response.turns] == ["A few files.", "And a directory."]
    alone = appended(workspace, b"Nobody asked.")
    (only,) = rounds(workspace, alone)
    assert (only.request.content, only.origin) == ("", Origin.AGENT)
    assert "--title: is for a session that is made" in run(
        workspace, "append", "--session", made, "--title", "x", code=2
    ).err  # fmt: skip


def test_nothing_for_a_session_changes_nothing(workspace: Path) -> None:
    """Neither how its last answer stands, nor what is in it; a session without a round gets none."""
    failed, empty = run(workspace, "new", "Failed").out.strip(), run(workspace, "new", "Empty").out.strip()
    run(workspace, "record", "-q", "--session", failed, "--", "sh", "-c", "echo no; exit 4", code=4)
    for session in (failed, empty):
        told = run(workspace, "append", "--session", session, code=1)
        assert told.err == "mandrake-sessions append: nothing came on stdin, so nothing was stored\n"
    with SessionManager(store_of(workspace)) as manager:
        (only,) = manager.history(failed).rounds
        assert (only.response.status, len(only.response.turns)) == ("error", 1)
        assert manager.get_session(failed).state == "failed"
        assert manager.history(empty).rounds == []


def test_nothing_makes_no_session(workspace: Path) -> None:
    told = run(workspace, "append", code=1)
    assert (told.out, told.err) == ("", "mandrake-sessions append: nothing came on stdin, so no session was made\n")
    assert not store_of(workspace).exists()
    assert "nowhere does not exist" in run(workspace, "append", "--workspace", "nowhere", code=2).err
    for answer, code in (("\x04", 1), ("\x03", 130)):
        ended = on_a_terminal(workspace, "append", question="Type the text", answer=answer)
        assert (ended[0], "nothing came" in ended[1]) == (code, True)
    assert not store_of(workspace).exists()
    for flags in (["--prompt", ""], ["--title", "A talk"]):
        assert said(workspace, appended(workspace, b"", *flags)) == [(TurnStatus.COMPLETED, "")]
    assert said(workspace, appended(workspace, b"text")) == [(TurnStatus.COMPLETED, "text")]


def test_append_stores_every_byte_as_it_comes(workspace: Path) -> None:
    with started(workspace, "append", "--prompt", "?") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        made = process.stdout.readline().decode().strip()
        so_far = ""
        for piece in (b"one ", "zwölf".encode()[:3], "zwölf".encode()[3:], b" \xff\n", "🦡".encode()):
            process.stdin.write(piece)
            process.stdin.flush()
            so_far += piece.decode(errors="ignore")
            time.sleep(0.05)
        deadline = time.monotonic() + TIMEOUT
        expected = "one zwölf \\xff\n🦡"
        while said(workspace, made) != [(TurnStatus.STREAMING, expected)]:
            assert time.monotonic() < deadline, said(workspace, made)
            time.sleep(0.02)
        assert session(workspace, made).state is SessionState.RUNNING
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
        assert said(workspace, made) == [(TurnStatus.COMPLETED, expected)]


@pytest.mark.parametrize("command", [["append", "--prompt", "?"], ["record", "true"], ["new"]])
@pytest.mark.parametrize("flag", ["--kind", "--model", "--external-id", "--agent"])
def test_a_flag_that_may_not_be_empty_makes_nothing(workspace: Path, command: list[str], flag: str) -> None:
    if command[0] != "append" and flag in ("--kind", "--model"):
        return
    ended = run(workspace, command[0], flag, "", *command[1:], code=2)
    assert f"{flag}: must not be empty" in ended.err
    assert not store_of(workspace).exists() or titles(store_of(workspace)) == []


def test_a_flag_that_is_no_text_makes_nothing(workspace: Path) -> None:
    ended = run(workspace, "append", "--prompt", b"\xff".decode(errors="surrogateescape"), code=2)
    assert "argument --prompt: '\\udcff' is not UTF-8" in ended.err
    assert not store_of(workspace).exists() or titles(store_of(workspace)) == []


def test_append_goes_on_in_another_turn_at_the_limit(workspace: Path) -> None:
    text = "".join(f"{number:063}\n" for number in range(70 * 1024 * 1024 // 64))
    made = appended(workspace, text.encode(), "--prompt", "?", "--kind", "log", "--model", "m")
    (only,) = rounds(workspace, made)
    first, second = only.response.turns
    assert [(each.status, each.kind, each.model) for each in (first, second)] == [
        (TurnStatus.COMPLETED, "log", "m")
    ] * 2  # fmt: skip
    assert (first.content or "") + (second.content or "") == text


def test_append_waits_for_another_process(workspace: Path) -> None:
    with started(workspace, "append", "--prompt", "?", "--busy-timeout", "0.2") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        made = process.stdout.readline().decode().strip()
        with locked(workspace):
            process.stdin.write(b"all of it")
            process.stdin.flush()
            told = process.stderr.readline()
            assert b"append: " in told
            assert b" is locked by " in told
            time.sleep(0.5)
            assert process.poll() is None
        _, err = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, err) == (0, b"")
        assert said(workspace, made) == [(TurnStatus.COMPLETED, "all of it")]


def test_append_begins_when_another_process_is_done(workspace: Path) -> None:
    run(workspace, "new", "first")
    with locked(workspace):
        process = subprocess.Popen([*SERVER, "append", "--title", "A talk", "--busy-timeout", "0.2"],
                                   cwd=workspace, env=clean_environment(workspace), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        assert process.stderr is not None
        assert b" is locked by " in process.stderr.readline()
    out, err = process.communicate(b"x", timeout=TIMEOUT)
    assert (process.returncode, err) == (0, b"")
    assert said(workspace, out.decode().strip()) == [(TurnStatus.COMPLETED, "x")]


def test_a_signal_ends_the_waiting(workspace: Path) -> None:
    with started(workspace, "append", "--prompt", "?", "--busy-timeout", "0.2") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        with locked(workspace):
            process.stdin.write(b"all of it")
            process.stdin.flush()
            process.stderr.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 128 + signal.SIGTERM
            assert b"nothing of the input is kept: the database" in process.stderr.read()


def test_append_says_what_is_missing(workspace: Path) -> None:
    """The session is deleted meanwhile, so it can only say so on stderr."""
    with streaming(workspace, "until here") as (process, made):
        run(workspace, "delete", made, "--yes")
        _, err = process.communicate(b"more", timeout=TIMEOUT)
        assert process.returncode == 1
        assert b"append: the session, or its turn, was deleted while the input was stored there" in err
        assert b"nothing of the input is kept" in err


def test_append_of_much_at_once(workspace: Path) -> None:
    text = "".join(f"line {number} é\n" for number in range(200_000))
    made = appended(workspace, text.encode(), "--prompt", "?")
    assert said(workspace, made) == [(TurnStatus.COMPLETED, text)]


@pytest.mark.parametrize(
    ("by", "status"),
    [
        (signal.SIGINT, TurnStatus.CANCELLED),
        (signal.SIGTERM, TurnStatus.INTERRUPTED),
        (signal.SIGHUP, TurnStatus.INTERRUPTED),
    ],
)
def test_a_signal_ends_the_turn_as_what_it_was(workspace: Path, by: signal.Signals, status: TurnStatus) -> None:
    with streaming(workspace, "until here") as (process, made):
        process.send_signal(by)
        assert process.wait(TIMEOUT) == 128 + by
        assert said(workspace, made) == [(status, "until here")]
        (only,) = rounds(workspace, made)
        assert only.response.status == ResponseStatus(status)


@pytest.mark.skipif(sys.platform == "win32", reason="nohup is for a terminal's processes")
@pytest.mark.parametrize("ignored", ["HUP", "INT", "TERM"])
def test_a_signal_that_is_ignored_stays_so(workspace: Path, ignored: str) -> None:
    """As under nohup, or for what a script has put in the background."""
    command = ["sh", "-c", f"trap '' {ignored}; exec \"$@\"", "sh", *SERVER, "append", "--title", "kept"]
    with subprocess.Popen(command, cwd=workspace, env=clean_environment(workspace),
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"one, ")
        process.stdin.flush()
        made = process.stdout.readline().decode().strip()
        process.send_signal(signal.Signals[f"SIG{ignored}"])
        process.stdin.write(b"two")
        process.stdin.close()
        assert process.wait(TIMEOUT) == 0
    assert said(workspace, made) == [(TurnStatus.COMPLETED, "one, two")]


def test_a_killed_append_is_interrupted(workspace: Path) -> None:
    with streaming(workspace, "until here") as (process, made):
        process.kill()
        process.wait(TIMEOUT)
        assert said(workspace, made) == [(TurnStatus.INTERRUPTED, "until here")]


def test_append_goes_on_though_nobody_reads_its_output(workspace: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([*SERVER, "append", "--title", "kept"], cwd=workspace,
                              env=clean_environment(workspace), input=b"all of it", stdout=writer,
                              stderr=subprocess.PIPE, timeout=TIMEOUT, check=False)  # fmt: skip
    finally:
        os.close(writer)
    assert b"Traceback" not in done.stderr
    with SessionManager(store_of(workspace)) as manager:
        (kept,) = manager.list_sessions().sessions
    assert said(workspace, kept.id) == [(TurnStatus.COMPLETED, "all of it")]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the input of such a terminal just ends")
def test_a_terminal_that_goes_away_interrupts_the_turn(workspace: Path) -> None:
    own, its = pty.openpty()
    process = subprocess.Popen([*SERVER, "append", "--title", "A talk"], cwd=workspace,
                               env=clean_environment(workspace), stdin=its,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    os.close(its)
    assert process.stdout is not None
    made = process.stdout.readline().decode().strip()
    os.write(own, b"until here\n")
    while said(workspace, made) != [(TurnStatus.STREAMING, "until here\n")]:
        time.sleep(0.01)
    os.close(own)
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == 128 + signal.SIGHUP
    assert said(workspace, made) == [(TurnStatus.INTERRUPTED, "until here\n")]


def test_what_commands_make_is_found_from_elsewhere(workspace: Path, tmp_path: Path) -> None:
    """The store is in the user's register."""
    run(workspace, "new", "a badger")
    other = tmp_path / "other"
    (other / ".git").mkdir(parents=True)
    home = str(workspace / "home" / ".mandrake")
    assert "a badger" in run(other, "list", "--all", MANDRAKE_HOME=home).out


# ---- tail and call


def test_tail_shows_what_others_say(workspace: Path) -> None:
    first = run(workspace, "new", "first").out.strip()
    with started(workspace, "tail") as every, started(workspace, "tail", "first", "--json") as one:
        assert every.stdout is not None
        assert one.stdout is not None
        time.sleep(1.0)
        appended(workspace, b"Nobody asked \x1b[2J.", "--title", "second")
        appended(workspace, b"Yes\nand no.\n", "--session", first, "--prompt", "Is it?")
        shown = b""
        while b"and no." not in shown:
            shown += every.stdout.readline()
        assert b"> Is it?" in shown
        assert b"Nobody asked \\x1b[2J.\n" in shown
        told = [json.loads(one.stdout.readline()) for _ in range(4)]
        assert [each["kind"] for each in told] == ["roundCreated", "created", "appended", "updated"]
        # The names of the protocol, also of what has changed.
        assert [each["method"] for each in told] == ["session/updated", *["turn/updated"] * 3]
        assert told[0]["request"]["content"] == "Is it?"
        assert {each["store"]["scope"] for each in told} == {"workspace"}
        assert all(each["store"]["storeId"] for each in told)
        assert {"status", "streamEndTime", "updatedAt"} <= told[-1]["changes"].keys()
        assert not [name for name in told[-1]["changes"] if "_" in name]
        for process in (every, one):
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT) == 0


@contextmanager
def tailed(workspace: Path) -> Iterator[tuple[IO[bytes], SessionManager, str]]:
    """``tail`` that follows a session: what it shows; what others write with; and a response in that session."""
    run(workspace, "new", "first")
    with started(workspace, "tail") as every, SessionManager(store_of(workspace)) as manager:
        assert every.stdout is not None
        (session,) = manager.list_sessions().sessions
        made = manager.create_round(session.id, content="?")
        # It says nothing when it has begun.
        while not select.select([every.stdout], [], [], 0.2)[0]:
            manager.create_round(session.id, content="Well?")
        yield every.stdout, manager, made.response.id
        every.send_signal(signal.SIGINT)
        assert every.wait(TIMEOUT) == 0


def test_tail_shows_what_an_agent_does(workspace: Path) -> None:
    with tailed(workspace) as (shown_by, manager, response):
        lines: list[bytes] = []
        turn = manager.create_turn(response, tool_calls=[{"id": "1", "method_name": "bash", "arguments": "ls"}])
        manager.upsert_tool_call(turn.id, {"id": "1", "status": ToolCallStatus.IN_PROGRESS})
        manager.upsert_tool_call(turn.id, {"id": "1", "status": ToolCallStatus.FAILED})
        manager.upsert_tool_call(turn.id, {"id": "1", "status": ToolCallStatus.FAILED, "response": "none"})
        manager.upsert_tool_call(turn.id, {"id": "2", "title": "Read\x1b", "arguments": {"path": "x" * 500}})
        manager.update_turn(turn.id, content="Done.\n")
        manager.append_turn(turn.id, content="The end.\n")
        while not (lines and b"The end" in lines[-1]):
            lines.append(shown_by.readline())
        said = [line.decode().rstrip().partition("first  ")[2] for line in lines if b"bash" in line or b"Read" in line]
        assert said[:2] == ["calls bash: ls", "bash failed"]
        assert said[2].startswith('calls Read\\x1b: {"path": "xxx')
        assert len(said) == 3
        assert len(said[2]) < 140


def test_tail_says_that_an_agent_waits_for_an_answer(workspace: Path) -> None:
    """Each time; and a page or a text says of what may still grow that it waits, and not that it was cut off."""
    with tailed(workspace) as (shown_by, manager, response):
        turn = manager.create_turn(response, content="May I?\n")
        lines: list[bytes] = []
        for number in range(2):
            manager.update_turn(turn.id, status=TurnStatus.INTERRUPTED)
            manager.update_response(response, status=ResponseStatus.REQUIRES_ACTION)
            manager.update_response(response, stop_reason="asks")
            shown = run(workspace, "show", "first").out
            assert "The answer waits for somebody" in shown
            assert "Interrupted" not in shown
            manager.append_turn(turn.id, content=f"Part {number}.\n")
            manager.update_response(response, status=ResponseStatus.OPEN)
            while not (lines and b"Part" in lines[-1]):
                lines.append(shown_by.readline())
            lines[-1] = b""
        assert [line.decode().rstrip().endswith("first  waits for an answer") for line in lines].count(True) == 2


def test_another_turn_that_ends_does_not_part_a_text_in_tail(workspace: Path) -> None:
    with tailed(workspace) as (shown_by, manager, response):
        thought, said = (manager.create_turn(response, kind=kind) for kind in ("thought", "message"))
        manager.append_turn(said.id, content="One ")
        manager.update_turn(thought.id, status=TurnStatus.COMPLETED)
        manager.append_turn(said.id, content="text.\n")
        line = b""
        while b"text." not in line:
            line = shown_by.readline()
        assert line == b"One text.\n"


def test_tail_follows_every_store_of_the_user(workspace: Path, tmp_path: Path) -> None:
    """Also one that is made meanwhile; and what is only visited is left as it is."""
    theirs, later = tmp_path / "theirs", tmp_path / "later"
    for each in (theirs, later):
        (each / ".git").mkdir(parents=True)
    home = str(workspace / "home" / ".mandrake")
    session = run(theirs, "new", "a badger", MANDRAKE_HOME=home).out.strip()
    before = state(theirs / ".ws")
    with started(workspace, "tail", "--all") as every, started(workspace, "tail", "badger", "--all", "--json") as one:
        assert every.stdout is not None
        assert one.stdout is not None
        time.sleep(2)
        assert state(theirs / ".ws") == before
        # They say nothing when they have begun.
        while len(select.select([every.stdout, one.stdout], [], [], 2)[0]) < 2:
            appended(theirs, b"Well?\n", "--session", session, MANDRAKE_HOME=home)
        for directory, said, flags in (
            (theirs, b"It digs.\n", ("--session", session)),
            (later, b"It swims.\n", ("--title", "an otter")),
            (workspace, b"It flies.\n", ("--title", "an owl")),
        ):
            appended(directory, said, *flags, MANDRAKE_HOME=home)
            shown = b""
            while said not in shown:
                line = every.stdout.readline()
                assert line
                shown += line
        assert json.loads(one.stdout.readline())["sessionId"] == session
        for process in (every, one):
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT) == 0


def test_tail_warns_once_of_each_store_that_cannot_be_read(workspace: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / ".git").mkdir(parents=True)
    run(theirs, "new", "a badger", MANDRAKE_HOME=str(workspace / "home" / ".mandrake"))
    store_of(theirs).write_bytes(b"no database at all" * 1000)
    with started(workspace, "tail", "--all") as every:
        time.sleep(3.5)
        every.send_signal(signal.SIGINT)
        _, told = every.communicate(timeout=TIMEOUT)
        assert told.decode().splitlines() == [
            f"mandrake-sessions tail: warning: {store_of(theirs)} cannot be read: corrupt; "
            f"mandrake-sessions doctor --database {store_of(theirs)} tells more"
        ]
        assert every.returncode == 1


def test_tail_waits_for_a_store_that_is_not_there_yet(workspace: Path, tmp_path: Path) -> None:
    """That of the workspace, and the user's own, of which only what is about the workspace counts."""
    before = names(workspace)
    with started(workspace, "tail") as waiting, started(workspace, "tail", "--json") as other:
        time.sleep(1.5)
        assert names(workspace) == before
        appended(workspace, b"of another\n", "--scope", "system", "--title", "b", "--cwd", str(tmp_path / "elsewhere"))
        appended(workspace, b"of the user\n", "--scope", "system", "--title", "a")
        session = appended(workspace, b"of the workspace\n", "--prompt", "Is it?")
        shown = b""
        while not (b"of the workspace\n" in shown and b"of the user\n" in shown):
            assert waiting.stdout is not None
            line = waiting.stdout.readline()
            assert line
            shown += line
        assert b"> Is it?\n" in shown
        assert b"of another" not in shown
        kinds: list[str] = []
        while kinds[-1:] != ["updated"]:
            assert other.stdout is not None
            change = json.loads(other.stdout.readline())
            kinds += [change["kind"]] if change["sessionId"] == session else []
        assert kinds[:4] == ["created", "roundCreated", "created", "appended"]
        for process in (waiting, other):
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=TIMEOUT)
            assert (process.returncode, told) == (0, b"")


def test_tail_says_on_a_terminal_that_it_follows_the_users_own_store(workspace: Path) -> None:
    run(workspace, "new", "a badger", "--scope", "system", "--cwd", ".")
    code, shown = on_a_terminal(workspace, "tail", question="Ctrl-C", answer="\x03")
    assert code == 0
    own = workspace / "home" / ".mandrake" / "db.sqlite"
    said = f"Following {own} for what is about {workspace}, and {store_of(workspace)} once it is made; Ctrl-C ends it."
    assert said in " ".join(shown.split())


def test_tail_says_on_a_terminal_what_it_waits_for(workspace: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / ".git").mkdir(parents=True)
    run(theirs, "new", "a badger", MANDRAKE_HOME=str(workspace / "home" / ".mandrake"))
    code, shown = on_a_terminal(workspace, "tail", question="--all follows", answer="\x03")
    assert code == 0
    said = f"Waiting for the first session that is stored in {store_of(workspace)}; --all follows 1 other store."
    # A terminal has its lines end between words.
    assert f"{said} Ctrl-C ends it." in " ".join(shown.split())
    session = run(workspace, "new", "an otter").out.strip()
    for flags, what in (([], f"{store_of(workspace)}"), (["otter"], f"{session[:13]}  an otter"),
                        (["--all"], "every store that you have used")):  # fmt: skip
        code, shown = on_a_terminal(workspace, "tail", *flags, question="Ctrl-C", answer="\x03")
        assert code == 0
        assert f"Following {' '.join(what.split())}; Ctrl-C ends it." in " ".join(shown.split())
    assert "no session 'badger' here, but in another store" in run(workspace, "tail", "badger", code=1).err


def test_call(workspace: Path) -> None:
    made = json.loads(run(workspace, "call", "session/create", '{"title": "é"}').out)
    assert made["title"] == "é"
    listed = run(workspace, "call", "session/list").out
    assert listed.isascii()
    assert json.loads(listed)["sessions"] == [made]
    assert json.loads(run(workspace, "call", "session/list", "--scope", "system").out)["sessions"] == []
    for wrong, code, complaint in (
        (["session/lst"], 2, "Did you mean 'session/list'?"),
        (["session/list", '{"limit": 0}'], 2, "params.limit: must be an integer from 1"),
        (["session/list", "[1]"], 2, "JSON: the params of a method are an object"),
        (["session/list", "{"], 2, "JSON: not valid JSON"),
        (["session/list", "limit=1"], 2, """; the params of a method are an object, such as '{"limit": 1}'"""),
        (["session/get", '{"externalId": "x"}'], 1, "no session 'x'"),
    ):
        assert complaint in run(workspace, "call", *wrong, code=code).err


def test_what_a_command_wrote_is_found_from_elsewhere(workspace: Path, tmp_path: Path) -> None:
    """No server ran: the command itself made it searchable, since who searches every store only reads the others."""
    other = tmp_path / "other"
    (other / ".git").mkdir(parents=True)
    home = {"MANDRAKE_HOME": str(workspace / "home" / ".mandrake")}
    done = subprocess.run(
        [*SERVER, "append", "--prompt", "Who is there?"],
        cwd=other,
        env=clean_environment(other) | home,
        input=b"a xylophone",
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )
    session = done.stdout.decode().strip()
    assert "a xylophone" in run(workspace, "search", "xylophone", "--all").out
    run_program(other, *SERVER, "fork", session, "--title", "a zither", environment=home)
    assert "a zither" in run(workspace, "search", "zither", "--all").out


def test_nothing_is_deleted_by_a_part_of_a_title_in_a_script(workspace: Path) -> None:
    for title in ("The readme", "A talk", "A talk on badgers"):
        run(workspace, "new", title)
    refused = run(workspace, "delete", "readme", code=2).err
    assert "only a part of the title" in refused
    assert "'The readme'" in refused
    assert "Deleted: " in run(workspace, "delete", "a talk").err
    assert sorted(titles(store_of(workspace))) == ["A talk on badgers", "The readme"]
    run(workspace, "delete", "readme", "--yes")
    assert titles(store_of(workspace)) == ["A talk on badgers"]


def test_plain_text_stays_in_lines(workspace: Path) -> None:
    appended(workspace, b"one\n  # two\n", "--plain", "--prompt", "ls *.py")
    assert "```text\none\n  # two\n```\n" in run(workspace, "show", "@last").out
