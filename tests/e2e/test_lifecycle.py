"""From the first byte to an orderly end: order, cancellation, locks, signals, the parent's death."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from strict import StrictSyncClient, Talk, connected
from wire import SERVER, TIMEOUT, Framing, Wire, clean_environment, run_script, serving

CREATE = {"jsonrpc": "2.0", "id": 1, "method": "session/create"}


@pytest.fixture
def lock(workspace: Path) -> Iterator[Callable[[], sqlite3.Connection]]:
    """A function that takes the store's write lock, as another program would."""
    taken: list[sqlite3.Connection] = []

    def take() -> sqlite3.Connection:
        path = workspace / ".ws" / "db.sqlite"
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        taken.append(connection)
        connection.execute("BEGIN IMMEDIATE")
        return connection

    yield take
    for connection in taken:
        connection.close()


def test_a_script_over_a_pipe_is_a_complete_program(workspace: Path) -> None:
    found = run_script(workspace, CREATE | {"params": {"title": "a"}}, CREATE | {"id": 2, "method": "session/list"})
    assert [message["id"] for message in found] == [1, 2]
    assert found[1]["result"]["sessions"] == [found[0]["result"]]


def test_a_regular_file_may_be_stdin_and_stdout(workspace: Path) -> None:
    (workspace / "in").write_text(json.dumps(CREATE) + "\n" + json.dumps(CREATE | {"id": 2}))
    with (workspace / "in").open("rb") as source, (workspace / "out").open("wb") as target:
        subprocess.run(SERVER, stdin=source, stdout=target, cwd=workspace, timeout=TIMEOUT, check=True,
                       env=clean_environment(workspace))  # fmt: skip
    answers = [json.loads(line) for line in (workspace / "out").read_text().splitlines()]
    assert [answer["id"] for answer in answers] == [1, 2]


def test_at_the_end_of_input_all_is_answered_and_told(workspace: Path) -> None:
    subscribe = CREATE | {"id": 0, "method": "session/subscribe"}
    found = run_script(workspace, subscribe, *(CREATE | {"id": n} for n in range(1, 301)))
    assert [m["id"] for m in found if "id" in m] == list(range(301))
    assert [m["params"]["seq"] for m in found if "method" in m] == list(range(1, 301))


def test_stdout_carries_messages_alone_whatever_a_library_prints(workspace: Path) -> None:
    (workspace / "sitecustomize.py").write_text(
        "import os, sys, threading, time\n"
        "def noise():\n"
        "    while sys.stdout is sys.__stdout__: time.sleep(0.01)\n"
        "    print('noise', flush=True); os.write(1, b'more noise')\n"
        "threading.Thread(target=noise, daemon=True).start()\n"
    )
    with connected(workspace, environment={"PYTHONPATH": str(workspace)}) as client:
        client.session_create()
        client.wait_for_log("more noise")
        client.session_create()


def test_requests_take_effect_in_the_order_in_which_they_came(client: StrictSyncClient) -> None:
    turn = Talk(client).turn()
    posted = []
    for n in range(50):
        client.notify("turn/append", {"turnId": turn, "content": f"{n} "})
        posted.append(client.submit("turn/get", {"turnId": turn}))
    for n, reply in enumerate(posted):
        assert reply.result()["content"] == "".join(f"{m} " for m in range(n + 1))


def test_a_lock_that_is_held_is_waited_for_and_the_rest_goes_on(
    client: StrictSyncClient, lock: Callable[[], sqlite3.Connection]
) -> None:
    client.session_create()
    held = lock()
    waiting = client.submit("session/create", {"title": "waits"})
    behind = client.submit("session/list")
    assert client.server_health().status == "ok"
    assert client.server_info().pid == client.pid
    held.execute("COMMIT")
    assert waiting.result()["title"] == "waits"
    assert len(behind.result()["sessions"]) == 2


def test_a_lock_that_stays_is_busy_and_names_its_holder(
    workspace: Path, lock: Callable[[], sqlite3.Connection]
) -> None:
    with connected(workspace, "--busy-timeout", "0.3") as client:
        client.session_create()
        held = lock()
        error = client.error("session/create")
        assert (error.code, error.kind, error.retryable) == (-32012, "busy", True)
        assert 300 <= error.data["waitedMs"] < 5000
        if sys.platform == "linux" and "holder" in error.data:
            assert str(os.getpid()) in error.data["holder"]
        held.execute("COMMIT")
        client.session_create()


