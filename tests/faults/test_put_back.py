"""A snapshot of the store's directory is put back while a server has the store open, in each way that files are put
back: what is acknowledged after that is in the file that everybody finds then."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from faults.mounts import mounted_over
from faults.snapshots import copied_while_used
from faults.test_moved_files import is_whole
from mandrake_sessions.client import RequestFailed
from strict import Talk, connected
from wire import store_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files that are open cannot be replaced there")


def tool(*command: str | Path) -> None:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def copied_by_rsync(snapshot: Path, home: Path, _: ExitStack) -> None:
    # What was written within the same second, and is as long, it would take for the same.
    tool("rsync", "-a", "--ignore-times", "--delete", f"{snapshot}/", f"{home}/")


def copied_with_its_times(snapshot: Path, home: Path, _: ExitStack) -> None:
    tool("cp", "-rp", "--remove-destination", f"{snapshot}/.", home)


def unpacked(snapshot: Path, home: Path, _: ExitStack) -> None:
    archive = snapshot.with_suffix(".tar")
    tool("tar", "-cf", archive, "-C", snapshot, ".")
    tool("tar", "-xpf", archive, "-C", home)


def renamed(snapshot: Path, home: Path, _: ExitStack) -> None:
    home.rename(home.with_name("before"))
    snapshot.rename(home)


def mounted(snapshot: Path, home: Path, stack: ExitStack) -> None:
    stack.enter_context(mounted_over(snapshot, home))


def linked(snapshot: Path, home: Path, _: ExitStack) -> None:
    """The name that the server was given is a link; it leads to another directory at once."""
    fresh = home.with_name("fresh")
    fresh.symlink_to(snapshot, target_is_directory=True)
    fresh.replace(home)


WAYS = [copied_by_rsync, copied_with_its_times, unpacked, renamed, mounted, linked]


@contextmanager
def home_of(workspace: Path, way: Callable[..., None]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The directory of the store, and the flags that name it."""
    if way is not linked:
        yield store_of(workspace).parent, ()
        return
    (workspace / "first").mkdir()
    home = workspace / "current"
    home.symlink_to("first", target_is_directory=True)
    yield home, ("--database", str(home / "db.sqlite"))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("servers", [1, 2])
def test_what_is_acknowledged_after_a_snapshot_was_put_back_is_in_it(
    workspace: Path, tmp_path: Path, way: Callable[[Path, Path, ExitStack], None], servers: int
) -> None:
    snapshot = tmp_path / "snapshot"
    with ExitStack() as mounts, home_of(workspace, way) as (home, flags):
        with ExitStack() as stack:
            clients = [stack.enter_context(connected(workspace, *flags)) for _ in range(servers)]
            turn = Talk(clients[0]).turn(detached=True)
            for client in clients:
                client.let_be("server/healthChanged")
                client.turn_append(turn_id=turn, content="old ")
            copied_while_used(home.resolve(), snapshot)
            shutil.rmtree(snapshot / "db.sqlite-run", ignore_errors=True)
            for client in clients:
                client.turn_append(turn_id=turn, content="lost ")
            # Long enough for the time of the directory to be believed.
            time.sleep(0.2)
            clients[-1].turn_append(turn_id=turn, content="lost ")
            way(snapshot, home, mounts)
            told: list[str] = []
            for number in range(10):
                for client in clients:
                    word = f"new{len(told)} "
                    error = client.submit("turn/append", {"turnId": turn, "content": word}).exception()
                    if error is None:
                        told.append(word)
                    else:
                        assert isinstance(error, RequestFailed)
                        assert error.kind == "storage", error
                time.sleep(0.1 * (number == 5))
            assert told
        assert is_whole(home / "db.sqlite")
        with connected(workspace, *flags) as reader:
            text = reader.turn_get(turn_id=turn).content or ""
            assert [word for word in told if word not in text] == []
            assert "lost" not in text


def test_a_directory_that_is_moved_away_for_a_while_and_back_goes_on(workspace: Path) -> None:
    """The same file, and the same processes: their turns were streaming all the time."""
    look = ("--lease-seconds", "0.4")
    home = store_of(workspace).parent
    with connected(workspace, *look) as agent, connected(workspace, *look) as other:
        for client in (agent, other):
            client.let_be("server/healthChanged")
        turn = Talk(agent).turn()
        agent.turn_append(turn_id=turn, content="a", chunk=0)
        other.turn_get(turn_id=turn)
        home.rename(workspace / "elsewhere")
        time.sleep(2)
        assert not home.exists()
        (workspace / "elsewhere").rename(home)
        time.sleep(2)
        assert other.turn_get(turn_id=turn).status == "streaming"
        agent.turn_append(turn_id=turn, content="b", chunk=1)
        got = other.turn_get(turn_id=turn)
        assert (got.content, got.status) == ("ab", "streaming")
    with connected(workspace) as later:
        assert later.turn_get(turn_id=turn).status == "interrupted"


def test_the_writer_of_a_turn_resumes_it_in_a_restored_snapshot(workspace: Path, tmp_path: Path) -> None:
    """In the snapshot it is a state of before, which nobody streams: so it is interrupted there, until it goes on."""
    with connected(workspace) as client:
        client.let_be("server/healthChanged")
        turn = Talk(client).turn()
        client.turn_append(turn_id=turn, content="a")
        copied_while_used(store_of(workspace).parent, tmp_path / "snapshot")
        client.turn_append(turn_id=turn, content="lost")
        time.sleep(0.2)
        with ExitStack() as nothing:
            copied_with_its_times(tmp_path / "snapshot", store_of(workspace).parent, nothing)
        assert client.turn_get(turn_id=turn).content == "a"
        client.turn_append(turn_id=turn, content="b")
        got = client.turn_get(turn_id=turn)
        assert (got.content, got.status) == ("ab", "streaming")
