"""The stores of a server, opened on threads while the event loop looks at them."""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

from mandrake_sessions import SessionManager, open_stores
from mandrake_sessions.errors import StoreError
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.settings import Settings
from mandrake_sessions.store.sqlite import opening, pool
from mandrake_sessions.store_names import DEFAULT_STORE


@contextmanager
def before_each_line(module: str | None, look: Callable[[], None]) -> Iterator[None]:
    """Calls ``look`` wherever another thread could take its turn: before each line of the module's functions."""

    def lines(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            sys.settrace(None)
            try:
                look()
            finally:
                sys.settrace(calls)
        return lines

    def calls(frame: FrameType, _event: str, _: Any) -> Any:
        return lines if frame.f_code.co_filename == module else None

    before = sys.gettrace()
    sys.settrace(calls)
    try:
        yield
    finally:
        sys.settrace(before)


def test_a_store_that_was_used_is_open_or_has_failed_at_every_moment(tmp_path: Path) -> None:
    """Its file is replaced by one that cannot be opened, and put back. Who looked between two steps found neither, and
    told the client that all is well."""
    database = tmp_path / "db.sqlite"
    with SessionManager(database) as manager:
        manager.create_session()
    good, bad = tmp_path / "good", tmp_path / "bad"
    shutil.copyfile(database, good)
    bad.write_bytes(b"this is no database" * 1000)
    with closing(OpenStores(Settings(database=str(database)))) as stores:
        place = stores.places.place(DEFAULT_STORE)
        stores.open(place, make=False)
        seen: set[type] = set()

        def look() -> None:
            seen.add(type(stores.known()[place]))

        for each in (bad, good, bad, good):
            new = tmp_path / "new"
            shutil.copyfile(each, new)
            new.replace(database)
            with before_each_line(open_stores.__file__, look), suppress(StoreError):
                stores.open(place, make=False)
        assert SessionManager in seen
        assert any(issubclass(each, StoreError) for each in seen)
        assert type(None) not in seen


def is_deleted_before_line(module: ModuleType, database: Path, line: int) -> bool:
    """Opens a store to read it, and deletes it before that line of the module; False where it has fewer of them."""
    left = [database.unlink]
    lines = itertools.count(1)

    def look() -> None:
        if next(lines) == line:
            left.pop()()

    with closing(OpenStores(Settings(database=str(database)))) as stores:
        place = stores.places.place(DEFAULT_STORE)
        with before_each_line(module.__file__, look), suppress(StoreError):
            stores.open(place, make=False)
    return not left


@pytest.mark.parametrize("module", [pool, opening], ids=lambda module: module.__name__)
def test_a_file_that_goes_while_it_is_opened_to_be_read_is_not_made(tmp_path: Path, module: ModuleType) -> None:
    """However late it goes: a look at a store makes none."""
    database = tmp_path / "db.sqlite"
    with SessionManager(database) as manager:
        manager.create_session()
    kept = tmp_path / "kept"
    shutil.copyfile(database, kept)
    for line in itertools.count(1):
        shutil.copyfile(kept, database)
        if not is_deleted_before_line(module, database, line):
            break
        assert pool.open_databases() == []
        assert not database.exists(), f"it went before line {line} of the opening, and was made again"
    assert line > 10
