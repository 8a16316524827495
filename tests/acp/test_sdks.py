"""Clients and agents by the public SDKs, in Python and TypeScript, and a public checker of agents: with the proxy
between them they hear what they hear without it, and the store has it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from acp.proxies import TIMEOUT, until
from generators.node import HOME, program
from mandrake_sessions import SessionManager
from mandrake_sessions.model import ResponseStatus, ToolCallStatus
from wire import SERVER, clean_environment, store_of

SDK = Path(__file__).with_name("sdk")
PROXY = (*SERVER, "acp", "--")
LANGUAGES = ("py", "mjs")
HEARD = [
    ["agent_thought_chunk", "Which files?"],
    ["agent_message_chunk", "You said: "],
    ["agent_message_chunk", "Grüße, 世界"],
    ["tool_call", None],
    ["asked", "call-1"],
    ["tool_call_update", None],
    ["agent_message_chunk", "Done."],
]


def command(workspace: Path, name: str, language: str) -> tuple[str, ...]:
    if language == "py":
        return sys.executable, str(SDK / f"{name}.py")
    program("tsc")
    # Node looks for packages beside the script.
    if not (HOME / "node_modules" / "@agentclientprotocol").exists():
        pytest.skip("the SDK is not installed; run scripts/node_tools")
    place = workspace / "scripts"
    place.mkdir(exist_ok=True)
    shutil.copy(SDK / f"{name}.mjs", place)
    if not (place / "node_modules").exists():
        (place / "node_modules").symlink_to(HOME / "node_modules")
    return "node", str(place / f"{name}.mjs")


def ran(workspace: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(words, cwd=workspace, env=clean_environment(workspace), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=TIMEOUT, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (code, "")
    return done.stdout


def is_stored(workspace: Path) -> bool:
    """Whether the end of the only response is; the proxy waits for it for a bounded time."""
    if not store_of(workspace).exists():
        return False
    with SessionManager(store_of(workspace)) as manager:
        sessions = manager.list_sessions().sessions
        rounds = [each for session in sessions for each in manager.history(session.id).rounds]
        return any(each.response.status is ResponseStatus.COMPLETED for each in rounds)


@pytest.mark.parametrize("agent", LANGUAGES)
@pytest.mark.parametrize("client", LANGUAGES)
def test_an_sdk_at_each_end(workspace: Path, client: str, agent: str) -> None:
    ends = command(workspace, "client", client), command(workspace, "agent", agent)
    told = json.loads(ran(workspace, *ends[0], *PROXY, *ends[1]))
    assert told == {"agent": "sdk-agent", "heard": HEARD, "stop": "end_turn"}
    assert told == json.loads(ran(workspace, *ends[0], *ends[1]))
    until(lambda: is_stored(workspace))
    with SessionManager(store_of(workspace)) as manager:
        (session,) = manager.list_sessions().sessions
        (only,) = manager.history(session.id).rounds
    assert (session.agent, session.external_id, session.cwd) == ("sdk-agent", f"of {workspace}", str(workspace))
    assert (only.request.content, only.response.status) == ("Grüße, 世界", ResponseStatus.COMPLETED)
    turns = list(only.response.turns)
    assert [(turn.kind, turn.content) for turn in turns if not turn.tool_calls] == [
        ("thought", "Which files?"), ("message", "You said: Grüße, 世界"), ("message", "Done.")
    ]  # fmt: skip
    (call,) = [call for turn in turns for call in turn.tool_calls]
    assert (call.id, call.status) == ("call-1", ToolCallStatus.COMPLETED)


def test_a_checker_of_agents_says_the_same(workspace: Path) -> None:
    words = command(workspace, "agent", "py")
    bare, ours = (checked(workspace, name, given) for name, given in (("bare", words), ("ours", (*PROXY, *words))))
    assert ours == bare
    assert ("agent_info_present", "PASS") in [each[:2] for each in bare]


def checked(workspace: Path, name: str, words: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """What it says of each of its tests. Its form of the protocol is an older one, so some fail for any agent."""
    script = workspace / name
    script.write_text(f"#!/bin/sh\nexec {shlex.join(words)}\n")
    script.chmod(0o755)
    checker = (str(Path(sys.executable).with_name("acplint")), "--agent", str(script), "--cwd", str(workspace))
    done = subprocess.run(
        [*checker, "--output", "json", "--timeout", "1", "--categories", "initialization", "session_lifecycle",
         "cancel", "schema_validation"],
        cwd=workspace, env=clean_environment(workspace), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        timeout=TIMEOUT, check=False,
    )  # fmt: skip
    return [(each["name"], each["status"], each["message"]) for each in json.loads(done.stdout)["results"]]
