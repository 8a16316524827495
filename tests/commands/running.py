"""The commands as processes, stores for them to work on, and processes that write meanwhile."""

from __future__ import annotations

import queue
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from mandrake_sessions import SessionManager
from mandrake_sessions.model import TurnStatus
from wire import SERVER, clean_environment
from wire import store_of as store_of

TIMEOUT = 60.0

# Before a command: its stdout becomes its controlling terminal, so that what is typed there may be a signal. It is a
# program of its own, since no code may run between fork and exec in a process that has threads.
CONTROLLED = (
    sys.executable, "-I", "-S", "-c",
    "import fcntl, os, sys, termios; fcntl.ioctl(1, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])",
)  # fmt: skip


@frozen
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def run(workspace: Path, *arguments: str | Path, code: int | None = 0, **environment: str) -> Ended:
    """Run a command in a workspace to its end, off a terminal. Whatever happens it shows no traceback."""
    done = run_program(workspace, *SERVER, *arguments, environment=environment)
    assert "Traceback" not in done.err, done.err
    assert code in (None, done.code), done
    return done


def run_program(
    workspace: Path, *words: str | Path, environment: Mapping[str, str] | None = None, **options: Any
) -> Ended:
    """Run any program in a workspace to its end, off a terminal. ``options``: more for ``subprocess.run``."""
    done = subprocess.run(
        [*map(str, words)],
        cwd=workspace,
        env=clean_environment(workspace) | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        **options,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def limit_files(most: int) -> None:
    """In a process that is about to begin: no file may be longer, as on a full disk."""
    import resource  # Windows has none

    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def start(workspace: Path, *arguments: str | Path) -> subprocess.Popen[bytes]:
    """Start a command that the test will end."""
    return subprocess.Popen(
        [*SERVER, *map(str, arguments)],
        cwd=workspace,
        env=clean_environment(workspace),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def end(process: subprocess.Popen[bytes], by: signal.Signals) -> int:
    process.send_signal(by)
    return process.wait(TIMEOUT)


def fill(database: Path, *titles: str, text: int = 1000, raw: int = 2) -> list[str]:
    """Make sessions with a turn of so much text and so much raw response each, which no search index takes in; gives
    their ids."""
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if database.parent.name == ".ws":
        (database.parent / ".gitignore").write_text("*\n")
    with SessionManager(database) as manager:
        return [_session(manager, title, text, raw) for title in titles]


def _session(manager: SessionManager, title: str, text: int, raw: int) -> str:
    session = manager.create_session(title=title, metadata={"n": 1})
    turn = manager.create_turn(manager.create_round(session.id, content="?").response.id)
    manager.append_turn(turn.id, content="x" * text, raw_response="{" + "}".rjust(raw - 1))
    manager.update_turn(turn.id, status=TurnStatus.COMPLETED)
    return session.id


def titles(database: Path) -> list[str]:
    """What a store holds, by someone who opens it anew."""
    with SessionManager(database) as manager:
        return sorted(session.title or "" for session in manager.list_sessions(archived=None).sessions)


def store_id(database: Path) -> str:
    with SessionManager(database) as manager:
        return manager.feed.store_id()


def sql(database: Path, *statements: str) -> list[tuple[Any, ...]]:
    """Carry statements out on the file, with references not enforced; gives the rows of the last."""
    rows: list[tuple[Any, ...]] = []
    with closing(sqlite3.connect(database, isolation_level=None, timeout=5)) as connection:
        for statement in statements:
            rows = connection.execute(statement).fetchall()
    return rows


def age(database: Path, title: str, days: float, *, pieces: bool = True) -> None:
    """As if nobody had changed a session for so long, nor streamed to it unless not ``pieces``.

    To a server that has the store open, another newest change is another history: the newest one has to be of another
    session then.
    """
    then = int((time.time() - days * 86_400) * 1000)
    with closing(sqlite3.connect(database, isolation_level=None, timeout=5)) as connection:
        connection.execute("UPDATE session SET updated_at = ? WHERE title = ?", (then, title))
        if pieces:
            connection.execute(
                "UPDATE feed SET at = ? WHERE turn_pk IN (SELECT t.pk FROM turn t JOIN session s ON s.pk = t.session_pk"
                " WHERE s.title = ?)",
                (then, title),
            )


def is_whole(database: Path) -> bool:
    return sql(database, "PRAGMA integrity_check") == [("ok",)] and not sql(database, "PRAGMA foreign_key_check")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def noise(path: Path, place: int, length: int = 64) -> None:
    """Overwrite a piece of a file that nobody has open."""
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes((place + 7 * n) % 256 for n in range(length)))


_WRITER = """
import sys
from mandrake_sessions import SessionManager
with SessionManager(sys.argv[1], busy_timeout=20) as manager:
    session = manager.create_session(title="written to")
    turn = manager.create_turn(manager.create_round(session.id, content="?").response.id)
    print(turn.id, flush=True)
    for n in range(10**9):
        manager.append_turn(turn.id, content=f"{n} ")
        print(n, flush=True)
"""


class Writer:
    """A process that appends ``0 1 2 …`` to a turn, and says each number when it is stored."""

    def __init__(self, database: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(database)], stdout=subprocess.PIPE, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._last = -1
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.turn = self._lines.get(timeout=TIMEOUT)

    def stored(self) -> int:
        """How many numbers are surely stored; waits for one more."""
        self._last = int(self._lines.get(timeout=TIMEOUT))
        while not self._lines.empty():
            self._last = int(self._lines.get())
        return self._last + 1

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self._lines.put(line.strip())


@contextmanager
def writing(database: Path) -> Iterator[Writer]:
    """A writer for the block; it must have gone on to the end of it."""
    writer = Writer(database)
    try:
        yield writer
        assert writer.process.poll() is None
        writer.stored()
    finally:
        writer.kill()


def content(database: Path, turn_id: str) -> str:
    with SessionManager(database) as manager:
        return manager.get_turn(turn_id).content or ""


def is_first_numbers(text: str) -> bool:
    """Whether it is ``0 1 2 …`` as far as it goes."""
    return text == "".join(f"{n} " for n in range(text.count(" ")))


def foreign(database: Path) -> None:
    """Another program's database."""
    database.parent.mkdir(parents=True, exist_ok=True)
    sql(database, "CREATE TABLE sessions (id TEXT)")


def state(directory: Path) -> dict[str, bytes]:
    """Every byte in a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777
