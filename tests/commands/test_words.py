"""``maintenance`` speaks of its arguments and functions; the commands say the same in arguments and flags."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from commands.running import fill, sql
from mandrake_sessions.commands.words import in_command_words
from mandrake_sessions.errors import SessionsError
from mandrake_sessions.maintenance import back_up, check_up, repair, restore

OF_A_SHELL = re.compile(r"--[a-z]|mandrake-sessions |\bDEST\b|\bSRC\b")


@pytest.fixture
def store(tmp_path: Path) -> str:
    database = tmp_path / "a store.sqlite"
    fill(database, "one")
    return str(database)


def taken(store: str) -> None:
    back_up(store, f"{store}.copy")
    back_up(store, f"{store}.copy")


def odd_value(store: str) -> None:
    sql(Path(store), "UPDATE session SET metadata = '{'")
    back_up(store, f"{store}.copy")


def odd_backup(store: str) -> None:
    sql(Path(store), "UPDATE session SET metadata = '{'")
    back_up(store, f"{store}.copy", as_is=True)
    restore(f"{store}.copy", store)


def damage(store: str) -> None:
    """It is still a database, but its pages hold noise."""
    path = Path(store)
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes(range(256)) * ((len(whole) - 100) // 256))


def damaged(store: str) -> None:
    damage(store)
    back_up(store, f"{store}.copy")


def overwrite(store: str) -> None:
    Path(store).write_bytes(bytes(range(256)) * 40)


def no_database(store: str) -> None:
    overwrite(store)
    back_up(store, f"{store}.copy")


def no_backup(store: str) -> None:
    restore("/nowhere", store)


def itself(store: str) -> None:
    restore(store, store)


def no_directory(store: str) -> None:
    Path(f"{store}.file").write_bytes(b"")
    restore(store, f"{store}.file/db.sqlite")


@pytest.mark.parametrize(
    ("work", "python", "command"),
    [
        (taken, "destination: ", "DEST: "),
        (taken, "replace it with replace=True", "replace it with --force"),
        (odd_value, "Mend it (`maintenance.repair`)", "Mend it (mandrake-sessions doctor --fix --database '{}')"),
        (odd_value, "copy it as it is with as_is=True", "copy it as it is with --as-is"),
        (odd_backup, "mend it: `maintenance.repair`", "mend it: mandrake-sessions doctor --fix --database '{}.copy'"),
        (damaged, "(`maintenance.restore`)", "(mandrake-sessions restore --database '{}' BACKUP)"),
        (no_database, "name another file with db_path", "name another file with --database"),
        (no_backup, "source: there is no file", "SRC: there is no file"),
        (itself, "source: ", "SRC: "),
        (no_directory, "name another with database", "name another with --database"),
    ],
)
def test_errors(store: str, work: Callable[[str], None], python: str, command: str) -> None:
    with pytest.raises(SessionsError) as raised:
        work(store)
    assert python in str(raised.value)
    assert not OF_A_SHELL.search(str(raised.value))
    assert command.format(store) in in_command_words(raised.value)
    assert python not in in_command_words(raised.value)


@pytest.mark.parametrize(
    ("change", "advice"),
    [(None, None), (damage, "`maintenance.restore`"), (overwrite, "move it away")],
)
def test_findings_and_repairs(store: str, change: Callable[[str], None] | None, advice: str | None) -> None:
    if change is not None:
        change(store)
    found = check_up(store)
    texts = [text for finding in found for text in (finding.text, finding.advice) if text is not None]
    texts += [done.text for done in repair(store, found)]
    of_the_program = f"{found[0].text}"
    assert not [text for text in texts if text != of_the_program and OF_A_SHELL.search(text)]
    said = {words for words in ("`maintenance.restore`", "move it away") if any(words in text for text in texts)}
    assert said == (set() if advice is None else {advice})
