"""Reading, writing and letting go of a file descriptor, by a thread that may wait for it. Windows has nothing to wait
for a pipe with, and needs none of it."""

from __future__ import annotations

import os
import select


def read_piece(source: int, most: int) -> bytes:
    """The next piece of so many bytes at most; empty at the end, which a terminal or a socket may tell by an error."""
    while True:
        try:
            return os.read(source, most)
        except BlockingIOError:
            select.select([source], [], [])
        except OSError:
            return b""


def write_whole(sink: int, piece: bytes) -> OSError | None:
    """Write all of it. Gives the error that says why the rest of it was not written."""
    done = 0
    view = memoryview(piece)
    while done < len(piece):
        try:
            done += os.write(sink, view[done:])
        except BlockingIOError:
            # Somebody who shares it with us has made it so.
            select.select([], [sink], [])
        except OSError as error:
            return error
    return None


def put_whole(handle: int, data: bytes, at: int) -> None:
    """Write all of it into a file, from this byte on: a disk that is nearly full takes a part, and says so by its count
    alone. Raises OSError."""
    done = 0
    while done < len(data):
        done += os.pwrite(handle, data[done:], at + done)


def let_go(number: int) -> None:
    """Close it, for everybody who waits for its end. Its number stays taken, by /dev/null, so that no other file gets
    it."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, number)
    os.close(null)
