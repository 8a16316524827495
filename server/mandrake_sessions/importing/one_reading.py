"""One reading of a source: how far it is, and what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, Literal

from attrs import evolve, field, frozen

from mandrake_sessions.importing.assembling import Assembler
from mandrake_sessions.importing.elsewhere import Recorded
from mandrake_sessions.importing.events import Broken, Position, Rewritten
from mandrake_sessions.importing.heard import HeardAssembler
from mandrake_sessions.importing.keeping import Keeping
from mandrake_sessions.importing.prefix import checksum, lines_before
from mandrake_sessions.importing.read_ahead import SourceAhead
from mandrake_sessions.importing.reading import Source, age_of, file_facts, is_at_rest
from mandrake_sessions.importing.sinks import Counts, SessionSink
from mandrake_sessions.operations.imports import StoredSource

# So many broken lines of a source are named.
_BROKEN: Final = 100
# The ending of files that only grow.
_LINES: Final = ".jsonl"
_SHORTER: Final = "the file is shorter than when it was read before; nothing was deleted"

What = Literal["new", "grown", "unchanged", "rewritten", "live", "deleted", "failed"]


@frozen
class Outcome:
    """What became of a source. ``what``: how it was found. ``broken``: the first of the lines that cannot be read;
    ``more_broken``: how many others there are. ``reason``: of ``failed``, and what was noticed. ``is_unknown``: neither
    the source nor a session of it is known here. ``recorded``: of ``live``, the session of another store. ``is_kept``:
    all of the file is kept here. ``is_moved``: its file was somewhere else when it was read last."""

    source: Source
    what: What
    session_id: str | None = None
    counts: Counts = field(factory=Counts)
    broken: list[Broken] = field(factory=list)
    more_broken: int = 0
    reason: str | None = None
    is_unknown: bool = False
    recorded: Recorded | None = None
    is_kept: bool = False
    is_moved: bool = False


class Reading:
    """One reading of a source. ``known``: how far it was read before; None where nothing of that counts. ``ahead``:
    what another process reads of it; None where it is read here."""

    def __init__(
        self, source: Source, what: What, known: StoredSource | None, ahead: SourceAhead | None = None
    ) -> None:
        self.source = source
        self.what = what
        self.known = known
        self.ahead = ahead
        self.broken: list[Broken] = []
        self.state = state_of(known)
        self.counts = Counts()
        self.reason: str | None = None
        # What its assembler takes.
        self.events: Iterator[Any] = iter(())
        self.sink: SessionSink | None = None
        self.assembler: Assembler | HeardAssembler | None = None
        self.keeping: Keeping | None = None
        self.start = 0
        # Whether the session is there, to which more comes.
        self.is_there = False
        # Whether another file of the conversation, or a recorder, has made it.
        self.is_other_file = False
        # Whether it said something else than that.
        self.differs = False
        # Whether a session that is not there is shown from its first round on.
        self.is_born_here = False
        # Whether it waits for more, and since when; and whether more may come at all.
        self.is_paused = False
        self.is_growing = not is_at_rest(source)
        self.touched = time.monotonic() - age_of(source)
        # The position that was remembered last.
        self.written_at: int | None = None
        self.more_broken = 0
        self._reported: Broken | None = None

    def here(self) -> Reading:
        """The same from its beginning, read in this process."""
        again = Reading(self.source, self.what, self.known)
        again.is_there, again.is_born_here = self.is_there, self.is_born_here
        again.is_other_file = self.is_other_file
        return again

    def is_of(self, source: Source) -> bool:
        """Whether it is of this file, which has grown since or is as it was."""
        own = self.source
        is_as_it_was = (own.size, own.mtime_ns) == (source.size, source.mtime_ns)
        return (own.path, own.file_id) == (source.path, source.file_id) and (own.size < source.size or is_as_it_was)

    @property
    def session_id(self) -> str | None:
        return None if self.sink is None else self.sink.session_id

    def outcome(self) -> Outcome:
        """What was done since the last one."""
        assert self.sink is not None
        counts, self.counts = self.counts, Counts()
        broken, self.broken = self.broken, []
        more, self.more_broken = self.more_broken, 0
        self.sink.counts = self.counts
        outcome = Outcome(self.source, self.what, self.sink.session_id, counts, broken, more, self.reason)
        if (self.what == "new" and counts.sessions) or self.what == "rewritten":
            # What comes next comes to a session that is there, and is told once.
            self.what, self.reason = "grown", None
        return outcome

    def note(self, what: str) -> None:
        """Something that is to be told of the source."""
        self.what, self.reason = "rewritten", what if self.reason is None else f"{self.reason}; {what}"

    def close(self) -> None:
        if self.keeping is not None:
            self.keeping.close()
        if isinstance(self.events, Generator):
            self.events.close()

    def report(self, broken: Broken | Rewritten) -> None:
        if isinstance(broken, Rewritten):
            self.what, self.reason = "rewritten", broken.reason
            return
        if broken == self._reported:
            # One line has become several events.
            return
        self._reported = broken
        if len(self.broken) < _BROKEN:
            # Lines were counted from where reading began.
            before = lines_before(self.source.path, self.start) if self.start and broken.line else 0
            self.broken.append(evolve(broken, line=broken.line + before))
        else:
            self.more_broken += 1

    @property
    def is_cut(self) -> bool:
        """Whether a file that is read from a place on has lost its end."""
        known = self.known
        are_lines = known is not None and all(path.endswith(_LINES) for path in (known.path, self.source.path))
        if known is None or not are_lines or self.source.size >= known.size:
            return False
        # Since it was found, it may have grown, and somebody else has read it.
        facts = file_facts(self.source.path)
        return facts is None or int(facts["size"]) < known.size

    def begin(self, is_as_kept: Callable[[StoredSource], bool]) -> Position | None:
        """Where reading goes on; None where there is nothing to be read. ``is_as_kept``: whether the file has what is
        kept of it. Raises OSError, SourceUnreadable."""
        known = self.known
        if known is None or not known.position:
            if self.is_cut:
                self.what, self.reason = "rewritten", _SHORTER
            # A database is read by what its rows say.
            return Position(0, self.state.get("reader", {}))
        # Where its file was away when it was to be summed up, nobody knows.
        found = checksum(self.source.path, known.position) if known.checksum else ""
        if found == known.checksum and self.is_cut:
            # What is left of its last round says less than what is here.
            self.what, self.reason = "rewritten", _SHORTER
            return None
        if found == known.checksum and is_as_kept(known):
            self.start = known.position
            return Position(known.position, self.state.get("reader", {}))
        self.what = "rewritten"
        how = "is shorter than" if found is None else "is another than"
        self.reason = (
            f"the file {how} what was read of it before; it was read again from its start, and nothing deleted"
        )
        self.known = evolve(known, size=0)
        return Position()


def state_of(known: StoredSource | None) -> dict[str, Any]:
    """What the reader, and the import, remember of a source."""
    return {} if known is None else decoded(known.state)


def decoded(stored: str) -> dict[str, Any]:
    """A state as it is stored; empty where it is damaged."""
    try:
        state = json.loads(stored)
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}
