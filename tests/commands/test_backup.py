"""``backup``: one whole file or none, while others write and however it ends."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from commands.running import (
    content,
    end,
    fill,
    foreign,
    is_first_numbers,
    is_whole,
    limit_files,
    mode,
    names,
    noise,
    run,
    run_program,
    sql,
    start,
    state,
    store_id,
    store_of,
    titles,
    writing,
)  # fmt: skip
from faults.mounts import switch
from figures import record
from wire import SERVER


def test_a_backup_is_one_whole_private_file_and_leaves_nothing_else(workspace: Path) -> None:
    database = store_of(workspace)
    fill(database, "one", "two")
    before = state(database.parent)
    done = run(workspace, "backup", "copy.sqlite")
    copy = workspace / "copy.sqlite"
    assert re.search(rf"→ {copy}: 2 sessions, [\d.]+ kB, verified", done.out)
    assert names(workspace) == [".git", ".ws", "copy.sqlite"]
    assert state(database.parent) == before
    assert mode(copy) == 0o600
    assert is_whole(copy)
    assert sql(copy, "PRAGMA journal_mode") == [("delete",)]
    assert names(workspace) == [".git", ".ws", "copy.sqlite"]
    assert sql(copy, "SELECT store_id FROM store") == [(store_id(database),)]


def test_a_directory_gets_a_file_named_after_the_time(workspace: Path) -> None:
    fill(store_of(workspace), "one")
    (workspace / "kept").mkdir()
    run(workspace, "backup", "kept")
    (name,) = names(workspace / "kept")
    assert re.fullmatch(r"db-\d{8}-\d{6}\.sqlite", name)


def test_the_users_own_store(workspace: Path) -> None:
    fill(workspace / "home" / ".mandrake" / "db.sqlite", "own")
    run(workspace, "backup", "--scope", "system", "copy.sqlite")
    assert titles(workspace / "copy.sqlite") == ["own"]


def taken(workspace: Path) -> None:
    fill(store_of(workspace), "one")
    (workspace / "copy.sqlite").write_text("precious")


def no_store(workspace: Path) -> None:
    pass


def others(workspace: Path) -> None:
    foreign(store_of(workspace))


def damaged(workspace: Path) -> None:
    fill(store_of(workspace), "one", text=100_000)
    for place in range(4096, store_of(workspace).stat().st_size, 4096):
        noise(store_of(workspace), place, 200)


def usual(workspace: Path) -> None:
    fill(store_of(workspace), "one")


def no_file(workspace: Path) -> None:
    usual(workspace)
    os.mkfifo(workspace / "pipe")


@pytest.mark.parametrize(
    ("prepare", "destination", "code", "complaint"),
    [
        (taken, "copy.sqlite", 2, "is there already; name another file, or replace it with --force"),
        (usual, ".ws/db.sqlite", 2, "is the store itself"),
        (usual, "nowhere/copy.sqlite", 2, "there is no directory"),
        (no_file, "pipe", 2, "that is no file"),
        (no_store, "copy.sqlite", 1, "there is no store at"),
        (others, "copy.sqlite", 1, "is no store of this program"),
        (damaged, "copy.sqlite", 1, "damaged"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line_and_leaves_nothing(
    workspace: Path, prepare: Callable[[Path], None], destination: str, code: int, complaint: str
) -> None:
    prepare(workspace)
    before = names(workspace)
    done = run(workspace, "backup", destination, code=code)
    assert complaint in done.err
    assert done.err.startswith("mandrake-sessions backup: ")
    assert done.err.count("\n") == 1
    assert names(workspace) == before


def odd_piece(database: Path) -> None:
    """Sound for SQLite, odd in what it says."""
    sql(database, "DROP TABLE text")


def odd_value(database: Path) -> None:
    sql(database, "UPDATE session SET metadata = '{' WHERE title = 'one'")


def odd_pages(database: Path) -> None:
    size = database.stat().st_size
    for place in range(size // 8192 * 4096, size, 4096):
        noise(database, place, 200)


def no_pages_left(database: Path) -> None:
    for place in range(4096, database.stat().st_size, 4096):
        noise(database, place, 4096)


@pytest.mark.parametrize("harm", [odd_value, odd_piece, odd_pages])
def test_a_store_in_which_something_is_wrong_is_copied_as_it_is_when_asked_for(
    workspace: Path, harm: Callable[[Path], None]
) -> None:
    """Else it is refused, in words that name the store and the way out."""
    database = store_of(workspace)
    fill(database, "one", "two", text=100_000)
    harm(database)
    told = run(workspace, "doctor", code=1).out
    refused = run(workspace, "backup", "copy.sqlite", code=1)
    assert refused.err.startswith(f"mandrake-sessions backup: {database} ")
    mends = "restore --database {} BACKUP" if harm is odd_pages else "doctor --fix --database {}"
    assert refused.err.endswith(f"(mandrake-sessions {mends.format(database)}), or copy it as it is with --as-is\n")
    assert ".partial" not in refused.err
    assert names(workspace) == [".git", ".ws"]
    copied = run(workspace, "backup", "--as-is", "copy.sqlite", code=1)
    assert "copied as it is, not verified" in copied.out
    listed = [line.removeprefix("- ") for line in copied.out.splitlines() if line.startswith("- ")]
    assert listed
    if harm in (odd_value, odd_piece):
        assert all(line in told for line in listed)
    assert not copied.err
    assert state(workspace)["copy.sqlite"]
    assert mode(workspace / "copy.sqlite") == 0o600
    last = copied.out.splitlines()[-1]
    if harm is odd_pages:
        # What doctor advises: --fix does not write to damaged tables.
        (advice,) = [line for line in told.splitlines() if line.startswith("- restore a backup")]
        assert last == f"The tables are damaged, and nothing mends them: {advice.removeprefix('- ')}"
    else:
        assert last.endswith(f": mandrake-sessions doctor --fix --database {workspace / 'copy.sqlite'}")
    # Nothing of it was put right on the way.
    assert run(workspace, "doctor", "--database", "copy.sqlite", code=1).out
    assert names(workspace) == [".git", ".ws", "copy.sqlite"]


def test_for_a_file_that_sqlite_cannot_copy_the_error_says_how_to_copy_it(workspace: Path) -> None:
    fill(store_of(workspace), "one", text=100_000)
    no_pages_left(store_of(workspace))
    done = run(workspace, "backup", "--as-is", "copy.sqlite", code=1)
    assert f"{store_of(workspace)} is damaged so that SQLite cannot copy it" in done.err
    assert "copy the file and its -wal by hand" in done.err
    assert names(workspace) == [".git", ".ws"]


def test_a_copy_that_was_made_as_it_is_can_be_mended_and_restored(workspace: Path) -> None:
    database = store_of(workspace)
    fill(database, "one", "two")
    odd_value(database)
    run(workspace, "backup", "--as-is", "copy.sqlite", code=1)
    refused = run(workspace, "restore", "copy.sqlite", code=1).err
    way_out = re.search(r"mandrake-sessions (doctor --fix --database \S+)", refused)
    assert way_out
    run(workspace, *way_out[1].split())
    run(workspace, "restore", "copy.sqlite")
    assert titles(database) == ["one", "two"]


def test_a_store_in_order_is_verified_however_it_was_to_be_copied(workspace: Path) -> None:
    fill(store_of(workspace), "one")
    assert "1 session," in (done := run(workspace, "backup", "--as-is", "copy.sqlite")).out
    assert done.out.endswith("verified\n")


def test_a_directory_that_takes_no_file_is_told_with_the_name_that_was_given(workspace: Path) -> None:
    fill(store_of(workspace), "one")
    closed = workspace / "closed"
    closed.mkdir()
    with switch(closed) as disk:
        disk.set(writable=False)
        told = run(workspace, "backup", "closed/copy.sqlite", code=2).err
    assert told.startswith(f"mandrake-sessions backup: DEST: {closed / 'copy.sqlite'} cannot be made: ")
    assert told.endswith("; name another place\n")
    assert names(closed) == []


def test_force_replaces_a_backup(workspace: Path) -> None:
    taken(workspace)
    run(workspace, "backup", "--force", "copy.sqlite")
    assert titles(workspace / "copy.sqlite") == ["one"]


def test_force_does_not_replace_a_device(workspace: Path) -> None:
    """Nothing but a file is taken away for a file: `--force /dev/null` as root would be everybody's loss."""
    no_file(workspace)
    assert "that is no file" in run(workspace, "backup", "--force", "pipe", code=2).err
    assert (workspace / "pipe").is_fifo()


