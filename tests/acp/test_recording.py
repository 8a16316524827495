"""A conversation from its client to the store: what passed is there, live, also where somebody is killed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from acp.proxies import LINUX, TIMEOUT, Proxy, is_gone, proxy, until
from acp.test_ending import TELLS_PROCESSES
from acp.test_passing import CASES, processes
from acp.test_waiting import locked
from mandrake_sessions import SessionManager
from mandrake_sessions.model import HistoryRound, ResponseStatus, TurnStatus
from strict import connected
from wire import store_of

Message = dict[str, Any]


def line(message: Message) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode() + b"\n"


def update(text: str) -> Message:
    content = {"type": "text", "text": text}
    shown = {"sessionUpdate": "agent_message_chunk", "content": content}
    return {"method": "session/update", "params": {"sessionId": "s-1", "update": shown}}


ASKED: list[Message] = [
    {"id": 0, "method": "initialize", "params": {"protocolVersion": 1, "clientCapabilities": {}}},
    {"id": 1, "method": "session/new", "params": {"cwd": "", "mcpServers": []}},
    {"id": 2, "method": "session/prompt", "params": {"sessionId": "s-1", "prompt": [{"type": "text", "text": "Why?"}]}},
]
ANSWERS: list[Message] = [
    {"id": 0, "result": {"protocolVersion": 1, "agentInfo": {"name": "some-agent", "version": "1"}}},
    {"id": 1, "result": {"sessionId": "s-1"}},
    update("Because "),
]


@contextmanager
def begun(workspace: Path, *then: str, **options: Any) -> Iterator[Proxy]:
    """An agent that has begun to answer the first prompt. After the block all is stored."""
    ASKED[1]["params"]["cwd"] = str(workspace)
    play = [(kind, line(each).decode()) for pair in zip(ASKED, ANSWERS, strict=True)
            for kind, each in zip(("c2a", "a2c"), pair, strict=True)]  # fmt: skip
    (workspace / "play").write_text(json.dumps(play))
    with proxy(workspace, "part", "play", *then, **options) as made:
        for asked, answer in zip(ASKED, ANSWERS, strict=True):
            made.send(line(asked))
            assert made.line() == line(answer)
        recorder = made.recorder() if LINUX else None
        yield made
    if recorder is not None:
        until(lambda: is_gone(recorder))


def rounds(database: Path) -> list[HistoryRound]:
    """Those of the only session."""
    with SessionManager(database) as manager:
        sessions = manager.list_sessions().sessions
        return [each for session in sessions for each in manager.history(session.id).rounds]


def said(database: Path) -> str:
    if not database.exists():
        return ""
    with SessionManager(database) as manager:
        found = [each for session in manager.list_sessions().sessions for each in manager.history(session.id).rounds]
        return "".join(turn.content or "" for each in found for turn in each.response.turns)


DONE = line({"id": 2, "result": {"stopReason": "end_turn"}}).decode().strip()
MORE = line(update("it is so.")).decode().strip()


def test_a_watcher_sees_a_turn_while_it_streams(workspace: Path) -> None:
    with begun(workspace, "wait", "go", "say", MORE, "say", DONE, "read", "got") as made:
        until(lambda: said(store_of(workspace)) == "Because ")
        with connected(workspace) as watcher:
            (session,) = watcher.session_list().sessions
            assert (session.state, session.agent, session.external_id) == ("running", "some-agent", "s-1")
        (only,) = rounds(store_of(workspace))
        assert (only.request.content, only.response.status) == ("Why?", ResponseStatus.OPEN)
        (turn,) = only.response.turns
        assert turn.status is TurnStatus.STREAMING
        (workspace / "go").touch()
        assert made.line() == line(update("it is so."))
        until(lambda: said(store_of(workspace)) == "Because it is so.")
        made.finish_input()
        assert (made.rest().decode().strip(), made.wait(), made.err) == (DONE, 0, "")
    (only,) = rounds(store_of(workspace))
    assert only.response.status is ResponseStatus.COMPLETED


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_an_agent_that_is_killed_in_the_middle(workspace: Path, name: str) -> None:
    with begun(workspace, "exit", str(-signal.Signals[name])) as made:
        assert made.wait() == 128 + signal.Signals[name]
    (only,) = rounds(store_of(workspace))
    assert only.response.status is ResponseStatus.INTERRUPTED
    (turn,) = only.response.turns
    assert (turn.content, turn.status) == ("Because ", TurnStatus.INTERRUPTED)


@TELLS_PROCESSES
def test_a_proxy_that_is_killed_in_the_middle(workspace: Path) -> None:
    """What passed before is stored all the same."""
    with begun(workspace, "read", "got") as made:
        made.process.kill()
    (only,) = rounds(store_of(workspace))
    assert only.response.status is ResponseStatus.INTERRUPTED
    (turn,) = only.response.turns
    assert (turn.content, turn.status) == ("Because ", TurnStatus.INTERRUPTED)


@TELLS_PROCESSES
def test_a_recorder_that_is_killed_in_the_middle(workspace: Path) -> None:
    with begun(workspace, "wait", "go", "say", DONE, "read", "got") as made:
        until(lambda: said(store_of(workspace)) == "Because ")
        os.kill(made.recorder(), signal.SIGKILL)
        (workspace / "go").touch()
        assert made.line().decode().strip() == DONE
        made.finish_input()
        assert made.wait() == 0
        assert made.err.count("\n") == 1
    # Whoever opens the store next tells it.
    until(lambda: rounds(store_of(workspace))[0].response.status is ResponseStatus.INTERRUPTED)


def test_a_locked_store_holds_nobody_up(workspace: Path) -> None:
    with SessionManager(store_of(workspace)) as manager:
        manager.create_session(title="another")
    with (
        locked(store_of(workspace)) as holder,
        begun(workspace, "wait", "go", "say", MORE, "say", DONE, "read", "got") as made,
    ):
        (workspace / "go").touch()
        assert made.line().decode().strip() == MORE
        assert made.line().decode().strip() == DONE
        holder.execute("ROLLBACK")
        made.finish_input()
        assert made.wait() == 0
    until(lambda: said(store_of(workspace)) == "Because it is so.")


def test_a_client_learns_what_becomes_of_an_end_that_cannot_be_stored(workspace: Path) -> None:
    """While somebody still reads stderr: the recorder tries for longer than the proxy is there."""
    with SessionManager(store_of(workspace)) as manager:
        manager.create_session(title="another")
    with locked(store_of(workspace)) as holder, begun(workspace, "say", DONE, "read", "got") as made:
        made.finish_input()
        assert made.wait() == 0
        assert str(store_of(workspace)) in made.err
        assert "acp-waiting-" in made.err
        assert made.err.count("\n") == 1
        holder.execute("ROLLBACK")
    assert said(store_of(workspace)) == "Because "


@pytest.mark.parametrize("flags", [("--scope", "system"), ("--database", "kept.sqlite"), ("--workspace", "other")])
def test_a_store_that_is_named(workspace: Path, flags: tuple[str, ...]) -> None:
    (workspace / "other" / ".git").mkdir(parents=True)
    with begun(workspace, "say", MORE, "say", DONE, "read", "got", flags=flags) as made:
        made.finish_input()
        assert (made.rest() != b"", made.wait(), made.err) == (True, 0, "")
    places = {
        "--scope": workspace / "home" / ".mandrake" / "db.sqlite",
        "--database": workspace / "kept.sqlite",
        "--workspace": store_of(workspace / "other"),
    }
    assert said(places[flags[0]]) == "Because it is so."
    assert not store_of(workspace).exists()


def test_a_workspace_that_is_not_there_is_told_once(workspace: Path) -> None:
    with begun(workspace, "say", MORE, "say", DONE, "read", "got", flags=("--workspace", "no/where")) as made:
        recorder = made.recorder() if LINUX else None
        time.sleep(0.5)
        made.finish_input()
        assert (made.rest() != b"", made.wait()) == (True, 0)
        assert made.err.startswith("mandrake-sessions acp: ")
        assert "--workspace" in made.err
        assert made.err.count("\n") == 1
        if recorder is not None:
            # It would wait for that workspace.
            os.kill(recorder, signal.SIGKILL)


def test_lines_that_are_no_messages_cost_nothing_else(workspace: Path) -> None:
    odd = ["Starting...", "{", '{"jsonrpc":"2.0","method":"session/update","params":7}', "[[[[", '"text"']
    words = [word for each in odd for word in ("say", each)]
    with begun(workspace, *words, "say", MORE, "say", DONE, "read", "got") as made:
        made.send(b"\xff\xfe\n{\n")
        made.finish_input()
        assert (made.rest() != b"", made.wait(), made.err) == (True, 0, "")
    assert said(store_of(workspace)) == "Because it is so."


@TELLS_PROCESSES
@pytest.mark.skipif(CASES is None, reason="MANDRAKE_SESSIONS_ACP_CASES names no recorded traffic")
@pytest.mark.parametrize("agent", ["claude-agent", "codex-acp", "gemini", "opencode"])
def test_recorded_traffic_is_stored(workspace: Path, agent: str) -> None:
    """The sessions with their prompts, in order; tests/acp/test_mapping_of_recorded.py compares all of it."""
    case = Path(CASES or "", agent)
    for number, lines in enumerate(processes(case / "traffic.ndjson")):
        *talk, (_, code) = lines
        (workspace / f"talk-{number}").write_text(json.dumps(talk))
        with proxy(workspace, "play", f"talk-{number}", "exit", code, flags=("--workspace", ".")) as made:
            recorder = made.recorder()
            for kind, text in talk:
                if kind == "c2a":
                    made.send(text.encode())
                elif kind == "a2c":
                    made.line()
            made.finish_input()
            made.process.wait(TIMEOUT)
            recorder_errors = [each for each in made.err.splitlines() if each.startswith("mandrake-sessions acp")]
        assert recorder_errors == []
        until(partial(is_gone, recorder))
    expected = json.loads((case / "expected.json").read_text())
    with SessionManager(store_of(workspace)) as manager:
        found = {
            session.external_id: [each.request.content for each in manager.history(session.id).rounds]
            for session in manager.list_sessions(limit=100).sessions
        }
    for session in expected["sessions"]:
        prompts = [each["prompt"] for each in session["prompts"] if "prompt" in each]
        if prompts:
            assert [each for each in found[session["sessionId"]] if each] == prompts, session["sessionId"]
