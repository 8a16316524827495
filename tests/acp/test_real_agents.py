"""Real agents, unchanged, behind the recorder: what was scripted for their model is what was stored, and what a watcher
saw.

``MANDRAKE_SESSIONS_ACP_AGENTS`` names a directory whose ``run-agent.sh NAME`` starts a real agent with a model on the
loopback that says what the prompt tells it: ``SCRIPT`` and its replies, parted by ``||``, each of parts parted by
``;;``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.model import ResponseStatus, ToolCallStatus, TurnStatus
from wire import SERVER, clean_environment

_AGENTS: Final = os.environ.get("MANDRAKE_SESSIONS_ACP_AGENTS", "")
pytestmark = pytest.mark.skipif(not _AGENTS, reason="MANDRAKE_SESSIONS_ACP_AGENTS names no directory of agents")
_TIMEOUT: Final = 120.0
# The word of each for its sessions, and its tool for a command that it asks about.
_KNOWN: Final[Mapping[str, tuple[str, str, dict[str, str]]]] = {
    "opencode": ("opencode", "bash", {"command": "touch made", "description": "Make a file"}),
    "codex-acp": ("codex", "exec_command", {"cmd": "touch made"}),
}


class _Editor:
    """An ACP client of an agent behind the recorder. It allows what it is asked for."""

    def __init__(self, agent: str, project: Path, database: Path) -> None:
        runner = str(Path(_AGENTS) / "run-agent.sh")
        environment = {**os.environ, "AGENT_HOME": str(project.parent / f"home-{agent}")}
        self._process = subprocess.Popen(
            [*SERVER, "acp", "--database", str(database), "--", runner, agent, str(project)],
            cwd=project, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._answers: dict[int, dict[str, Any]] = {}
        self._has_news = threading.Condition()
        self.asked: list[dict[str, Any]] = []
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.call(
            "initialize", protocolVersion=1, clientCapabilities={"fs": {"readTextFile": False, "writeTextFile": False}}
        )
        self.session: str = self.call("session/new", cwd=str(project), mcpServers=[])["sessionId"]

    def prompt(self, text: str) -> dict[str, Any]:
        return self.call("session/prompt", sessionId=self.session, prompt=[{"type": "text", "text": text}])

    def begin(self, text: str) -> None:
        self._send({"id": 1000, "method": "session/prompt",
                    "params": {"sessionId": self.session, "prompt": [{"type": "text", "text": text}]}})  # fmt: skip

    def wait_for(self, said: str) -> None:
        with self._has_news:
            assert self._has_news.wait_for(lambda: said in self.said, _TIMEOUT), self.said

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = len(self._answers) + 1
        with self._has_news:
            self._answers[number] = {}
        self._send({"id": number, "method": method, "params": params})
        with self._has_news:
            assert self._has_news.wait_for(lambda: self._answers[number], _TIMEOUT), method
        assert "result" in self._answers[number], self._answers[number]
        return self._answers[number]["result"] or {}

    def kill(self) -> None:
        """The recorder's own process, as the kernel's out-of-memory killer would."""
        self._process.send_signal(signal.SIGKILL)
        self._close()

    def end(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            return self._process.wait(5)
        except subprocess.TimeoutExpired:
            # codex-acp does not end with its input.
            self._process.send_signal(signal.SIGTERM)
            return self._process.wait(_TIMEOUT)
        finally:
            self._close()

    def _close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_TIMEOUT)
        self._reader.join(_TIMEOUT)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError), self._has_news:
                self._take(json.loads(line))
                self._has_news.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("method") == "session/request_permission":
            self.asked.append(message["params"])
            chosen = next(each["optionId"] for each in message["params"]["options"] if each["kind"] == "allow_once")
            self._send({"id": message["id"], "result": {"outcome": {"outcome": "selected", "optionId": chosen}}})
        elif message.get("method") == "session/update":
            update = message["params"]["update"]
            if update["sessionUpdate"] == "agent_message_chunk":
                self.said += update["content"].get("text", "")
        elif message.get("id") in self._answers:
            self._answers[message["id"]] = message


@contextmanager
def _watched(project: Path, database: Path) -> Iterator[list[str]]:
    """The lines of ``tail --json`` in another process, as they come."""
    lines: list[str] = []
    with subprocess.Popen(
        [*SERVER, "tail", "--json", "--database", str(database)],
        cwd=project, env=clean_environment(project), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)  # type: ignore[union-attr]
        reader.start()
        yield lines
        process.terminate()
        reader.join(_TIMEOUT)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    (made / ".git").mkdir(parents=True)
    return made


@pytest.mark.parametrize("agent", list(_KNOWN))
def test_a_prompt_is_recorded_live_and_whole(agent: str, project: Path, database: Path) -> None:
    word, tool, arguments = _KNOWN[agent]
    with SessionManager(database), _watched(project, database) as seen:
        editor = _Editor(agent, project, database)
        result = editor.prompt(
            f"SCRIPT think:I will look. ;; text:Let me look. ;; tool:{tool}:{json.dumps(arguments)}"
            " || text:All is done."
        )
        assert result["stopReason"] == "end_turn"
        assert len(editor.asked) == 1
        assert (project / "made").exists()
        _until(lambda: any("done." in line for line in seen))
        editor.end()
    with SessionManager(database) as manager:
        (session,) = manager.list_sessions().sessions
        assert (session.agent, session.external_id, session.source) == (word, editor.session, "acp")
        assert session.cwd == str(project)
        (detail,) = manager.history(session.id).rounds
        assert detail.request.content.startswith("SCRIPT think:")
        assert detail.response.status is ResponseStatus.COMPLETED
        texts = [(turn.kind, (turn.content or "").strip()) for turn in detail.response.turns if turn.content]
        assert ("thought", "I will look.") in texts
        said = "".join(text for kind, text in texts if kind == "message")
        # codex puts a warning of its own before it.
        assert said.endswith("Let me look.All is done.")
        (call,) = [call for turn in detail.response.turns for call in turn.tool_calls]
        assert call.status is ToolCallStatus.COMPLETED
        assert "touch made" in json.dumps([call.title, call.arguments])
        assert call.metadata["permission"]["kind"] == "allow_once"
        assert {turn.status for turn in detail.response.turns} == {TurnStatus.COMPLETED}


@pytest.mark.parametrize("agent", list(_KNOWN))
def test_a_kill_in_the_middle_leaves_what_was_said(agent: str, project: Path, database: Path) -> None:
    editor = _Editor(agent, project, database)
    editor.begin("SCRIPT slow:" + "One word after the other, slowly, until somebody comes. " * 20)
    editor.wait_for("One word after")
    time.sleep(1)
    editor.kill()
    with SessionManager(database) as manager:
        _until(lambda: _is_interrupted(manager))
        (session,) = manager.list_sessions().sessions
        (detail,) = manager.history(session.id).rounds
        assert "One word after" in (detail.response.turns[-1].content or "")
        assert detail.response.status is ResponseStatus.INTERRUPTED


def _is_interrupted(manager: SessionManager) -> bool:
    (session,) = manager.list_sessions().sessions
    return session.state == "failed"


def _until(is_so: Any) -> None:
    end = time.monotonic() + _TIMEOUT
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)
