"""How a conversation ends: as it would without the proxy, whoever ends it, and whatever becomes of the recorder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from acp.proxies import AGENT, LINUX, TIMEOUT, Proxy, is_gone, proxy, until
from commands.running import CONTROLLED
from wire import clean_environment

TELLS_PROCESSES = pytest.mark.skipif(not LINUX, reason="elsewhere nothing tells which process is whose")


def goes_on(made: Proxy, workspace: Path) -> None:
    """Whether the two still speak with each other, to the end."""
    made.send(b"one\ntwo")
    made.finish_input()
    assert made.rest() == b"last\n"
    assert (workspace / "got").read_bytes().endswith(b"one\ntwo")


TALK = ("read", "got", "say", "last", "exit", "5")


# ---- the client


def test_the_agent_may_go_on_after_the_end_of_its_input(workspace: Path) -> None:
    with proxy(workspace, "read", "got", "say", "one", "wait", "go", "say", "two", "exit", "4") as made:
        made.send(b"x")
        made.finish_input()
        assert made.line() == b"one\n"
        # It is not killed, however long that takes.
        time.sleep(1)
        assert made.process.poll() is None
        (workspace / "go").touch()
        assert (made.rest(), made.wait(), made.err) == (b"two\n", 4, "")


def test_an_agent_learns_that_its_client_does_not_read(workspace: Path) -> None:
    with proxy(workspace, "say", "one", "written", "failed", "exit", "6") as made:
        assert made.line() == b"one\n"
        made.close_output()
        assert (made.wait(), made.err) == (6, "")
    assert (workspace / "failed").read_text() == "BrokenPipeError"


def test_an_agent_that_does_not_care_is_ended_by_sigpipe(workspace: Path) -> None:
    with proxy(workspace, agent=("yes",)) as made:
        assert made.receive(2) == b"y\n"
        made.close_output()
        assert (made.wait(), made.err) == (128 + signal.SIGPIPE, "")


def test_the_other_direction_goes_on(workspace: Path) -> None:
    """A client that reads no more can still write."""
    with proxy(workspace, "read", "got", "exit", "0") as made:
        made.close_output()
        time.sleep(0.3)
        made.send(b"still here")
        made.finish_input()
        assert made.wait() == 0
    assert (workspace / "got").read_bytes() == b"still here"


# ---- the agent


def test_a_client_learns_that_the_agent_reads_no_more(workspace: Path) -> None:
    with proxy(workspace, "say", "one", "close", "0", "wait", "go", "say", "two", "exit", "0") as made:
        assert made.line() == b"one\n"
        with pytest.raises(BrokenPipeError):
            while True:
                made.send(b"more\n")
                time.sleep(0.01)
        (workspace / "go").touch()
        assert (made.rest(), made.wait(), made.err) == (b"two\n", 0, "")


def test_a_client_learns_that_the_agent_writes_no_more(workspace: Path) -> None:
    with proxy(workspace, "say", "one", "close", "1", "read", "got", "exit", "7") as made:
        assert made.rest() == b"one\n"
        assert made.process.poll() is None
        made.send(b"to the end")
        made.finish_input()
        assert made.wait() == 7
    assert (workspace / "got").read_bytes() == b"to the end"


@pytest.mark.parametrize(("code", "told"), [("0", 0), ("1", 1), ("255", 255), ("-9", 137), ("-15", 143), ("-6", 134)])
def test_the_exit_code_is_told_as_by_a_shell(workspace: Path, code: str, told: int) -> None:
    with proxy(workspace, "say", "x", "exit", code) as made:
        # The client's end stays open: it learns the end by the output and the code alone.
        assert (made.rest(), made.wait(), made.err) == (b"x\n", told, "")


@pytest.mark.parametrize(
    ("agent", "code", "complaint"),
    [
        ("no-such-agent", 127, "there is no program 'no-such-agent' on PATH; check its name, or give its path"),
        ("./plain", 126, "chmod +x makes it a program"),
        ("./lost", 127, "its first line names a program that is not there"),
    ],
)
def test_an_agent_that_cannot_start(workspace: Path, agent: str, code: int, complaint: str) -> None:
    for name, text, mode in (("plain", "", 0o644), ("lost", "#!/no/where\n", 0o755)):
        (workspace / name).write_text(text)
        (workspace / name).chmod(mode)
    with proxy(workspace, agent=(agent,)) as made:
        assert (made.rest(), made.wait()) == (b"", code)
        assert complaint in made.err
        assert made.err.count("\n") == 1


def test_what_an_agent_leaves_in_the_background_does_not_hide_its_end(workspace: Path) -> None:
    script = "echo one; (sleep 0.1; echo late; exec sleep 100) 2>&- & echo $! >pid; exit 3"
    with proxy(workspace, agent=("sh", "-c", script)) as made:
        try:
            assert (made.rest(), made.wait()) == (b"one\nlate\n", 3)
        finally:
            os.kill(int((workspace / "pid").read_text()), signal.SIGKILL)


def test_what_an_agent_leaves_in_the_background_does_not_hide_its_end_by_writing_on(workspace: Path) -> None:
    loop = "(while :; do echo more; sleep 0.05; done) & echo $! > loop; exit 7"
    with proxy(workspace, agent=("sh", "-c", loop)) as made:
        thread = threading.Thread(target=made.rest, daemon=True)
        thread.start()
        try:
            assert made.process.wait(TIMEOUT) == 7
        finally:
            os.kill(int((workspace / "loop").read_text()), signal.SIGTERM)
        thread.join(TIMEOUT)


@TELLS_PROCESSES
@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_an_agent_is_ended_too_where_its_proxy_is_killed_soon(workspace: Path, seconds: float) -> None:
    with proxy(workspace, "wait", "go") as made:
        agent = made.agent()
        made.recorder()
        time.sleep(seconds)
        made.process.kill()
        until(lambda: is_gone(agent))


def test_an_output_that_cannot_be_written_is_told(workspace: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no device that is always full")
    with Path("/dev/full").open("wb") as full, proxy(workspace, "say", "x", "exit", "0", stdout=full) as made:
        assert made.wait() == 1
        assert made.err == "mandrake-sessions acp: the agent's output cannot be passed on: No space left on device\n"


# ---- signals


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_a_signal_is_for_the_agent(workspace: Path, name: str) -> None:
    with proxy(workspace, "noting", "came", "say", "ready", "read", "got", "exit", "9") as made:
        assert made.line() == b"ready\n"
        made.process.send_signal(signal.Signals[name])
        until((workspace / "came").exists)
        made.finish_input()
        assert (made.wait(), made.err) == (9, "")
    assert (workspace / "came").read_text() == f"{name}\n"


def test_an_agent_that_a_signal_ends(workspace: Path) -> None:
    with proxy(workspace, "say", "ready", "sleep", "100") as made:
        assert made.line() == b"ready\n"
        made.process.terminate()
        assert (made.wait(), made.err) == (143, "")


def test_ctrl_c_on_a_terminal_reaches_the_agent_once(workspace: Path) -> None:
    import pty

    own, its = pty.openpty()
    terminal = {"stdin": its, "stdout": its, "stderr": its, "start_new_session": True}
    words = ("noting", "came", "say", "ready", "wait", "go", "exit", "0")
    try:
        with proxy(workspace, *words, before=CONTROLLED, environment={"TERM": "xterm"}, **terminal) as made:
            os.close(its)
            shown = b""
            while b"ready" not in shown:
                shown += os.read(own, 1000)
            os.write(own, b"\x03")
            until((workspace / "came").exists)
            time.sleep(0.3)
            (workspace / "go").touch()
            assert made.wait() == 0
    finally:
        os.close(own)
    assert (workspace / "came").read_text() == "SIGINT\n"


# ---- kills


def test_an_agent_sees_its_input_end_when_the_proxy_is_killed(workspace: Path) -> None:
    with proxy(workspace, "noting", "came", "say", "ready", "read", "got", "made", "done") as made:
        assert made.line() == b"ready\n"
        made.process.kill()
        until((workspace / "done").exists)
    assert not (workspace / "came").exists()


@TELLS_PROCESSES
def test_an_agent_that_does_not_care_for_its_input_gets_sigterm(workspace: Path) -> None:
    with proxy(workspace, "noting", "came", "say", "ready", "wait", "go", "exit", "0") as made:
        assert made.line() == b"ready\n"
        made.recorder()
        # As soon as it reads what passes.
        time.sleep(1)
        made.process.kill()
        until((workspace / "came").exists)
        (workspace / "go").touch()
    assert (workspace / "came").read_text() == "SIGTERM\n"


@TELLS_PROCESSES
def test_nobody_waits_for_the_recorder_of_a_proxy_that_was_killed(workspace: Path) -> None:
    """Its stderr ends with the agent's, and it ends by itself."""
    with proxy(workspace, "say", "ready", "read", "got") as made:
        assert made.line() == b"ready\n"
        recorder = made.recorder()
        made.process.kill()
        assert made.wait() == -signal.SIGKILL
    until(lambda: is_gone(recorder))


