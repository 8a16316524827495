"""``record``: a program runs as it would alone, and what it says is stored while it says it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from commands.running import TIMEOUT, run, sql, store_of, titles
from mandrake_sessions import SessionManager
from mandrake_sessions.model import HistoryRound, ResponseStatus, Turn, TurnStatus
from wire import SERVER, clean_environment

RECORD = [*SERVER, "record"]
# A command line is no Markdown.
PLAIN = {"mediaType": "text/plain"}


def rounds(workspace: Path) -> list[HistoryRound]:
    """Those of the only session, with the raw output of their turns."""
    with SessionManager(store_of(workspace)) as manager:
        (session,) = manager.list_sessions().sessions
        return list(manager.history(session.id, include_raw=True).rounds)


def turns(workspace: Path) -> dict[str, Turn]:
    """Those of the only round, by kind."""
    (only,) = rounds(workspace)
    return {turn.kind: turn for turn in only.response.turns}


def message(workspace: Path) -> str:
    return turns(workspace)["message"].content or ""


def python(program: str) -> list[str]:
    return ["--", sys.executable, "-c", program]


def recorded(workspace: Path, *words: str, code: int = 0, given: bytes = b"", **options: Any) -> tuple[bytes, bytes]:
    """Record with pipes; gives the two outputs."""
    environment = clean_environment(workspace) | options.pop("environment", {})
    done = subprocess.run([*RECORD, *words], cwd=options.pop("cwd", workspace), env=environment, input=given,
                          capture_output=True, timeout=TIMEOUT, check=False, **options)  # fmt: skip
    assert b"Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done
    return done.stdout, done.stderr


@contextmanager
def recording(workspace: Path, *words: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A ``record`` that goes on, in a process group of its own; killed with all of that at the end."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    streams: dict[str, Any] = pipes | options
    process = subprocess.Popen([*RECORD, *words], cwd=workspace, env=clean_environment(workspace),
                               start_new_session=True, **streams)  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_stored(workspace: Path, text: str) -> bool:
    if not store_of(workspace).exists() or not titles(store_of(workspace)):
        return False
    (only,) = rounds(workspace)
    return any(text in (turn.content or "") for turn in only.response.turns)


# ---- what is stored


def test_both_outputs_are_stored_with_the_command(workspace: Path) -> None:
    out, err = recorded(workspace, "--", "sh", "-c", "printf 'zwölf\n'; echo wrong >&2; exit 3", code=3)
    assert (out, err) == ("zwölf\n".encode(), b"wrong\n")
    (only,) = rounds(workspace)
    assert only.request.content == "sh -c 'printf '\"'\"'zwölf\n'\"'\"'; echo wrong >&2; exit 3'"
    assert only.metadata == {"command": ["sh", "-c", "printf 'zwölf\n'; echo wrong >&2; exit 3"], "exitCode": 3} | PLAIN
    assert only.response.status is ResponseStatus.ERROR
    found = turns(workspace)
    assert {kind: (turn.content, turn.raw_response) for kind, turn in found.items()} == {
        "message": ("zwölf\n", ""), "stderr": ("wrong\n", "")
    }  # fmt: skip
    for turn in found.values():
        assert (turn.status, turn.error) == (TurnStatus.ERROR, "the program ended with exit code 3")


def test_a_program_that_says_nothing_has_a_round(workspace: Path) -> None:
    recorded(workspace, "true")
    (only,) = rounds(workspace)
    assert (only.request.content, only.response.status) == ("true", ResponseStatus.COMPLETED)
    assert list(only.response.turns) == []


def test_a_failed_program_is_told_once_where_it_is_read(workspace: Path) -> None:
    recorded(workspace, "--", "sh", "-c", "echo out; echo wrong >&2; exit 3", code=3)
    for way in ("markdown", "html"):
        shown = run(workspace, "show", "@last", "--format", way).out
        assert shown.count("the program ended with exit code 3") == 1
        assert "The answer ended in an error</p>" not in shown
        assert "The answer ended in an error." not in shown


def test_a_silent_program_that_fails_says_why(workspace: Path) -> None:
    recorded(workspace, "false", code=1)
    assert turns(workspace)["message"].error == "the program ended with exit code 1"
    recorded(workspace, "--session", "@last", "--", "sh", "-c", "echo wrong >&2; exit 2", code=2)
    assert [turn.kind for turn in rounds(workspace)[1].response.turns] == ["stderr"]


def test_a_silent_program_is_running_until_it_ends(workspace: Path) -> None:
    def is_running() -> bool:
        return '"state": "running"' in run(workspace, "list", "--state", "running", "--json").out

    with recording(workspace, "--", "sh", "-c", "read x") as process:
        until(is_running)
        process.communicate(b"\n", timeout=TIMEOUT)
    assert not is_running()
    with recording(workspace, "--", "sh", "-c", "read x") as process:
        until(is_running)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT)
    # Whoever opens the store next tells it.
    assert '"state": "failed"' in run(workspace, "list", "--limit", "1", "--json").out


def test_a_script_names_the_session_by_itself(workspace: Path) -> None:
    """What is on its stderr is the program's alone."""
    made = run(workspace, "new", "By a script").out.strip()
    assert recorded(workspace, "--session", made, "--", "sh", "-c", "echo a; echo b >&2") == (b"a\n", b"b\n")
    assert titles(store_of(workspace)) == ["By a script"]
    assert "\na\n" in run(workspace, "show", made).out


