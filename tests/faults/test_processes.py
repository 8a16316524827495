"""Processes that are stopped, and clients that go away in the middle of a message: others go on, and what was received
as a whole is carried out, once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from faults.ledger import Client, Ledger, check_feed, new_id, read_state
from faults.servers import check_sound
from faults.work import Batch, Conversation, pieces
from figures import record
from wire import SERVER, TIMEOUT, Framing, Wire, clean_environment, serving

LOOK = ("--lease-seconds", "0.2")


def begun(wire: Wire, ledger: Ledger, chance: random.Random) -> tuple[Conversation, str]:
    conversation = Conversation(chance)
    turn_id, create = conversation.turn()
    client = Client(wire, ledger)
    for batch in (*conversation.create(), [create]):
        client.burst(batch)
    return conversation, turn_id


# ---- stopped


def test_others_go_on_while_a_server_is_stopped_that_holds_nothing(workspace: Path) -> None:
    chance, ledger = random.Random(1), Ledger()
    with serving(workspace, "lines", *LOOK) as stopped, serving(workspace, "lines", *LOOK) as other:
        _, turn_id = begun(stopped, ledger, chance)
        stopped.process.send_signal(signal.SIGSTOP)
        try:
            client = Client(other, ledger)
            _, others_turn = begun(other, ledger, chance)
            client.burst(pieces(chance, others_turn, 0, 200, 500))
            client.do("turn/append", turnId=turn_id, content="by another")
            assert other.request("turn/get", turnId=turn_id)["status"] == "streaming"
        finally:
            stopped.process.send_signal(signal.SIGCONT)
        Client(stopped, ledger).do("turn/append", turnId=turn_id, content="by its own")
        assert ledger.find(read_state(stopped), *[len(ledger.writes)] * 2)


def test_a_burst_that_is_stopped_in_the_middle_is_finished_later_and_reads_go_on(workspace: Path) -> None:
    """Where it was stopped while it held the write lock, another's write is ``busy``, and never half there."""
    chance, ledger, busy = random.Random(2), Ledger(), 0
    with (
        serving(workspace, "lines", *LOOK) as stopped,
        serving(workspace, "lines", *LOOK, "--busy-timeout", "0.2") as other,
    ):
        _, turn_id = begun(stopped, ledger, chance)
        others = Ledger(ledger.state)
        _, others_turn = begun(other, others, chance)
        sent = 0
        for _ in range(12):
            batch = pieces(chance, turn_id, sent, 150, 200)
            ids = [stopped.post(method, **params) for method, params in batch]
            time.sleep(chance.uniform(0.0, 0.01))
            stopped.process.send_signal(signal.SIGSTOP)
            try:
                count = other.request("turn/get", turnId=turn_id, includeText=False)["chunkCount"]
                assert sent <= count <= sent + len(batch)
                busy += append_or_busy(Client(other, others), others_turn, chance)
            finally:
                stopped.process.send_signal(signal.SIGCONT)
            for (method, params), message_id in zip(batch, ids, strict=True):
                stopped.result(message_id, method)
                ledger.send(method, params)
            sent += len(batch)
        state = {**others.state, turn_id: ledger.state[turn_id]}
        found = read_state(other)
        assert Ledger(state).find(found, 0, 0) == 0
        check_feed(other, found)
    record("stopped in the middle of a burst", stops=12, busy=busy, pieces_stored=sent, pieces_lost=0)


def append_or_busy(client: Client, turn_id: str, chance: random.Random) -> int:
    failed = client.attempt("turn/append", turnId=turn_id, content=f"{chance.random()}")
    if failed is None:
        return 0
    assert (failed.kind, failed.data["retryable"]) == ("busy", True)
    return 1


# ---- a client that goes away


def frame(framing: Framing, message: dict[str, object]) -> bytes:
    body = json.dumps(message).encode()
    return body + b"\n" if framing == "lines" else b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def frames(framing: Framing, batch: Batch) -> list[bytes]:
    return [
        frame(framing, {"jsonrpc": "2.0", "id": n, "method": method, "params": params})
        for n, (method, params) in enumerate(batch)
    ]


