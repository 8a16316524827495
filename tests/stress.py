"""Stress: processes that stream and listen, are killed at random and start again; in the end all must agree.

A test calls ``run``; by hand, for longer: ``python tests/stress.py --seconds 120``. What is held is said at ``Stress``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import select
import signal
import sqlite3
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import define, field, frozen

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import Busy
from mandrake_sessions.operations.housekeeping import Housekeeper, housekeeper
from wire import SERVER, Message, apply_update, clean_environment, serving

# Generous: it only has to end what would never end.
PATIENCE = 90.0
# Pieces of one turn under way at once.
WINDOW = 8
TICK = 0.05
# Each deletes about a thousand rows of the feed, if there are so many.
PRUNE_STEPS = 20
# Orphans are looked for often; a lock is waited for as long as it takes on a busy machine.
FLAGS = ("--lease-seconds", "0.4", "--busy-timeout", "60", "--durability", "normal")


class Lost(Exception):
    """The connection ended."""


@frozen
class Plan:
    """How much of it. ``kill_every``: seconds between two kills, on average. ``pause``: a killed process stays away
    for up to so many seconds. ``prune``: after every second kill what the feed holds is deleted, so that who was away,
    or is slow, has to begin anew."""

    writers: int = 4
    streams: int = 2
    subscribers: int = 2
    seconds: float = 8.0
    kill_every: float = 0.5
    pause: float = 0.0
    prune: bool = False
    seed: int = field(factory=lambda: secrets.randbelow(10**9))
    flags: tuple[str, ...] = FLAGS


@define
class Report:
    """What happened."""

    turns: int = 0
    pieces: int = 0
    told: int = 0
    kills: int = 0
    interrupted: int = 0
    resumed: int = 0
    resets: int = 0
    pruned: int = 0


class Link:
    """One server process and raw pipes to it, read by whoever calls ``receive``."""

    def __init__(self, workspace: Path, log: Path, flags: tuple[str, ...]) -> None:
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [*SERVER, "serve", *flags],
                cwd=workspace,
                env=clean_environment(workspace),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        self._rest = b""

    def send(self, messages: list[Message]) -> None:
        """Raises Lost."""
        data = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
        try:
            while data:
                data = data[self._stdin.write(data) :]
        except BrokenPipeError:
            raise Lost from None

    def receive(self) -> list[Message]:
        """What has come, within a tick. Raises Lost at the end; half a line is nothing."""
        if not select.select([self._stdout], [], [], TICK)[0]:
            return []
        data = os.read(self._stdout.fileno(), 262144)
        if not data:
            raise Lost
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self) -> int:
        """End the input, and wait for the process; gives its exit code."""
        self._stdin.close()
        try:
            while True:
                assert not self.receive(), "it had told everything"
        except Lost:
            return self.process.wait(PATIENCE)
        finally:
            self.close()

    def close(self) -> None:
        """In any case, and as often as one likes: the process is gone afterwards."""
        self.process.kill()
        self.process.wait()
        self._stdin.close()
        self._stdout.close()


@define(eq=False)
class Stream:
    """One turn after the other, each piece sent until it is acknowledged."""

    response: str
    random: random.Random
    turn: str = ""
    planned: int = 0
    # Asked for on this connection; acknowledged; asked for on any.
    creating: bool = False
    completing: bool = False
    created: bool = False
    ever_completing: bool = False
    pieces: list[Message] = field(factory=list)
    acknowledged: int = 0
    sent: int = 0
    idle: bool = True
    # What every turn has to be in the end.
    written: dict[str, list[Message]] = field(factory=dict)

    def begin_turn(self) -> None:
        self.turn, self.planned = str(uuid.uuid4()), self.random.randrange(1, 400)
        self.creating = self.completing = self.created = self.ever_completing = self.idle = False
        self.pieces, self.acknowledged, self.sent = [], 0, 0
        self.written[self.turn] = self.pieces

    def piece(self) -> Message:
        """The next new piece; no two are alike."""
        words = "ж\u0000🙂 lorem ipsum " * self.random.choice((0, 1, 2, 3, 100))
        found: Message = {"content": f"<{len(self.pieces)} {self.random.random()} {words}>"}
        if self.random.random() < 0.3:
            found["rawResponse"] = json.dumps({"piece": len(self.pieces)})
        if self.random.random() < 0.3:
            found["currentTokens"] = len(self.pieces)
        return found

    def lost(self) -> None:
        """What is not acknowledged will be sent again."""
        self.sent = self.acknowledged
        self.creating, self.completing = self.created, False

    @property
    def surely_streams(self) -> bool:
        """Whether the store must have it as streaming, or interrupted, whatever was lost."""
        return not self.idle and self.created and not self.ever_completing


@define(eq=False)
class Subscriber:
    """A listener to the whole store, over all connections it had: every change once, in order, without a gap."""

    raw: bool
    seq: int
    turns: dict[str, Message] = field(factory=dict)
    # Its name on this connection; while it reads again what it shows, what is told meanwhile waits.
    id: str | None = None
    pages: int = 0
    waiting: list[Message] = field(factory=list)
    told: int = 0
    resets: int = 0
    pruned: int = 0
    must_reset: bool = False
    statuses: Counter[str] = field(factory=Counter)
    faults: list[str] = field(factory=list)

    def take(self, params: Message) -> None:
        """A ``turn/updated``."""
        if params["seq"] <= self.seq:
            self.faults.append(f"seq {params['seq']} was told after {self.seq}")
        self.seq = params["seq"]
        self.told += 1
        if self.pages:
            self.waiting.append(params)
        else:
            self._apply(params)

    def status(self, turn_id: str) -> str | None:
        """Of a turn as it is known; asked from other threads too."""
        turn = self.turns.get(turn_id)
        return None if turn is None else turn["status"]

    def _apply(self, params: Message) -> None:
        turn = self.turns.get(params["turnId"])
        if params["kind"] == "appended" and (turn is None or params["seq"] > turn["seq"]):
            known = None if turn is None else (turn["status"], turn["chunkCount"])
            if known != ("streaming", params["firstChunk"]):
                self.faults.append(f"{params['turnId']}: pieces from {params['firstChunk']} on {known}")
        if status := params.get("changes", {}).get("status"):
            self.statuses[status] += 1
        apply_update(self.turns, params)

    def reset(self, started: Message) -> None:
        """Begin anew from the state; the caller reads the rest."""
        self.resets += 1
        self.must_reset = False
        self.seq = started["seq"]
        self.waiting = []
        self.turns = {turn["id"]: turn for turn in started["turns"]}

    def read_again(self, history: Message) -> None:
        """A page of what it shows."""
        for turn in (turn for entry in history["rounds"] for turn in entry["response"]["turns"]):
            known = self.turns.get(turn["id"])
            if known is None or known["seq"] < turn["seq"]:
                self.turns[turn["id"]] = turn
        self.pages -= 1
        if not self.pages:
            waiting, self.waiting = self.waiting, []
            for params in waiting:
                self._apply(params)

    def lost(self) -> None:
        """The connection is gone. In the middle of reading again nothing is known."""
        self.id = None
        if self.pages:
            self.pages, self.waiting, self.turns, self.seq = 0, [], {}, 0


@define
class Shared:
    """What all workers know of each other."""

    workspace: Path
    plan: Plan
    store_id: str
    sessions: list[str]
    closing: threading.Event = field(factory=threading.Event)
    stop: threading.Event = field(factory=threading.Event)
    last_seq: int | None = None
    faults: list[str] = field(factory=list)
    # What a process that is never killed hears.
    monitor: Subscriber = field(factory=lambda: Subscriber(raw=True, seq=0))

    def fault(self, text: str) -> None:
        self.faults.append(text)
        self.stop.set()

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """What is waited for must come to be, unless all is lost anyway."""
        deadline = time.monotonic() + PATIENCE
        while not condition() and not self.stop.wait(TICK):
            if time.monotonic() > deadline:
                self.fault(f"never came: {what}")


class Worker(threading.Thread):
    """The client of one server process after the other: its streams, and its subscribers."""

    def __init__(self, shared: Shared, name: str, responses: list[str], subscribers: list[Subscriber]) -> None:
        super().__init__(name=name, daemon=True)
        self._shared = shared
        self._random = random.Random(f"{shared.plan.seed} {name}")
        self.streams = [Stream(response, random.Random(self._random.random())) for response in responses]
        self.subscribers = subscribers
        self._next_id = 0
        self._calls: dict[int, Callable[[Any], None]] = {}
        self._outgoing: list[Message] = []
        self.has_written = threading.Event()
        self.kills = self._losses = 0
        self.link = self._connect()

    @property
    def log(self) -> Path:
        return self._shared.workspace / f"{self.name}.log"

    def kill(self) -> None:
        """From another thread, at any moment."""
        process = self.link.process
        if process.poll() is None:
            self.kills += 1
            process.kill()

    def run(self) -> None:
        """Until all is written and heard."""
        try:
            while not self._shared.stop.is_set() and not self._is_done():
                try:
                    self._turn_over()
                except Lost:
                    self._lost()
            if not self._shared.stop.is_set() and (code := self.link.end()):
                self._shared.fault(f"{self.name}: ended with {code}")
        except Exception as error:
            self._shared.fault(f"{self.name}: {type(error).__name__}: {error}")
        finally:
            self.link.close()

    def _is_done(self) -> bool:
        last = self._shared.last_seq
        heard = last is not None and all(s.seq >= last and s.id and not s.pages for s in self.subscribers)
        return heard and not self._calls

    def _lost(self) -> None:
        """Start again, now or a while later; or when others have noticed, which they must."""
        self._losses += 1
        self.link.close()
        if (code := self.link.process.returncode) != -signal.SIGKILL or self._losses > self.kills:
            self._shared.fault(f"{self.name}: the connection was lost, the exit code is {code}")
        streaming = [stream.turn for stream in self.streams if stream.surely_streams]
        self._calls.clear()
        self._outgoing.clear()
        for stream in self.streams:
            stream.lost()
        for subscriber in self.subscribers:
            subscriber.lost()
        if self._random.random() < 0.5:
            monitor = self._shared.monitor
            self._shared.wait_until(
                lambda: all(monitor.status(turn) == "interrupted" for turn in streaming),
                f"{self.name}: its turns became interrupted",
            )
        else:
            self._shared.stop.wait(self._random.uniform(0, self._shared.plan.pause))
        self.link = self._connect()

    def _connect(self) -> Link:
        return Link(self._shared.workspace, self.log, self._shared.plan.flags)

    def _turn_over(self) -> None:
        for subscriber in self.subscribers:
            if subscriber.id is None:
                self._subscribe(subscriber)
        for stream in self.streams:
            self._write(stream)
        if self._shared.closing.is_set() and all(stream.idle for stream in self.streams):
            self.has_written.set()
        outgoing, self._outgoing = self._outgoing, []
        self.link.send(outgoing)
        for message in self.link.receive():
            self._take(message)

    def _call(self, method: str, then: Callable[[Any], None], **params: Any) -> None:
        self._next_id += 1
        self._calls[self._next_id] = then
        self._outgoing.append({"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params})

    def _take(self, message: Message) -> None:
        if "error" in message:
            self._shared.fault(f"{self.name}: {message}")
        elif "method" not in message:
            self._calls.pop(message["id"])(message["result"])
        else:
            self._notified(message["method"], message["params"])

    def _notified(self, method: str, params: Message) -> None:
        subscriber = next((s for s in self.subscribers if s.id == params.get("subscriptionId")), None)
        if subscriber is None:
            self._shared.fault(f"{self.name}: told of nobody's subscription: {method} {params}")
        elif method == "turn/updated":
            subscriber.take(params)
        elif method == "subscription/ended" and params["reason"] == "pruned":
            subscriber.pruned += 1
            subscriber.lost()
            subscriber.must_reset = True
        else:
            self._shared.fault(f"{self.name}: {method} {params}")

    def _subscribe(self, subscriber: Subscriber) -> None:
        since = subscriber.seq
        subscriber.id = "asked for"

        def started(result: Message) -> None:
            subscriber.id = result["subscriptionId"]
            if result["storeId"] != self._shared.store_id:
                self._shared.fault(f"{self.name}: another store: {result['storeId']}")
            if result["reset"]:
                subscriber.reset(result)
                subscriber.pages = len(self._shared.sessions)
                for session in self._shared.sessions:
                    self._read_again(subscriber, session, None)
            elif (result["seq"], result["turns"], subscriber.must_reset) != (since, [], False):
                self._shared.fault(f"{self.name}: not from {since} on: {result}")

        self._call("turn/subscribe", started, since=since, storeId=self._shared.store_id, includeRaw=subscriber.raw)

    def _read_again(self, subscriber: Subscriber, session: str, cursor: str | None) -> None:
        connection = subscriber.id

        def read(result: Message) -> None:
            if subscriber.id != connection:
                return
            if result["nextCursor"] is not None:
                subscriber.pages += 1
                self._read_again(subscriber, session, result["nextCursor"])
            subscriber.read_again(result)

        more = {} if cursor is None else {"cursor": cursor}
        self._call("session/history", read, sessionId=session, includeRaw=subscriber.raw, **more)

    def _write(self, stream: Stream) -> None:
        """Keep the window full; begin and end turns."""
        if stream.idle:
            if self._shared.closing.is_set():
                return
            stream.begin_turn()
        if not stream.creating:
            self._create(stream)
        end = stream.planned if not self._shared.closing.is_set() else len(stream.pieces)
        while stream.sent < min(end, stream.acknowledged + WINDOW):
            if stream.sent == len(stream.pieces):
                stream.pieces.append(stream.piece())
            self._append(stream, stream.sent)
            stream.sent += 1
        if stream.created and stream.acknowledged >= end and not stream.completing:
            self._complete(stream)

    def _create(self, stream: Stream) -> None:
        def created(result: Message) -> None:
            stream.created = True

        stream.creating = True
        self._call("turn/create", created, id=stream.turn, responseId=stream.response)

    def _append(self, stream: Stream, chunk: int) -> None:
        def acknowledged(result: Message) -> None:
            if (result["turnId"], result["chunk"], stream.acknowledged) != (stream.turn, chunk, chunk):
                self._shared.fault(f"{self.name}: {chunk} of {stream.turn} acknowledged with {result}")
            stream.acknowledged += 1

        self._call("turn/append", acknowledged, turnId=stream.turn, chunk=chunk, **stream.pieces[chunk])

    def _complete(self, stream: Stream) -> None:
        stream.completing = stream.ever_completing = True

        def completed(result: Message) -> None:
            stream.idle = True

        self._call("turn/update", completed, turnId=stream.turn, status="completed")


class Stress:
    """One run. In the end, of every turn and every subscriber:

    - a subscriber was told each change once, in order, without a gap, over all connections it had; where it was told
      ``pruned`` or ``reset`` it read again, and went on; and what it has then is what ``turn/get`` gives;
    - each acknowledged piece is in the store once, in its place, and nothing else is;
    - the turns of a process that was killed became interrupted, and streamed again before the next piece;
    - no request failed, no log line was written, no process ended but those that were killed; the file is whole.
    """

    def __init__(self, workspace: Path, plan: Plan) -> None:
        self.plan = plan
        self._workspace = workspace
        self._database = workspace / ".ws" / "db.sqlite"
        self._random = random.Random(plan.seed)
        with serving(workspace, "lines", *plan.flags) as wire:
            sessions = [wire.request("session/create")["id"] for _ in range(plan.writers)]
            responses = [
                wire.request("round/create", sessionId=session, content="?")["response"]["id"] for session in sessions
            ]
            store_id = wire.request("server/info")["stores"][0]["storeId"]
        self._shared = Shared(workspace, plan, store_id, sessions)
        self._workers: list[Worker] = []
        self._responses = responses

    def run(self) -> Report:
        """Raises AssertionError, which names the seed."""
        try:
            self._start()
            self._disturb()
            self._finish()
        finally:
            self._shared.stop.set()
            for worker in self._workers:
                worker.join(PATIENCE)
                worker.link.close()
        if not self._faults():
            self._verify()
            self._check_file()
        faults = self._faults()
        assert not faults, f"seed {self.plan.seed}: {len(faults)} faults: " + "\n".join(faults[:20])
        return self._report()

    def _start(self) -> None:
        plan = self.plan
        self._workers.append(Worker(self._shared, "monitor", [], [self._shared.monitor]))
        for n, response in enumerate(self._responses):
            subscribers = [Subscriber(raw=bool(m % 2), seq=0) for m in range(plan.subscribers)]
            self._workers.append(Worker(self._shared, f"writer-{n}", [response] * plan.streams, subscribers))
        for worker in self._workers:
            worker.start()

    def _disturb(self) -> None:
        """Kill writers until the time is over."""
        end = time.monotonic() + self.plan.seconds
        kills = 0
        with SessionManager(self._database, busy_timeout=PATIENCE) as manager:
            keeper = housekeeper(manager.store, 0, 0)
            while (left := end - time.monotonic()) > 0 and not self._shared.stop.is_set():
                self._shared.stop.wait(min(left, self._random.uniform(0, 2 * self.plan.kill_every)))
                self._random.choice(self._workers[1:]).kill()
                kills += 1
                if self.plan.prune and not kills % 2:
                    self._prune(keeper)

    @staticmethod
    def _prune(keeper: Housekeeper) -> None:
        """As an embedding program does; giving space back may find the file locked, which is no fault."""
        for _ in range(PRUNE_STEPS):
            with suppress(Busy):
                keeper.step()

    def _finish(self) -> None:
        """Let the writers end their turns, and everybody hear of it."""
        shared = self._shared
        shared.closing.set()
        shared.wait_until(lambda: all(worker.has_written.is_set() for worker in self._workers), "all was written")
        if not shared.stop.is_set():
            with serving(self._workspace, "lines", *self.plan.flags) as wire:
                shared.last_seq = wire.request("session/list", limit=1)["seq"]
        shared.wait_until(lambda: not any(worker.is_alive() for worker in self._workers), "all was heard")

    def _faults(self) -> list[str]:
        logs = [line for worker in self._workers for line in worker.log.read_text().splitlines()]
        return [*self._shared.faults, *(fault for one in self._subscribers() for fault in one.faults), *logs]

    def _subscribers(self) -> list[Subscriber]:
        return [subscriber for worker in self._workers for subscriber in worker.subscribers]

    def _written(self) -> dict[str, list[Message]]:
        streams = [stream for worker in self._workers for stream in worker.streams]
        return {turn: pieces for stream in streams for turn, pieces in stream.written.items()}

    def _verify(self) -> None:
        """Against what a new process reads."""
        written = self._written()
        for subscriber in self._subscribers():
            if set(subscriber.turns) != set(written):
                self._shared.fault(f"a subscriber has {len(subscriber.turns)} turns of {len(written)}")
        with serving(self._workspace, "lines", *self.plan.flags) as wire:
            for turn_id, pieces in written.items():
                stored = wire.request("turn/get", turnId=turn_id)
                texts = ["".join(piece.get(name, "") for piece in pieces) for name in ("content", "rawResponse")]
                found = [stored["content"], stored["rawResponse"]]
                if (found, stored["chunkCount"], stored["status"]) != (texts, len(pieces), "completed"):
                    self._shared.fault(f"{turn_id} is not what was written in {len(pieces)} pieces: {stored}"[:2000])
                self._compare(stored)

    def _compare(self, stored: Message) -> None:
        for subscriber in self._subscribers():
            heard = subscriber.turns.get(stored["id"], {})
            expected = {name: value for name, value in stored.items() if subscriber.raw or name != "rawResponse"}
            if heard != expected:
                differ = sorted(name for name in {*heard, *expected} if heard.get(name) != expected.get(name))
                self._shared.fault(f"a subscriber has another {stored['id']} than the store, in {differ}")

    def _check_file(self) -> None:
        with closing(sqlite3.connect(self._database)) as connection:
            for pragma, sound in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
                if (found := connection.execute(f"PRAGMA {pragma}").fetchall()) != sound:
                    self._shared.fault(f"{pragma}: {found[:5]}")

    def _report(self) -> Report:
        written, monitor, every = self._written(), self._shared.monitor, self._subscribers()
        return Report(
            turns=len(written),
            pieces=sum(map(len, written.values())),
            told=sum(subscriber.told for subscriber in every),
            kills=sum(worker.kills for worker in self._workers),
            interrupted=monitor.statuses["interrupted"],
            resumed=monitor.statuses["streaming"],
            resets=sum(subscriber.resets for subscriber in every),
            pruned=sum(subscriber.pruned for subscriber in every),
        )


def run(workspace: Path, plan: Plan) -> Report:
    """A run in an empty workspace. Raises AssertionError, which names the seed."""
    return Stress(workspace, plan).run()


def main() -> None:
    parser = argparse.ArgumentParser(description="Stress the store with processes that are killed at random.")
    for name, default in (("writers", 8), ("streams", 4), ("subscribers", 4), ("seconds", 120.0), ("kill-every", 0.5)):
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default {default}")
    parser.add_argument("--pause", type=float, default=1.0, help="how long killed processes stay away, at the most")
    parser.add_argument("--prune", action="store_true", help="delete what the feed holds now and then")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    parser.add_argument("flags", nargs="*", help="of the servers, behind --")
    given = vars(parser.parse_args())
    plan = Plan(**given | {"flags": (*FLAGS, *given["flags"])})
    with TemporaryDirectory() as directory:
        (Path(directory) / ".git").mkdir()
        print(f"{plan}")
        print(run(Path(directory), plan))


if __name__ == "__main__":
    main()
