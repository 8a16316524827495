"""What root does in the store of another user: it stays its owner's."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strict import StrictSyncClient, Talk, connected
from wire import SERVER, TIMEOUT, clean_environment

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no root")

USER = 54321
LOOK = ("--lease-seconds", "0.4")


def other_user() -> str:
    """What makes a command run as another user; skips where that cannot be."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    prefix = f"setpriv --reuid {USER} --regid {USER} --clear-groups"
    able = subprocess.run([*shlex.split(prefix), sys.executable, "-c", "import mandrake_sessions"], check=False,
                          capture_output=True, cwd="/")  # fmt: skip
    if able.returncode:
        pytest.skip("another user cannot run this Python")
    return prefix


@pytest.fixture
def place() -> Iterator[Path]:
    """A workspace of the other user, where that one may go."""
    other_user()
    directory = Path(tempfile.mkdtemp())
    try:
        (directory / ".git").mkdir()
        for path in (directory, directory / ".git"):
            os.chown(path, USER, USER)
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def serving_user(place: Path) -> Iterator[StrictSyncClient]:
    command = (*shlex.split(other_user()), *SERVER, "serve")
    with connected(place, *LOOK, command=command) as client:
        client.let_be("server/healthChanged")
        yield client


def run(place: Path, *arguments: str | Path, as_user: bool) -> subprocess.CompletedProcess[str]:
    prefix = shlex.split(other_user()) if as_user else []
    command = [*prefix, *SERVER, *map(str, arguments)]
    return subprocess.run(command, cwd=place, env=clean_environment(place), capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)  # fmt: skip


def owners(place: Path) -> set[int]:
    return {path.stat().st_uid for path in (place / ".ws", *(place / ".ws").rglob("*"))}


@pytest.mark.parametrize("first", ["root", "user"])
def test_a_turn_of_a_server_of_root_that_was_killed_is_interrupted_by_the_owners(place: Path, first: str) -> None:
    if first == "user":
        with serving_user(place) as client:
            Talk(client).turn(content="before", status="completed")
    with connected(place, *LOOK) as root:
        turn = Talk(root).turn(content="of root")
        with serving_user(place) as client:
            Talk(client).turn(content="beside root", status="completed")
            assert client.turn_get(turn_id=turn).status == "streaming"
            assert owners(place) == {USER}
            root.kill()
            client.wait_until(lambda: client.turn_get(turn_id=turn).status == "interrupted", "interrupted")
            assert client.server_health().status == "ok"
    assert owners(place) == {USER}
    assert run(place, "doctor", as_user=True).returncode == 0


@pytest.mark.parametrize("command", [["restore", "saved.sqlite"], ["doctor", "--fix"], ["migrate"]], ids=" ".join)
def test_what_root_does_to_a_store_leaves_it_its_owners(place: Path, command: list[str]) -> None:
    with serving_user(place) as client:
        client.session_create(title="mine")
    assert run(place, "backup", "saved.sqlite", as_user=True).returncode == 0
    mode = (place / ".ws" / "db.sqlite").stat().st_mode
    done = run(place, *command, as_user=False)
    assert done.returncode == 0, done.stderr
    assert owners(place) == {USER}
    assert (place / ".ws" / "db.sqlite").stat().st_mode == mode
    with serving_user(place) as client:
        assert [session.title for session in client.session_list().sessions] == ["mine"]
        client.session_create(title="after")


def test_a_store_in_a_directory_that_may_not_be_listed_is_used(place: Path) -> None:
    """To enter it and to write there is enough: locks on the directory itself are not to be had then."""
    with serving_user(place) as client:
        made = client.session_create(title="before").id
    (place / ".ws").chmod(0o300)
    try:
        with serving_user(place) as client:
            assert [one.id for one in client.session_list().sessions] == [made]
            assert client.session_update(session_id=made, title="after").title == "after"
    finally:
        (place / ".ws").chmod(0o700)
