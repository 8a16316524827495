"""Our own JSON lines: what was exported comes back as it was."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from commands.running import run
from importing.importing import Place
from importing.test_hostile import odd
from importing.transcripts import write_lines
from mandrake_sessions import SessionManager
from mandrake_sessions.model import Origin, ResponseStatus, TurnStatus

# What says of which store a line is, and when it was written.
OF_THE_STORE = ("storeId", "seq", "program", "chunkCount")


def fill(database: Path, long: int = 80_000) -> list[str]:
    with SessionManager(database) as manager:
        session = manager.create_session(
            title="A talk", agent="codex", external_id="one", cwd="/x", metadata={"n": 2**70}
        )
        for number in range(3):
            detail = manager.create_round(session.id, content="?" * (4 * long if number else 1), blocks=[number],
                                          origin=Origin.USER if number else Origin.AGENT)  # fmt: skip
            turn = manager.create_turn(detail.response.id, content="long " * long, raw_response="raw",
                                       tool_calls=[{"id": "a", "arguments": {"x": 1.0}}, {"id": "b"}])  # fmt: skip
            manager.append_turn(turn.id, content="more")
            manager.update_turn(turn.id, status=TurnStatus.ERROR, error="no", output_tokens=7, cost=0.125)
            manager.update_response(detail.response.id, status=ResponseStatus.ERROR, usage={"input_tokens": 9})
            if number == 1:
                manager.delete_round(detail.round.id)
        fork = manager.fork_session(session.id)
        manager.update_session(session.id, archived=True)
    return [session.id, fork.id]


def exported(place: Place, database: Path, session: str) -> list[dict[str, Any]]:
    out = run(place.workspace, "export", session, "--format", "jsonl", "--database", database).out
    lines = [json.loads(line) for line in out.splitlines()]
    return [{name: value for name, value in line.items() if name not in OF_THE_STORE} for line in lines]


def test_what_was_exported_comes_back_as_it_was(place: Place) -> None:
    first = place.workspace / "first.sqlite"
    directory = place.workspace / "out"
    directory.mkdir()
    for number, session in enumerate(fill(first)):
        target = directory / f"{number}.jsonl"
        run(place.workspace, "export", session, "--output", target, "--database", first)
    place.bring(directory)
    with SessionManager(first) as manager:
        before = {session.id: session for session in manager.list_sessions(archived=None).sessions}
    assert {session.id for session in place.sessions()} == set(before)
    for session in before:
        assert exported(place, place.database, session) == exported(place, first, session)
    assert place.is_sound()
    assert "2 brought in before" in place.bring(directory).out


@pytest.mark.parametrize("how", ["cut", "ids of another"])
def test_a_file_that_is_not_whole_or_takes_another_s_ids_is_named(place: Place, how: str) -> None:
    first = place.workspace / "first.sqlite"
    session, _ = fill(first)
    target = place.workspace / "one.jsonl"
    run(place.workspace, "export", session, "--output", target, "--database", first)
    lines = target.read_text(encoding="utf-8").splitlines(keepends=True)
    if how == "cut":
        target.write_text("".join(lines[:-1]), encoding="utf-8")
        assert "was not brought in: its last line, of type end, is missing" in place.bring(target, code=1).err
        assert place.sessions() == []
    else:
        place.bring(target)
        other = json.loads(lines[1]) | {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "externalId": "two"}
        target.write_text("".join([lines[0], json.dumps(other) + "\n", *lines[2:]]), encoding="utf-8")
        assert "another session has the" in place.bring(target, code=1).err
        assert len(place.sessions()) == 1
    assert place.is_sound()


def test_any_value_in_any_place_does_no_harm(place: Place) -> None:
    chance = random.Random(11)
    first = place.workspace / "first.sqlite"
    session = fill(first, long=10)[0]
    target = place.workspace / "one.jsonl"
    run(place.workspace, "export", session, "--output", target, "--database", first)
    lines = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    directory = place.workspace / "odd"
    for number in range(80):
        made = [lines[0], *(odd(line, chance) for line in lines[1:-1]), lines[-1]]
        write_lines(directory / f"{number}.jsonl", made)
    told = place.bring(directory, code=1).err
    assert "sqlite" not in told.lower().replace(str(place.workspace).lower(), "")
    assert place.is_sound()
