"""Where a server is started: what needs none of what is missing works, and the rest is an error that says what is."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from strict import connected
from wire import SERVER, TIMEOUT, Message, clean_environment, serving, store_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="directories in use cannot be deleted there")

CREATE: Message = {"jsonrpc": "2.0", "id": 2, "method": "session/create", "params": {"title": "x"}}
LIST: Message = {"jsonrpc": "2.0", "id": 3, "method": "session/list"}
SYSTEM: Message = {"jsonrpc": "2.0", "id": 4, "method": "session/create", "params": {"scope": "system"}}
ABOUT: list[Message] = [
    {"jsonrpc": "2.0", "id": 5, "method": "server/info"},
    {"jsonrpc": "2.0", "id": 6, "method": "server/health"},
]


def initialize(**params: Any) -> Message:
    given = {"processId": None, "rootUri": None, "capabilities": {}, **params}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": given}


def kinds_of(
    prepare: str, environment: dict[str, str], *messages: Message, flags: tuple[str, ...] = (), prefix: str = ""
) -> list[str]:
    """The kind of each answer, ``ok`` for a result, of a server that a shell starts after ``prepare``."""
    shell = f"{prepare}; exec {prefix} {shlex.join([*SERVER, 'serve', *flags])}"
    text = "".join(json.dumps(message) + "\n" for message in messages)
    done = subprocess.run(["sh", "-c", shell], input=text, env=environment, capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)  # fmt: skip
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    answers = sorted((m for m in map(json.loads, done.stdout.splitlines()) if "id" in m), key=lambda m: m["id"])
    for answer in answers:
        assert "error" not in answer or len(answer["error"]["message"]) > 20
    return [answer["error"]["data"]["kind"] if "error" in answer else "ok" for answer in answers]


def without(environment: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in names}


@pytest.mark.parametrize("place", ["deleted", "unsearchable"])
def test_without_a_working_directory_what_needs_none_works(workspace: Path, place: str) -> None:
    if place == "unsearchable" and os.geteuid() == 0:
        pytest.skip("root may search every directory")
    gone = workspace / "gone"
    end = f"rmdir {gone}" if place == "deleted" else f"chmod 000 {gone}"
    prepare = f"set -e; mkdir -p {gone}; cd {gone}; {end}"
    home = clean_environment(workspace)
    folder = initialize(workspaceFolders=[{"uri": workspace.as_uri(), "name": "w"}])
    assert kinds_of(prepare, home, folder, CREATE, LIST, *ABOUT) == ["ok"] * 5
    other = ("--database", str(workspace / "a.sqlite"))
    assert kinds_of(prepare, home, CREATE, LIST, *ABOUT, flags=other) == ["ok"] * 4
    assert kinds_of(prepare, home, CREATE, LIST, flags=("--workspace", str(workspace))) == ["ok"] * 2
    assert kinds_of(prepare, home | {"MANDRAKE_HOME": str(workspace / "home")}, SYSTEM, *ABOUT) == ["ok"] * 3
    assert kinds_of(prepare, home, CREATE, LIST, *ABOUT) == ["workspaceNotFound"] * 2 + ["ok"] * 2
    for relative in (("--workspace", "w"), ("--database", "w/x.sqlite")):
        kind = "workspaceNotFound" if relative[0] == "--workspace" else "storage"
        assert kinds_of(prepare, home, CREATE, LIST, *ABOUT, flags=relative) == [kind] * 2 + ["ok"] * 2
    relative_root = initialize(rootPath="w")
    assert kinds_of(prepare, home, relative_root, LIST)[1] == "workspaceNotFound"


def test_the_home_of_an_unknown_user_is_an_error(workspace: Path) -> None:
    home = clean_environment(workspace)
    for flag, kind in (("--database", "storage"), ("--workspace", "workspaceNotFound")):
        found = kinds_of(f"cd {workspace}", home, CREATE, LIST, *ABOUT, flags=(flag, "~nobody-of-this-name/x"))
        assert found == [kind] * 2 + ["ok"] * 2


def other_user() -> str:
    """What makes a command run as a user id without a name; skips where that cannot be."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    prefix = "setpriv --reuid 54321 --regid 54321 --clear-groups"
    able = subprocess.run([*shlex.split(prefix), sys.executable, "-c", ""], check=False, capture_output=True, cwd="/")
    if able.returncode:
        pytest.skip("another user cannot run this Python")
    return prefix


