"""What the command says of what it cannot look at, of what nobody knows, and when."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from importing.following import WITHOUT_INOTIFY, add_line, following, until
from importing.importing import Place
from importing.transcripts import claude, codex, codex_item, codex_path, write_lines
from wire import SERVER, TIMEOUT

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"
THREAD = "01a21705-b70c-7ec1-b748-b6ac50d90e32"


def talk_in(home: Path, session: str = ONE, project: str = "-home-somebody-project") -> Path:
    talk = claude(home, session)
    talk.ask("Hello")
    talk.say("Hi.", "msg_1")
    talk.path = talk.path.parent.with_name(project) / talk.path.name
    talk.write()
    return talk.path


@pytest.fixture
def bound() -> list[str]:
    """What runs a command as somebody whom the mode of a file binds."""
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user"]
    if shutil.which(prefix[0]) is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("nobody here is bound by the mode of a file")
    return prefix


@pytest.fixture
def closed() -> Iterator[list[Path]]:
    """Paths that nobody may read, until the test ends."""
    paths: list[Path] = []
    yield paths
    for path in paths:
        path.chmod(0o700)


def bring(place: Place, bound: list[str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [*bound, *SERVER, "import", "--database", str(place.database), *map(str, arguments)]
    environment = place.environment
    return subprocess.run(words, cwd=place.workspace, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False, timeout=TIMEOUT)  # fmt: skip


@pytest.mark.parametrize("named", [False, True])
def test_what_cannot_be_read_is_named_and_the_rest_comes(
    place: Place, bound: list[str], closed: list[Path], named: bool
) -> None:
    talk_in(place.home)
    directory = talk_in(place.home, TWO, "-closed").parent
    meta = codex("session_meta", {"id": THREAD, "timestamp": "2026-03-01T10:00:00Z", "cwd": "/x"})
    rollout = codex_path(place.home, THREAD)
    write_lines(rollout, [meta, codex_item("user", "Hello"), codex_item("assistant", "Hi.")])
    for path in (directory, rollout):
        path.chmod(0)
        closed.append(path)
    done = bring(place, bound, *([directory.parent, rollout] if named else []))
    assert done.returncode == 1
    for path in (directory, rollout):
        told = [line for line in done.stderr.splitlines() if line.startswith(f"{path}: ")]
        assert len(told) == 1, done.stderr
        assert "Permission denied" in told[0]
    assert [session.external_id for session in place.sessions()] == [ONE]
    for path in closed:
        path.chmod(0o700)
    assert bring(place, bound).returncode == 0
    assert len(place.sessions()) == 3


def test_what_somebody_named_and_has_nothing_is_told(place: Place, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    for name in ("notes.txt", "empty"):
        ended = place.bring(tmp_path / name, code=1)
        assert f"{tmp_path / name}: no " in ended.err
        assert "claude-code, codex" in ended.err
    ended = place.bring("codex")
    assert f"codex: nothing was found, in {place.home}/.codex/sessions and " in ended.err
    assert "did you mean codex?" in place.bring("codecs", code=2).err
    talk_in(place.home)
    place.bring()
    assert "nothing new" in place.bring().out


def test_many_broken_lines_are_few_words(place: Place) -> None:
    path = talk_in(place.home)
    with path.open("ab") as file:
        file.writelines(b"\xff{broken %d\n" % number for number in range(1000))
    told = place.bring(code=1).err.splitlines()
    assert len(told) < 10
    assert "more such lines" in told[-1]
    # Each line once, while its round goes on.
    assert [line for line in told if ":3:" in line]


def test_what_is_told_is_stored(place: Place) -> None:
    for number in range(300):
        talk_in(place.home, f"{number:08}-1111-4111-8111-111111111111")
    words = [*SERVER, "import", "--json", "--database", str(place.database)]
    environment = place.environment
    with subprocess.Popen(words, cwd=place.workspace, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = 0
        for line in process.stdout:
            told = json.loads(line)
            if told["type"] == "source":
                with closing(sqlite3.connect(f"file:{place.database}?mode=ro", uri=True)) as database:
                    query = "SELECT count(*) FROM session WHERE id = ? AND copying_lease IS NULL"
                    assert database.execute(query, (told["sessionId"],)).fetchone() == (1,)
                seen += 1
    assert (seen, process.returncode) == (300, 0)


def test_a_follower_tells_of_a_broken_line_once(place: Place) -> None:
    path = talk_in(place.home)
    with following(place) as follower:
        add_line(path, b"{broken\n")
        until(lambda: "is no JSON" in follower.errors.read_text())
        for number in range(3):
            talk = claude(place.home, ONE)
            talk.say(f"More {number}.", f"msg_more_{number}")
            add_line(path, talk.records[-1])
            until(lambda: any(f"More {number}." in str(turns) for _, turns in place.talk(ONE)))  # noqa: B023
        assert follower.errors.read_text().count("is no JSON") == 1


@pytest.mark.parametrize("program", [SERVER, WITHOUT_INOTIFY], ids=["inotify", "polling"])
def test_a_follower_takes_up_what_can_be_read_now(
    place: Place, bound: list[str], closed: list[Path], program: list[str]
) -> None:
    directory, path = talk_in(place.home, TWO, "-closed").parent, talk_in(place.home)
    for each in (directory, path):
        each.chmod(0)
        closed.append(each)
    with following(place, program=[*bound, *program]) as follower:
        until(lambda: follower.errors.read_text().count("Permission denied") == 2)
        assert place.sessions() == []
        for each in closed:
            each.chmod(0o700)
        until(lambda: {session.external_id for session in place.sessions()} == {ONE, TWO})