def test_force_does_not_replace_a_store_in_use(workspace: Path) -> None:
    fill(store_of(workspace), "one")
    with writing(workspace / "other.sqlite"):
        assert "is in use" in run(workspace, "backup", "--force", "other.sqlite", code=2).err


def test_a_writer_never_makes_it_begin_anew(workspace: Path) -> None:
    """Each copy ends, is one moment of the store, and that no earlier than its beginning."""
    database = store_of(workspace)
    fill(database, *(f"{n}" for n in range(20)), text=1_000_000)
    with writing(database) as writer:
        for n in range(3):
            stored = writer.stored()
            run(workspace, "backup", f"{n}.sqlite")
            copied = content(workspace / f"{n}.sqlite", writer.turn)
            assert is_first_numbers(copied)
            assert copied.count(" ") >= stored


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_ended_at_any_moment_it_leaves_a_whole_file_or_none(workspace: Path, by: signal.Signals) -> None:
    database = store_of(workspace)
    fill(database, *(f"{n}" for n in range(20)), text=1_000_000)
    began = time.monotonic()
    run(workspace, "backup", "first.sqlite")
    usual_time = time.monotonic() - began
    chance = random.Random(by)
    made = 0
    for n in range(8):
        copy = workspace / f"{n}.sqlite"
        process = start(workspace, "backup", copy)
        time.sleep(chance.uniform(0.2, 1.1) * usual_time)
        code = end(process, by)
        if copy.exists():
            made += 1
            assert is_whole(copy)
        elif by == signal.SIGINT:
            # It may have been the interpreter's own start that was interrupted.
            assert code in (130, -signal.SIGINT, 1)
        if by == signal.SIGINT:
            assert not list(workspace.glob("*.partial*"))
    # Nobody cleans up after kill -9 but the next backup.
    run(workspace, "backup", "last.sqlite")
    assert not list(workspace.glob("*.partial*"))
    assert len(list(workspace.glob("*.sqlite"))) == made + 2
    assert is_whole(database)
    record("ended while it made a backup", ended=8, backups_whole=made)


