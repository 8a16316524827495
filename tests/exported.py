"""Reads an export in JSON lines back, as docs/export.md describes it: the shapes of the result are the wire's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mandrake_sessions.json_codec import JsonDecoder

_decoder = JsonDecoder()


def read_back(lines: Iterable[str]) -> dict[str, Any]:
    """``{head, session, rounds: as session/history has them, end}``. One line at a time is enough."""
    found: dict[str, Any] = {"rounds": []}
    texts: dict[str, Any] = {}
    for line in lines:
        value = _decoder.decode(line)
        kind = value.pop("type")
        assert "end" not in found, "there is something after the end"
        if kind in ("export", "session", "end"):
            found["head" if kind == "export" else kind] = value
        else:
            _take(kind, value, found["rounds"], texts)
    assert found["end"] | {"replaced": 0} == _counts(found["rounds"]), "lines are missing"
    return found


def _take(kind: str, value: dict[str, Any], rounds: list[Any], texts: dict[str, Any]) -> None:
    if kind == "text":
        owner = texts[value.get("turnId") or value["requestId"]]
        owner[value["field"]] += value["text"]
        return
    if kind in ("request", "turn"):
        value |= dict.fromkeys(value.pop("continued", ()), "")
        texts[value["id"]] = value
    if kind == "round":
        rounds.append(value)
    elif kind == "request":
        rounds[-1]["request"] = value
    elif kind == "response":
        rounds[-1]["response"] = value | {"turns": []}
    elif kind == "turn":
        rounds[-1]["response"]["turns"].append(value | {"toolCalls": []})
        texts[value["id"]] = rounds[-1]["response"]["turns"][-1]
    elif kind == "toolCall":
        turn = rounds[-1]["response"]["turns"][-1]
        assert value.pop("turnId") == turn["id"]
        turn["toolCalls"].append(value)
    else:
        raise AssertionError(f"an unknown line: {kind}")


def _counts(rounds: list[Any]) -> dict[str, int]:
    turns = [turn for each in rounds for turn in each["response"]["turns"]]
    calls = sum(len(turn["toolCalls"]) for turn in turns)
    return {"rounds": len(rounds), "turns": len(turns), "toolCalls": calls, "replaced": 0}


def exact(value: Any) -> str:
    """A JSON value as text that tells 1 from 1.0, whatever the order of names."""
    return json.dumps(value, sort_keys=True)
