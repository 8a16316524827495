"""Brings sources into a store, one after the other, in short transactions.

Of each source the store remembers how far it was read, in the transaction that wrote what was read. So a run may end at
any moment, and the next one goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, suppress
from typing import Any, Final, Literal

from attrs import evolve, field, frozen

from mandrake_sessions.errors import Busy, InvalidValue, NotFound, NotOpen, SessionsError, StorageFailure
from mandrake_sessions.ids import now_ms
from mandrake_sessions.importing.assembling import Assembler
from mandrake_sessions.importing.events import Broken, Event, Position, Rewritten
from mandrake_sessions.importing.lines import SourceUnreadable, opened
from mandrake_sessions.importing.reading import Reader, Source
from mandrake_sessions.importing.sinks import (
    Branched,
    Counts,
    GrowingSink,
    SessionSink,
    WholeSink,
    cut_branch,
    set_parent,
)
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Session
from mandrake_sessions.operations.imports import Imports, StoredSource
from mandrake_sessions.quoting import shorten

logger = logging.getLogger(__name__)

# A transaction takes about so long at the most, or reads so many bytes: others wait for its end.
STEP_SECONDS: Final = 0.2
STEP_BYTES: Final = 4 * 1024 * 1024
# So many started conversations of one are remembered.
_SPAWNED: Final = 1000
_HEAD, _TAIL = 4096, 65536
# So many broken lines of a source are named.
_BROKEN: Final = 100

What = Literal["new", "grown", "unchanged", "rewritten", "live", "deleted", "failed"]


@frozen
class Outcome:
    """What became of a source. ``what``: how it was found. ``broken``: the first of the lines that cannot be read;
    ``more_broken``: how many others there are. ``reason``: of ``failed``, and what was noticed. ``is_unknown``: neither
    the source nor a session of it is known here."""

    source: Source
    what: What
    session_id: str | None = None
    counts: Counts = field(factory=Counts)
    broken: list[Broken] = field(factory=list)
    more_broken: int = 0
    reason: str | None = None
    is_unknown: bool = False


class Importer:
    """``bring`` each source, parents before their children, then ``finish``. The manager is open. ``progress`` is
    called with how many bytes of the source were read."""

    def __init__(
        self, manager: SessionManager, readers: Mapping[str, Reader], progress: Callable[[int], None] | None = None
    ) -> None:
        self._manager = manager
        self._readers = readers
        self._progress = progress
        self._imports = Imports(manager.store)
        self._steps = _Steps(self._imports)
        self._is_ready = False
        self._spawned: dict[tuple[str, str], str] = {}
        # Sessions whose parent was not there when they were made.
        self._orphans: list[tuple[str, str, str, str | None]] = []
        self._made: set[str] = set()

    def look(self, source: Source) -> Outcome:
        """What ``bring`` would do, without reading the source."""
        try:
            known = self._imports.source(source.reader, source.key)
            present = None if known is not None else self._present(source)
        except InvalidValue as error:
            return Outcome(source, "failed", reason=str(error))
        if known is not None:
            what: What = "deleted" if known.is_deleted else "unchanged" if _is_same(source, known) else "grown"
            return Outcome(source, what, known.session_id)
        if present is None:
            return Outcome(source, "new", is_unknown=True)
        if source.session_id is not None:
            return Outcome(source, "unchanged", present.id)
        return Outcome(source, "new" if (present.source or "").startswith("import:") else "live", present.id)

    def bring(self, source: Source, looked: Outcome | None = None) -> Outcome:
        """Read a source, as far as it was not read yet. What a source alone is to blame for is an outcome. ``looked``:
        what ``look`` has found just before.

        Raises NotOpen, Busy, StorageFailure: the sources since the last commit are as they were.
        """
        if not self._is_ready:
            self._imports.remove_left_behind()
            self._is_ready = True
        looked = looked or self.look(source)
        if looked.what in ("live", "deleted", "unchanged", "failed"):
            return looked
        broken: list[Broken] = []
        known = None if looked.is_unknown else self._imports.source(source.reader, source.key)
        reading = _Reading(source, looked.what, known, broken)
        reading.is_there = not looked.is_unknown and self._is_there(source)
        try:
            return self._read(reading)
        except (NotOpen, Busy, StorageFailure):
            raise
        except (OSError, SessionsError) as error:
            self._abandon(reading)
            why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            return Outcome(source, "failed", broken=broken, reason=why)
        except BaseException:
            self._steps.undo()
            if isinstance(reading.sink, WholeSink) and reading.sink.whole is not None:
                reading.sink.whole.abandon()
            raise

    def finish(self) -> None:
        """Commit what is written, and say where sessions came from that were there before their parents."""
        self._steps.commit()
        for name, state in self._imports.waiting() if self._made else ():
            waits = _decoded(state).get("waits")
            if waits is not None and waits["parent"] in self._made:
                # What a parent says of its calls comes after it.
                self._orphans.insert(0, (name, waits["parent"], waits["relation"], waits["call"]))
        self._made.clear()
        for orphan in self._orphans:
            set_parent(self._imports, *orphan)
        self._orphans.clear()

    def close(self) -> None:
        """Undo what is not committed."""
        self._steps.undo()

    def _present(self, source: Source) -> Session | None:
        """The session that the conversation has here: brought in before, or recorded while it went on."""
        try:
            if source.session_id is not None:
                return self._manager.get_session(source.session_id)
            return self._manager.get_session(external_id=source.external_id, agent=source.agent)
        except NotFound:
            return None

    def _read(self, reading: _Reading) -> Outcome:
        source = reading.source
        position = reading.begin()
        self._steps.begin()
        sink = self._sink(reading)
        events = _guarded(self._readers[source.reader].read(source, position))
        while (branched := self._take(events, sink)) is not None:
            sink = self._branch(sink, reading, branched)
        self._complete(sink, reading)
        self._steps.count(source.size - (0 if reading.known is None else reading.known.size))
        return Outcome(
            source, reading.what, sink.session_id, reading.counts, reading.broken, reading.more_broken, reading.reason
        )

    def _sink(self, reading: _Reading) -> SessionSink:
        kind = GrowingSink if reading.is_there else WholeSink
        sink = kind(self._manager, self._imports, reading.source, reading.report)
        sink.progress = self._progress
        sink.counts = reading.counts
        if isinstance(sink, GrowingSink):
            sink.before = reading.state
        reading.sink = sink
        return sink

    def _is_there(self, source: Source) -> bool:
        return self._present(source) is not None

    def _take(self, events: Iterator[Event], sink: SessionSink) -> Branched | None:
        """Take events until the end, or until the conversation goes back to an earlier place."""
        assembler = Assembler(sink)
        try:
            for event in events:
                assembler.take(event)
                if self._steps.is_due():
                    self._pause(sink)
        except Branched as branched:
            return branched
        assembler.finish()
        return None

    def _pause(self, sink: SessionSink) -> None:
        if isinstance(sink, WholeSink) and sink.whole is not None:
            sink.whole.settle()
        self._steps.commit()
        self._steps.begin()

    def _branch(self, sink: SessionSink, reading: _Reading, branched: Branched) -> SessionSink:
        """What was read until now is another branch. It becomes a fork, and the rest goes where it belongs."""
        if isinstance(sink, WholeSink):
            sink.finish()
            reading.is_there = True
        self._steps.commit()
        cut_branch(self._manager, sink, reading.source.agent, branched.left)
        self._steps.begin()
        following = self._sink(reading)
        following.told, following.metadata, following.spawned = sink.told, sink.metadata, sink.spawned
        following.position = sink.position
        return following

    def _complete(self, sink: SessionSink, reading: _Reading) -> None:
        source, told = reading.source, sink.told
        if told.parent is not None and told.parent_tool_call is None:
            told.parent_tool_call = self._started_by(source, told.parent)
        sink.finish()
        has_session = not isinstance(sink, WholeSink) or sink.whole is not None
        if isinstance(sink, WholeSink) and has_session:
            self._made.add(sink.session_id)
        waits = self._note_orphan(sink) if told.parent is not None and has_session else None
        for external_id, call in sink.spawned.items():
            self._spawned[source.agent, external_id] = call
            self._note_child(sink, external_id, call)
        spawned = {**reading.state.get("spawned", {}), **sink.spawned}
        state = {
            "reader": dict(sink.position.state),
            "title": told.title or reading.state.get("title"),
            "description": told.description or reading.state.get("description"),
            "spawned": dict(list(spawned.items())[-_SPAWNED:]),
        }
        if waits is not None:
            state["waits"] = waits
        self._imports.keep_source(
            StoredSource(
                source.reader,
                source.key,
                sink.session_id if has_session else None,
                source.path.encode("utf-8", "backslashreplace").decode(),
                source.file_id,
                source.size,
                source.mtime_ns,
                sink.position.offset,
                checksum(source.path, sink.position.offset) or "",
                now_ms(),
                json.dumps(state),
                is_deleted=False,
            )
        )

    def _note_orphan(self, sink: SessionSink) -> dict[str, Any] | None:
        """What is remembered of a session whose parent is not there yet."""
        from mandrake_sessions.importing.names import session_id_of

        told = sink.told
        assert told.parent is not None
        if self._manager.get_session(sink.session_id).parent_id is None:
            parent_id = session_id_of(sink.agent, told.parent)
            relation = told.relation or "continuation"
            self._orphans.append((sink.session_id, parent_id, relation, told.parent_tool_call))
            return {"parent": parent_id, "relation": relation, "call": told.parent_tool_call}
        return None

    def _note_child(self, sink: SessionSink, external_id: str, call: str) -> None:
        """A subagent was brought in before the call that started it was read."""
        from mandrake_sessions.importing.names import session_id_of

        with suppress(NotFound):
            child = self._manager.get_session(session_id_of(sink.agent, external_id))
            if child.parent_tool_call_id is None and child.parent_id in (None, sink.session_id):
                self._orphans.append((child.id, sink.session_id, "subagent", call))

    def _started_by(self, source: Source, parent: str) -> str | None:
        """The tool call of the parent that started it, if the parent was read."""
        if (call := self._spawned.get((source.agent, source.external_id))) is not None:
            return call
        known = self._imports.source(source.reader, parent)
        found = _state_of(known).get("spawned", {}).get(source.external_id)
        return found if isinstance(found, str) else None

    def _abandon(self, reading: _Reading) -> None:
        """The other sources of the step are kept."""
        sink = reading.sink
        if isinstance(sink, WholeSink) and sink.whole is not None:
            sink.whole.settle()
            self._steps.commit()
            sink.whole.abandon()


class _Reading:
    """One reading of a source. ``known``: how far it was read before; None where nothing of that counts."""

    def __init__(self, source: Source, what: What, known: StoredSource | None, broken: list[Broken]) -> None:
        self.source = source
        self.what = what
        self.known = known
        self.broken = broken
        self.state = _state_of(known)
        self.counts = Counts()
        self.reason: str | None = None
        self.sink: SessionSink | None = None
        self.start = 0
        # Whether the session is there, to which more comes.
        self.is_there = False
        self.more_broken = 0

    def report(self, broken: Broken | Rewritten) -> None:
        if isinstance(broken, Rewritten):
            self.what, self.reason = "rewritten", broken.reason
        elif len(self.broken) < _BROKEN:
            # Lines were counted from where reading began.
            before = lines_before(self.source.path, self.start) if self.start else 0
            self.broken.append(evolve(broken, line=broken.line + before))
        else:
            self.more_broken += 1

    def begin(self) -> Position:
        """Where reading goes on. Raises OSError, SourceUnreadable."""
        known = self.known
        if known is None or not known.position:
            # A database is read by what its rows say.
            return Position(0, self.state.get("reader", {}))
        found = checksum(self.source.path, known.position)
        if found == known.checksum:
            self.start = known.position
            return Position(known.position, self.state.get("reader", {}))
        self.what = "rewritten"
        how = "is shorter than" if found is None else "is another than"
        self.reason = (
            f"the file {how} what was read of it before; it was read again from its start, and nothing deleted"
        )
        self.known = evolve(known, size=0)
        return Position()


class _Steps:
    """The transactions, one after the other."""

    def __init__(self, imports: Imports) -> None:
        self._imports = imports
        self._running: AbstractContextManager[None] | None = None
        self._until = 0.0
        self._bytes = 0

    def begin(self) -> None:
        """Go on in the transaction that runs, or in a new one."""
        if self._running is not None and (self._bytes >= STEP_BYTES or self.is_due()):
            self.commit()
        if self._running is None:
            running = self._imports.step()
            running.__enter__()
            self._running, self._bytes, self._until = running, 0, time.monotonic() + STEP_SECONDS

    def count(self, size: int) -> None:
        self._bytes += max(0, size)

    def is_due(self) -> bool:
        return time.monotonic() >= self._until

    def commit(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.__exit__(None, None, None)

    def undo(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            with suppress(_Undone):
                running.__exit__(_Undone, _Undone(), None)


def _guarded(events: Iterator[Event]) -> Iterator[Event]:
    """Whatever a reader meets that it did not expect, the other sources are brought in."""
    try:
        yield from events
    except (OSError, SessionsError):
        raise
    except Exception as error:
        logger.warning("a reader failed", exc_info=True)
        raise SourceUnreadable(f"the reader cannot read it ({type(error).__name__}: {shorten(str(error))})") from error


class _Undone(Exception):
    """Ends a transaction that is not to be kept."""


def checksum(path: str, position: int) -> str | None:
    """Of the bytes before a position: the first few and the last few of them, so that it costs the same in a large
    file. None where there are fewer bytes. Raises OSError, SourceUnreadable."""
    if not position:
        # A database is read from its start each time, and must not be opened beside the library that reads it.
        return ""
    digest = hashlib.blake2b(digest_size=16)
    with closing(opened(path)) as file:
        head = file.read(min(_HEAD, position))
        digest.update(head)
        rest = position - len(head)
        if len(head) < min(_HEAD, position):
            return None
        if rest > _TAIL:
            _skip_to(file, position - _TAIL, rest - _TAIL)
            rest = _TAIL
        tail = file.read(rest)
        digest.update(tail)
        return digest.hexdigest() if len(tail) == rest else None


def lines_before(path: str, position: int) -> int:
    """How many lines end before a position. Raises OSError, SourceUnreadable."""
    count = 0
    with closing(opened(path)) as file:
        while position > 0 and (piece := file.read(min(position, 1024 * 1024))):
            position -= len(piece)
            count += piece.count(b"\n")
    return count


def _skip_to(file: Any, place: int, count: int) -> None:
    if file.seekable():
        file.seek(place)
        return
    while count > 0 and (piece := file.read(min(count, 1024 * 1024))):
        count -= len(piece)


def _is_same(source: Source, known: StoredSource) -> bool:
    return (source.file_id, source.size, source.mtime_ns) == (known.file_id, known.size, known.mtime_ns) and (
        source.title is None or source.title == _state_of(known).get("title")
    )


def _state_of(known: StoredSource | None) -> dict[str, Any]:
    return {} if known is None else _decoded(known.state)


def _decoded(stored: str) -> dict[str, Any]:
    try:
        state = json.loads(stored)
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}
