"""Reads one source into the store, as far as it was not read yet."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final

from attrs import evolve

from mandrake_sessions.errors import NotFound
from mandrake_sessions.ids import now_ms
from mandrake_sessions.importing.assembling import Assembler, Branched
from mandrake_sessions.importing.born import BornSink
from mandrake_sessions.importing.comparing import is_as_kept
from mandrake_sessions.importing.events import Paused
from mandrake_sessions.importing.guarded import guarded
from mandrake_sessions.importing.heard import HeardAssembler
from mandrake_sessions.importing.inheriting import Inheriting
from mandrake_sessions.importing.keeping import Keeping
from mandrake_sessions.importing.one_reading import Outcome, Reading, decoded
from mandrake_sessions.importing.prefix import checksum_of
from mandrake_sessions.importing.reading import Reader, file_facts, is_left, storable
from mandrake_sessions.importing.sinks import GrowingSink, SessionSink, WholeSink, cut_branch
from mandrake_sessions.importing.starting import StartingCalls
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.operations.import_steps import Steps
from mandrake_sessions.operations.imports import Imports, StoredSource
from mandrake_sessions.operations.originals import Originals

# So many started conversations of one are remembered.
_SPAWNED: Final = 1000

_OTHER_WORDS: Final = (
    "it says something else than another file of this conversation that was brought in before; what is here stays, and "
    "what this one says instead is in the file alone"
)

# A session, and what becomes of it: see ``set_parent``.
Orphan = tuple[str, str, str, str | None]


class Taking:
    """``steps``: its transactions; it ends some of them itself. ``id_of``: gives the id of the session that an agent's
    conversation has here, or will have. The rest: see ``Importer``."""

    def __init__(
        self,
        manager: SessionManager,
        readers: Mapping[str, Reader],
        progress: Callable[[int], None] | None,
        id_of: Callable[[str, str], str],
        *,
        keeps: bool,
        follows: bool,
    ) -> None:
        self._manager = manager
        self._readers = readers
        self._progress = progress
        self._id_of = id_of
        self._keeps = keeps
        self._follows = follows
        self._imports = Imports(manager.store)
        self._originals = Originals(manager.store)
        self.threads = ThreadPoolExecutor(1, thread_name_prefix="mandrake-sessions-packing")
        self.steps = Steps(self._imports)
        self._orphans: list[Orphan] = []
        # Sessions that were made since the orphans were taken.
        self._made: set[str] = set()
        self._calls = StartingCalls(manager, self._imports, id_of)
        self._inheriting = Inheriting(manager, self._imports)

    def close(self) -> None:
        """Undo what is not committed."""
        self.steps.drop()
        self.threads.shutdown(cancel_futures=True)

    def read(self, reading: Reading) -> Outcome:
        source = reading.source
        position = reading.begin(
            lambda known: is_as_kept(self._originals, known.session_id, source, known, trusts_growth=self._follows)
        )
        self.steps.begin()
        if position is None:
            return self._note_facts(reading)
        self._sink(reading)
        self._begin_to_keep(reading)
        if reading.ahead is not None:
            reading.events = reading.ahead.calls()
        else:
            reading.events = guarded(self._readers[source.reader].read(source, position))
        self._take_all(reading)
        self._complete(reading)
        self.steps.count(source.size - (0 if reading.known is None else reading.known.size))
        return reading.outcome()

    def _note_facts(self, reading: Reading) -> Outcome:
        """Remember how the file is now, of which nothing is to be read."""
        source, known = reading.source, reading.known
        assert known is not None
        now = evolve(known, file_id=source.file_id, size=source.size, mtime_ns=source.mtime_ns)
        self._imports.keep_source(now)
        return Outcome(source, reading.what, known.session_id, reason=reading.reason)

    def read_on(self, reading: Reading) -> Outcome:
        """Go on with a reading that has waited."""
        self.steps.begin()
        if file_facts(reading.source.path) is not None:
            # It may be gone by now, and what was read of it is there.
            self._begin_to_keep(reading)
        self._take_all(reading)
        self._complete(reading)
        return reading.outcome()

    def _sink(self, reading: Reading) -> SessionSink:
        kind = GrowingSink if reading.is_there else BornSink if reading.is_born_here else WholeSink
        sink = kind(self._manager, self._imports, reading.source, reading.report)
        sink.progress = self._progress
        sink.id_of = self._id_of
        sink.counts = reading.counts
        if isinstance(sink, GrowingSink):
            sink.before = reading.state
            sink.only_adds = reading.what == "rewritten"
            sink.is_other_file = reading.is_other_file
        reading.sink = sink
        reading.assembler = Assembler(sink) if reading.ahead is None else HeardAssembler(sink)
        return sink

    def _begin_to_keep(self, reading: Reading) -> None:
        source = reading.source
        if not self._keeps or source.beside is None:
            return
        if reading.keeping is not None:
            reading.keeping.close()
        ready = None if reading.ahead is None else reading.ahead.blocks
        reading.keeping = Keeping(self._originals, source, self.threads, ready)
        session_pk = self._session_pk(reading) if reading.is_there else None
        reading.keeping.start(session_pk, is_rewritten=reading.what == "rewritten")
        if isinstance(reading.sink, GrowingSink):
            reading.sink.takes_back = reading.keeping.has_grown

    def _session_pk(self, reading: Reading) -> int | None:
        sink = reading.sink
        if isinstance(sink, WholeSink):
            return None if sink.whole is None else sink.whole.pk
        if isinstance(sink, BornSink) and not sink.is_born:
            return None
        assert sink is not None
        return self._originals.session_pk(sink.session_id)

    def _keep(self, reading: Reading, *, is_all: bool) -> None:
        """Keep what was read until now, or all."""
        if reading.keeping is None or reading.sink is None or (pk := self._session_pk(reading)) is None:
            return
        if is_all:
            if not reading.keeping.finish(pk, partial(self._pause_if_due, reading), is_whole=not reading.broken):
                reading.note("what is kept of it stays as it was: the file has less in it now, or cannot be read")
            reading.counts.kept += reading.keeping.kept
        else:
            reading.keeping.keep(pk, reading.sink.position.offset)

    def _take_all(self, reading: Reading) -> None:
        """Take events until the end, or until the source has no more for now."""
        while (branched := self._take(reading)) is not None:
            self._branch(reading, branched)

    def _take(self, reading: Reading) -> Branched | None:
        """The same, or until the conversation goes back to an earlier place."""
        assembler, reading.is_paused = reading.assembler, False
        assert assembler is not None
        try:
            for event in reading.events:
                if isinstance(event, Paused):
                    assembler.pause()
                    reading.is_paused = True
                    return None
                assembler.take(event)
                if self.steps.is_due():
                    self._keep(reading, is_all=False)
                    self._pause(reading)
        except Branched as branched:
            return branched
        assembler.finish(is_growing=self._follows and reading.is_growing, is_left=is_left(reading.source))
        return None

    def _pause_if_due(self, reading: Reading) -> None:
        if self.steps.is_due():
            self._pause(reading)

    def _pause(self, reading: Reading) -> None:
        if isinstance(reading.sink, WholeSink) and reading.sink.whole is not None:
            reading.sink.whole.settle()
        self.steps.end()
        self.steps.begin()

    def _branch(self, reading: Reading, branched: Branched) -> None:
        """What was read until now is another branch. It becomes a fork, and the rest goes where it belongs."""
        before = reading.sink
        assert before is not None
        if isinstance(before, WholeSink):
            before.finish()
        reading.is_there = reading.is_there or not _is_unborn(before)
        self.steps.end()
        cut_branch(self._manager, self._imports, before, branched.left)
        self.steps.begin()
        following = self._sink(reading)
        following.told, following.metadata, following.spawned = before.told, before.metadata, before.spawned
        following.position, following.has_news = before.position, before.has_news
        following.inherits = before.inherits

    def _complete(self, reading: Reading) -> None:
        """Write what belongs to all that was read until now."""
        source, sink = reading.source, reading.sink
        assert sink is not None
        told = sink.told
        if told.parent is not None and told.parent_tool_call is None:
            told.parent_tool_call = self._calls.started(source, told.parent)
        self._keep(reading, is_all=True)
        if isinstance(sink, GrowingSink) and sink.differs:
            sink.differs, reading.differs = False, True
            reading.note(_OTHER_WORDS)
        if isinstance(sink, WholeSink) or sink.has_news or not reading.is_paused:
            sink.finish()
            sink.has_news = False
        has_session = sink.whole is not None if isinstance(sink, WholeSink) else not _is_unborn(sink)
        if has_session and not reading.is_there:
            self._made.add(sink.session_id)
        waits = self._note_orphan(sink) if told.parent is not None and has_session else None
        if told.parent is None and has_session and "waits" in reading.state:
            # Its beginning, which names the parent, was read before.
            is_orphan = self._manager.get_session(sink.session_id).parent_id is None
            waits = reading.state["waits"] if is_orphan else None
        sink.inherits = sink.inherits or reading.state.get("inherits")
        if told.parent is None and has_session and sink.inherits is not None:
            is_growing = self._follows and not is_left(source)
            self._inheriting.note(sink.session_id, sink.inherits, is_growing=is_growing)
        for external_id, call in sink.spawned.items():
            self._calls.note(source.agent, external_id, call)
            self._note_child(sink, external_id, call)
        if not reading.is_paused or sink.position.offset != reading.written_at:
            # While a round goes on, it is read again from its beginning by the next run.
            self._keep_source(reading, sink, waits, has_session=has_session)
            reading.written_at = sink.position.offset

    def _keep_source(
        self, reading: Reading, sink: SessionSink, waits: dict[str, Any] | None, *, has_session: bool
    ) -> None:
        source = reading.source
        self._imports.keep_source(
            StoredSource(
                source.reader,
                source.key,
                sink.session_id if has_session else None,
                storable(source.path),
                source.file_id,
                source.size,
                source.mtime_ns,
                sink.position.offset,
                checksum_of(source, sink.position.offset) if reading.ahead is None else reading.ahead.checksum,
                now_ms(),
                json.dumps(_remembered(reading, sink, waits)),
                is_deleted=False,
            )
        )

    def take_orphans(self) -> list[Orphan]:
        """The sessions whose parent was not there when they were made, but may be now; each once."""
        found, self._orphans = self._orphans, []
        made, self._made = self._made, set()
        earlier = []
        for name, state in self._imports.waiting() if made else ():
            waits = decoded(state).get("waits")
            if waits is not None and waits["parent"] in made:
                earlier.append((name, waits["parent"], waits["relation"], waits["call"]))
        # What a parent says of its calls comes after it.
        return [*earlier, *found, *self._inheriting.take()]

    def _note_orphan(self, sink: SessionSink) -> dict[str, Any] | None:
        """What is remembered of a session whose parent is not there yet."""
        told = sink.told
        assert told.parent is not None
        if self._manager.get_session(sink.session_id).parent_id is not None:
            return None
        parent_id = self._id_of(sink.agent, told.parent)
        relation = told.relation or "continuation"
        self._orphans.append((sink.session_id, parent_id, relation, told.parent_tool_call))
        return {"parent": parent_id, "relation": relation, "call": told.parent_tool_call}

    def _note_child(self, sink: SessionSink, external_id: str, call: str) -> None:
        """A subagent was brought in before the call that started it was read."""
        with suppress(NotFound):
            child = self._manager.get_session(self._id_of(sink.agent, external_id))
            if child.parent_tool_call_id is None and child.parent_id in (None, sink.session_id):
                self._orphans.append((child.id, sink.session_id, "subagent", call))

    def abandon(self, reading: Reading) -> None:
        """The other sources of the step are kept."""
        sink = reading.sink
        if isinstance(sink, WholeSink) and sink.whole is not None:
            if self.steps.is_running:
                sink.whole.settle()
                self.steps.end()
            sink.whole.abandon()


def _is_unborn(sink: SessionSink) -> bool:
    return isinstance(sink, BornSink) and not sink.is_born


def _remembered(reading: Reading, sink: SessionSink, waits: dict[str, Any] | None) -> dict[str, Any]:
    """What the next reading of the source has to know."""
    told = sink.told
    spawned = {**reading.state.get("spawned", {}), **sink.spawned}
    state = {
        "reader": dict(sink.position.state),
        "title": told.title or reading.state.get("title"),
        "description": told.description or reading.state.get("description"),
        "spawned": dict(list(spawned.items())[-_SPAWNED:]),
        "open": reading.is_paused or (reading.assembler is not None and reading.assembler.is_open),
    }
    if reading.differs or reading.state.get("differs"):
        state["differs"] = True
    if waits is not None:
        state["waits"] = waits
    if sink.inherits is not None:
        state["inherits"] = sink.inherits
    return state
