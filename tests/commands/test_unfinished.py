"""Files that a command writes under another name until they are whole, and what killed commands leave of them."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from commands.running import TIMEOUT, end, fill, run, start, store_of
from importing.importing import Place
from importing.test_originals import ONE, restore, talk_of

Write = Callable[[Path], Any]


def exporting(tmp_path: Path, workspace: Path) -> tuple[Path, Write]:
    fill(store_of(workspace), "a talk")
    target = tmp_path / "out" / "talk.md"
    return target, lambda path: run(workspace, "export", "@1", "--output", path)


def restoring(tmp_path: Path, workspace: Path) -> tuple[Path, Write]:
    place = Place(tmp_path / "user", workspace)
    talk_of(place).write()
    place.bring()
    target = tmp_path / "out" / "talk.jsonl"
    return target, lambda path: restore(place, ONE, "--to", path)


def backing_up(tmp_path: Path, workspace: Path) -> tuple[Path, Write]:
    fill(store_of(workspace), "a talk")
    target = tmp_path / "out" / "saved.sqlite"
    return target, lambda path: run(workspace, "backup", path)


WRITERS = {
    "export": (exporting, ".talk.md."),
    "restore-transcript": (restoring, ".mandrake-sessions."),
    "backup": (backing_up, "db."),
}


@pytest.mark.parametrize("command", WRITERS)
def test_what_a_dead_writer_left_goes_and_all_else_stays(tmp_path: Path, workspace: Path, command: str) -> None:
    prepare, stem = WRITERS[command]
    target, write = prepare(tmp_path, workspace)
    directory = target.parent
    directory.mkdir()
    dead, alive, linked, other = (
        directory / f"{stem}{name}.partial" for name in ("0123456789ab", "ab0123456789", "cd0123456789", "mine")
    )
    mine = directory / "mine"
    mine.write_text("mine")
    for path in (dead, alive, other):
        path.write_text("half")
    dead.chmod(0o400)
    if command != "backup":
        linked.symlink_to(mine)
        other = directory / f"{stem}old.partial"
        other.write_text("mine")
    with alive.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        write(target)
        assert target.exists()
        assert not dead.exists()
        assert alive.read_text() == "half"
        assert mine.read_text() == "mine"
        if command != "backup":
            assert linked.is_symlink()
            assert other.read_text() == "mine"
    write(directory / f"again-{target.name}")
    if command != "export":
        # The files of an export are told from each other by what they become.
        assert not alive.exists()


def partials(directory: Path) -> set[Path]:
    return set(directory.glob(".talk.md.*.partial"))


def test_the_next_export_removes_what_a_killed_one_left_and_not_what_one_writes(workspace: Path) -> None:
    fill(store_of(workspace), "a talk", text=8_000_000)
    target = workspace / "talk.md"
    with stopped_export(workspace, target) as (killed, left):
        run(workspace, *exported(target))
        assert partials(workspace) == {left}
        whole = target.read_bytes()
        end(killed, signal.SIGKILL)
        assert partials(workspace) == {left}
    with stopped_export(workspace, target) as (slow, written):
        assert partials(workspace) == {written}
        run(workspace, *exported(target))
        os.kill(slow.pid, signal.SIGCONT)
        assert slow.wait(TIMEOUT) == 0
    assert partials(workspace) == set()
    assert target.read_bytes() == whole


def exported(target: Path) -> tuple[str | Path, ...]:
    return ("export", "@1", "--output", target)


@contextmanager
def stopped_export(workspace: Path, target: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """An export that is stopped while it writes, and the file that it writes to."""
    known = partials(workspace)
    process = start(workspace, *exported(target))
    try:
        deadline = time.monotonic() + TIMEOUT
        # One that is written to is held.
        while not (found := {each for each in partials(workspace) - known if each.stat().st_size}):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        yield process, found.pop()
    finally:
        process.kill()
        process.wait(TIMEOUT)
