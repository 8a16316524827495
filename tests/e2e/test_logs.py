"""The log: whole lines, files that rotate and are shared, no content, and never a harm to the server."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from broken import FAULTY, break_program, break_table
from mandrake_sessions.protocol.methods import METHODS
from mandrake_sessions.protocol.schema import parameter_types
from strict import StrictSyncClient, connected
from wire import SERVER, TIMEOUT, Conversation, Wire, clean_environment, serving

MARK = "b7MARKED"
LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (\d+) (DEBUG|INFO|WARNING|ERROR) (\S+) (.*)")


def lines_of(path: Path) -> list[re.Match[str]]:
    """Every line of a log file, each of which must be a whole record."""
    text = path.read_bytes().decode()
    assert text.endswith("\n"), text[-200:]
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert None not in found, text
    return [line for line in found if line is not None]


def messages_of(path: Path) -> list[str]:
    return [line[5] for line in lines_of(path)]


def kept_files(log: Path) -> list[Path]:
    """The log file and those that were moved away, the oldest first."""
    return [path for path in (*(log.with_name(f"{log.name}.{n}") for n in (3, 2, 1)), log) if path.exists()]


def notify_many(client: StrictSyncClient, count: int) -> None:
    """Notifications that nobody knows, each of which is a line at debug level."""
    for number in range(count):
        client.notify(f"$/number-{number}")
    client.server_health()


def write_together(log: Path, workspace: Path, processes: int, count: int, max_bytes: int) -> list[int]:
    """Servers that log to one file at once; gives their process ids."""
    flags = ("--log-level", "debug", "--log-file", str(log), "--log-max-bytes", str(max_bytes))
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(workspace, *flags)) for _ in range(processes)]
        threads = [threading.Thread(target=notify_many, args=(client, count)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT * 2)
        pids = [client.pid for client in clients]
    assert [client.stderr for client in clients] == [""] * processes
    return pids


def test_servers_that_share_a_file_lose_no_record_and_tear_none(workspace: Path) -> None:
    log, count = workspace / "server.log", 400
    pids = write_together(log, workspace, 4, count, 60_000)
    files = kept_files(log)
    assert len(files) > 1
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600] * len(files)
    records = [line for path in files for line in lines_of(path)]
    for pid in pids:
        own = [line[5] for line in records if line[2] == str(pid) and "ignored notification" in line[5]]
        assert own == [f"ignored notification $/number-{number}" for number in range(count)]


def test_a_file_that_is_rotated_all_the_time_has_three_old_ones_and_whole_lines(workspace: Path) -> None:
    log = workspace / "server.log"
    write_together(log, workspace, 4, 150, 1024)
    files = kept_files(log)
    assert len(files) == 4
    assert sorted(path.name for path in workspace.glob("server.log*")) == sorted(path.name for path in files)
    for path in files:
        assert lines_of(path)


def test_a_long_record_has_a_file_of_its_own(workspace: Path) -> None:
    log = workspace / "server.log"
    flags = ("--log-level", "debug", "--log-file", str(log), "--log-max-bytes", "1024")
    with connected(workspace, *flags) as client:
        client.notify("long/" + "x" * 3000)
        client.server_health()
        client.notify("short")
    assert any(line[5].endswith("x" * 3000) for path in kept_files(log) for line in lines_of(path))


def test_a_link_stays_and_what_it_leads_to_is_rotated(workspace: Path) -> None:
    (workspace / "logs").mkdir()
    link = workspace / "link.log"
    link.symlink_to(workspace / "logs" / "real.log")
    with connected(workspace, "--log-level", "debug", "--log-file", str(link), "--log-max-bytes", "1024") as client:
        notify_many(client, 50)
    assert link.is_symlink()
    assert len(kept_files(workspace / "logs" / "real.log")) == 4
    assert sorted(workspace.glob("link.log*")) == [link]


def test_a_home_directory_in_the_path_is_resolved(workspace: Path) -> None:
    (workspace / "home").mkdir()
    with connected(workspace, "--log-level", "info", "--log-file", "~/own.log") as client:
        client.server_health()
    assert messages_of(workspace / "home" / "own.log")


def test_a_file_that_another_program_moved_away_is_begun_anew(workspace: Path) -> None:
    log = workspace / "server.log"
    with connected(workspace, "--log-level", "debug", "--log-file", str(log)) as client:
        client.notify("$/before")
        # A thread writes the log: an answer does not say that it has written.
        client.wait_until(lambda: log.exists() and b"$/before" in log.read_bytes(), "a line in the log")
        log.rename(workspace / "moved.log")
        client.notify("$/after")
        client.server_health()
    assert "ignored notification $/before" in messages_of(workspace / "moved.log")
    assert "ignored notification $/after" in messages_of(log)
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_log_that_cannot_be_written_harms_nobody(workspace: Path) -> None:
    """Its directory goes; once it is there again, so is the log."""
    directory = workspace / "logs"
    directory.mkdir()
    log = directory / "server.log"
    with connected(workspace, "--log-level", "debug", "--log-file", str(log)) as client:
        client.session_create(title=MARK)
        # In one step: a thread may be making the file.
        directory.rename(workspace / "gone")
        client.notify("turn/append", {"turnId": MARK, "content": MARK})
        assert client.told("turn/rejected").turn_id == MARK
        directory.mkdir()
        client.notify("$/again")
        client.session_list()
    assert "ignored notification $/again" in messages_of(log)
    assert client.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("level", ["debug", "info"])
def test_a_full_disk_harms_nobody_and_prints_nothing(workspace: Path, level: str) -> None:
    with connected(workspace, "--log-level", level, "--log-file", "/dev/full") as client:
        for number in range(20):
            client.notify("turn/append", {"turnId": MARK, "content": MARK, "chunk": number})
            assert client.told("turn/rejected").chunk == number
        assert client.session_create().title is None
    assert client.stderr == ""


def test_a_client_may_say_where_the_log_goes(workspace: Path) -> None:
    log = workspace / "client.log"
    with connected(workspace) as client:
        client.initialize(initializationOptions={"logFile": str(log), "logLevel": "debug", "logMaxBytes": 1024})
        notify_many(client, 50)
    assert len(kept_files(log)) == 4


def test_a_record_is_one_line_whatever_is_in_it(workspace: Path) -> None:
    log = workspace / "server.log"
    with connected(workspace, "--log-level", "debug", "--log-file", str(log)) as client:
        client.notify("a\nb\r\x1b[2Jc\x85d\u2028e\ud800")
        client.server_health()
    assert "ignored notification a\\nb\\r\\x1b[2Jc\\x85d\\u2028e\\ud800" in messages_of(log)


@pytest.mark.parametrize("ending", ["input", "exit", "signal"])
def test_the_log_tells_the_life_of_a_server(workspace: Path, ending: str) -> None:
    log = workspace / "server.log"
    wire = Wire(workspace, "headers", "--log-level", "info", "--log-file", str(log))
    try:
        wire.initialize(rootUri=workspace.as_uri())
        wire.request("session/create")
        store = wire.request("server/info")["stores"][0]
        version = wire.request("server/info")["version"]
        if ending == "input":
            wire.end_input()
        elif ending == "exit":
            wire.request("shutdown")
            wire.notify("exit")
        else:
            wire.process.send_signal(signal.SIGTERM)
        assert wire.process.wait(TIMEOUT) == 0
    finally:
        wire.kill()
    assert wire.unread() == []
    why = {"input": "the input has ended", "exit": "the client said exit", "signal": "a signal"}[ending]
    assert messages_of(log) == [
        f"mandrake-sessions {version} begins: process {wire.process.pid}, in {workspace}",
        "the client speaks JSON-RPC by headers",
        f"initialized with the workspace folders {workspace.as_uri()}",
        f"opened {store['path']}: schema {schema_of(Path(store['path']))}, storeId {store['storeId']}",
        f"ending with code 0: {why}",
        f"closing {store['path']}",
        "ended with code 0",
    ]


def schema_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        return int(version)


def test_no_content_stands_in_the_log_above_debug_level(workspace: Path) -> None:
    """Every method with marked content: stored, refused, as a notification, half a message, and on a broken store."""
    log = workspace / "server.log"
    with serving(workspace, "lines", "--log-level", "debug", "--log-file", str(log), command=FAULTY) as wire:
        wire.initialize()
        use_well(wire)
        misuse(wire)
        break_program(workspace, "session")
        misuse(wire)
        for table in ("session", "round", "text"):
            break_table(workspace, table)
        misuse(wire)
        with closing(sqlite3.connect(workspace / ".ws" / "db.sqlite")) as database:
            database.execute("DROP TABLE feed")
        misuse(wire)
        wire.request("server/health")
        told = drain(wire)
    assert not [message for message in told if message["method"] == "window/logMessage" and MARK in str(message)]
    records = lines_of(log)
    above = [line[0] for line in records if line[3] != "DEBUG"]
    assert any("incident" in line for line in above)
    assert any("notification session/get failed" in line for line in above)
    assert not [line for line in above if MARK in line]
    # At debug level the whole reason stands there: without it a notification that fails could not be explained.
    why = re.compile(
        r"notification \S+ failed: |incident |a response could not be read: |the language server: |ignored"
    )
    assert not [line[0] for line in records if MARK in line[0] and not why.match(line[5])]
    assert wire.stderr == ""


def use_well(wire: Wire) -> None:
    """Conversations full of marks that are stored, changed, read and followed."""
    talk = Conversation(wire, title=MARK, description=MARK, externalId=MARK, metadata={MARK: MARK})
    wire.request("turn/subscribe", includeRaw=True)
    wire.request("session/subscribe")
    turn = talk.turn(content=MARK, rawResponse=MARK, model=MARK, toolCalls=[{"id": MARK, "title": MARK}])
    wire.request("turn/append", turnId=turn, content=MARK, rawResponse=MARK)
    wire.notify("turn/append", turnId=turn, content=MARK)
    wire.request("toolCall/upsert", turnId=turn, toolCall={"id": MARK, "response": {MARK: [MARK]}})
    wire.request("request/update", requestId=talk.request, content=MARK, blocks=[{MARK: MARK}])
    wire.request("round/update", roundId=talk.round, metadata={MARK: MARK})
    wire.request("turn/update", turnId=turn, status="error", error=MARK)
    wire.request("session/history", sessionId=talk.session, includeRaw=True)
    wire.request("session/list", query=MARK)
    operations = [{"method": "session/update", "params": {"sessionId": talk.session, "title": MARK}}]
    wire.request("transaction/run", operations=operations)
    wire.error("transaction/run", operations=[*operations, {"method": MARK, "params": {MARK: MARK}}])
    wire.error("session/create", externalId=MARK)


def misuse(wire: Wire) -> None:
    """Each method with a mark in the place of each field, or as a field, asked and told; then what is no method."""
    for name, method in METHODS.items():
        fields: list[dict[str, Any]] = [{field: {MARK: [MARK]}} for field in parameter_types(method)]
        for params in ({}, dict.fromkeys(parameter_types(method), MARK), {MARK: MARK}, *fields):
            wire.answer(wire.post(name, **params))
            wire.notify(name, **params)
    for name in ("initialize", "shutdown-" + MARK, "workspace/executeCommand"):
        wire.answer(wire.post(name, command=MARK, arguments=[MARK]))
    for name in ("initialized", "$/setTrace", "$/cancelRequest", "workspace/didChangeWorkspaceFolders"):
        wire.notify(name, value=MARK, event=MARK, id=MARK, trace=MARK)
    wire.notify("window/workDoneProgress/cancel", token=MARK)
    wire.send({"jsonrpc": "2.0", "id": MARK, "result": MARK})
    wire.send({"jsonrpc": "2.0", "id": None, "method": {MARK: MARK}})
    wire.send_bytes(b'{"jsonrpc":"2.0","id":"half","method":"' + MARK.encode() + b"\n")
    assert wire.answer("half")["error"]["code"] == -32700


def drain(wire: Wire) -> list[dict[str, Any]]:
    """Every notification, and the answers to messages whose id could not be read."""
    wire.end_input()
    told = wire.unread()
    wire.forget()
    return [message for message in told if "method" in message]


def run_python(workspace: Path, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], cwd=workspace, env=clean_environment(workspace),
                          capture_output=True, text=True, timeout=TIMEOUT, check=True)  # fmt: skip


def test_what_exceptions_and_other_packages_say_is_left_out(workspace: Path) -> None:
    done = run_python(
        workspace,
        "import logging\n"
        "from mandrake_sessions.logs import start_logging\n"
        "start_logging('debug', None, 1024)\n"
        # From Python 3.13 on the lines of such a program are shown too, so they must not hold the mark themselves.
        "mark = 'b7' + 'MARKED'\n"
        "try:\n"
        "    try: raise KeyError(mark)\n"
        "    except KeyError as cause: raise ValueError(mark) from cause\n"
        "except ValueError: logging.getLogger('mandrake_sessions.x').exception('it failed')\n"
        "try: open('/nowhere/at/all')\n"
        "except OSError: logging.getLogger('mandrake_sessions.x').exception('it is not there')\n"
        "logging.getLogger('pygls').error('b7MARKED %s', 'b7MARKED')\n"
        "logging.getLogger('pygls').info('b7MARKED')\n",
    )
    failed, missing, foreign = done.stderr.splitlines()
    assert re.search(r"it failed\\nTraceback .*KeyError.*which led to.*ValueError", failed)
    assert "No such file or directory: '/nowhere/at/all'" in missing
    assert re.search(r" ERROR pygls <module>:\d+ has logged", foreign)
    assert MARK not in done.stderr


LIBRARY = """
import logging, sys
from mandrake_sessions import SessionManager
if TELLS:
    logging.basicConfig(stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
    logging.getLogger("mandrake_sessions").setLevel(logging.INFO)
def listener(change):
    raise RuntimeError("a listener of the program's")
with SessionManager("own.sqlite") as manager:
    manager.add_listener(listener)
    manager.create_session()
"""


def test_a_program_that_embeds_the_store_decides_what_is_logged(workspace: Path) -> None:
    silent = run_python(workspace, "TELLS = False" + LIBRARY)
    assert (silent.stdout, silent.stderr) == ("", "")
    told = run_python(workspace, "TELLS = True" + LIBRARY).stdout
    database = workspace / "own.sqlite"
    assert f"mandrake_sessions.manager INFO opened {database}: schema " in told
    assert "ERROR a listener raised on change" in told
    assert f"mandrake_sessions.manager INFO closing {database}" in told


def flood(wire: Wire, count: int = 3000) -> None:
    """Appends that cannot be stored, each of which is logged; what is told of them is read."""
    wire.let_be("turn/rejected")
    for number in range(count):
        wire.notify("turn/append", turnId="none", content="x", chunk=number)


def test_a_client_that_does_not_read_stderr_holds_nobody_up(workspace: Path) -> None:
    """What does not fit is dropped, and how much that was is logged once there is room again."""
    with unread_stderr(workspace) as (process, stderr):
        assert process.stdin is not None
        assert process.stdout is not None
        line = b'{"jsonrpc":"2.0","method":"turn/append","params":{"turnId":"none","content":"x"}}\n'
        threading.Thread(target=process.stdout.read, daemon=True).start()
        process.stdin.write(line * 20_000)
        process.stdin.flush()
        process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"session/create","params":{}}\n')
        process.stdin.flush()
        wait_for(lambda: (workspace / ".ws" / "db.sqlite").exists())
        told = threading.Event()
        read: list[bytes] = []

        def drain_stderr() -> None:
            for piece in iter(lambda: os.read(stderr, 65536), b""):
                read.append(piece)
                told.set()

        threading.Thread(target=drain_stderr, daemon=True).start()
        assert told.wait(TIMEOUT)
        wait_for(lambda: len(b"".join(read)) > 1_000_000)
        process.stdin.write(line)
        process.stdin.flush()
        wait_for(lambda: b"records were dropped before this one" in b"".join(read))
        process.stdin.close()
        assert process.wait(TIMEOUT) == 0


def test_a_signal_ends_a_server_whose_log_nobody_reads(workspace: Path) -> None:
    with unread_stderr(workspace) as (process, _):
        assert process.stdin is not None
        assert process.stdout is not None
        threading.Thread(target=process.stdout.read, daemon=True).start()
        process.stdin.write(b'{"jsonrpc":"2.0","method":"turn/append","params":{"turnId":"none"}}\n' * 5000)
        process.stdin.flush()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_log_file_that_is_a_fifo_holds_nobody_up(workspace: Path) -> None:
    """Without a reader nothing is written; with one, what is logged from then on."""
    fifo = workspace / "log"
    os.mkfifo(fifo)
    with serving(workspace, "lines", "--log-file", str(fifo)) as wire:
        flood(wire, 100)
        wire.request("session/create")
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        try:
            read = b""
            while b"notification turn/append failed" not in read:
                flood(wire, 1)
                wire.request("server/info")
                with suppress(BlockingIOError):
                    read += os.read(reader, 65536)
        finally:
            os.close(reader)
        flood(wire, 100)
        wire.request("server/info")


@contextmanager
def unread_stderr(workspace: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server, and the end of its stderr that nobody has read from yet."""
    stderr, theirs = os.pipe()
    process = subprocess.Popen([*SERVER, "serve"], cwd=workspace, env=clean_environment(workspace),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs)  # fmt: skip
    os.close(theirs)
    try:
        yield process, stderr
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        os.close(stderr)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
