"""Calls of every method that reach the store: valid ones, with ids that are there, and one value in some replaced.

A client that believes the acknowledgements, and nothing else, knows afterwards what is in the store: each session,
round, turn and tool call, and how many pieces each turn has. Many calls are on their way at once.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import Factory, define

from hostile import fuzzing, generate
from hostile.fuzzing import all_pages, answers_in, finish, pieces, run_cases, send_first
from hostile.memory import keep_rules, resident
from hostile.shapes import UNKNOWN, Ids, in_transaction, params_schema
from mandrake_sessions.protocol.methods import METHODS, OPERATIONS
from wire import Framing, Message, Wire, serving

pytestmark = fuzzing.patient

FLAGS = ("--durability", "normal")
BURSTS = 15
CALLS = 40
METHOD_NAMES = tuple(METHODS)
# More of what makes and streams, so that there is something; less of what takes away much.
WEIGHTS = [{"turn/append": 6, "turn/create": 4, "round/create": 4, "session/create": 3, "session/delete": 0.3}.get(
    name, 1.0
) for name in METHOD_NAMES]  # fmt: skip


@define
class Turn:
    chunks: int = 0
    calls: set[str] = Factory(set)


@define
class Round:
    index: int
    request: str
    response: str
    turns: dict[str, Turn] = Factory(dict)


class Believer:
    """What a client knows that takes every acknowledgement for true."""

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, Round]] = {}
        # The answer to a fork does not tell the ids of its parts, so nothing is asked about those.
        self.forks: set[str] = set()

    def rounds(self) -> Iterator[tuple[str, str, Round]]:
        for session_id, rounds in self.sessions.items():
            for round_id, found in rounds.items():
                yield session_id, round_id, found

    def ids(self, rng: random.Random) -> Ids:
        """Entities that belong together as often as not; some that are nowhere."""
        rounds = list(self.rounds())
        if not rounds or rng.random() < 0.03:
            session = rng.choice([*self.sessions, UNKNOWN])
            return Ids(session, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
        session, round_id, found = rng.choice(rounds)
        turn = rng.choice([*found.turns, UNKNOWN]) if rng.random() < 0.2 else next(reversed(found.turns), UNKNOWN)
        return Ids(session, round_id, found.request, found.response, turn)

    def hear(self, method: str, params: Any, result: Any) -> None:
        """Take a call that was acknowledged."""
        if method == "transaction/run":
            for operation, one in zip(params["operations"], result["results"], strict=True):
                self.hear(operation["method"], operation.get("params", {}), one)
            return
        hear = getattr(self, "_" + method.replace("/", "_").lower(), None)
        if hear is not None:
            hear(params, result)

    def _session_create(self, params: Message, result: Message) -> None:
        self.sessions.setdefault(result["id"], {})

    def _session_fork(self, params: Message, result: Message) -> None:
        self.forks.add(result["id"])

    def _session_delete(self, params: Message, result: Message) -> None:
        gone = self.sessions.pop(params["sessionId"].lower())
        turns = sum(len(found.turns) for found in gone.values())
        assert result["deleted"] == _counts(sessions=1, rounds=len(gone), turns=turns)

    def _round_create(self, params: Message, result: Message) -> None:
        made = result["round"]
        found = Round(made["index"], result["request"]["id"], result["response"]["id"])
        self.sessions[made["sessionId"]].setdefault(made["id"], found)

    def _round_delete(self, params: Message, result: Message) -> None:
        round_id = params["roundId"].lower()
        rounds = next(rounds for rounds in self.sessions.values() if round_id in rounds)
        first = rounds[round_id].index
        gone = [key for key, found in rounds.items() if found.index == first]
        if params.get("following"):
            gone = [key for key, found in rounds.items() if found.index >= first]
        turns = sum(len(rounds.pop(key).turns) for key in gone)
        assert result["deleted"] == _counts(rounds=len(gone), turns=turns)

    def _turn_create(self, params: Message, result: Message) -> None:
        response = result["responseId"]
        found = next(found for _, _, found in self.rounds() if found.response == response)
        calls = {call["id"] for call in result["toolCalls"]}
        found.turns.setdefault(result["id"], Turn(result["chunkCount"], calls))

    def _turn_append(self, params: Message, result: Message) -> None:
        self._turn(params).chunks = result["chunkCount"]

    def _turn_delete(self, params: Message, result: Message) -> None:
        turn_id = params["turnId"].lower()
        next(found for _, _, found in self.rounds() if turn_id in found.turns).turns.pop(turn_id)
        assert result["deleted"] == _counts(turns=1)

    def _toolcall_upsert(self, params: Message, result: Message) -> None:
        self._turn(params).calls.add(result["id"])

    def _toolcall_delete(self, params: Message, result: Message) -> None:
        self._turn(params).calls.remove(params["toolCallId"])

    def _turn(self, params: Message) -> Turn:
        turn_id = params["turnId"].lower()
        return next(found.turns[turn_id] for _, _, found in self.rounds() if turn_id in found.turns)


def _counts(sessions: int = 0, rounds: int = 0, turns: int = 0) -> Message:
    return {"sessions": sessions, "rounds": rounds, "requests": rounds, "responses": rounds, "turns": turns}


NAMED = {
    "sessionId": "session", "roundId": "round", "requestId": "request", "responseId": "response", "turnId": "turn",
}  # fmt: skip


def params_for(rng: random.Random, method: str, ids: Ids) -> dict[str, Any]:
    """Valid params, about these entities; now and then with one value replaced by anything."""
    if method == "transaction/run":
        inner = [rng.choice(sorted(OPERATIONS)) for _ in range(rng.randrange(1, 4))]
        operations = [in_transaction(name, params_for(rng, name, ids))["operations"][0] for name in inner]
        return {"operations": operations}
    described = params_schema(method)
    params: dict[str, Any] = {}
    for name, kind in described["properties"].items():
        must = name in described["required"]
        if name in ("scope", "workspace") or not (must or rng.random() < 0.25):
            continue
        params[name] = generate.valid_value(rng, kind)
    for name in [name for name in params if name in NAMED]:
        params[name] = getattr(ids, NAMED[name])
    for name in [name for name in ("id", "requestId", "responseId") if name in params and method.endswith("/create")]:
        if name == "id" or method == "round/create":
            params[name] = new_uuid(rng)
    if "toolCallId" in params:
        params["toolCallId"] = rng.choice("xc")
    if params.get("status") in ("completed", "error", "cancelled") and rng.random() < 0.8:
        del params["status"]
    for name in ("cursor", "since", "storeId", "chunk", "parentId", "streamEndTime", "externalId"):
        if name in params and rng.random() < 0.7:
            del params[name]
    if method == "turn/append" and "content" not in params:
        params["content"] = "piece "
    if params and rng.random() < 0.15:
        params[rng.choice(sorted(params))] = generate.value(rng)
    return params


def new_uuid(rng: random.Random) -> str:
    """From few enough that some are sent again."""
    return f"{rng.randrange(400):08X}-0000-4000-8000-000000000000"


def test_fuzz_calls(tmp_path: Path, framing: Framing) -> None:
    def case(rng: random.Random, seed: int) -> Counter[str]:
        workspace = tmp_path / f"case-{seed}"
        (workspace / ".git").mkdir(parents=True)
        believer = Believer()
        counted: Counter[str] = Counter()
        with serving(workspace, framing, *FLAGS) as wire:
            send_first(wire)
            keep_rules(wire)
            before = resident(wire.process)
            for burst in range(BURSTS):
                counted += _burst(rng, wire, believer, burst)
            assert not answers_in(finish(wire, before))
        check(workspace, believer)
        shutil.rmtree(workspace)
        return counted

    run_cases(f"fuzzed calls, {framing}", 2, case)


def _burst(rng: random.Random, wire: Wire, believer: Believer, burst: int) -> Counter[str]:
    """Many calls at once, made from what was known before them; then what each was answered."""
    calls: dict[str, tuple[str, dict[str, Any]]] = {}
    for number in range(CALLS):
        (method,) = rng.choices(METHOD_NAMES, WEIGHTS)
        calls[f"{burst}-{number}"] = method, params_for(rng, method, believer.ids(rng))
    data = b"".join(
        wire.frame(json.dumps({"jsonrpc": "2.0", "id": key, "method": method, "params": params}).encode())
        for key, (method, params) in calls.items()
    )
    for part in pieces(rng, data):
        wire.send_bytes(part)
    answers: dict[str, Message] = {}
    while len(answers) < len(calls):
        for answer in answers_in([wire.next_message()]):
            assert answer["id"] in calls, answer
            assert answer["id"] not in answers, answer
            answers[answer["id"]] = answer
    counted: Counter[str] = Counter()
    for key, (method, params) in calls.items():
        answer = answers[key]
        counted["calls"] += 1
        if "result" in answer:
            counted["writes acknowledged" if METHODS[method].access.writes else "reads answered"] += 1
            believer.hear(method, params, answer["result"])
        else:
            counted["refused"] += 1
            assert answer["error"]["data"]["kind"] in REFUSALS, (method, params, answer)
    return counted


REFUSALS = {"invalidParams", "notFound", "conflict", "tooLarge", "invalidRequest", "parse", "workspaceNotFound"}


def check(workspace: Path, believer: Believer) -> None:
    """A new server finds what was acknowledged, and nothing else."""
    listed = all_pages(workspace, "session/list", "sessions", archived=None)
    assert {row["id"] for row in listed} == set(believer.sessions) | believer.forks
    for row in listed:
        if row["id"] in believer.forks:
            copies = all_pages(workspace, "round/list", "rounds", sessionId=row["id"])
            assert row["roundCount"] == len(copies)
            assert all(copy["copiedFromId"] for copy in copies)
            continue
        rounds = believer.sessions[row["id"]]
        assert row["roundCount"] == len(rounds)
        if not rounds:
            continue
        found = all_pages(workspace, "session/history", "rounds", sessionId=row["id"])
        assert [one["id"] for one in found] == sorted(rounds, key=lambda key: rounds[key].index)
        for one in found:
            turns = {turn["id"]: turn for turn in one["response"]["turns"]}
            known = rounds[one["id"]].turns
            assert set(turns) == set(known)
            for turn_id, turn in turns.items():
                assert turn["chunkCount"] == known[turn_id].chunks
                assert {call["id"] for call in turn["toolCalls"]} == known[turn_id].calls
