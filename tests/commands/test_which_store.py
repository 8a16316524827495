"""What commands say where the store that they look at is not there, or may not be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commands.running import Ended, fill, run, run_program, store_of
from faults.test_read_only import bound_by_modes
from wire import SERVER

OF_ONE_STORE = (["doctor"], ["backup", "copy.sqlite"], ["prune", "--older-than", "1d"], ["migrate"])
OWN = "or your own with --scope system"


def own_store(workspace: Path) -> Path:
    """The database of the user in whose home a test works."""
    return workspace / "home" / ".mandrake" / "db.sqlite"


@contextmanager
def unreadable(directory: Path) -> Iterator[None]:
    """Nobody may look into it, for the block."""
    directory.chmod(0)
    try:
        yield
    finally:
        directory.chmod(0o700)


def bound(workspace: Path, *arguments: str) -> Ended:
    """Run a command as somebody whom the mode of a directory binds."""
    ended = run_program(workspace, *bound_by_modes(), *SERVER, *arguments)
    assert "Traceback" not in ended.err, ended.err
    return ended


@pytest.mark.parametrize("command", OF_ONE_STORE, ids=lambda command: command[0])
def test_a_command_on_one_store_names_the_users_own(workspace: Path, command: list[str]) -> None:
    told = run(workspace, *command, code=None).err
    assert "there is no store at" in told
    assert OWN not in told
    fill(own_store(workspace), "one")
    ended = run(workspace, *command, code=None)
    assert ended.code
    assert OWN in ended.err
    # Whoever has named a store has not forgotten the flag.
    for flags in (["--workspace", "."], ["--database", "none.sqlite"]):
        assert OWN not in run(workspace, *command, *flags, code=None).err
    assert run(workspace, *command, "--scope", "system").code == 0


READING = (
    ["list"], ["show", "@last"], ["search", "x"], ["usage"], ["export", "--all"], ["list", "--all"], ["usage", "--all"],
)  # fmt: skip


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_store_that_may_not_be_looked_at_is_told_so_once(workspace: Path, command: list[str]) -> None:
    fill(store_of(workspace), "a talk")
    fill(own_store(workspace), "another")
    run(workspace, "list", "--scope", "system")
    with unreadable(own_store(workspace).parent):
        ended = bound(workspace, *command)
        told = ended.err
        assert ended.code == 1
        assert f"warning: {own_store(workspace)} cannot be looked at: Permission denied; " in told
        assert f"{own_store(workspace).parent} belongs to " in told
        assert told.count(str(own_store(workspace))) == 1
        if "--all" not in command:
            alone = bound(workspace, *command, "--scope", "system")
            assert alone.code == 1
            assert f"{own_store(workspace)} cannot be looked at: Permission denied" in alone.err
    assert run(workspace, *command).code == 0


def test_another_store_that_may_not_be_looked_at_is_not_taken_for_gone(workspace: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / ".git").mkdir(parents=True)
    run(theirs, "new", "a badger", MANDRAKE_HOME=str(own_store(workspace).parent))
    run(workspace, "new", "a talk")
    with unreadable(store_of(theirs).parent):
        ended = bound(workspace, "list", "--all")
        assert ended.code == 1
        assert f"{store_of(theirs)} cannot be read" in ended.err
        (line,) = [line for line in bound(workspace, "stores").out.splitlines() if str(store_of(theirs)) in line]
        assert "unreadable" in line
    assert run(workspace, "list", "--all").code == 0