def test_lines_stay_lines_where_they_are_read(workspace: Path) -> None:
    """What a program prints is no Markdown."""
    recorded(workspace, "--", "sh", "-c", "printf 'one\n  # two\n<b>\n'; echo '* three' >&2")
    shown = run(workspace, "show", "@last").out
    assert "```text\none\n  # two\n<b>\n```\n" in shown
    assert "**stderr**\n\n```text\n* three\n```\n" in shown


def test_the_command_is_shown_as_it_was_typed(workspace: Path) -> None:
    recorded(workspace, "--", "echo", "__init__", "*.py", "# x")
    assert "```sh\necho __init__ '*.py' '# x'\n```\n" in run(workspace, "show", "@last").out


def test_a_line_of_a_shell_is_told_how(workspace: Path) -> None:
    _, told = recorded(workspace, "ls | head", code=127)
    assert b"there is no program 'ls | head' on PATH; for a line of a shell: -- sh -c 'LINE'" in told


def test_flags_come_before_the_command(workspace: Path) -> None:
    flags = ("--prompt", "What is here?", "--title", "A look", "--agent", "sh", "--external-id", "x")
    out, _ = recorded(workspace, *flags, "echo", "--title", "-n", "--", "x")
    assert out == b"--title -n -- x\n"
    out, _ = recorded(workspace, "--session", "x", "--", "echo", "again")
    first, second = rounds(workspace)
    assert (first.request.content, second.request.content) == ("What is here?", "echo again")
    assert first.metadata["command"] == ["echo", "--title", "-n", "--", "x"]
    assert titles(store_of(workspace)) == ["A look"]
    _, err = recorded(workspace, "--session", "x", "--title", "y", "true", code=2)
    assert b"--title: is for a session that is made" in err


def test_control_codes_are_kept_raw(workspace: Path) -> None:
    output = b"one\ntwo \x1b[1mbold\x1b[0m\r\n10%\r20%\nend"
    out, _ = recorded(workspace, *python(f"import sys; sys.stdout.buffer.write({output!r})"))
    assert out == output
    turn = turns(workspace)["message"]
    assert (turn.content, turn.raw_response) == ("one\ntwo bold\n10%\n20%\nend", output.decode())


def test_the_raw_output_holds_what_came_before_the_first_code(workspace: Path) -> None:
    program = (
        "import sys\nfor n in range(20000): print('line', n, flush=n % 1000 == 0)\n"
        "print('wait', flush=True); input(); print('\\x1b[1mend', flush=True)"
    )
    with (workspace / "out").open("wb") as file, recording(workspace, *python(program), stdout=file) as process:
        until(lambda: is_stored(workspace, "wait"))
        assert turns(workspace)["message"].raw_response == ""
        process.communicate(b"\n", timeout=TIMEOUT)
    out = (workspace / "out").read_text()
    turn = turns(workspace)["message"]
    assert turn.raw_response == out
    assert turn.content == out.replace("\x1b[1m", "")


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_every_byte_passes_unchanged(workspace: Path, locale: Mapping[str, str]) -> None:
    data = os.urandom(100_000) + bytes(range(256)) * 4000
    out, _ = recorded(workspace, "--", "cat", given=data, environment=locale)
    assert out == data
    assert turns(workspace)["message"].raw_response == data.decode(errors="backslashreplace")


def test_a_command_that_is_not_utf_8(workspace: Path) -> None:
    out, _ = recorded(workspace, "--", "echo", b"\xff".decode(errors="surrogateescape"))
    assert out == b"\xff\n"
    (only,) = rounds(workspace)
    assert only.metadata["command"] == ["echo", "\\xff"]


