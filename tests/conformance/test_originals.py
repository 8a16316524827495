"""The files that sessions were brought in from hang from their sessions, in every kind of store."""

from __future__ import annotations

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import NotFound, StorageFailure
from mandrake_sessions.ids import now_ms
from mandrake_sessions.operations.originals import BLOCK_BYTES, Block, Originals, packed

CONTENT = bytes(range(256)) * 1024


def keep(manager: SessionManager, session_id: str, content: bytes, name: str = "") -> int:
    originals = Originals(manager.store)
    file = originals.open(originals.session_pk(session_id), "claude-code", name, f"/somewhere/{name or 'x'}")
    starts = range(0, len(content), BLOCK_BYTES)
    originals.put(file, [packed(start, content[start : start + BLOCK_BYTES]) for start in starts])
    originals.close(file, "1:2", len(content), 3)
    return file


def kept(manager: SessionManager, session_id: str) -> dict[str, bytes]:
    originals = Originals(manager.store)
    return {each.name: b"".join(originals.pieces(each)) for each in originals.originals(session_id)}


def test_what_is_kept_comes_back(manager: SessionManager) -> None:
    session = manager.create_session().id
    keep(manager, session, CONTENT)
    keep(manager, session, b"{}", "x.meta.json")
    assert kept(manager, session) == {"": CONTENT, "x.meta.json": b"{}"}
    (main, beside) = Originals(manager.store).originals(session)
    assert (main.path, main.size, main.is_whole) == ("/somewhere/x", len(CONTENT), True)
    assert beside.name == "x.meta.json"


def test_the_last_block_is_written_again(manager: SessionManager) -> None:
    session = manager.create_session().id
    file = keep(manager, session, b"one")
    originals = Originals(manager.store)
    originals.put(file, [packed(0, b"one two")])
    assert kept(manager, session) == {"": b"one two"}
    last = originals.last_block(file)
    assert last is not None
    assert (last.start, last.size) == (0, 7)
    originals.cut(file)
    assert kept(manager, session) == {"": b""}


def test_a_fork_has_none_and_a_deletion_takes_them(manager: SessionManager) -> None:
    session = manager.create_session().id
    manager.create_round(session, content="?")
    keep(manager, session, CONTENT)
    assert kept(manager, manager.fork_session(session).id) == {}
    manager.delete_session(session)
    with pytest.raises(NotFound):
        kept(manager, session)


def test_they_are_a_part_of_what_prune_lists(manager: SessionManager) -> None:
    session = manager.create_session().id
    keep(manager, session, CONTENT)
    (listed,) = manager.untouched_sessions(now_ms() + 1000)
    assert 0 < listed.originals_bytes < len(CONTENT)
    assert listed.total_bytes >= listed.originals_bytes


@pytest.mark.parametrize(
    "block",
    [Block(3, 3, b"no zlib"), packed(4, b"gap"), Block(3, 2, packed(3, b"two").packed), Block(3, 9, b"")],
    ids=["no zlib", "gap", "size", "empty"],
)
def test_a_damaged_block_is_an_error_and_no_other_file(manager: SessionManager, block: Block) -> None:
    session = manager.create_session().id
    file = keep(manager, session, b"one")
    Originals(manager.store).put(file, [block])
    with pytest.raises(StorageFailure, match="what is kept of /somewhere/x is damaged"):
        kept(manager, session)


def test_a_block_that_holds_more_than_it_says_takes_no_memory(manager: SessionManager) -> None:
    session = manager.create_session().id
    file = keep(manager, session, b"")
    Originals(manager.store).put(file, [Block(0, 10, packed(0, bytes(50_000_000)).packed)])
    with pytest.raises(StorageFailure):
        kept(manager, session)
