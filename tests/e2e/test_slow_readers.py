"""Clients that read slowly, late or never: nothing is lost, nobody else waits, and memory stays bounded."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from wire import SERVER, Conversation, Message, Wire, apply_update, clean_environment, serving

# Generous: it only has to end what would never end.
PATIENCE = 60.0
FAST = ("--durability", "normal")
ROOMY = (*FAST, "--feed-max-bytes", str(256 * 1024 * 1024))
TIGHT = (*FAST, "--feed-max-bytes", str(1024 * 1024))
# More than waits in a pipe and in front of it, so that the position in the feed stays behind.
BEHIND = 4 * 1024 * 1024
FAR_BEHIND = 40 * 1024 * 1024
MAY_GROW_KB = 60 * 1024


class SlowClient:
    """A client over raw pipes, by lines, that reads only when it is told to, and as many bytes at a time."""

    def __init__(self, workspace: Path, *flags: str) -> None:
        self.bytes_at_once = 65536
        self.kept: list[Message] = []
        self._rest = b""
        self._next_id = 0
        self.process = subprocess.Popen(
            [*SERVER, "serve", *flags],
            cwd=workspace,
            env=clean_environment(workspace),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def post(self, method: str, **params: Any) -> int:
        """Send a request and read nothing; gives its id."""
        self._next_id += 1
        message = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        return self._next_id

    def request(self, method: str, **params: Any) -> Any:
        """Send a request and read up to its answer; what else is read is kept."""
        message_id = self.post(method, **params)
        while (message := self._read_message()).get("id") != message_id:
            self.kept.append(message)
        assert "error" not in message, message
        return message["result"]

    def next_told(self) -> Message:
        """The next notification, whatever its method; answers are let go."""
        while True:
            message = self.kept.pop(0) if self.kept else self._read_message()
            if "method" in message:
                return message

    def read_some(self) -> None:
        """Read once, as much as is asked for at a time, and understand nothing of it yet."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), self.bytes_at_once)
        assert data, "the server ended"
        self._rest += data

    def peak_kb(self) -> int:
        """The most memory that its server has held so far."""
        return self._status_kb("VmHWM")

    def now_kb(self) -> int:
        return self._status_kb("VmRSS")

    def _status_kb(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{name}:\s*(\d+) kB$", status, re.MULTILINE)
        assert found is not None, status
        return int(found[1])

    def _read_message(self) -> Message:
        assert self.process.stdout is not None
        pieces = [self._rest]
        while b"\n" not in pieces[-1]:
            data = os.read(self.process.stdout.fileno(), self.bytes_at_once)
            assert data, "the server ended"
            pieces.append(data)
        line, _, self._rest = b"".join(pieces).partition(b"\n")
        message: Message = json.loads(line)
        return message


@contextmanager
def slow_client(workspace: Path, *flags: str) -> Iterator[SlowClient]:
    """A slow client for the block. Its server is killed at the end, and long before if the block hangs."""
    client = SlowClient(workspace, *flags)
    watchdog = threading.Timer(PATIENCE, client.process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield client
    finally:
        watchdog.cancel()
        client.process.kill()
        client.process.wait()
        assert client.process.stdin is not None
        assert client.process.stdout is not None
        client.process.stdin.close()
        client.process.stdout.close()


def stream(agent: Wire, turns: list[str], total: int, piece_bytes: int, first: int = 0) -> int:
    """Append about ``total`` bytes, a piece to each turn in its turn, all acknowledged; gives the last seq."""
    posted = []
    for n in range(first, first + max(1, total // piece_bytes)):
        turn = turns[n % len(turns)]
        posted.append(agent.post("turn/append", turnId=turn, content=f"{n:06}é".ljust(piece_bytes, "x")))
    seqs = [agent.result(message_id)["seq"] for message_id in posted]
    assert seqs == sorted(set(seqs))
    last: int = seqs[-1]
    return last


class Heard:
    """What one subscription has told, held against its promise: in order, exactly once."""

    def __init__(self, started: Message) -> None:
        self.id = started["subscriptionId"]
        self.seq = started["seq"]
        self.turns: dict[str, Message] = {turn["id"]: turn for turn in started["turns"]}

    def take(self, message: Message) -> None:
        """The next ``turn/updated`` of this subscription."""
        assert message["method"] == "turn/updated", message
        params = message["params"]
        assert params["seq"] > self.seq
        self.seq = params["seq"]
        if params["kind"] == "appended":
            assert params["firstChunk"] == self.turns[params["turnId"]]["chunkCount"]
        apply_update(self.turns, params)

    def read_until(self, client: SlowClient, seq: int) -> None:
        while self.seq < seq:
            message = client.next_told()
            assert message["params"]["subscriptionId"] == self.id
            self.take(message)
        assert self.seq == seq

    def assert_is_the_stores(self, agent: Wire) -> None:
        """Every turn is what ``turn/get`` gives."""
        for turn_id, turn in self.turns.items():
            stored = agent.request("turn/get", turnId=turn_id)
            if "rawResponse" not in turn:
                del stored["rawResponse"]
            assert stored.pop("content") == turn["content"], "the texts differ"
            assert stored == {name: value for name, value in turn.items() if name != "content"}


def test_a_reader_that_stops_for_a_while_gets_everything_in_order_once(workspace: Path) -> None:
    """The writer is done before the reader goes on, so it did not wait; then all comes, the streams interleaved."""
    with serving(workspace, "lines", *ROOMY) as agent, slow_client(workspace, *ROOMY) as slow:
        conversation = Conversation(agent)
        turns = [conversation.turn() for _ in range(4)]
        heard = Heard(slow.request("turn/subscribe", responseId=conversation.response))
        last = stream(agent, turns, BEHIND, 4096)
        heard.read_until(slow, last)
        heard.assert_is_the_stores(agent)
        assert len(heard.turns) == 4


def test_a_reader_by_fits_and_starts_gets_everything_in_order_once(workspace: Path) -> None:
    """It reads a little now and then while four streams go on, through two subscriptions on one connection."""
    with serving(workspace, "lines", *ROOMY) as agent, slow_client(workspace, *ROOMY) as slow:
        conversation = Conversation(agent)
        turns = [conversation.turn() for _ in range(4)]
        ranges: list[dict[str, Any]] = [{}, {"sessionId": conversation.session, "includeRaw": True}]
        heard = [Heard(slow.request("turn/subscribe", **given)) for given in ranges]
        by_id = {one.id: one for one in heard}
        for burst in range(20):
            last = stream(agent, turns, BEHIND // 20, 2048, first=burst * 102)
            slow.read_some()
        while min(one.seq for one in heard) < last:
            message = slow.next_told()
            by_id[message["params"]["subscriptionId"]].take(message)
        for one in heard:
            one.assert_is_the_stores(agent)


def test_a_reader_of_one_byte_at_a_time_gets_everything(workspace: Path) -> None:
    with serving(workspace, "lines", *ROOMY) as agent, slow_client(workspace, *ROOMY) as slow:
        turn = Conversation(agent).turn()
        slow.bytes_at_once = 1
        heard = Heard(slow.request("turn/subscribe", turnId=turn))
        last = stream(agent, [turn], 400 * 1024, 4096)
        heard.read_until(slow, last)
        heard.assert_is_the_stores(agent)


def wait_until_pruned(agent: Wire, quiet_turn: str, since: int) -> None:
    """Until a subscription from ``since`` can no longer be had; of that turn nothing is told."""
    deadline = time.monotonic() + PATIENCE
    pruned = False
    # The feed may be pruned between the two requests, so that there is nothing left to unsubscribe.
    agent.let_be("subscription/ended")
    while not pruned:
        assert time.monotonic() < deadline, "the feed was never pruned"
        started = agent.request("turn/subscribe", turnId=quiet_turn, since=since)
        agent.answer(agent.post("turn/unsubscribe", subscriptionId=started["subscriptionId"]))
        pruned = started["reset"]
        time.sleep(0.02)


def test_a_reader_that_was_away_too_long_is_pruned_and_reads_the_state(workspace: Path) -> None:
    """Up to ``pruned`` it gets all in order; a new subscription from there has the state, and goes on live."""
    with serving(workspace, "lines", *TIGHT) as agent, slow_client(workspace, *TIGHT) as slow:
        conversation = Conversation(agent)
        turn, quiet_turn = conversation.turn(), conversation.turn()
        heard = Heard(slow.request("turn/subscribe", turnId=turn))
        since, store_id = heard.seq, slow.request("server/info")["stores"][0]["storeId"]
        last = stream(agent, [turn], 2 * BEHIND, 16384)
        wait_until_pruned(agent, quiet_turn, last - 200)
        while (message := slow.next_told())["method"] == "turn/updated":
            heard.take(message)
        assert message["method"] == "subscription/ended"
        assert message["params"] == {"subscriptionId": heard.id, "seq": message["params"]["seq"], "reason": "pruned"}
        assert since <= heard.seq <= message["params"]["seq"] < last
        started = slow.request("turn/subscribe", turnId=turn, since=heard.seq, storeId=store_id)
        assert (started["reset"], started["storeId"], started["seq"]) == (True, store_id, last)
        anew = Heard(started)
        anew.assert_is_the_stores(agent)
        anew.read_until(slow, stream(agent, [turn], 50 * 1024, 1024))
        anew.assert_is_the_stores(agent)


@pytest.mark.parametrize("piece_bytes", [65536, 1024 * 1024])
def test_far_behind_costs_little_memory_and_can_be_read_to_the_end(workspace: Path, piece_bytes: int) -> None:
    """40 MB stream by while it does not read. Its server holds none of it; once it reads, it gets all of it."""
    with serving(workspace, "lines", *ROOMY) as agent, slow_client(workspace, *ROOMY) as slow:
        turn = Conversation(agent).turn()
        heard = Heard(slow.request("turn/subscribe", turnId=turn))
        before = slow.now_kb() if sys.platform == "linux" else 0
        last = stream(agent, [turn], FAR_BEHIND, piece_bytes)
        if sys.platform == "linux":
            assert slow.peak_kb() - before < MAY_GROW_KB, "while it did not read"
        heard.read_until(slow, last)
        if sys.platform == "linux":
            assert slow.peak_kb() - before < MAY_GROW_KB, "while it read"
        heard.assert_is_the_stores(agent)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to be handled")
def test_a_client_that_never_reads_blocks_no_other_and_its_server_ends(workspace: Path) -> None:
    """Also with more requests waiting than it will ever read the answers of. Others' turns go on, others hear."""
    with (
        serving(workspace, "lines", *ROOMY) as agent,
        slow_client(workspace, *ROOMY) as silent,
        slow_client(workspace, *ROOMY) as asking,
        slow_client(workspace, *ROOMY) as other,
    ):
        turn = Conversation(agent).turn()
        for never in (silent, asking):
            never.request("turn/subscribe", turnId=turn)
        heard = Heard(other.request("turn/subscribe", turnId=turn))
        heard.read_until(other, stream(agent, [turn], BEHIND, 32768))
        for _ in range(200):
            asking.post("turn/get", turnId=turn)
        heard.read_until(other, stream(agent, [turn], BEHIND // 4, 32768, first=10_000))
        asked = time.monotonic()
        for never in (silent, asking):
            never.process.send_signal(signal.SIGTERM)
        for never in (silent, asking):
            assert never.process.wait(PATIENCE) == 0
        assert time.monotonic() - asked < 10, "it is to end within 3 s"
        heard.assert_is_the_stores(agent)


def test_a_large_change_is_held_once_for_all_its_subscribers(workspace: Path) -> None:
    """1,024 subscriptions, and one change of 8 MiB: each is told at the client's pace, and who has not been told yet
    costs nothing. The first two dozen are read; a copy for each of them alone would be far more than is allowed."""
    with serving(workspace, "lines", *ROOMY) as agent, slow_client(workspace, *ROOMY) as slow:
        turn = Conversation(agent).turn()
        subscribed = {
            slow.request("turn/subscribe", turnId=turn, includeText=number % 8 > 0)["subscriptionId"]
            for number in range(1024)
        }
        before = slow.now_kb() if sys.platform == "linux" else 0
        text = "x" * (8 * 1024 * 1024 - 1024)
        agent.request("turn/append", turnId=turn, content=text)
        slow.bytes_at_once = 1024 * 1024
        for _ in range(24):
            told = slow.next_told()["params"]
            subscribed.remove(told["subscriptionId"])
            assert told.get("content", text) == text
        if sys.platform == "linux":
            assert slow.peak_kb() - before < MAY_GROW_KB


def test_all_subscribers_of_one_change_receive_the_same(workspace: Path) -> None:
    """Also where the text is too long for the queue, so that they are told one after the other."""
    with serving(workspace, "lines", *ROOMY) as agent, slow_client(workspace, *ROOMY) as slow:
        turn = Conversation(agent).turn()
        wanted = {
            slow.request("turn/subscribe", turnId=turn, includeText=text, includeRaw=raw)["subscriptionId"]: (text, raw)
            for text, raw in [(True, True), (True, False), (False, False)] * 8
        }
        text = '"\N{PILE OF POO}\u2028\x01' * 100_000
        agent.request("turn/append", turnId=turn, content=text, rawResponse=text[::-1])
        slow.bytes_at_once = 1024 * 1024
        for _ in range(len(wanted)):
            told = slow.next_told()["params"]
            with_text, with_raw = wanted.pop(told["subscriptionId"])
            assert told.get("content") == (text if with_text else None)
            assert told.get("rawResponse") == (text[::-1] if with_raw else None)