def test_pieces_are_stored_and_passed_while_the_program_runs(workspace: Path) -> None:
    with recording(workspace, "--", "sh", "-c", "printf part; read x; printf $x; read x") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 100) == b"part"
        until(lambda: is_stored(workspace, "part"))
        assert turns(workspace)["message"].status is TurnStatus.STREAMING
        process.stdin.write(b"more\n")
        process.stdin.flush()
        until(lambda: is_stored(workspace, "partmore"))
        out, _ = process.communicate(b"\n", timeout=TIMEOUT)
        assert (out, process.returncode) == (b"more", 0)
    assert turns(workspace)["message"].status is TurnStatus.COMPLETED


def test_a_text_beyond_the_limit_of_a_turn_goes_on_in_another(workspace: Path) -> None:
    size = 70 * 1024 * 1024
    program = f"import sys\nfor n in range({size} // 64): sys.stdout.write('%063d\\n' % n)"
    with recording(workspace, *python(program), stdout=subprocess.DEVNULL) as process:
        assert process.wait(TIMEOUT) == 0
    (only,) = rounds(workspace)
    first, second = only.response.turns
    assert (first.status, second.status) == (TurnStatus.COMPLETED, TurnStatus.COMPLETED)
    assert (first.content or "") + (second.content or "") == "".join(f"{n:063}\n" for n in range(size // 64))


def test_where_there_is_no_store_yet_one_is_made(workspace: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    recorded(workspace, "pwd", cwd=other)
    assert message(other) == f"{other}\n"


# ---- how it ends


@pytest.mark.parametrize(
    ("by", "status"),
    [
        (signal.SIGINT, TurnStatus.CANCELLED),
        (signal.SIGTERM, TurnStatus.INTERRUPTED),
        (signal.SIGKILL, TurnStatus.INTERRUPTED),
    ],
)
def test_a_program_that_a_signal_ends(workspace: Path, by: signal.Signals, status: TurnStatus) -> None:
    program = (
        "import os, signal; print('x', flush=True); signal.signal(signal.SIGINT, signal.SIG_DFL);"
        f" os.kill(os.getpid(), {int(by)})"
    )
    recorded(workspace, *python(program), code=128 + by)
    turn = turns(workspace)["message"]
    assert (turn.content, turn.status, turn.error) == ("x\n", status, f"the program was ended by {by.name}")


def test_ctrl_c_is_for_the_program(workspace: Path) -> None:
    """The whole process group gets it; how the program takes it is what counts."""
    script = "trap 'trap \"\" INT; echo stopped; exit 5' INT; echo ready; while :; do sleep 0.05; done"
    with recording(workspace, "--", "sh", "-c", script) as process:
        until(lambda: is_stored(workspace, "ready"))
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
        assert (out, err, process.returncode) == (b"ready\nstopped\n", b"", 5)
    assert message(workspace) == "ready\nstopped\n"


@pytest.mark.parametrize("by", ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "VTALRM", "ABRT"])
def test_a_signal_for_us_alone_is_passed_on(workspace: Path, by: str) -> None:
    """There is no terminal that would have sent it to the program too."""
    script = f"trap 'echo stopped; exit 5' {by}; echo ready; while :; do sleep 0.05; done"
    with recording(workspace, "--", "sh", "-c", script) as process:
        until(lambda: is_stored(workspace, "ready"))
        process.send_signal(signal.Signals[f"SIG{by}"])
        out, _ = process.communicate(timeout=TIMEOUT)
        assert (out, process.returncode) == (b"ready\nstopped\n", 5)


def test_a_killed_record_keeps_what_came(workspace: Path) -> None:
    with recording(workspace, "--", "sh", "-c", "echo until here; exec sleep 100") as process:
        until(lambda: is_stored(workspace, "until here"))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT)
    turn = turns(workspace)["message"]
    assert (turn.content, turn.status) == ("until here\n", TurnStatus.INTERRUPTED)


# What docs/reliability.md says.
MOST_LOST = 18 * 1024 * 1024


def test_a_record_that_is_killed_in_a_flood_keeps_the_beginning(workspace: Path) -> None:
    """Whole up to where it ends, and no more is missing than what waited for the store."""
    passed = workspace / "passed"
    with (
        passed.open("wb") as out,
        recording(workspace, "--", "seq", "1", "1000000000", stdout=out, stderr=subprocess.DEVNULL) as process,
    ):
        until(lambda: passed.stat().st_size > MOST_LOST + 4 * 1024 * 1024)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT)
    (only,) = rounds(workspace)
    stored = "".join(turn.content or "" for turn in only.response.turns).encode()
    said = passed.read_bytes()
    assert said.startswith(stored)
    assert len(said) - len(stored) <= MOST_LOST


