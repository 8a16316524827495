"""Live updates between processes; those of one server are in ``tests/conformance/test_live.py``."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from mandrake_sessions.client import apply
from mandrake_sessions.model import Turn
from mandrake_sessions.protocol.results import TurnSubscription
from strict import Talk, connected, read_all
from wire import SERVER, TIMEOUT, Message, clean_environment, run_script


def test_a_subscription_starts_without_a_gap_while_another_process_streams(workspace: Path) -> None:
    with connected(workspace) as agent, connected(workspace) as watcher:
        turn_id = Talk(agent).turn()
        sent = []
        for n in range(300):
            sent.append(agent.submit("turn/append", {"turnId": turn_id, "content": f"{n} "}))
            if n == 150:
                changes = watcher.follow_turns(turn_id=turn_id, include_raw=True)
                started = next(changes)
        last = [reply.result() for reply in sent][-1]["seq"]
        assert isinstance(started, TurnSubscription)
        turn: Turn | None = started.turns[0]
        if started.turns[0].seq < last:
            for update in read_all(changes, last):
                assert update.seq > started.seq
                turn = apply(turn, update)
        assert turn == agent.turn_get(turn_id=turn_id)


def test_a_slow_reader_gets_everything_before_the_end(workspace: Path) -> None:
    ids = {name: f"0000000{n}-ac96-774b-bcce-b302099a8057" for n, name in enumerate(["session", "round", "a", "b"])}
    made = run_script(
        workspace,
        {"jsonrpc": "2.0", "id": 1, "method": "session/create", "params": {"id": ids["session"]}},
        {
            "jsonrpc": "2.0", "id": 2, "method": "round/create",
            "params": {"sessionId": ids["session"], "content": "?", "id": ids["round"]},
        },
    )  # fmt: skip
    response = made[1]["result"]["response"]["id"]
    calls: list[tuple[str, Message]] = [("turn/subscribe", {})]
    calls += [("turn/create", {"responseId": response, "id": ids[name]}) for name in "ab"]
    calls += [("turn/append", {"turnId": ids["ab"[n % 2]], "content": "x" * 2000}) for n in range(3000)]
    script = "".join(
        json.dumps({"jsonrpc": "2.0", "id": n, "method": method, "params": params}) + "\n"
        for n, (method, params) in enumerate(calls)
    )
    (workspace / "script").write_text(script)
    with (workspace / "script").open("rb") as source:
        process = subprocess.Popen(SERVER, stdin=source, stdout=subprocess.PIPE, cwd=workspace,
                                   env=clean_environment(workspace))  # fmt: skip
    assert process.stdout is not None
    time.sleep(0.5)
    with process.stdout as stream:
        messages = [json.loads(line) for line in stream]
    assert process.wait(TIMEOUT) == 0
    assert sorted(m["id"] for m in messages if "id" in m) == list(range(len(calls)))
    pieces = [m["params"] for m in messages if m.get("method") == "turn/updated" and m["params"]["kind"] == "appended"]
    assert sum(p["lastChunk"] - p["firstChunk"] + 1 for p in pieces) == 3000


def test_a_watcher_hears_another_process_at_once(workspace: Path) -> None:
    """Not a measurement: it would wait for ever if nobody looked."""
    with connected(workspace) as agent, connected(workspace) as watcher:
        conversation = Talk(agent)
        changes = watcher.followed("turn/subscribe", responseId=conversation.response)
        turn = conversation.turn()
        for n in range(20):
            last = agent.turn_append(turn_id=turn, content=str(n))
            if n == 10:
                time.sleep(0.6)  # long enough for the watcher to look less often
        told = read_all(changes, last.seq)
        assert "".join(update.content or "" for update in told) == "".join(map(str, range(20)))


def test_a_busy_server_notices_commits_of_other_processes(workspace: Path) -> None:
    """Neither reading nor writing without a pause may keep a watcher from hearing of another process."""
    with connected(workspace) as agent, connected(workspace) as watcher:
        conversation = Talk(agent)
        own = Talk(watcher).turn()
        changes = watcher.followed("turn/subscribe", sessionId=conversation.session)
        turn = conversation.turn()
        for method, params in (("turn/append", {"turnId": own, "content": "x"}), ("request/get", {})):
            if method == "request/get":
                params = {"requestId": conversation.request}
            sent = [watcher.submit(method, params) for _ in range(300)]
            last = agent.turn_append(turn_id=turn, content=method)
            sent += [watcher.submit(method, params) for _ in range(300)]
            assert read_all(changes, last.seq)[-1].subscription_id == changes.begun["subscriptionId"]
            for reply in sent:
                reply.result()
