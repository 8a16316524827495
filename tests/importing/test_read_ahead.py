"""What a process of its own reads ahead is what a single process reads: of an import that is worth one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands.running import run
from importing.importing import Place
from importing.transcripts import Claude, claude, codex, codex_item, codex_path, write_lines
from wire import SERVER

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2 or not Path("/proc/self").exists(),
    reason="there is one processor, or no way to allow one alone",
)

_COUNT = 24
_MUCH = "word " * 80_000
# What every import makes anew: the store's own id, and the ids and the time of the copies in a fork.
_MADE_ANEW = re.compile(r'"storeId":"[^"]*"|:1[89]\d{11}|:17[89]\d{10}|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}')
# Beyond what pickles take, within what Python's decoder does.
_DEEP = 300


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def _write_transcripts(home: Path) -> None:
    """More than 8 MiB: of each kind of thing that is said of a conversation."""
    for number in range(1, _COUNT + 1):
        talk = claude(home, _id(number))
        talk.ask(f"Hello {number} {_MUCH}")
        talk.call(f"call {number}", "m1")
        talk.answer(f"call {number}", "README.md")
        asked = talk.say("Done.", "m2")
        if number % 3 == 0:
            talk.ask("The first way?")
            talk.say("It is.", "m3")
            talk.ask("The second way?", parent=asked)
            talk.call("call b", "m4")
        if number % 4 == 0:
            talk.add("user", message={"role": "user", "content": 7})
        if number % 5 == 0:
            talk.ask("What is \ud83d half of a sign?")
        if number == 7:
            _nest(talk)
        talk.write(tail=b'{"broken\n\xff{}\n' if number % 6 == 0 else b"")
    write_lines(
        codex_path(home, _id(1)),
        [
            codex("session_meta", {"id": _id(1), "cwd": "/home/somebody", "timestamp": "2026-03-01T10:00:00.000Z"}),
            codex_item("user", "Hello", 1),
            codex_item("assistant", "Hi.", 2),
        ],
    )
    # A file that cannot be opened any more than read.
    (claude(home, _id(99)).path).symlink_to("/dev/zero")


def _nest(talk: Claude) -> None:
    nested: object = "deep"
    for _ in range(_DEEP):
        nested = [nested]
    talk.ask("Deep?")
    block = {"type": "tool_use", "id": "deep", "name": "Bash", "input": {"command": nested}}
    talk.block(block, "m9", stop="tool_use")


def _all(place: Place, name: str) -> str:
    text = run(place.workspace, "export", "--all", "--format", "jsonl", "--database", place.workspace / name).out
    return _MADE_ANEW.sub("", text)


def _command(place: Place, name: str) -> list[str]:
    return [*SERVER, "import", "--database", str(place.workspace / name)]


def test_it_brings_the_same_as_one_process(place: Place) -> None:
    _write_transcripts(place.home)
    with_another = place.bring(code=1)
    brought = _all(place, place.database.name)
    alone = subprocess.run(
        _command(place, "alone.sqlite"),
        cwd=place.workspace,
        env=place.environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    )
    told = alone.stdout.replace("alone.sqlite", place.database.name), alone.stderr
    assert (with_another.out, with_another.err, 1) == (*told, alone.returncode)
    assert brought.count("\n") > _COUNT * 4
    assert brought == _all(place, "alone.sqlite")
    assert place.is_sound()
    for each in place.sessions():
        if each.agent == "claude-code" and each.relation is None:
            written = place.workspace / f"{each.id}.jsonl"
            run(place.workspace, "restore-transcript", each.id, "--to", written, "--database", place.database)
            assert each.external_id is not None
            assert written.read_bytes() == claude(place.home, each.external_id).path.read_bytes()


def test_nothing_is_missing_where_the_other_process_ends(place: Place) -> None:
    _write_transcripts(place.home)
    with subprocess.Popen(
        _command(place, place.database.name), cwd=place.workspace, env=place.environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        other = _child_of(process.pid)
        os.kill(other, 9)
        _, err = process.communicate(timeout=120)
    assert b"Traceback" not in err
    assert process.returncode == 1
    assert len([each for each in place.sessions() if each.relation is None]) == _COUNT + 1
    assert place.is_sound()


def _child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.005)
    raise AssertionError(f"{sys.executable}: no other process was started")