def test_a_reader_that_goes_away_ends_the_program_as_alone(workspace: Path) -> None:
    command = f"{' '.join(SERVER)} record -- yes | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=workspace, env=clean_environment(workspace),
                          capture_output=True, timeout=TIMEOUT, check=False)  # fmt: skip
    assert (done.stdout, done.stderr) == (b"y\n141\n", b"")
    assert set(message(workspace)) == {"y", "\n"}
    assert turns(workspace)["message"].status is TurnStatus.INTERRUPTED


@pytest.mark.parametrize("background", ["sleep 100", "while :; do echo more; sleep 0.05; done", "yes"])
def test_what_goes_on_in_the_background_is_not_waited_for(workspace: Path, background: str) -> None:
    """Where the output is a file, as without us."""
    script = f"({background}) & echo $! >pid; echo hi"
    with (workspace / "out").open("wb") as out:
        files = {"stdout": out, "stderr": subprocess.DEVNULL}
        with recording(workspace, "--", "sh", "-c", script, **files) as process:
            try:
                assert process.wait(TIMEOUT) == 0
            finally:
                os.kill(int((workspace / "pid").read_text()), signal.SIGKILL)
    out_text = (workspace / "out").read_text()
    assert "hi\n" in out_text
    assert out_text == message(workspace)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_comes_late_from_the_background_passes_through_a_pipe(workspace: Path, stream: str) -> None:
    """Its reader would wait for it without us too."""
    redirected = {"stdout": "", "stderr": ">&2"}[stream]
    out, err = recorded(workspace, "--", "sh", "-c", f"(sleep 1; echo late) {redirected} & exit 3", code=3)
    assert {"stdout": out, "stderr": err}[stream] == b"late\n"
    turn = turns(workspace)["message" if stream == "stdout" else "stderr"]
    assert (turn.content, turn.status) == ("late\n", TurnStatus.ERROR)


def test_a_background_that_nobody_reads_is_not_waited_for(workspace: Path) -> None:
    command = f"{' '.join(SERVER)} record -- sh -c 'sleep 100 2>&1 & echo $! >pid; echo hi' 2>/dev/null | head -n 1"
    done = subprocess.run(["bash", "-c", command], cwd=workspace, env=clean_environment(workspace),
                          stdout=subprocess.PIPE, timeout=TIMEOUT, check=False)  # fmt: skip
    os.kill(int((workspace / "pid").read_text()), signal.SIGKILL)
    assert done.stdout == b"hi\n"


def test_a_background_that_is_waited_for_is_left_by_a_signal(workspace: Path) -> None:
    with recording(workspace, "--", "sh", "-c", "sleep 100 & echo $! >pid; echo hi") as process:
        until(lambda: is_stored(workspace, "hi"))
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        os.kill(int((workspace / "pid").read_text()), signal.SIGKILL)
    assert turns(workspace)["message"].status is TurnStatus.COMPLETED


def test_the_last_that_a_reader_takes_slowly(workspace: Path) -> None:
    """What the program has left passes whole, however long the reader takes."""
    command = f"{' '.join(SERVER)} record -- seq 30000 | (sleep 1; cat)"
    done = subprocess.run(["bash", "-c", command], cwd=workspace, env=clean_environment(workspace),
                          capture_output=True, timeout=TIMEOUT, check=False)  # fmt: skip
    assert done.stdout.decode() == message(workspace) == "".join(f"{n}\n" for n in range(1, 30001))


def test_a_reader_that_never_reads_is_left_by_a_signal(workspace: Path) -> None:
    """The program has ended, with more than the reader's pipe takes."""
    with recording(workspace, "sh", "-c", "seq 20000; echo >done") as process:
        until((workspace / "done").exists)
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            # As long as it needs to end: one more would end it then, as any program.
            time.sleep(1)
        # The first may have come before its end.
        assert process.returncode in (0, 128 + signal.SIGTERM)
    numbers = "".join(f"{n}\n" for n in range(1, 20001))
    assert numbers.startswith(message(workspace))