def test_a_request_that_waits_can_be_cancelled(wire: Wire, lock: Callable[[], sqlite3.Connection]) -> None:
    wire.request("session/create")
    held = lock()
    first, second, read = wire.post("session/create"), wire.post("session/create"), wire.post("session/list")
    for message_id in (second, read):
        wire.notify("$/cancelRequest", id=message_id)
        error = wire.answer(message_id)["error"]
        assert (error["code"], error["data"]["kind"]) == (-32800, "cancelled")
    wire.notify("$/cancelRequest", id=99)
    held.execute("COMMIT")
    assert wire.result(first)
    assert len(wire.request("session/list")["sessions"]) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_order(workspace: Path, number: signal.Signals) -> None:
    wire = Wire(workspace)
    wire.request("session/create")
    began = time.monotonic()
    wire.process.send_signal(number)
    assert wire.process.wait(TIMEOUT) == 0
    assert time.monotonic() - began < 3
    assert not (workspace / ".ws" / "db.sqlite-wal").exists()
    assert wire.unread() == []


def test_a_signal_while_a_lock_is_held_answers_what_waits(
    workspace: Path, lock: Callable[[], sqlite3.Connection]
) -> None:
    wire = Wire(workspace)
    wire.request("session/create")
    lock()
    waiting = wire.post("session/create")
    wire.request("server/health")
    wire.process.terminate()
    assert wire.answer(waiting)["error"]["code"] == -32800
    assert wire.process.wait(3) == 0
    assert wire.unread() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once_and_nothing_is_lost(
    workspace: Path, lock: Callable[[], sqlite3.Connection], number: signal.Signals
) -> None:
    wire = Wire(workspace, "lines", "--log-level", "info")
    session = wire.request("session/create")
    held = lock()
    wire.post("session/create")
    wire.request("server/health")
    wire.process.send_signal(number)
    wire.wait_for_log("ending")
    wire.process.send_signal(number)
    assert wire.process.wait(TIMEOUT) == -number
    assert wire.unread() == []
    held.execute("ROLLBACK")
    with serving(workspace) as after:
        assert after.request("session/list")["sessions"] == [session]