@TELLS_PROCESSES
def test_a_recorder_that_is_killed_is_told_once(workspace: Path) -> None:
    with proxy(workspace, *TALK) as made:
        os.kill(made.recorder(), signal.SIGKILL)
        for _ in range(3):
            made.send(b"before\n")
            time.sleep(0.05)
        goes_on(made, workspace)
        assert made.wait() == 5
        assert made.err == (
            "mandrake-sessions acp: the recorder has ended, so what passes from now on is not stored; the conversation "
            "itself goes on. Start the agent again to have it recorded\n"
        )


@TELLS_PROCESSES
def test_a_recorder_that_stops_holds_nobody_up(workspace: Path) -> None:
    """More passes than it may have in memory."""
    given = b"".join(b'{"n":%d}\n' % number for number in range(4_500_000))
    assert len(given) > 50_000_000
    (workspace / "given").write_bytes(given)
    with proxy(workspace, "say", "x", "wait", "go", "give", "given", "1", *TALK) as made:
        assert made.line() == b"x\n"
        recorder = made.recorder()
        os.kill(recorder, signal.SIGSTOP)
        try:
            (workspace / "go").touch()
            received = bytearray()
            while len(received) < len(given):
                received += made.receive(1_000_000)
            assert received == given
            goes_on(made, workspace)
            assert made.process.wait(60) == 5
        finally:
            os.kill(recorder, signal.SIGKILL)
        made.join()
    told = made.err.splitlines()
    assert "the recorder does not keep up, so a part of what passes now is not stored" in told[0]
    assert "the recorder has not taken the last" in told[1]
    assert len(told) == 2