# ---- programs that do not start


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ([], 2, "there is no program to run; name it: mandrake-sessions record -- COMMAND"),
        (["--"], 2, "there is no program to run"),
        (["--titel", "x", "--", "true"], 2, "unknown arguments: --titel; did you mean --title?"),
        (["--", "no-such-program", "-x"], 127, "there is no program 'no-such-program' on PATH"),
        (["--", ""], 127, "there is no program with an empty name"),
        (["./missing"], 127, "there is no program './missing'; check its name"),
        (["./plain"], 126, "chmod +x makes it a program"),
        (["./"], 126, "./ is a directory"),
        (["./odd"], 126, "its first line has to name an interpreter"),
        (["./lost"], 127, "its first line names a program that is not there"),
    ],
)
def test_a_program_that_cannot_start_stores_nothing(
    workspace: Path, words: list[str], code: int, complaint: str
) -> None:
    for name, text, mode in (("plain", "", 0o644), ("odd", "echo\n", 0o755), ("lost", "#!/no/where\n", 0o755)):
        (workspace / name).write_text(text)
        (workspace / name).chmod(mode)
    out, err = recorded(workspace, *words, code=code)
    assert out == b""
    assert complaint in err.decode()
    assert err.count(b"\n") == 1 or b"usage: " in err
    assert not store_of(workspace).exists() or titles(store_of(workspace)) == []


def test_a_store_that_cannot_be_used_starts_nothing(workspace: Path) -> None:
    _, err = recorded(workspace, "--session", "none", "--", "touch", "started", code=1)
    assert b"no session 'none'" in err
    run(workspace, "new", "--agent", "a", "--external-id", "x")
    _, err = recorded(workspace, "--agent", "a", "--external-id", "x", "touch", "started", code=1)
    assert b"'x'" in err
    assert not (workspace / "started").exists()


# ---- a store that fails meanwhile


