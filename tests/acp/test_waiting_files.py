"""The files in which events wait: whole lines alone, whatever the disk takes, read in pieces of any size."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mandrake_sessions.acp.events import Said
from mandrake_sessions.acp.waiting_files import Entry, WaitingFile, make_waiting_file
from mandrake_sessions.ids import new_id

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the recorder needs pipes as Unix has them")

_ROOM = 10**9


@pytest.fixture
def file(tmp_path: Path) -> Iterator[WaitingFile]:
    made = make_waiting_file(str(tmp_path / "db.sqlite"))
    yield made
    made.remove()


def said(text: str) -> Entry:
    return Entry(Said("s", new_id(), new_id(), "message", text, 1, {}), 0, len(text))


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A write over it takes a part, as on a disk that is nearly full, and the next one fails."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def read_all(file: WaitingFile, most: int) -> list[object]:
    found: list[object] = []
    while not file.is_read:
        entries, end = file.read(most)
        assert end > file.position
        found += [each.event for each in entries]
        file.position = end
    return found


@pytest.mark.parametrize("room", [0, 1, 100, 5000])
def test_a_line_that_the_disk_takes_in_part_is_not_there(file: WaitingFile, room: int) -> None:
    entries = [said("one"), said("x" * 10_000), said("two")]
    assert file.write(entries[0], _ROOM)
    with files_of_at_most(file.size + room):
        assert not file.write(entries[1], _ROOM)
    assert Path(file.path).stat().st_size == file.size
    assert file.write(entries[2], _ROOM)
    assert read_all(file, 1 << 20) == [entries[0].event, entries[2].event]


@pytest.mark.parametrize("most", [1, 300, 5000, 1 << 20])
def test_it_is_read_in_pieces_of_any_size(file: WaitingFile, most: int) -> None:
    entries = [said("é" * (number**3)) for number in range(30)]
    assert all(file.write(each, _ROOM) for each in entries)
    assert read_all(file, most) == [each.event for each in entries]


def test_a_file_that_became_shorter_ends(file: WaitingFile) -> None:
    assert file.write(said("one"), _ROOM)
    Path(file.path).write_bytes(b"")
    assert read_all(file, 100) == []