@pytest.mark.parametrize(
    "fault", ["sys.executable = '/no/such/python'", "import os; 'acp.recorder' in str(sys.orig_argv) and os._exit(1)"]
)
def test_a_recorder_that_cannot_start_is_told_once(workspace: Path, fault: str) -> None:
    (workspace / "sitecustomize.py").write_text(f"import sys\n{fault}\n")
    with proxy(workspace, *TALK, environment={"PYTHONPATH": str(workspace)}) as made:
        for _ in range(10):
            made.send(b"before\n")
            time.sleep(0.1)
        goes_on(made, workspace)
        assert made.process.wait(60) == 5
        made.join()
    (told,) = [line for line in made.err.splitlines() if "mandrake" in line]
    assert told.startswith("mandrake-sessions acp: ")
    assert "the conversation itself goes on" in told


def test_a_client_that_does_not_read_the_log_holds_nobody_up(workspace: Path) -> None:
    """Its pipe is full."""
    (workspace / "sitecustomize.py").write_text("import sys\nsys.executable = '/no/such/python'\n")
    log, full = os.pipe()
    os.set_blocking(full, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(full, b"x" * 1000)
    os.set_blocking(full, True)
    try:
        with proxy(workspace, *TALK, environment={"PYTHONPATH": str(workspace)}, stderr=full) as made:
            goes_on(made, workspace)
            assert made.wait() == 5
    finally:
        os.close(log)
        os.close(full)


@TELLS_PROCESSES
def test_the_recorder_ends_with_the_agent(workspace: Path) -> None:
    with proxy(workspace, *TALK) as made:
        recorder = made.recorder()
        goes_on(made, workspace)
        assert made.wait() == 5
    until(lambda: is_gone(recorder))


def test_streams_that_are_closed_hurt_nobody(workspace: Path) -> None:
    line = f"exec {sys.executable} -m mandrake_sessions acp -- {' '.join(AGENT)} read got exit 8 <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", line], cwd=workspace, env=clean_environment(workspace), timeout=60, check=False)
    assert done.returncode == 8
    assert (workspace / "got").read_bytes() == b""
