"""``record`` on a terminal: the program has one too, and a person at ours notices no difference."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commands.running import CONTROLLED, TIMEOUT
from commands.test_record import RECORD, is_stored, message, python, recorded, rounds, turns, until
from mandrake_sessions.model import HistoryRound, ResponseStatus, TurnStatus
from wire import SERVER, clean_environment

ENDS = re.compile(rb"Recorded: mandrake-sessions show [0-9a-f-]{36}\r\n$")


class Person:
    """Somebody at a terminal, on which a program runs."""

    def __init__(
        self, workspace: Path, command: list[str], *, stdin: int | None = None, stderr: int | None = None
    ) -> None:
        self.own, self.its = pty.openpty()
        termios.tcsetwinsize(self.its, (24, 80))
        self.modes = termios.tcgetattr(self.its)
        self.shown = b""
        # Where in ``shown`` what was seen last ends.
        self._seen = 0
        self.process = subprocess.Popen(
            [*CONTROLLED, *command], cwd=workspace, env=clean_environment(workspace) | {"TERM": "xterm", "PS1": "$ "},
            stdin=self.its if stdin is None else stdin, stdout=self.its,
            stderr=self.its if stderr is None else stderr, start_new_session=True,
        )  # fmt: skip

    def types(self, text: str) -> None:
        os.write(self.own, text.encode())

    def sees(self, text: str) -> None:
        """What comes after all that was seen before."""
        self._look(lambda: text.encode() in self.shown[self._seen :])
        self._seen = self.shown.index(text.encode(), self._seen) + len(text.encode())

    def ends(self) -> int:
        """Its exit code, when all is shown."""
        self._look(lambda: self.process.poll() is not None)
        while self._look_once(0.1):
            pass
        return self.process.wait(TIMEOUT)

    def _look(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, self.shown
            self._look_once(0.05)

    def _look_once(self, seconds: float) -> bool:
        if not select.select([self.own], [], [], seconds)[0]:
            return False
        self.shown += os.read(self.own, 65536)
        return True

    def leaves(self) -> None:
        """Close the window."""
        for descriptor in (self.own, self.its):
            if descriptor >= 0:
                os.close(descriptor)
        self.own = self.its = -1


@contextmanager
def at_a_terminal(workspace: Path, *words: str, **options: int) -> Iterator[Person]:
    """Somebody who records; the terminal must be as it was at the end."""
    person = Person(workspace, [*RECORD, *words], **options)
    try:
        yield person
        if person.its >= 0:
            assert termios.tcgetattr(person.its) == person.modes
    finally:
        if person.process.poll() is None:
            person.process.kill()
        person.process.wait(TIMEOUT)
        person.leaves()


def test_a_program_sees_a_terminal_and_ours_shows_what_it_shows(workspace: Path) -> None:
    program = (
        "import os, sys; print([os.isatty(n) for n in range(3)], os.get_terminal_size());"
        " print('err', file=sys.stderr); exit(3)"
    )
    with at_a_terminal(workspace, *python(program)) as person:
        assert person.ends() == 3
        said = "[True, True, True] os.terminal_size(columns=80, lines=24)\nerr\n"
        assert ENDS.sub(b"", person.shown).decode() == said.replace("\n", "\r\n")
        assert ENDS.search(person.shown)
    assert {kind: (turn.content, turn.raw_response) for kind, turn in turns(workspace).items()} == {
        "message": (said, "")
    }


def test_quiet_adds_nothing(workspace: Path) -> None:
    with at_a_terminal(workspace, "-q", "echo", "one") as person:
        assert (person.ends(), person.shown) == (0, b"one\r\n")


def test_the_last_line_leads_to_the_session(workspace: Path, tmp_path: Path) -> None:
    flag = f"--database={tmp_path / 'other place.sqlite'}"
    with at_a_terminal(workspace, flag, "echo", "one") as person:
        person.ends()
    (command,) = re.findall(rb"Recorded: mandrake-sessions (.*)\r\n", person.shown)
    show = ["sh", "-c", f"{' '.join(SERVER)} {command.decode()}"]
    done = subprocess.run(show, cwd=workspace, env=clean_environment(workspace), capture_output=True,
                          timeout=TIMEOUT, check=True)  # fmt: skip
    assert b"echo one" in done.stdout


def test_an_interpreter(workspace: Path) -> None:
    with at_a_terminal(workspace, "--", sys.executable, "-i", "-q") as person:
        person.sees(">>> ")
        person.types("6 * 7\r")
        person.sees("42")
        # Between two lines the terminal is as it was: what is typed then may be lost when readline takes it over.
        person.sees(">>> ")
        person.types("input('name? ')\r")
        person.sees("'name? ')")
        person.sees("name? ")
        person.types("zwölf\r")
        person.sees("\n'zwölf'")
        person.sees(">>> ")
        person.types("\x04")
        assert person.ends() == 0
    assert "42\n" in message(workspace)
    assert "'zwölf'\n" in message(workspace)
    assert "\x1b" not in message(workspace)


@pytest.mark.skipif(shutil.which("vim") is None, reason="there is no vim")
def test_an_editor(workspace: Path) -> None:
    with at_a_terminal(workspace, "--", "vim", "-u", "NONE", "-i", "NONE", "note.txt") as person:
        person.sees("note.txt")
        person.types("iA badger.\x1b")
        person.sees("A badger.")
        person.types(":wq\r")
        assert person.ends() == 0
    assert (workspace / "note.txt").read_text() == "A badger.\n"
    turn = turns(workspace)["message"]
    shown = ENDS.sub(b"", person.shown).decode()
    assert turn.raw_response == shown
    assert "\x1b" in shown
    assert "\x1b" not in (turn.content or "")


@pytest.mark.skipif(shutil.which("less") is None, reason="there is no less")
def test_a_pager(workspace: Path) -> None:
    (workspace / "long.txt").write_text("".join(f"line {n}\n" for n in range(1, 101)))
    with at_a_terminal(workspace, "less", "long.txt") as person:
        person.sees("line 23")
        person.types("G")
        person.sees("line 100")
        person.types("q")
        assert person.ends() == 0


@pytest.mark.skipif(shutil.which("less") is None, reason="there is no less")
def test_a_pager_of_piped_text_takes_its_keys_from_the_terminal(workspace: Path) -> None:
    reader, writer = os.pipe()
    with at_a_terminal(workspace, "less", stdin=reader) as person:
        os.close(reader)
        os.write(writer, "".join(f"line {n}\n" for n in range(1, 101)).encode())
        os.close(writer)
        person.sees("line 23")
        person.types("G")
        person.sees("line 100")
        person.types("q")
        assert person.ends() == 0
    assert "line 100" in message(workspace)


def test_piped_input_leaves_the_output_a_terminal(workspace: Path) -> None:
    program = (
        "import os, sys; print([os.isatty(n) for n in range(3)], os.get_terminal_size(1).columns, sys.stdin.read())"
    )
    reader, writer = os.pipe()
    os.write(writer, b"given")
    os.close(writer)
    with at_a_terminal(workspace, *python(program), stdin=reader) as person:
        os.close(reader)
        assert person.ends() == 0
        assert person.shown.startswith(b"[False, True, True] 80 given\r\nRecorded: ")
    turn = turns(workspace)["message"]
    assert (turn.content, turn.raw_response) == ("[False, True, True] 80 given\n", "")


def test_stderr_that_is_no_terminal_is_a_turn_of_its_own(workspace: Path) -> None:
    reader, writer = os.pipe()
    with at_a_terminal(workspace, "sh", "-c", "echo out; echo err >&2", stderr=writer) as person:
        os.close(writer)
        assert (person.ends(), person.shown) == (0, b"out\r\n")
        assert os.read(reader, 100) == b"err\n"
        os.close(reader)
    assert {kind: turn.content for kind, turn in turns(workspace).items()} == {"message": "out\n", "stderr": "err\n"}


@pytest.mark.parametrize("piped", [False, True])
def test_a_program_that_closes_its_terminal_goes_on(workspace: Path, piped: bool) -> None:
    """A daemon does, and one that writes to a file."""
    script = "exec </dev/null >o.log 2>&1; sleep 0.5; echo finished; exit 3"
    reader, writer = os.pipe()
    with at_a_terminal(workspace, "-q", "sh", "-c", script, **({"stdin": reader} if piped else {})) as person:
        assert (person.ends(), person.shown) == (3, b"")
    os.close(reader)
    os.close(writer)
    assert (workspace / "o.log").read_text() == "finished\n"


def test_what_a_program_says_to_a_terminal_that_it_opens_again(workspace: Path) -> None:
    script = "exec </dev/null >o.log 2>&1; sleep 0.5; echo again >/dev/tty"
    with at_a_terminal(workspace, "-q", "sh", "-c", script) as person:
        assert (person.ends(), person.shown) == (0, b"again\r\n")
    assert message(workspace) == "again\n"


@pytest.mark.parametrize("piped", [False, True])
def test_the_size_of_the_window_follows_ours(workspace: Path, piped: bool) -> None:
    program = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGWINCH, lambda *_: print('now', os.get_terminal_size(1).columns, flush=True))\n"
        "print('ready', flush=True)\nwhile True: time.sleep(0.05)"
    )
    reader, writer = os.pipe()
    with at_a_terminal(workspace, *python(program), **({"stdin": reader} if piped else {})) as person:
        person.sees("ready")
        termios.tcsetwinsize(person.own, (30, 101))
        person.sees("now 101")
        person.types("\x03")
        assert person.ends() == 128 + signal.SIGINT
    os.close(reader)
    os.close(writer)


def test_ctrl_c_reaches_the_program_alone(workspace: Path) -> None:
    with at_a_terminal(workspace, "sh", "-c", "echo ready; sleep 100") as person:
        person.sees("ready")
        person.types("\x03")
        assert person.ends() == 128 + signal.SIGINT
        assert b"^C" in person.shown
    turn = turns(workspace)["message"]
    assert (turn.content, turn.status) == ("ready\n^C", TurnStatus.CANCELLED)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_for_us_is_for_the_program(workspace: Path, by: signal.Signals) -> None:
    with at_a_terminal(workspace, "sh", "-c", "echo ready; sleep 100") as person:
        person.sees("ready")
        # Just before sh becomes sleep it would take a SIGINT, and forget it.
        time.sleep(0.3)
        person.process.send_signal(by)
        assert person.ends() == 128 + by
    (only,) = rounds(workspace)
    expected = TurnStatus.CANCELLED if by is signal.SIGINT else TurnStatus.INTERRUPTED
    assert (turns(workspace)["message"].status, only.response.status) == (expected, ResponseStatus(expected))


@pytest.mark.parametrize(
    "script", ["echo ready; sleep 100", "trap 'echo bye; exit 129' HUP; echo ready; while :; do sleep 0.05; done"]
)
def test_a_terminal_that_goes_away_takes_the_program_along(workspace: Path, script: str) -> None:
    with at_a_terminal(workspace, "sh", "-c", f"echo $$ >pid; {script}") as person:
        person.sees("ready")
        person.leaves()
        assert person.process.wait(TIMEOUT) == 128 + signal.SIGHUP
    assert message(workspace).startswith("ready\n")
    assert turns(workspace)["message"].status is not TurnStatus.STREAMING
    assert not Path(f"/proc/{(workspace / 'pid').read_text().strip()}").exists()


def test_a_record_in_a_record(workspace: Path) -> None:
    inner = [*RECORD, "--title", "inner", "--", "sh", "-c", "test -t 0 && read x && echo got $x"]
    with at_a_terminal(workspace, "--database", "outer.sqlite", "--", *inner) as person:
        until(lambda: "open" in {str(each.response.status) for each in _rounds_or_none(workspace)})
        person.types("it\r")
        assert person.ends() == 0
        assert b"got it\r\n" in person.shown
        assert person.shown.count(b"Recorded: ") == 2
    assert message(workspace) == "it\ngot it\n"


def _rounds_or_none(workspace: Path) -> list[HistoryRound]:
    try:
        return list(rounds(workspace))
    except ValueError:
        return []


def test_ctrl_c_at_a_terminal_for_all_comes_to_the_program_once(workspace: Path) -> None:
    """Its input is a pipe, so it runs in our session."""
    program = (
        "import signal, time; came = []; signal.signal(signal.SIGINT, lambda *_: came.append(1))\n"
        "print('ready', flush=True)\nwhile not came: time.sleep(0.05)\n"
        "time.sleep(0.5); print('came', len(came))"
    )
    reader, writer = os.pipe()
    with at_a_terminal(workspace, *python(program), stdin=reader) as person:
        person.sees("ready")
        person.types("\x03")
        assert person.ends() == 0
        assert b"came 1\r\n" in person.shown
    os.close(reader)
    os.close(writer)


@contextmanager
def at_a_shell(workspace: Path) -> Iterator[Person]:
    """A person at a terminal with an interactive shell, which is there, and is ended after the block."""
    person = Person(workspace, ["bash", "--norc", "--noprofile", "-i"])
    try:
        person.sees("$ ")
        yield person
    finally:
        person.process.kill()
        person.process.wait(TIMEOUT)
        person.leaves()


def test_a_signal_for_a_job_in_the_background_is_passed_on(workspace: Path) -> None:
    program = "trap 'echo stopped; exit 5' INT; echo ready; while :; do sleep 0.05; done"
    command = f"{' '.join(RECORD)} -q -- bash -c {shlex.quote(program)}"
    with at_a_shell(workspace) as person:
        person.types(f"{command} &\r")
        until(lambda: is_stored(workspace, "ready"))
        person.types("kill -INT $!; wait $!; echo code $?\r")
        person.sees("code 5")
    assert message(workspace) == "ready\nstopped\n"


def test_a_job_in_the_background_leaves_the_terminal_alone(workspace: Path) -> None:
    """As any program: a shell goes on, and nothing is stopped that does not read."""
    command = f"{' '.join(RECORD)} -q -- sh -c 'sleep 0.2; echo from behind'"
    with at_a_shell(workspace) as person:
        person.types(f"{command} & wait $!; echo code $?\r")
        person.sees("code 0")
        person.types("exit\r")
        person.ends()
    assert message(workspace) == "from behind\n"


def test_much_that_is_typed_at_once(workspace: Path) -> None:
    program = (
        "import tty, os; tty.setraw(0); print('ready', flush=True); n = 0\n"
        "while n < 200000: n += len(os.read(0, 65536))\nprint('all', n)"
    )
    with at_a_terminal(workspace, *python(program)) as person:
        person.sees("ready")
        for _ in range(200):
            person.types("x" * 1000)
        person.sees("all 200000")
        assert person.ends() == 0


def test_a_program_that_is_not_there_leaves_the_terminal(workspace: Path) -> None:
    with at_a_terminal(workspace, "./odd") as person:
        assert person.ends() == 127
    _, err = recorded(workspace, "./odd", code=127)
    # There its lines end between words.
    assert person.shown.split() == err.split()
    assert person.shown.endswith(b"\r\n")
    assert not is_stored(workspace, "")
