"""An agent of the tests. Its words say what it does, one after the other.

- ``read FILE``: copy stdin to a file, to its end. ``reading FILE``: the same on a thread.
- ``give FILE SEED``: write a file to stdout, in random pieces.
- ``play FILE``: play its side of a recording, line by line, to the end of stdin. ``part FILE``: the same, but then it
  goes on.
- ``say TEXT``, ``cry TEXT``: write to stdout, to stderr.
- ``sleep SECONDS``. ``wait FILE``: until it is there. ``made FILE``: make it.
- ``count FILE``: write to stdout without end, and the number of its bytes to a file.
- ``noting FILE``: write each signal that comes to a file.
- ``close STREAM``: 0 or 1.
- ``written FILE``: write until nobody reads, then the error's name to a file.
- ``exit CODE``: a code below 0 is a signal.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path


def read(path: str) -> None:
    with Path(path).open("wb", buffering=0) as file:
        while piece := os.read(0, 65536):
            file.write(piece)
    Path(f"{path}.end").touch()


def reading(path: str) -> None:
    thread = threading.Thread(target=read, args=(path,))
    thread.start()


def write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def give(path: str, seed: str) -> None:
    chance, data = random.Random(seed), Path(path).read_bytes()
    while data:
        count = chance.choice((1, 7, 100, 5000, 70_000, 1_000_000))
        write(data[:count])
        data = data[count:]


def play(path: str, *, is_all: bool = True) -> None:
    """The client's lines go to ``path.got``, as they came."""
    with os.fdopen(0, "rb", closefd=False) as stdin, Path(f"{path}.got").open("wb") as got:
        for kind, line in json.loads(Path(path).read_text()):
            if kind == "c2a":
                got.write(stdin.readline())
            elif kind == "a2c":
                write(line.encode())
            else:
                os.write(2, line.encode())
        if is_all:
            got.write(stdin.read())


def wait(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)


def count(path: str) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    line = b"x" * 999 + b"\n"
    with Path(path).open("w") as file:
        written = 0
        while True:
            write(line)
            written += len(line)
            file.seek(0)
            file.write(str(written))
            file.flush()


def noting(path: str) -> None:
    def note(number: int, _: object) -> None:
        with Path(path).open("a") as file:
            file.write(f"{signal.Signals(number).name}\n")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, note)


def written(path: str) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        while True:
            write(b"more\n")
            time.sleep(0.01)
    except OSError as error:
        Path(path).write_text(type(error).__name__)


def leave(code: str) -> None:
    if int(code) < 0:
        os.kill(os.getpid(), -int(code))
    os._exit(int(code))


ACTIONS: dict[str, tuple[int, Callable[..., object]]] = {
    "read": (1, read),
    "reading": (1, reading),
    "give": (2, give),
    "play": (1, play),
    "part": (1, lambda path: play(path, is_all=False)),
    "say": (1, lambda text: write(text.encode() + b"\n")),
    "cry": (1, lambda text: os.write(2, text.encode() + b"\n")),
    "sleep": (1, lambda seconds: time.sleep(float(seconds))),
    "wait": (1, wait),
    "made": (1, lambda path: Path(path).touch()),
    "count": (1, count),
    "noting": (1, noting),
    "close": (1, lambda stream: os.close(int(stream))),
    "written": (1, written),
    "exit": (1, leave),
}


def main() -> None:
    words = sys.argv[1:]
    while words:
        given, action = ACTIONS[words[0]]
        action(*words[1 : 1 + given])
        del words[: 1 + given]


if __name__ == "__main__":
    main()