def test_the_disk_that_is_full_is_named(workspace: Path) -> None:
    """That of the copy, and not that of the store."""
    fill(store_of(workspace), "one", text=5_000_000)
    small = workspace / "small"
    small.mkdir()
    mount = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    if not shutil.which("unshare"):
        pytest.skip("there are no mount namespaces here")
    done = run_program(workspace, "unshare", "--mount", "sh", "-c", mount, small, *SERVER, "backup", small)
    if not done.err.startswith("mandrake-sessions"):
        pytest.skip(f"nothing may be mounted here: {done.err}")
    assert done.code == 1
    assert f"no room for a copy in {small}" in done.err


def test_a_full_disk_leaves_nothing(workspace: Path) -> None:
    fill(store_of(workspace), "one", text=5_000_000)
    done = run_program(workspace, *SERVER, "backup", "copy.sqlite", preexec_fn=partial(limit_files, 1_000_000))
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert names(workspace) == [".git", ".ws"]


@pytest.mark.parametrize(
    ("spelling", "there"), [("plain", False), ("plain", True), ("dotted", True), ("linked", False), ("upper", True)]
)
@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal", "-run", ".replaced-1.backup", ".v1-1.backup"])
def test_names_that_the_store_uses_itself_are_refused(workspace: Path, suffix: str, spelling: str, there: bool) -> None:
    """A copy under such a name would be played into the store, or taken for one of its own."""
    database = store_of(workspace)
    fill(database, "one")
    own = Path(f"{database}{suffix}")
    if there:
        own.write_bytes(b"")
    (workspace / "link").symlink_to(database.parent)
    destination = {
        "plain": own,
        "dotted": database.parent / ".." / ".ws" / own.name,
        "linked": workspace / "link" / own.name,
        "upper": own.with_name(own.name.upper()),
    }[spelling]
    refused = run(workspace, "backup", "--force", destination, code=None)
    assert refused.code != 0
    assert own.name.casefold() in refused.err.casefold(), refused.err
    assert "name another file" in refused.err, refused.err
    assert not own.is_file() or not own.read_bytes().startswith(b"SQLite format 3")
    assert titles(database) == ["one"]