def test_a_signal_ends_it_though_the_client_does_not_read(workspace: Path) -> None:
    process = subprocess.Popen(SERVER, cwd=workspace, env=clean_environment(workspace), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    line = json.dumps(CREATE | {"params": {"metadata": {"a": "x" * 100_000}}}).encode() + b"\n"
    writer = threading.Thread(target=lambda: _write_until_closed(process, line), daemon=True)
    writer.start()
    process.stdout.read(1)
    time.sleep(0.3)
    process.terminate()
    assert process.wait(4) == 0
    process.stdout.close()
    writer.join(TIMEOUT)
    assert not writer.is_alive()


def _write_until_closed(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdin is not None
    try:
        for _ in range(1000):
            process.stdin.write(line)
        process.stdin.close()
    except BrokenPipeError:
        pass
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()


def test_a_client_that_closes_its_end_ends_the_server(workspace: Path) -> None:
    process = subprocess.Popen(SERVER, cwd=workspace, env=clean_environment(workspace), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    process.stdin.write((json.dumps(CREATE) + "\n").encode())
    process.stdin.flush()
    assert process.wait(TIMEOUT) == 0
    process.stdin.close()


@pytest.mark.parametrize(("shut_down", "code"), [(True, 0), (False, 1)])
def test_exit(workspace: Path, framing: Framing, shut_down: bool, code: int) -> None:
    wire = Wire(workspace, framing)
    assert wire.initialize()["serverInfo"]["name"] == "mandrake-sessions"
    if shut_down:
        wire.request("shutdown")
        error = wire.error("session/create")
        assert (error["code"], error["data"]["kind"]) == (-32600, "invalidRequest")
    wire.notify("exit")
    assert wire.process.wait(3) == code
    assert wire.unread() == []


def test_it_ends_with_the_process_that_initialize_names(workspace: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    wire = Wire(workspace)
    wire.initialize(processId=parent.pid)
    wire.request("session/create")
    parent.communicate(b"\n", timeout=TIMEOUT)
    assert wire.process.wait(3) == 0
    assert wire.unread() == []


def test_a_request_to_initialize_that_is_wrong_is_answered(client: StrictSyncClient) -> None:
    for wrong in {"capabilities": 5}, {}:
        error = client.error("initialize", **wrong)
        assert (error.code, error.kind) == (-32602, "invalidParams")
        assert error.data["path"] == "params.capabilities"
    error = client.error("initialize", capabilities={}, initializationOptions={"durability": "maybe"})
    assert error.code == -32602
    assert error.data["path"] == "params.initializationOptions.durability"
    error = client.error("initialize", capabilities={}, initializationOptions={"busyTimeout": "soon"})
    assert error.data["reason"] == "'soon': must be a number of seconds from 0 to 10^9, without a unit"
    client.initialize()
    assert client.error("initialize", capabilities={}).code == -32600


def test_what_has_been_stored_survives_a_kill(workspace: Path) -> None:
    with connected(workspace) as client:
        turn = Talk(client).turn()
        for n in range(20):
            client.turn_append(turn_id=turn, content=f"{n} ", chunk=n)
        client.kill()
    with connected(workspace) as again:
        assert again.turn_get(turn_id=turn).content == "".join(f"{n} " for n in range(20))


def test_a_second_program_on_a_terminal_prints_its_help(workspace: Path) -> None:
    done = subprocess.run([*SERVER, "--help"], capture_output=True, text=True, check=True, timeout=TIMEOUT,
                          env=clean_environment(workspace))  # fmt: skip
    assert "serve" in done.stdout
    assert "demo" in done.stdout


@pytest.mark.parametrize(
    ("flags", "environment", "options", "durability"),
    [
        ((), {}, {}, 2),
        ((), {}, {"durability": "normal"}, 1),
        ((), {"MANDRAKE_SESSIONS_DURABILITY": "full"}, {"durability": "normal"}, 2),
        (("--max-message-bytes=2048",), {"MANDRAKE_SESSIONS_MAX_MESSAGE_BYTES": "4096"}, {}, 2),
    ],
)
def test_a_flag_wins_over_the_environment_which_wins_over_options(
    workspace: Path, flags: tuple[str, ...], environment: dict[str, str], options: dict[str, str], durability: int
) -> None:
    with connected(workspace, *flags, environment=environment) as client:
        client.initialize(initializationOptions=options)
        client.session_create()
        limit = 2048 if flags else 64 * 1024 * 1024
        assert client.server_info().limits.max_message_bytes == limit


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--durability", "maybe"), "--durability"),
        (("--busy-timeout", "soon"), "--busy-timeout"),
        (("--log-file", "/nowhere/at/all"), "--log-file"),
        (("--nonsense",), "--nonsense"),
        (("nonsense",), "nonsense"),
    ],
)
def test_bad_arguments_are_named(workspace: Path, arguments: tuple[str, ...], complaint: str) -> None:
    done = subprocess.run([*SERVER, *arguments], capture_output=True, text=True, input="", timeout=TIMEOUT,
                          env=clean_environment(workspace))  # fmt: skip
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stdout == ""


def test_logs_go_to_a_file_and_hold_no_content(workspace: Path) -> None:
    log = workspace / "server.log"
    with connected(workspace, "--log-level", "info", "--log-file", str(log)) as client:
        client.notify("turn/append", {"turnId": "secret", "content": "secret"})
        client.told("turn/rejected")
        turn = Talk(client, title="secret").turn(content="secret")
        client.error("turn/append", turnId=turn, content="secret", chunk=5)
    with closing(log.open()) as lines:
        found = lines.read()
    assert "notification turn/append failed" in found
    assert all(line[:4].isdigit() for line in found.splitlines())
    assert client.stderr == ""


def test_a_signal_ends_a_server_that_waits_for_its_client_to_read_the_rest(workspace: Path) -> None:
    """At the end of the input it would wait for ever, as it should; a signal is another matter."""
    big = json.dumps(CREATE | {"params": {"metadata": {"a": "x" * 500_000}}}) + "\n"
    (workspace / "in").write_text(big * 5)
    with (workspace / "in").open("rb") as source:
        process = subprocess.Popen(SERVER, stdin=source, stdout=subprocess.PIPE, cwd=workspace,
                                   env=clean_environment(workspace))  # fmt: skip
    assert process.stdout is not None
    process.stdout.read(1)
    time.sleep(0.5)
    assert process.poll() is None
    process.terminate()
    assert process.wait(4) == 0
    process.stdout.close()
