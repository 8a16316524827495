"""A program with streams of the kinds that ours are, whose output comes to us."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import termios
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final, Literal

from attrs import frozen

from mandrake_sessions.files import explain
from mandrake_sessions.quoting import shorten

STDIN, STDOUT, STDERR = 0, 1, 2
NOT_EXECUTABLE, NOT_FOUND = 126, 127
# Python ignores them, and a program has to begin without that.
_DEFAULT: Final = tuple(getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, name))
_OUTPUT_MODES = 1


class CannotStart(Exception):
    """``code``: what a shell exits with then."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@frozen
class Output:
    """``source``: where it comes from. ``sink``: where it goes. ``plain_end``: how a line ends in it, where no program
    has said so itself."""

    kind: Literal["message", "stderr"]
    source: int
    sink: int
    plain_end: str = "\n"


class Terminal:
    """Our end of a pseudo-terminal, as large as our own terminal. ``source``: its descriptor. ``held``: one of the
    program's end."""

    def __init__(self, source: int, held: int, like: int) -> None:
        self.source = source
        # Without it the output would end where the program has closed its streams, and it may open them again.
        self._held = held
        self._is_held = True
        self._like = like
        self._lock = threading.RLock()
        self._is_open = True
        os.set_blocking(source, False)
        self.resize()

    def resize(self) -> None:
        with self._lock, suppress(OSError, termios.error):
            if self._is_open:
                termios.tcsetwinsize(self.source, termios.tcgetwinsize(self._like))

    def modes(self) -> list[Any] | None:
        """How it works now; None where it is closed."""
        with self._lock, suppress(OSError, termios.error):
            if self._is_open:
                return termios.tcgetattr(self.source)
        return None

    def write(self, typed: bytes) -> int | None:
        """Type on it; gives how much of it there was room for, None where it is closed."""
        with self._lock:
            if not self._is_open:
                return None
            try:
                return os.write(self.source, typed)
            except BlockingIOError:
                return 0
            except OSError:
                return None

    def release(self) -> None:
        """The output ends from now on when nobody else has the program's end open."""
        with self._lock:
            if self._is_held:
                self._is_held = False
                os.close(self._held)

    def close(self) -> None:
        """The program's end is gone then, as that of a terminal whose window was closed."""
        with self._lock:
            self.release()
            if self._is_open:
                self._is_open = False
                os.close(self.source)


@frozen
class Program:
    """``terminal``: the one that the program's output goes to, if it does. ``is_apart``: it is the program's
    controlling terminal, with a session and a process group of the program's own; what is typed has to be passed on."""

    pid: int
    outputs: tuple[Output, ...]
    terminal: Terminal | None
    is_apart: bool

    def send(self, number: int) -> None:
        """To its process group, if it has one of its own."""
        with suppress(ProcessLookupError, PermissionError):
            (os.killpg if self.is_apart else os.kill)(self.pid, number)


def check_program(name: str) -> None:
    """Raises CannotStart for what can be told without starting it."""
    if not name:
        raise CannotStart(NOT_FOUND, "there is no program with an empty name; name one after --")
    if shutil.which(name) is not None:
        return
    directories = [""] if os.sep in name else os.get_exec_path()
    found = [path for path in (os.path.join(each, name) for each in directories) if os.path.exists(path)]  # noqa: PTH110, PTH118
    if not found:
        where = "" if os.sep in name else " on PATH"
        advice = "for a line of a shell: -- sh -c 'LINE'" if " " in name else "check its name, or give its path"
        raise CannotStart(NOT_FOUND, f"there is no program {shorten(repr(name))}{where}; {advice}")
    if os.path.isdir(found[0]):  # noqa: PTH112
        raise CannotStart(NOT_EXECUTABLE, f"{shorten(found[0])} is a directory; name a program in it")
    denied = explain(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), found[0])
    raise CannotStart(NOT_EXECUTABLE, f"{shorten(found[0])}: {denied}; chmod +x makes it a program")