def test_a_user_without_a_name_and_a_home_has_workspaces(tmp_path: Path) -> None:
    prefix = other_user()
    directory = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    try:
        directory.chmod(0o777)
        homeless = without(clean_environment(directory), "HOME", "MANDRAKE_HOME")
        prepare = f"cd {directory}"
        assert kinds_of(prepare, homeless, CREATE, LIST, *ABOUT, prefix=prefix) == ["ok"] * 4
        assert kinds_of(prepare, homeless, SYSTEM, *ABOUT, prefix=prefix) == ["storage", "ok", "ok"]
        database = ("--database", str(directory / "b.sqlite"))
        assert kinds_of(prepare, homeless, CREATE, LIST, flags=database, prefix=prefix) == ["ok"] * 2
    finally:
        shutil.rmtree(directory)


def test_a_directory_that_may_not_be_searched_is_named_with_its_owner(tmp_path: Path) -> None:
    """By requests and by commands; whether there is a store in it cannot be told."""
    prefix = other_user()
    directory = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    try:
        directory.chmod(0o755)
        private = directory / "private"
        private.mkdir(mode=0o700)
        environment = clean_environment(directory)
        places = [("--workspace", private), ("--workspace", private / "w"), ("--database", private / "b.sqlite")]
        for flag, path in places:
            flags = (flag, str(path))
            # That server/health comes first matters: nothing has been opened then.
            found = kinds_of("cd /", environment, *ABOUT, CREATE, LIST, flags=flags, prefix=prefix)
            assert sorted(found) == ["ok", "ok", "storage", "storage"], flags
            for command in (
                ["doctor"],
                ["backup", "/tmp/never"],
                ["migrate", "--check"],
                ["prune", "--older-than", "1d"],
            ):
                done = subprocess.run([*shlex.split(prefix), *SERVER, *command, *flags], cwd="/", env=environment,
                                      capture_output=True, text=True, check=False)  # fmt: skip
                assert "Permission denied" in done.stderr, (command, done.stderr)
                assert f"{private} belongs to root" in done.stderr
    finally:
        shutil.rmtree(directory)


@pytest.mark.parametrize("name", ["n" * 300, "n/" * 3000], ids=["one long name", "a long path"])
@pytest.mark.parametrize("flag", ["--database", "--workspace"])
def test_a_path_that_is_too_long_is_an_error_about_it(workspace: Path, flag: str, name: str) -> None:
    found = kinds_of(f"cd {workspace}", clean_environment(workspace), *ABOUT, CREATE, LIST,
                     flags=(flag, str(workspace / name)))  # fmt: skip
    assert sorted(found) == ["ok", "ok", "storage", "storage"]


@pytest.mark.parametrize("home", ["", "relative"])
def test_a_home_that_is_no_absolute_path_is_none(workspace: Path, home: str) -> None:
    environment = clean_environment(workspace) | {"HOME": home}
    environment.pop("MANDRAKE_HOME", None)
    assert kinds_of(f"cd {workspace}", environment, CREATE, SYSTEM) == ["ok", "storage"]
    assert not Path("/.mandrake").exists()
    assert not (workspace / "relative").exists()


