"""Brings sources into a store, one after the other, in short transactions.

Of each source the store remembers how far it was read, in the transaction that wrote what was read. So a run may end at
any moment, and the next one goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from attrs import evolve

from mandrake_sessions.errors import (
    Busy,
    Conflict,
    InvalidValue,
    NotFound,
    NotOpen,
    SessionsError,
    StorageFailure,
)
from mandrake_sessions.importing.comparing import is_as_kept
from mandrake_sessions.importing.elsewhere import OtherNames, OtherStores
from mandrake_sessions.importing.handing_over import ReadingLost
from mandrake_sessions.importing.keeping import Keeping
from mandrake_sessions.importing.lines import Tail
from mandrake_sessions.importing.one_reading import Outcome, Reading, What, state_of
from mandrake_sessions.importing.read_ahead import ReadAhead
from mandrake_sessions.importing.reading import REST_SECONDS, Reader, Source, file_facts, is_at_rest, storable
from mandrake_sessions.importing.same_store import SameStore
from mandrake_sessions.importing.sinks import Counts, WholeSink, set_parent
from mandrake_sessions.importing.taking import Taking
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Session
from mandrake_sessions.operations.imports import Imports, StoredSource
from mandrake_sessions.operations.originals import Originals
from mandrake_sessions.quoting import shorten

logger = logging.getLogger(__name__)

# So many readings wait for more, each with an open file. Any other begins again at the last round of its source.
_MOST_WAITING: Final = 32
# A new source of more bytes is not one that is just begun, and is brought in as a whole.
_MOST_BORN: Final = 4 * 1024 * 1024
# Another import that is at a source is waited for so long.
_AT_IT_SECONDS: Final = 10.0
# What a reader of another package meets that gives values of other types than those that events have.
_OF_VALUES: Final = (TypeError, ValueError, LookupError, AttributeError)


class Importer:
    """``bring`` each source, parents before their children, then ``finish``, and ``close`` in any case. The manager is
    open. ``progress`` is called with how many bytes of the source were read. ``elsewhere``: the user's other stores,
    which were looked at. ``keeps``: whether the files themselves are kept. ``follows``: sources grow meanwhile, so a
    round of which its source does not say that it has ended is open."""

    def __init__(
        self,
        manager: SessionManager,
        readers: Mapping[str, Reader],
        progress: Callable[[int], None] | None = None,
        *,
        elsewhere: OtherStores | None = None,
        keeps: bool = True,
        follows: bool = False,
    ) -> None:
        self._manager = manager
        self._imports = Imports(manager.store)
        self._other_names = OtherNames(manager, {reader.agent for reader in readers.values()})
        self._taking = Taking(manager, readers, progress, self._other_names.id_of, keeps=keeps, follows=follows)
        self._originals = Originals(manager.store)
        self._elsewhere = elsewhere
        self._keeps = keeps
        self._follows = follows
        # Readings that wait for more, the one that had more last at the end.
        self._waiting: dict[tuple[str, str], Reading] = {}
        self._ahead: ReadAhead | None = None
        self._is_ready = False
        # Whether the last failure was that somebody else has what was to be made.
        self._met_another = False
        self._same_store = SameStore(manager)
        # The agents' names for the conversations that were brought in until now.
        self._brought: set[tuple[str, str]] = set()
        # Files that had nothing for a session of their own; another file of the conversation may make it.
        self._without_session: list[Source] = []

    def look(self, source: Source) -> Outcome:
        """What ``bring`` would do, without reading the source."""
        try:
            known = self._imports.source(source.reader, source.key)
            if known is not None and not known.is_deleted and _is_of_another(source, known):
                source = _beside_another(source)
                known = self._imports.source(source.reader, source.key)
            present = None if known is not None else self._present(source)
        except InvalidValue as error:
            return Outcome(source, "failed", reason=str(error))
        if known is not None:
            what: What = "deleted" if known.is_deleted else "grown" if _has_grown(source, known) else "unchanged"
            what = "live" if what == "grown" and _is_recorded_since(self._manager, source, known.session_id) else what
            is_kept, is_moved = known.kept == _facts(source), known.path != storable(source.path)
            return Outcome(source, what, known.session_id, is_kept=is_kept, is_moved=is_moved)
        if present is None:
            recorded = None if self._elsewhere is None else self._elsewhere.find(source)
            if recorded is not None:
                return Outcome(source, "live", recorded.session_id, recorded=recorded)
            return Outcome(source, "new", is_unknown=True)
        if source.session_id is not None:
            return Outcome(source, "unchanged", present.id)
        return Outcome(source, "new" if (present.source or "").startswith("import:") else "live", present.id)

    def read_ahead(self, looked: Sequence[Outcome]) -> None:
        """These are brought next, in this order: another process reads what is new of them meanwhile."""
        new = [outcome.source for outcome in looked if outcome.is_unknown and outcome.source.beside is not None]
        self._ahead = ReadAhead(new, packs=self._keeps, is_growing=self._follows)

    def bring(self, source: Source, looked: Outcome | None = None, *, is_begun: bool = False) -> Outcome:
        """Read a source, as far as it was not read yet. What a source alone is to blame for is an outcome. ``looked``:
        what ``look`` has found just before. ``is_begun``: subscribers are to hear of a new one.

        Raises NotOpen, Busy, StorageFailure: the sources since the last commit are as they were.
        """
        if not self._is_ready:
            self._imports.remove_left_behind()
            self._same_store.remember()
            self._is_ready = True
        looked = looked or self.look(source)
        source = _named_as(source, looked.source)
        if looked.is_moved:
            self._imports.move_source(source.reader, source.key, storable(source.path), source.kept_as)
        if looked.what in ("live", "unchanged"):
            return self._keep_alone(self._with_session(looked))
        if looked.what in ("deleted", "failed"):
            return looked
        # Another file of the same conversation may have been brought in since it was looked for.
        if looked.is_unknown and (source.agent, source.external_id) in self._brought:
            looked = self.look(source)
            source = _named_as(source, looked.source)
        self._brought.add((source.agent, source.external_id))
        known = None if looked.is_unknown else self._imports.source(source.reader, source.key)
        ahead = self._ahead.take(source) if self._ahead is not None and looked.is_unknown else None
        reading = Reading(source, looked.what, known, ahead)
        reading.is_there = not looked.is_unknown and self._present(source) is not None
        reading.is_other_file = (reading.is_there and known is None) or bool(reading.state.get("differs"))
        # What comes of a store like this one is taken as a whole.
        reading.is_born_here = is_begun and not reading.is_there and source.session_id is None
        done = self._guarded(reading, self._taking.read)
        if done.what == "failed" and looked.is_unknown:
            self._taking.steps.end()
            again = _looked_again(self.look, source, _AT_IT_SECONDS if self._met_another else 0.0)
            if not again.is_unknown:
                return self.bring(source, again)
        if done.what != "failed" and not (reading.is_there or done.counts.sessions):
            self._without_session.append(source)
        return done

    def follow(self, source: Source) -> Outcome:
        """``bring`` a source that is being written. The reading waits for more, so that what is there already is not
        read again. Call ``finish`` after it."""
        key = source.reader, source.key
        waiting = self._waiting.pop(key, None)
        if (
            waiting is not None
            and waiting.is_of(source)
            and not _is_recorded_since(self._manager, source, waiting.session_id)
        ):
            if _facts(waiting.source) == _facts(source):
                # Nobody has written.
                self._waiting[key] = waiting
                return Outcome(source, "unchanged", waiting.session_id)
            waiting.source = evolve(source, tail=waiting.source.tail)
            waiting.touched = time.monotonic()
            self._waiting[key] = waiting
            outcome = self._guarded(waiting, self._taking.read_on)
            # Somebody may have deleted the session meanwhile, which is no failure.
            return self.look(source) if outcome.what == "failed" and _is_deleted(self._imports, source) else outcome
        if waiting is not None:
            waiting.close()
        looked = self.look(source)
        is_begun = looked.what == "grown" or (looked.what == "new" and source.size <= _MOST_BORN)
        if is_begun and _may_wait(source):
            source = evolve(source, tail=Tail())
        return self.bring(source, looked, is_begun=is_begun)

    def check_store(self) -> None:
        """Raises StoreReplaced, NotOpen, Busy, StorageFailure."""
        self._same_store.check()

    def expect(self, source: Source) -> None:
        """A source that was brought in just now will probably grow: the reading waits for that. Without this, its last
        round is read again with its next line, which takes long where that is a long one."""
        looked = self.look(source)
        is_here = looked.what == "unchanged" and looked.session_id is not None
        if is_here and _may_wait(source) and not is_at_rest(source):
            self.bring(evolve(source, tail=Tail()), evolve(looked, what="grown"))

    @property
    def rests_at(self) -> float | None:
        """When one that waits for more has waited for long enough, by ``time.monotonic``; None where none waits."""
        return min((waiting.touched + REST_SECONDS for waiting in self._waiting.values()), default=None)

    def rest(self) -> list[Outcome]:
        """End the readings that have waited for long enough: what their sources say is all that there is to it."""
        before = time.monotonic() - REST_SECONDS
        outcomes = []
        for key in [key for key, waiting in self._waiting.items() if waiting.touched <= before]:
            waiting = self._waiting.pop(key)
            assert waiting.source.tail is not None
            waiting.source.tail.is_over = True
            waiting.is_growing = False
            outcomes.append(self._guarded(waiting, self._taking.read_on))
        return outcomes

    def _guarded(self, reading: Reading, read: Callable[[Reading], Outcome]) -> Outcome:
        try:
            done = read(reading)
        except (NotOpen, Busy, StorageFailure):
            self._taking.steps.drop()
            self._forget(reading)
            raise
        except ReadingLost:
            self._taking.abandon(reading)
            self._forget(reading)
            return self._guarded(reading.here(), read)
        except (OSError, SessionsError, *_OF_VALUES) as error:
            self._met_another = isinstance(error, Conflict)
            self._taking.abandon(reading)
            self._forget(reading)
            return Outcome(reading.source, "failed", broken=reading.broken, reason=_why(error))
        except BaseException:
            self._taking.steps.drop()
            if isinstance(reading.sink, WholeSink) and reading.sink.whole is not None:
                reading.sink.whole.abandon()
            self._forget(reading)
            raise
        if not reading.is_paused:
            self._forget(reading)
        elif (reading.source.reader, reading.source.key) not in self._waiting:
            self._wait(reading)
        return done

    def _forget(self, reading: Reading) -> None:
        self._waiting.pop((reading.source.reader, reading.source.key), None)
        reading.close()

    def _with_session(self, looked: Outcome) -> Outcome:
        """With the session that another file of the conversation has made, where this one has made none."""
        if looked.session_id is not None or (present := self._present(looked.source)) is None:
            return looked
        return evolve(looked, session_id=present.id)

    def _keep_alone(self, looked: Outcome) -> Outcome:
        """Keep the file of a conversation that is here already."""
        source = looked.source
        if not self._keeps or looked.is_kept or source.beside is None or looked.session_id is None:
            return looked
        originals = self._originals
        keeping: Keeping | None = None
        try:
            if looked.recorded is not None and self._elsewhere is not None:
                originals = self._elsewhere.originals(looked.recorded)
            keeping = Keeping(originals, source, self._taking.threads)
            pk = originals.session_pk(looked.session_id)
            kept = originals.kept(pk, source.kept_as)
            is_same = kept is None or is_as_kept(originals, looked.session_id, source, kept, trusts_growth=True)
            keeping.start(pk, is_rewritten=not is_same)
            if keeping.is_needed and looked.recorded is None:
                self._taking.steps.begin()
                keeping.finish(pk, self._taking.steps.go_on)
                self._taking.steps.count(keeping.kept)
            elif keeping.is_needed:
                keeping.finish(pk)
            return evolve(looked, counts=Counts(kept=keeping.kept))
        except (OSError, SessionsError) as error:
            if looked.recorded is None and isinstance(error, (NotOpen, Busy, StorageFailure)):
                raise
            return evolve(looked, what="failed", reason=f"the file was not kept: {_why(error)}")
        finally:
            if keeping is not None:
                keeping.close()

    @property
    def has_uncommitted(self) -> bool:
        """Whether an end of this process would undo something that was brought in."""
        return self._taking.steps.is_running

    def finish(self) -> None:
        """Commit what is written, and say where sessions came from that were there before their parents."""
        waiting, self._without_session = self._without_session, []
        for source in waiting:
            self._keep_alone(self._with_session(Outcome(source, "unchanged")))
        self._taking.steps.end()
        for orphan in self._taking.take_orphans():
            set_parent(self._imports, *orphan)

    def close(self) -> None:
        """Undo what is not committed."""
        for waiting in self._waiting.values():
            waiting.close()
        self._waiting.clear()
        if self._ahead is not None:
            self._ahead.close()
        self._taking.close()

    def _present(self, source: Source) -> Session | None:
        """The session that the conversation has here: brought in before, or recorded while it went on."""
        if source.session_id is not None:
            with suppress(NotFound):
                return self._manager.get_session(source.session_id)
            return None
        return self._other_names.session_of(source.agent, source.external_id)

    def _wait(self, reading: Reading) -> None:
        while len(self._waiting) >= _MOST_WAITING:
            # It is read again from its last round on when it grows.
            self._waiting.pop(next(iter(self._waiting))).close()
        self._waiting[reading.source.reader, reading.source.key] = reading


def _looked_again(look: Callable[[Source], Outcome], source: Source, seconds: float) -> Outcome:
    """Somebody else may have brought it in since it was looked for. Where they are at it, their session has the ids and
    is not seen yet: they are waited for, for so long, and no transaction of ours may be in their way."""
    until = time.monotonic() + seconds
    while (again := look(source)).is_unknown and time.monotonic() < until:
        time.sleep(_AT_IT_SECONDS / 100)
    return again


def _is_deleted(imports: Imports, source: Source) -> bool:
    known = imports.source(source.reader, source.key)
    return known is not None and known.is_deleted


def _has_grown(source: Source, known: StoredSource) -> bool:
    if not _is_same(source, known):
        return True
    # Nobody has gone on with a round of which its source does not say that it has ended.
    return is_at_rest(source) and bool(state_of(known).get("open"))


def _is_recorded_since(manager: SessionManager, source: Source, session_id: str | None) -> bool:
    """Whether a session that was brought in is recorded by now: what its source gets is in it already."""
    if source.session_id is None and session_id is not None:
        with suppress(NotFound):
            return not (manager.get_session(session_id).source or "").startswith("import:")
    return False


def _is_of_another(source: Source, known: StoredSource) -> bool:
    """Whether what is known by its key is another file, which is still there: programs copy a conversation's file."""
    if known.path == storable(source.path) or known.file_id == source.file_id:
        return False
    present = file_facts(known.path)
    return present is not None and present["file_id"] == known.file_id


def _named_as(source: Source, other: Source) -> Source:
    return evolve(source, key=other.key, kept_as=other.kept_as)


def _beside_another(source: Source) -> Source:
    name = storable(source.path)
    return evolve(source, key=f"{source.key} {name}", kept_as=name)


def _may_wait(source: Source) -> bool:
    """Whether it is a file of lines, which can be read on."""
    return source.beside is not None and not source.path.endswith(".zst")


def _why(error: Exception) -> str:
    if isinstance(error, _OF_VALUES) and not isinstance(error, SessionsError):
        logger.warning("an event cannot be brought in", exc_info=True)
        return f"what its reader gives cannot be brought in ({type(error).__name__}: {shorten(str(error))})"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _facts(source: Source) -> tuple[str, int, int]:
    return source.file_id, source.size, source.mtime_ns


def _is_same(source: Source, known: StoredSource) -> bool:
    return (source.file_id, source.size, source.mtime_ns) == (known.file_id, known.size, known.mtime_ns) and (
        source.title is None or source.title == state_of(known).get("title")
    )
