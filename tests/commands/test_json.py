"""``--json`` of every command that prints: objects in ASCII, one a line, under the names of the wire."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from commands.running import Ended, run, store_of
from commands.test_reading import rows
from commands.test_terminal import on_a_terminal
from commands.test_writing import rounds
from importing.transcripts import claude
from mandrake_sessions.commands import COMMANDS
from mandrake_sessions.model import HistoryRound

# What these print is no report: what an agent says, a script for a shell, a result of the protocol, a picture, the
# protocol itself.
OTHERWISE = {"acp", "completion", "call", "demo", "serve"}
# It does not end by itself; tests/commands/test_writing.py reads what it prints.
ENDLESS = {"tail"}


def only(ended: Ended) -> dict[str, object]:
    (row,) = rows(ended)
    return dict(row)


def test_every_command_speaks_json(workspace: Path) -> None:
    done: set[str] = set()

    def told(command: str, *arguments: str, code: int = 0) -> dict[str, object]:
        done.add(command)
        return only(run(workspace, command, *arguments, "--json", code=code))

    made = told("new", "né 中文")
    session = str(made["id"])
    assert made["title"] == "né 中文"
    assert made["cwd"] == str(workspace)
    copy = told("fork", session)
    assert (copy["parentId"], copy["relation"]) == (session, "fork")
    assert told("rename", str(copy["id"]), "a copy")["title"] == "a copy"
    assert told("archive", "a copy")["archivedAt"] is not None
    assert told("unarchive", "a copy")["archivedAt"] is None
    assert told("delete", "a copy") == {"sessionId": copy["id"], "title": "a copy", "deleted": True}
    _check_ids(workspace, told("append", "--session", session, "--prompt", "Is it?"), session)
    assert told("list")["id"] == session
    assert {row["type"] for row in rows(run(workspace, "show", session, "--json"))} >= {"session", "round"}
    assert told("search", "中文")["field"] == "title"
    assert told("usage")["rounds"] == 1
    assert told("stores")["path"] == str(store_of(workspace))
    assert told("path")["path"] == str(store_of(workspace))
    exported = told("export", session, "--output", "made.md")
    assert exported == {
        "sessionId": session, "path": str(workspace / "made.md"), "format": "markdown", "replaced": exported["replaced"]
    }  # fmt: skip
    backup = told("backup", "copy.sqlite")
    assert (backup["path"], backup["sessions"], backup["verified"]) == (str(workspace / "copy.sqlite"), 1, True)
    restored = told("restore", "copy.sqlite")
    assert (restored["path"], restored["sessions"]) == (str(store_of(workspace)), 1)
    assert Path(str(restored["previous"])).exists()
    assert told("migrate", "--check") == told("migrate")
    assert told("doctor")["repairs"] == []
    assert told("prune", "--older-than", "1m")["sessions"] == []
    assert told("backup", "rows.sqlite", "--salvage")["gaps"] == 0
    talk = claude(workspace / "home", "11111111-1111-4111-8111-111111111111")
    talk.ask("What?")
    talk.write()
    brought = [line["type"] for line in rows(run(workspace, "import", "--workspace", ".", "--json"))]
    assert brought == ["source", "end"]
    written = told("restore-transcript", talk.session, "--to", ".")
    assert (written["path"], written["isWhole"]) == (str(workspace / talk.path.name), True)
    assert done | ENDLESS | OTHERWISE | {"import", "record", "show"} == set(COMMANDS)


def _check_ids(workspace: Path, told: dict[str, object], session: str) -> None:
    (each,) = rounds(workspace, session)
    assert told == {"sessionId": session, "roundId": each.id, "turnId": each.response.turns[-1].id}


def test_record_tells_the_ids_on_its_last_line(workspace: Path) -> None:
    """Stdout is the program's."""
    program = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    ended = run(workspace, "record", "--json", "--", sys.executable, "-c", program, code=3)
    assert ended.out == "out\n"
    first, last = ended.err.splitlines()
    told = json.loads(last)
    each: HistoryRound
    (each,) = rounds(workspace, told["sessionId"])
    assert first == "err"
    assert (told["roundId"], told["exitCode"]) == (each.id, 3)
    assert told["turnIds"] == [turn.id for turn in each.response.turns]
    assert len(told["turnIds"]) == 2


def test_nothing_is_no_json(workspace: Path) -> None:
    """What says so to people stands on stderr."""
    for command, what in (
        (["list"], "conversation"),
        (["search", "badger"], "text"),
        (["usage"], "usage"),
        (["export", "--all", "--output", "made"], "conversation"),
    ):
        ended = run(workspace, *command, "--json")
        where = "in any store" if "--all" in command else "here or in any other store"
        assert ended.out == ""
        assert ended.err.replace(",", "").startswith(f"No {what} found {where}. Other programs may have left some: ")
    assert not (workspace / "made").exists()


def test_what_was_not_deleted_is_told(workspace: Path) -> None:
    made = run(workspace, "new", "kept").out.strip()
    code, shown = on_a_terminal(workspace, "delete", "kept", "--json", question="[y/N]", answer="n\n")
    assert code == 0
    assert json.dumps({"sessionId": made, "title": "kept", "deleted": False}) in shown


def test_json_of_a_document_is_asked_for_by_its_format(workspace: Path) -> None:
    run(workspace, "new", "kept")
    assert "for a session as JSON: --format jsonl" in run(workspace, "export", "@last", "--json", code=2).err