def test_a_system_without_a_directory_for_temporary_files_reads_what_is_short(workspace: Path) -> None:
    """As in a container whose own file system may only be read."""
    mount = "for d in /tmp /var/tmp; do mount -t tmpfs -o ro none $d || exit 99; done; cd / &&"
    directory = Path(__file__).parent / f"without-temporary-{os.getpid()}"
    command = f"{mount} exec {shlex.join([*SERVER, 'serve', '--database', str(directory / 'a.sqlite')])}"
    messages = "".join(json.dumps(message) + "\n" for message in (CREATE, LIST, *ABOUT))
    try:
        done = subprocess.run(["unshare", "-m", "sh", "-c", command], input=messages, capture_output=True, text=True,
                              env=clean_environment(workspace), timeout=TIMEOUT, check=False)  # fmt: skip
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if not done.stdout and done.returncode:
        pytest.skip(f"nothing may be mounted here: {done.stderr}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(answer["id"] for answer in answers if "id" in answer) == [2, 3, 5, 6]
    assert not [answer for answer in answers if "error" in answer], answers


@pytest.mark.parametrize("files", [6, 7])
def test_a_process_that_may_open_hardly_a_file_says_so(workspace: Path, files: int) -> None:
    command = f"ulimit -n {files}; exec {shlex.join([*SERVER, 'serve'])}"
    done = subprocess.run(["sh", "-c", command], input="", env=clean_environment(workspace), capture_output=True,
                          text=True, timeout=TIMEOUT, check=False, cwd=workspace)  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.splitlines() == [
        "mandrake-sessions serve: Too many open files; raise the limit of open files (ulimit -n)"
    ]


def test_a_path_that_is_not_utf_8_is_a_workspace(tmp_path: Path) -> None:
    directory = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        directory.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    uri = "file://" + quote_from_bytes(os.fsencode(directory))
    with connected(tmp_path) as client:
        client.initialize(workspaceFolders=[{"uri": uri, "name": "w"}])
        client.session_create(title="here")
        assert [session.title for session in client.session_list(where={"workspace": uri}).sessions] == ["here"]
        told = client.server_info()
        assert told.workspace == f"{tmp_path}/caf\\xe9"
        assert client.server_health().status == "ok"
    assert store_of(directory).exists()
    for flags in (("--workspace", str(directory)), ("--database", str(directory / "x.sqlite"))):
        with connected(tmp_path, *flags) as client:
            client.session_create()
            # What goes out is UTF-8, which every reader of JSON takes.
            assert "\udce9" not in json.dumps(client.request("server/info"), ensure_ascii=False)


@pytest.mark.parametrize("kind", ["directory", "fifo", "null", "full", "loop", "below a loop", "below a file"])
def test_a_path_that_is_not_a_file_is_rejected(workspace: Path, kind: str) -> None:
    """Each request is told what it is, nothing waits, and nothing is made beside it."""
    path = workspace / "named"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind in ("null", "full"):
        path.symlink_to(f"/dev/{kind}")
    elif kind == "below a file":
        path.touch()
    else:
        path.symlink_to(workspace / "other")
        (workspace / "other").symlink_to(path)
    before = sorted(workspace.rglob("*"))
    named = path / "x.sqlite" if kind.startswith("below") else path
    with connected(workspace, "--database", str(named)) as client:
        client.let_be("server/healthChanged")
        # A directory that is a file has no store in it, as one that is not there: reads find nothing.
        for method in ["session/create"] if kind == "below a file" else ["session/list", "session/create"]:
            error = client.error(method)
            assert error.kind == "storage"
            assert str(path if kind.startswith("below") else os.path.realpath(path)) in str(error)
    assert sorted(workspace.rglob("*")) == before


def test_a_hangup_that_was_ignored_at_the_start_ends_nothing(workspace: Path) -> None:
    """As under nohup."""
    with serving(workspace, command=("nohup", *SERVER, "serve")) as wire:
        wire.request("session/create")
        wire.process.send_signal(signal.SIGHUP)
        assert wire.request("session/list")["sessions"]
        time.sleep(0.3)
        assert wire.process.poll() is None
