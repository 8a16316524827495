"""Stays after an import: what programs write appears in the store as their files grow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from attrs import define

from mandrake_sessions.errors import Busy, StoreError, StoreMoved
from mandrake_sessions.importing.elsewhere import OtherStores
from mandrake_sessions.importing.importer import Importer
from mandrake_sessions.importing.one_reading import Outcome
from mandrake_sessions.importing.reading import REST_SECONDS, Reader, Source
from mandrake_sessions.importing.watching import Watching
from mandrake_sessions.operations.housekeeping import Housekeeper

T = TypeVar("T")

# A reading that has waited for long enough is ended so much later.
_AFTER_REST: Final = 1.0
# What a lock kept from the store is tried again after so long.
_AGAIN_SECONDS: Final = 0.1
# A file that belongs to a new one may come a moment after it.
_BESIDE_SECONDS: Final = 0.1
# After so long without a write the search index is filled.
_INDEX_SECONDS: Final = 0.3
# While the store is not written to, its idle tasks have a turn this often, and less and less.
_HOUSE_SECONDS: Final = (5.0, 300.0)
# Files that grow all the time leave others half of a processor, at least.
_LONGEST_BREATH: Final = 0.05


@define
class Root:
    """A directory, or a file, of which something is brought in, by one of these readers."""

    path: str
    readers: list[Reader]

    def has(self, path: str) -> bool:
        return path == self.path or path.startswith(self.path.rstrip(os.sep) + os.sep)


def roots_of(readers: Iterable[Reader], sources: Iterable[Source], home: str, env: Mapping[str, str]) -> list[Root]:
    """Where programs keep conversations, as their readers name it, or the files that there are now."""
    found: list[Root] = []
    of_reader: dict[str, set[str]] = {}
    for source in sources:
        of_reader.setdefault(source.reader, set()).add(source.path)
    for reader in readers:
        places = getattr(reader, "places", None)
        paths = of_reader.get(reader.name, set()) if places is None else places(home, env)
        found += [Root(path, [reader]) for path in sorted(paths)]
    return found


class Follower:
    """``run`` ends only by an error, such as that the store is another one: it raises what the importer raises.
    ``fill_index``: makes searchable what was written, or a part of it; ``house``: the store's idle tasks; ``tell`` is
    given what became of each source."""

    def __init__(
        self,
        importer: Importer,
        roots: list[Root],
        watching: Watching,
        elsewhere: OtherStores,
        fill_index: Callable[[], object],
        house: Housekeeper,
        tell: Callable[[Outcome], None],
    ) -> None:
        self._importer = importer
        self._roots = roots
        self._watching = watching
        self._elsewhere = elsewhere
        self._fill_index = fill_index
        self._house = house
        self._tell = tell
        # Paths to be looked at, and when; and those to be looked at once more when nobody has written for long: what
        # their last words are is known then.
        self._due: dict[str, float] = {}
        self._settled_at: dict[str, float] = {}
        self._rest_at: float | None = None
        self._index_at: float | None = None
        self._house_pause = _HOUSE_SECONDS[0]
        self._house_at = time.monotonic() + self._house_pause

    def run(self, first: Iterable[str] = ()) -> None:
        """``first``: paths that may have changed since they were looked at."""
        self._due.update(dict.fromkeys(first, 0.0))
        self._plan_rest()
        while True:
            now = time.monotonic()
            for path in self._watching.wait(max(0.0, self._next() - now)):
                self._due.setdefault(path, 0.0)
            began = time.monotonic()
            self._work(began)
            took = time.monotonic() - began
            if self._due and took > 0.001:
                # More may come meanwhile, and is read together.
                time.sleep(min(took, _LONGEST_BREATH))

    def _next(self) -> float:
        times = [self._house_at, *self._due.values(), *self._settled_at.values()]
        return min(times + [each for each in (self._rest_at, self._index_at) if each is not None])

    def _work(self, now: float) -> None:
        self._patiently(self._importer.check_store)
        for times in (self._due, self._settled_at):
            for path in [path for path, at in times.items() if at <= now]:
                del times[path]
                self._look_at(path)
        if self._rest_at is not None and self._rest_at <= now:
            self._rest()
        if self._index_at is not None and self._index_at <= now:
            self._index_at = None
            self._patiently(self._fill_index)
        if self._house_at <= now:
            self._keep_house(now)

    def _look_at(self, path: str) -> None:
        wanted = path.removesuffix("-wal")
        for root in self._roots:
            if root.has(wanted):
                for reader in root.readers:
                    if (forget := getattr(reader, "forget", None)) is not None:
                        forget()
                    for source in reader.sources_at(wanted):
                        self._follow(path, source)

    def _follow(self, path: str, source: Source) -> None:
        try:
            if self._waits_for_others(path, source):
                return
            outcome = self._importer.follow(source)
            self._importer.finish()
        except (Busy, StoreMoved):
            self._due[path] = time.monotonic() + _AGAIN_SECONDS
            return
        if outcome.what not in ("unchanged", "deleted", "live"):
            self._wrote()
            self._settled_at[path] = time.monotonic() + REST_SECONDS + _AFTER_REST
        self._tell(outcome)

    def _waits_for_others(self, path: str, source: Source) -> bool:
        """Whether a new source waits a moment for what belongs to it. One that was recorded elsewhere is known then."""
        if not self._importer.look(source).is_unknown:
            return False
        is_alone = any(not os.path.exists(beside) for beside in source.beside or ())  # noqa: PTH110
        if is_alone and time.time_ns() - source.mtime_ns < _BESIDE_SECONDS * 1e9:
            self._due[path] = time.monotonic() + _BESIDE_SECONDS
            return True
        self._elsewhere.look()
        return False

    def _wrote(self) -> None:
        now = time.monotonic()
        self._plan_rest()
        self._index_at = now + _INDEX_SECONDS
        self._house_pause = _HOUSE_SECONDS[0]
        self._house_at = min(self._house_at, now + self._house_pause)

    def _plan_rest(self) -> None:
        at = self._importer.rests_at
        self._rest_at = None if at is None else at + _AFTER_REST

    def _rest(self) -> None:
        for outcome in self._patiently(self._importer.rest) or ():
            self._tell(outcome)
        self._patiently(self._importer.finish)
        self._plan_rest()

    def _keep_house(self, now: float) -> None:
        pause = self._patiently(lambda: self._house.step(wait=False))
        if pause is not None and pause >= _HOUSE_SECONDS[0]:
            self._house_pause = pause = min(self._house_pause * 2, _HOUSE_SECONDS[1])
        self._house_at = now + (_HOUSE_SECONDS[0] if pause is None else pause)

    def _patiently(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except StoreError:
            # It is tried again; what a write fails with is told by the write.
            return None
