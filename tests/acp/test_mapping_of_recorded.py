"""The recorded traffic of real agents comes to what their ``expected.json`` says.

``MANDRAKE_SESSIONS_ACP_CASES`` names a directory of cases: in each a ``traffic.ndjson`` and an ``expected.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from acp.carried_out import Line, Outcome, calls, carried_out, texts
from mandrake_sessions.importing.agents import agent_word

_CASES: Final = os.environ.get("MANDRAKE_SESSIONS_ACP_CASES", "")
pytestmark = pytest.mark.skipif(not _CASES, reason="MANDRAKE_SESSIONS_ACP_CASES names no directory of cases")
_SIDES: Final = {"c2a": "c", "a2c": "a"}
_USAGE: Final = {
    "inputTokens": "input_tokens", "outputTokens": "output_tokens", "thoughtTokens": "thought_tokens",
    "cachedReadTokens": "cache_read_tokens", "cachedWriteTokens": "cache_write_tokens",
}  # fmt: skip


def _processes(case: Path) -> Iterator[list[Line]]:
    """The traffic of each process of the agent."""
    lines: list[Line] = []
    for text in (case / "traffic.ndjson").read_text().splitlines():
        record = json.loads(text)
        if record["dir"] == "exit":
            yield lines
            lines = []
        elif record["dir"] in _SIDES:
            message = record["msg"] if "msg" in record else record["raw"].encode()
            lines.append((_SIDES[record["dir"]], message))
    if lines:
        yield lines


@pytest.fixture(params=[path.name for path in sorted(Path(_CASES).iterdir())] if _CASES else [])
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Outcome]:
    folder = Path(_CASES) / str(request.param)
    outcome = Outcome()
    for lines in _processes(folder):
        carried_out(lines, outcome)
    return json.loads((folder / "expected.json").read_text()), outcome


def _prompts(case: tuple[dict[str, Any], Outcome]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    expected, outcome = case
    for session in expected["sessions"]:
        if session["prompts"]:
            yield from zip(session["prompts"], outcome.rounds(session["sessionId"]), strict=True)


def test_sessions(case: tuple[dict[str, Any], Outcome]) -> None:
    expected, outcome = case
    assert list(outcome.sessions) == [each["sessionId"] for each in expected["sessions"]]
    listed = {each["sessionId"]: each["title"] for titles in expected["listedTitles"] for each in titles}
    for each in expected["sessions"]:
        found = outcome.sessions[each["sessionId"]]
        assert (found["agent"], found["cwd"]) == (agent_word(expected["agentInfo"]["name"]), each["cwd"])
        assert (found["relation"], found["parent"]) == ("fork" if each["via"] == "fork" else None, each["parent"])
        if not each["prompts"]:
            continue
        told = {*each["titles"][-1:], listed.get(each["sessionId"])} - {None}
        assert found["title"] in told or (not told and found["title"] is None)


def test_prompts_alone_are_rounds_of_which_each_ends(case: tuple[dict[str, Any], Outcome]) -> None:
    for prompt, round_ in _prompts(case):
        assert (round_["text"], round_["blocks"], round_["origin"]) == (prompt["prompt"], None, "user")
        assert round_["stop_reason"] == prompt["stopReason"]
        assert round_["status"] == ("cancelled" if prompt["stopReason"] == "cancelled" else "completed")


def test_texts(case: tuple[dict[str, Any], Outcome]) -> None:
    for prompt, round_ in _prompts(case):
        expected = [(each["kind"], each["text"]) for each in prompt["texts"]]
        found = [each for each in texts(round_) if each[0] in ("message", "thought")]
        assert found == expected
        named = [
            turn["metadata"].get("messageId") for turn in round_["turns"] if turn["kind"] in ("message", "thought")
        ]
        assert {each for each in named if each} == {
            each["messageId"] for each in prompt["texts"] if "messageId" in each
        }


def _by_kind(found: list[tuple[str, str]]) -> dict[str, str]:
    return {kind: "".join(text for each, text in found if each == kind) for kind, _ in found}


def test_tool_calls(case: tuple[dict[str, Any], Outcome]) -> None:
    for prompt, round_ in _prompts(case):
        found = {call["id"]: call for call in calls(round_)}
        assert list(found) == [each["toolCallId"] for each in prompt["toolCalls"]]
        for each in prompt["toolCalls"]:
            call = found[each["toolCallId"]]
            assert (call["title"], call["kind"]) == (each["title"], each["kind"])
            final = "rejected" if call["metadata"].get("rejected") else call["status"]
            assert final == each["final"]
            assert call["status"] in ("completed", "failed")
            assert call["metadata"].get("permission", {}).get("kind") == each.get("option")
            assert call["metadata"].get("parentToolCallId") == each.get("parentToolCallId")


def test_plans(case: tuple[dict[str, Any], Outcome]) -> None:
    for prompt, round_ in _prompts(case):
        plans = [turn for turn in round_["turns"] if turn["kind"] == "plan"]
        entries = [[entry["content"], entry["status"]] for turn in plans for entry in turn["metadata"]["entries"]]
        assert entries == (prompt.get("plan") or [])


def test_usage(case: tuple[dict[str, Any], Outcome]) -> None:
    for prompt, round_ in _prompts(case):
        usage = prompt.get("usage") or {}
        if "_meta.quota.token_count" in usage:
            expected = usage["_meta.quota.token_count"]
        else:
            expected = {ours: usage[theirs] for theirs, ours in _USAGE.items() if theirs in usage}
        if case[0]["agent"] == "opencode" and any(turn["kind"] != "tool_calls" for turn in round_["turns"]):
            # Of the last reply only.
            of_turn: dict[str, int] = next((turn["usage"] for turn in round_["turns"] if "usage" in turn), {})
            assert {name: count for name, count in of_turn.items() if name in _USAGE.values()} == expected
            expected = {}
        found = {name: count for name, count in round_["usage"].items() if name in _USAGE.values()}
        assert found == expected


def test_cost_is_what_the_prompt_adds_to_the_total(case: tuple[dict[str, Any], Outcome]) -> None:
    expected, outcome = case
    ends: dict[str, float] = {}
    for session in expected["sessions"]:
        total = ends.get(session["parent"] or "", 0.0) if session["via"] == "fork" else 0.0
        for prompt, round_ in zip(session["prompts"], outcome.rounds(session["sessionId"]), strict=False):
            after = prompt.get("costAfter")
            if after is None:
                assert "cost" not in round_["usage"] or round_["usage"]["cost"] == 0
                continue
            own = after - total if after >= total else after
            # One that adds nothing may tell the total or not.
            assert round_["usage"].get("cost", 0.0) == pytest.approx(own, abs=1e-9)
            assert round_["usage"].get("currency", "USD") == "USD"
            total = ends[session["sessionId"]] = after


def test_a_permission_is_waited_for(case: tuple[dict[str, Any], Outcome]) -> None:
    for prompt, round_ in _prompts(case):
        asked = sum("permission" in each for each in prompt["toolCalls"])
        assert round_["stood"] == ["requires_action", "open"] * asked