def locked(workspace: Path, work: Callable[[], None]) -> None:
    """Do something while another process writes to the store."""
    import sqlite3

    holder = sqlite3.connect(store_of(workspace), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        work()
    finally:
        holder.execute("ROLLBACK")
        holder.close()


def test_a_locked_store_holds_nothing_up(workspace: Path) -> None:
    with recording(workspace, "--", "sh", "-c", "echo one; read x; echo two; read x") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        until(lambda: is_stored(workspace, "one"))

        def go_on() -> None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"one\n"
            assert process.stdout.readline() == b"two\n"

        locked(workspace, go_on)
        _, err = process.communicate(b"\n", timeout=TIMEOUT)
        assert (process.returncode, err) == (0, b"")
    assert message(workspace) == "one\ntwo\n"


def test_a_program_starts_while_the_store_is_locked(workspace: Path) -> None:
    recorded(workspace, "--title", "first", "true")

    def go_on() -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"

    with recording(workspace, "--session", "first", "--", "sh", "-c", "sleep 0; echo one; read x") as process:
        locked(workspace, go_on)
        _, err = process.communicate(b"\n", timeout=TIMEOUT)
        assert (process.returncode, err) == (0, b"")
    assert [turn.content for each in rounds(workspace) for turn in each.response.turns] == ["one\n"]


def test_a_lock_that_stays_is_told_at_the_end(workspace: Path) -> None:
    with recording(
        workspace, "--busy-timeout", "0.2", "--", "sh", "-c", "echo one; read x; echo two; exit 4"
    ) as process:
        # By then it has opened the store, and looking there is not in its way.
        assert process.stdout is not None
        assert process.stdout.read(4) == b"one\n"
        until(lambda: is_stored(workspace, "one"))

        def go_on() -> None:
            out, err = process.communicate(b"\n", timeout=TIMEOUT)
            assert (process.returncode, out) == (4, b"two\n")
            assert b"only the first 4 bytes of the output are kept: the database" in err
            assert b"--busy-timeout" in err

        locked(workspace, go_on)
    turn = turns(workspace)["message"]
    assert (turn.content, turn.status) == ("one\n", TurnStatus.INTERRUPTED)


def test_a_lock_that_stays_does_not_hold_much_output_up(workspace: Path) -> None:
    """More than waits for the store."""
    recorded(workspace, "--title", "first", "true")

    def go_on() -> None:
        assert process.wait(TIMEOUT) == 4
        assert (workspace / "out").stat().st_size == 40_000_001

    program = python("print('x' * 40_000_000); exit(4)")
    flags = ("--busy-timeout", "0.2", "--session", "first")
    with (workspace / "out").open("wb") as out, recording(workspace, *flags, *program, stdout=out) as process:
        locked(workspace, go_on)
        _, err = process.communicate(timeout=TIMEOUT)
    assert b"nothing of the output is kept: the database" in err


@pytest.mark.parametrize("said_before", [True, False])
def test_what_a_lock_lost_is_told_as_soon_as_it_is_free(workspace: Path, said_before: bool) -> None:
    """While the program goes on, and though it ends well."""
    recorded(workspace, "--title", "first", "true")
    before = "print('one', flush=True); " if said_before else ""
    program = python(f"{before}input(); print('x' * 40_000_000, flush=True); input()")
    flags = ("--busy-timeout", "0.2", "--session", "first")

    def go_on() -> None:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        until(lambda: (workspace / "out").stat().st_size >= 40_000_000)

    def last() -> HistoryRound:
        return rounds(workspace)[-1]

    with (workspace / "out").open("wb") as out, recording(workspace, *flags, *program, stdout=out) as process:
        # Its turn is there before it says anything.
        until(
            lambda: len(rounds(workspace)) == 2 and last().response.turns[0].content == ("one\n" if said_before else "")
        )
        locked(workspace, go_on)
        until(lambda: last().response.status is ResponseStatus.ERROR)
        _, err = process.communicate(b"\n", timeout=TIMEOUT)
        assert process.returncode == 0
    kept = "only the first 4 bytes of the output are kept" if said_before else "nothing of the output is kept"
    assert kept.encode() in err
    (turn,) = last().response.turns
    assert turn.status is TurnStatus.ERROR
    assert (turn.error or "").startswith(f"{kept}: the database")
    assert last().metadata["exitCode"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only there the disk of another process can be made larger")
def test_what_a_full_disk_lost_is_told_as_soon_as_there_is_room(workspace: Path) -> None:
    import resource

    program = python("print('one', flush=True); input(); print('x' * 20_000_000, flush=True); input()")
    with recording(workspace, *program, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        until(lambda: is_stored(workspace, "one"))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        process.stdin.write(b"\n")
        process.stdin.flush()
        time.sleep(2)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        until(lambda: rounds(workspace)[0].response.status is ResponseStatus.ERROR)
        process.communicate(b"\n", timeout=TIMEOUT)
        assert process.returncode == 0
    turn = turns(workspace)["message"]
    assert turn.status is TurnStatus.ERROR
    assert " bytes of the output are kept: " in (turn.error or "")


def test_a_store_that_is_removed_is_told_at_the_end(workspace: Path) -> None:
    with recording(workspace, "--", "sh", "-c", "echo one; read x; echo two; exit 4") as process:
        until(lambda: is_stored(workspace, "one"))
        shutil.rmtree(workspace / ".ws")
        out, err = process.communicate(b"\n", timeout=TIMEOUT)
    assert (process.returncode, out) == (4, b"one\ntwo\n")
    assert err.startswith(b"mandrake-sessions record: only the first 4 bytes of the output are kept: ")
    assert b"Traceback" not in err


def test_a_session_that_is_deleted_is_told_at_the_end(workspace: Path) -> None:
    with recording(workspace, "--title", "gone", "--", "sh", "-c", "echo one; read x; echo two") as process:
        until(lambda: is_stored(workspace, "one"))
        run(workspace, "delete", "gone")
        out, err = process.communicate(b"\n", timeout=TIMEOUT)
    assert (process.returncode, out) == (0, b"one\ntwo\n")
    assert b"record: the session, or its turn, was deleted while the output was stored there" in err
    assert b"nothing of the output is kept" in err


def test_a_full_disk_is_told_at_the_end(workspace: Path) -> None:
    run(workspace, "new", "x")
    code = (
        "import resource, os, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000));"
        " os.execv(sys.argv[1], sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", code, *RECORD, *python("print('x' * 20_000_000); exit(3)")],
                          cwd=workspace, env=clean_environment(workspace), stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=TIMEOUT, check=False)  # fmt: skip
    assert (done.returncode, len(done.stdout)) == (3, 20_000_001)
    assert b"of the output" in done.stderr
    assert b"Traceback" not in done.stderr
    assert sql(store_of(workspace), "PRAGMA integrity_check") == [("ok",)]


def test_json_stands_on_a_line_of_its_own(workspace: Path) -> None:
    _, err = recorded(workspace, "--json", "--", "sh", "-c", "printf 'no end' >&2")
    first, last = err.decode().splitlines()
    assert (first, set(json.loads(last))) == ("no end", {"sessionId", "roundId", "turnIds", "exitCode"})