def start(command: list[str], modes: list[Any] | None) -> Program:
    """Start a program. With ``modes``, those of our terminal, one of its own takes the place of stdin and stdout.

    Without, it reads stdin itself, in our session; each of its outputs is a terminal where ours is one, else a pipe.

    Raises CannotStart.
    """
    apart = modes is not None
    with ExitStack() as own, ExitStack() as its:
        streams = _Streams(own, its)
        if modes is not None:
            streams.add_terminal(STDIN, STDOUT, modes)
        for kind, number in (("message", STDOUT), ("stderr", STDERR)):
            streams.add_output(kind, number)
        pid = spawned(command, streams.actions, apart=apart)
        own.pop_all()
        return Program(pid, tuple(streams.outputs), streams.terminal, apart)


def spawned(command: list[str], actions: Sequence[Any], *, apart: bool = False) -> int:
    """Start a program with these descriptors, as ``posix_spawn`` takes them; gives its id. ``apart``: in a session of
    its own. Raises CannotStart."""
    # Not subprocess: a controlling terminal would need code of ours in the process that is about to begin. To open one
    # by its name does it too, and this can do that: setsid comes before the actions.
    more: dict[str, Any] = {"setsid": True} if apart else {}
    try:
        return os.posix_spawnp(command[0], command, os.environ, file_actions=actions, setsigdef=_DEFAULT, **more)
    except (FileNotFoundError, NotADirectoryError) as error:
        why = f"{error.strerror}; if it is a script, its first line names a program that is not there"
        raise CannotStart(NOT_FOUND, f"{shorten(command[0])}: {why}") from error
    except OSError as error:
        why = explain(error, shutil.which(command[0]) or command[0])
        if error.errno == errno.ENOEXEC:
            why += "; for a script, its first line has to name an interpreter, such as #!/bin/sh"
        raise CannotStart(NOT_EXECUTABLE, f"{shorten(command[0])}: {why}") from error


class _Streams:
    """The descriptors for both sides, and the ``actions`` that give the program its own. ``own`` closes ours after a
    failure, ``its`` the program's in any case."""

    def __init__(self, own: ExitStack, its: ExitStack) -> None:
        self._own, self._its = own, its
        self.outputs: list[Output] = []
        self.actions: list[tuple[Any, ...]] = []
        self.terminal: Terminal | None = None
        self._first_of_terminal = STDIN

    def add_terminal(self, first: int, like: int, modes: list[Any]) -> None:
        """The program's stream ``first`` becomes a new terminal, of the size of ours; its controlling one if it begins
        a session."""
        source, its = os.openpty()
        self.terminal = Terminal(source, its, like)
        self._own.callback(self.terminal.close)
        termios.tcsetattr(its, termios.TCSANOW, modes)
        self._first_of_terminal = first
        self.actions.append((os.POSIX_SPAWN_OPEN, first, os.ttyname(its), os.O_RDWR, 0))

    def add_output(self, kind: Any, number: int) -> None:
        """Stdout or stderr. Two that are terminals are one, so that what they show keeps its order."""
        if not os.isatty(number):
            self._add_pipe(kind, number)
            return
        if self.terminal is None:
            modes = termios.tcgetattr(number)
            # Our own terminal does this to what we pass on.
            modes[_OUTPUT_MODES] &= ~termios.OPOST
            self.add_terminal(number, number, modes)
        else:
            self.actions.append((os.POSIX_SPAWN_DUP2, self._first_of_terminal, number))
        assert self.terminal is not None
        if self.terminal.source not in (output.source for output in self.outputs):
            plain_end = "\r\n" if self._first_of_terminal == STDIN else "\n"
            self.outputs.append(Output(kind, self.terminal.source, number, plain_end))

    def _add_pipe(self, kind: Any, number: int) -> None:
        source, its = os.pipe()
        self._own.callback(os.close, source)
        self._its.callback(os.close, its)
        self.actions.append((os.POSIX_SPAWN_DUP2, its, number))
        self.outputs.append(Output(kind, source, number))
