"""The process that reads sources ahead, for one that writes (``read_ahead.py``).

It gets one pickled list of sources on stdin, and gives on stdout what an assembler says of each, in pickled batches. It
ends with stdin or stdout, so it does not outlive the other process.
"""

from __future__ import annotations

import os
import pickle
import sys
from contextlib import closing, suppress
from io import BytesIO
from typing import IO, Final

from mandrake_sessions.errors import SessionsError
from mandrake_sessions.importing.assembling import Assembler, Branched
from mandrake_sessions.importing.cycles import look_seldom
from mandrake_sessions.importing.events import Position
from mandrake_sessions.importing.guarded import guarded
from mandrake_sessions.importing.handing_over import Asked, Batch, ReadingLost, SaidSink
from mandrake_sessions.importing.keeping import WORTH_A_THREAD
from mandrake_sessions.importing.lines import SourceUnreadable, held, opened
from mandrake_sessions.importing.prefix import checksum_of
from mandrake_sessions.importing.readers import readers
from mandrake_sessions.importing.reading import Reader, Source, is_at_rest, is_left, session_of
from mandrake_sessions.operations.originals import Block, blocks_of

# So many bytes of calls are given together, or one call.
_BATCH_BYTES: Final = 128 * 1024


def main() -> None:
    asked: Asked = pickle.load(sys.stdin.buffer)
    # What somebody prints goes elsewhere.
    with suppress(BrokenPipeError), os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)
        # Others may have something to say when they are loaded, and have said it in the process that writes.
        known = readers({source.reader for source in asked.sources})
        look_seldom()
        for source in asked.sources:
            _Reading(source, output).give(known[source.reader], asked)


class _Reading:
    """One source: what is said of it goes to the output."""

    def __init__(self, source: Source, output: IO[bytes]) -> None:
        self._source = source
        self._output = output
        self._sink = SaidSink(session_of(source))
        self._blocks: list[Block] | None = None

    def give(self, reader: Reader, asked: Asked) -> None:
        content = _small(self._source)
        with held(self._source.path, content):
            self._give(reader, asked, content)

    def _give(self, reader: Reader, asked: Asked, content: bytes | None) -> None:
        error: Exception | None = None
        self._begin()
        try:
            if asked.packs and content is not None:
                self._blocks = blocks_of(content)
            self._read(reader, is_growing=asked.is_growing and not is_at_rest(self._source))
            self._pickle_calls()
        except (OSError, SessionsError) as failed:
            error = failed
            self._pickle_calls()
        except Exception:
            # What is nested too deep to be pickled, or is no value of an event: the other process reads it, and tells.
            self._begin()
            error = ReadingLost()
        summed = "" if error is not None else checksum_of(self._source, self._sink.position.offset)
        self._write(is_last=True, error=error, checksum=summed)

    def _read(self, reader: Reader, *, is_growing: bool) -> None:
        assembler = Assembler(self._sink)
        for event in guarded(reader.read(self._source, Position(0, {}))):
            try:
                assembler.take(event)
            except Branched:
                assembler = Assembler(self._sink)
            if self._sink.calls:
                self._pickle_calls()
                if self._pickled.tell() >= _BATCH_BYTES:
                    self._write()
        assembler.finish(is_growing=is_growing, is_left=is_left(self._source))
        self._sink.end(is_open=assembler.is_open)

    def _begin(self) -> None:
        self._count = 0
        self._pickled = BytesIO()
        self._pickler = pickle.Pickler(self._pickled, pickle.HIGHEST_PROTOCOL)

    def _pickle_calls(self) -> None:
        for call in self._sink.calls:
            self._pickler.dump(call)
        self._count += len(self._sink.calls)
        self._sink.calls.clear()

    def _write(self, *, is_last: bool = False, error: Exception | None = None, checksum: str = "") -> None:
        calls = self._pickled.getbuffer()
        head = Batch(self._count, len(calls), is_last, error, self._blocks, checksum)
        pickle.dump(head, self._output, pickle.HIGHEST_PROTOCOL)
        self._output.write(calls)
        self._output.flush()
        self._blocks = None
        self._begin()


def _small(source: Source) -> bytes | None:
    """The whole of a small file. None of a larger one, of one that cannot be read, and of a source that has no file of
    its own: a database must not be opened beside the library that reads it."""
    if source.beside is None or source.size >= WORTH_A_THREAD:
        return None
    try:
        with closing(opened(source.path)) as file:
            content = file.read(WORTH_A_THREAD)
    except (OSError, SourceUnreadable):
        # Whoever reads it next says why.
        return None
    return content if len(content) < WORTH_A_THREAD else None


if __name__ == "__main__":
    main()
