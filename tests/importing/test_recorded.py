"""Transcripts of real programs give what their ``expected.json`` states. They are no part of this project: the variable
``MANDRAKE_SESSIONS_TRANSCRIPTS`` names their directory, or they lie beside the project."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from commands.running import run
from importing.following import add_line, following, until
from importing.importing import Place
from mandrake_sessions import SessionManager
from mandrake_sessions.model import HistoryRound, Origin, Relation, Session, Turn

BESIDE = Path(__file__).parents[2].parent / "shared" / "cases" / "transcripts"
PLACE = Path(os.environ.get("MANDRAKE_SESSIONS_TRANSCRIPTS") or BESIDE)
CASES = sorted(PLACE.glob("*/expected.json"))
# What the totals of the files are called here.
COUNTS = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheRead": "cache_read_tokens",
    "cacheWrite": "cache_write_tokens",
}

pytestmark = pytest.mark.skipif(not CASES, reason="there are no recorded transcripts; MANDRAKE_SESSIONS_TRANSCRIPTS")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_a_transcript_gives_what_is_expected(case: Path, workspace: Path) -> None:
    database = workspace / "store.sqlite"
    for _ in range(2):
        run(workspace, "import", case.parent, "--database", database)
        with SessionManager(database) as manager:
            check(manager, json.loads(case.read_text(encoding="utf-8"))["conversations"])
    assert "0 problems" in run(workspace, "doctor", "--database", database).out


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_a_transcript_that_grows_line_by_line_gives_the_same(case: Path, place: Place) -> None:
    """As its program wrote it, while it is followed: the parents first."""
    copy = place.home / "copy"
    shutil.copytree(case.parent, copy, ignore=lambda _, names: [name for name in names if _grows(name)])
    paths = sorted((path for path in case.parent.rglob("*.jsonl") if _grows(path.name)), key=_is_later)
    with following(place, copy):
        for path in paths:
            for line in path.read_bytes().splitlines(keepends=True):
                add_line(copy / path.relative_to(case.parent), line)
                time.sleep(0.01)
        last = json.loads(case.read_text(encoding="utf-8"))["conversations"]
        until(lambda: len(place.sessions()) == len(last))
    # What was not read when it ended, and whether rounds go on of which no end was told.
    place.bring(copy)
    with SessionManager(place.database) as manager:
        check(manager, last)
    assert place.is_sound()


def _grows(name: str) -> bool:
    return name.endswith(".jsonl") and name != "session_index.jsonl"


def _is_later(path: Path) -> tuple[bool, str]:
    content = path.read_bytes()
    is_child = b"requestSessionId" in content or b"forked_from_id" in content or b"parent_thread_id" in content
    return is_child or "subagents" in path.parts, str(path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_each_file_of_a_transcript_is_written_again_as_it_was(case: Path, place: Place) -> None:
    copy = place.home / "copy"
    shutil.copytree(case.parent, copy)
    place.bring(copy)
    wanted = [path for path in copy.rglob("*.json*") if _grows(path.name) or path.name.endswith(".meta.json")]
    contents = {path: path.read_bytes() for path in wanted}
    for number, session in enumerate(place.sessions()):
        if session.relation != Relation.SUBAGENT or session.agent == "codex":
            given = ("--database", place.database, "--to", f"{place.home}/back/{number}/")
            run(place.workspace, "restore-transcript", session.id, *given, HOME=str(place.home))
    back = {path.name: path.read_bytes() for path in (place.home / "back").rglob("*") if path.is_file()}
    assert back == {path.name: content for path, content in contents.items()}


def check(manager: SessionManager, expected: list[dict[str, Any]]) -> None:
    assert len(manager.list_sessions(archived=None).sessions) == len(expected)
    for conversation in expected:
        session = manager.get_session(external_id=conversation["externalId"], agent=conversation["agent"])
        assert session.cwd == conversation["cwd"]
        assert session.title == conversation["title"]
        assert session.source == f"import:{conversation['agent']}"
        check_relation(manager, session, conversation["relation"])
        rounds = manager.history(session.id).rounds
        typed = [each for each in rounds if each.origin is Origin.USER]
        assert len(typed) == len(conversation["rounds"])
        for each, expected_round in zip(typed, conversation["rounds"], strict=True):
            check_round(each, expected_round)
        check_beside([each for each in rounds if each.origin is not Origin.USER], conversation)
        (total,) = manager.usage(session_id=session.id).totals
        tokens = conversation["tokens"]
        assert {name: getattr(total, own) for name, own in COUNTS.items()} == {name: tokens[name] for name in COUNTS}
        if "reasoningTokens" in tokens:
            assert total.thought_tokens == tokens["reasoningTokens"]


def check_relation(manager: SessionManager, session: Session, expected: dict[str, Any] | None) -> None:
    if expected is None:
        assert (session.relation, session.parent_id) == (None, None)
        return
    parent = manager.get_session(external_id=expected["parent"], agent=session.agent)
    assert (session.relation, session.parent_id) == (expected["kind"], parent.id)
    assert session.parent_tool_call_id == expected.get("toolCallId")
    for name in ("agentType", "nickname"):
        assert session.metadata.get(name) == expected.get(name)
    if "description" in expected:
        assert session.description == expected["description"]


def check_round(each: HistoryRound, expected: dict[str, Any]) -> None:
    assert each.request.content == expected["request"]
    images = [block for block in each.request.blocks or [] if isinstance(block, dict) and block.get("type") == "image"]
    assert len(images) == expected.get("images", 0)
    assert (each.copied_from_id is not None) == expected.get("inherited", False)
    assert said(each.response.turns) == [(turn["kind"], turn["text"], turn["status"]) for turn in expected["turns"]]
    assert each.response.status == expected["stopped"]
    calls = [call for turn in each.response.turns for call in turn.tool_calls]
    assert [call.id for call in calls] == [call["id"] for call in expected["toolCalls"]]
    for call, expected_call in zip(calls, expected["toolCalls"], strict=True):
        status = expected_call["status"]
        assert call.method_name == expected_call["name"]
        assert call.status == ("failed" if status == "rejected" else status)
        assert call.metadata.get("rejected", False) == (status == "rejected")
        assert isinstance(call.response, str)
        assert call.response.startswith(expected_call["result"].split("[left out")[0][:40])
        if "exitCode" in expected_call:
            assert call.metadata["exitCode"] == expected_call["exitCode"]
    sequence = [kind for turn in each.response.turns for kind in (turn.kind, *(["tool"] * len(turn.tool_calls)))]
    assert sequence == expected["sequence"]


def check_beside(others: list[HistoryRound], conversation: dict[str, Any]) -> None:
    """What nobody typed, and what was typed and is no request, is told from requests."""
    assert all(each.origin is Origin.SYSTEM for each in others)
    compactions = [turn for each in others for turn in each.response.turns if turn.kind == "compaction"]
    expected = conversation.get("compactions", [])
    assert len(compactions) == len(expected)
    for turn, compaction in zip(compactions, expected, strict=True):
        assert turn.content is not None
        assert compaction["summary"] in turn.content
    commands = [each.request.content for each in others if each.request.content]
    assert commands == [command["text"] for command in conversation.get("commands", [])]
    after = [turns["turns"] for each in conversation["rounds"] for turns in each.get("after", [])]
    answers = [
        [{"kind": turn.kind, "text": turn.content, "status": turn.status} for turn in each.response.turns]
        for each in others
        if each.request.blocks
    ]
    assert answers == after


def said(turns: list[Turn]) -> list[tuple[str, str | None, str]]:
    return [(turn.kind, turn.content, turn.status) for turn in turns]