def start(workspace: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*SERVER, "serve"],
        cwd=workspace,
        env=clean_environment(workspace),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def stored_prefix(workspace: Path, ledger: Ledger, least: int) -> int:
    with serving(workspace, "lines", *LOOK) as wire:
        kept = ledger.find(read_state(wire), least, len(ledger.writes))
    check_sound(workspace / ".ws" / "db.sqlite")
    return kept


def some_writes(chance: random.Random) -> tuple[Ledger, Batch]:
    """A conversation with a stream that was never ended, and what the store is after each of its writes."""
    conversation = Conversation(chance)
    turn_id, create = conversation.turn(detached=True)
    batch: Batch = [write for part in conversation.create() for write in part]
    batch += [create, *pieces(chance, turn_id, 0, 60, 2000)]
    ledger = Ledger()
    for method, params in batch:
        ledger.send(method, params)
    return ledger, batch


@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.98])
def test_input_that_ends_in_a_message_carries_out_those_before_it(
    workspace: Path, framing: Framing, part: float
) -> None:
    chance = random.Random(3)
    ledger, batch = some_writes(chance)
    sent = frames(framing, batch)
    whole, cut = 40, sent[40]
    process = start(workspace)
    output, _ = process.communicate(b"".join(sent[:whole]) + cut[: int(len(cut) * part)], timeout=TIMEOUT)
    assert process.returncode == 0
    answered = output.count(b'"result"')
    assert answered == whole
    del ledger.writes[whole:], ledger.states[whole + 1 :]
    assert stored_prefix(workspace, ledger, whole) == whole


@pytest.mark.parametrize("read", [0, 1, 200, 3000])
def test_a_client_that_stops_listening_and_goes_leaves_a_beginning_of_what_it_sent(
    workspace: Path, framing: Framing, read: int
) -> None:
    """It closes its end of the output in the middle of an answer, and the input a moment later; the server ends."""
    chance = random.Random(4)
    ledger, batch = some_writes(chance)
    process = start(workspace)
    assert process.stdin is not None
    assert process.stdout is not None
    sent = frames(framing, batch)
    process.stdin.write(b"".join(sent[:3]))
    process.stdin.flush()
    os.read(process.stdout.fileno(), 1)
    if read:
        os.read(process.stdout.fileno(), read)
    process.stdout.close()
    with suppress(BrokenPipeError), process.stdin as pipe:
        for message in sent[3:]:
            pipe.write(message)
            pipe.flush()
    assert process.wait(TIMEOUT) in (0, 1)
    stored_prefix(workspace, ledger, 1)


def test_a_client_that_goes_while_large_answers_wait_leaves_a_store_that_others_use(workspace: Path) -> None:
    chance, ledger = random.Random(5), Ledger()
    with serving(workspace, "lines", *LOOK) as other:
        conversation, turn_id = begun(other, ledger, chance)
        client = Client(other, ledger)
        client.do("turn/append", turnId=turn_id, content="x" * 2_000_000)
        process = start(workspace)
        assert process.stdin is not None
        assert process.stdout is not None
        reads: Batch = [("session/history", {"sessionId": conversation.session})] * 6
        process.stdin.write(b"".join(frames("lines", reads)))
        mine = new_id(chance)
        write = frame("lines", {"jsonrpc": "2.0", "id": 99, "method": "session/create", "params": {"id": mine}})
        process.stdin.write(write)
        process.stdin.flush()
        assert os.read(process.stdout.fileno(), 1000)
        client.burst(pieces(chance, turn_id, 1, 50, 200))
        process.stdout.close()
        process.stdin.close()
        assert process.wait(TIMEOUT) in (0, 1)
        client.burst(pieces(chance, turn_id, 51, 50, 200))
        found = read_state(other)
        found.pop(mine, None)
        assert ledger.find(found, *[len(ledger.writes)] * 2)
        check_sound(workspace / ".ws" / "db.sqlite")
