"""The event loop is never held for long, each request has one answer, and joined appends stop at what was read."""

from __future__ import annotations

import json
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hostile.memory import MIB, resident
from locking import WRITE_LOCK, holding
from mandrake_sessions.limits import MAX_SUBSCRIPTIONS
from wire import Conversation, Message, Wire, serving, store_of

# Seconds: generous, for machines that do much else. The end comes within 3 of them from when the signal is noticed.
PROMPT = 1.0
END = 4.5
# Seconds of the processor, on the machine where the loop of ``slowness`` takes USUAL_LOOP of them.
LONGEST_STEP = 0.05
USUAL_LOOP = 0.01
# A step that is long by itself is long each time; one that the machine made long is not.
TRIES = 3


def slowness(clock: Callable[[], float] = time.thread_time) -> float:
    """How many times as long as usual this machine takes now for the same work, in time of the processor; or in all,
    with ``time.perf_counter``. Never less than 1."""

    def seconds() -> float:
        begun = clock()
        sum(len(str(number)) for number in range(60_000))
        return clock() - begun

    return max(1.0, statistics.median(seconds() for _ in range(5)) / USUAL_LOOP)


def long_steps(steps: Path) -> list[str]:
    longest = LONGEST_STEP * slowness()
    return [line for line in steps.read_text().splitlines() if float(line.split()[0]) > longest]


def some_try_has_no_long_step(workspace: Path, attempt: Callable[[Path], list[str]]) -> None:
    """``attempt`` is given a directory of its own each time."""
    found: list[list[str]] = []
    while not found or (found[-1] and len(found) < TRIES):
        directory = workspace / f"try {len(found)}"
        directory.mkdir()
        found.append(attempt(directory))
    assert found[-1] == [], found


def info_seconds(wire: Wire) -> float:
    """How long ``server/info`` takes now."""
    begun = time.monotonic()
    wire.request("server/info")
    return time.monotonic() - begun


def usual_info_seconds(wire: Wire) -> float:
    """The median of several; the first waits behind the messages that were sent before it, and does not count."""
    wire.request("server/info")
    return statistics.median(info_seconds(wire) for _ in range(7))


def send_all(wire: Wire, calls: Sequence[tuple[str, Message]]) -> list[int]:
    """Requests in one write; their ids."""
    first = wire._next_id + 1
    wire._next_id += len(calls)
    messages = [
        {"jsonrpc": "2.0", "id": first + position, "method": method, "params": params}
        for position, (method, params) in enumerate(calls)
    ]
    wire.send_bytes(b"".join(wire.frame(json.dumps(message).encode()) for message in messages))
    return list(range(first, first + len(calls)))


def end_by_signal(wire: Wire) -> float:
    """Seconds from SIGTERM to the end."""
    begun = time.monotonic()
    wire.process.send_signal(signal.SIGTERM)
    assert wire.process.wait(20) == 0
    return time.monotonic() - begun


def appends(turn: str, count: int) -> list[tuple[str, Message]]:
    return [("turn/append", {"turnId": turn, "content": "x"})] * count


def test_each_write_is_told_within_its_own_budget_that_the_lock_was_held(workspace: Path) -> None:
    with serving(workspace, "lines", "--busy-timeout", "1") as wire:
        conversation = Conversation(wire)
        turn = conversation.turn()
        with holding(workspace, WRITE_LOCK):
            ids = send_all(wire, [*appends(turn, 2000), ("session/get", {"sessionId": conversation.session})])
            taken = []
            for _ in range(20):
                taken.append(info_seconds(wire))
                time.sleep(0.1)
            answers = [wire.answer(message_id) for message_id in ids[:-1]]
        assert statistics.median(taken) < PROMPT * slowness(time.perf_counter)
        assert max(answer["error"]["data"]["waitedMs"] for answer in answers) < 2500
        # The read waits behind the writes, and no longer than they do.
        behind = wire.answer(ids[-1])
        assert "result" in behind or behind["error"]["data"]["waitedMs"] < 2500
        assert wire.request("turn/get", turnId=turn)["content"] == ""


def test_what_is_asked_about_the_server_waits_behind_no_write(workspace: Path) -> None:
    """Of 2,000 writes that came before it in one burst, most are not answered yet."""
    with serving(workspace) as wire:
        wire.request("session/list")
        ids = send_all(wire, [*[("session/create", {})] * 2000, ("server/info", {})])
        order = [wire.next_message()["id"] for _ in ids]
        assert order.index(ids[-1]) < 1000
        assert [message_id for message_id in order if message_id != ids[-1]] == ids[:-1]


def test_a_text_that_looks_like_a_request_to_the_server_keeps_its_place(workspace: Path) -> None:
    with serving(workspace) as wire:
        turn = Conversation(wire).turn()
        text = '"server/info"'
        calls: list[tuple[str, Message]] = [("turn/append", {"turnId": turn, "content": each}) for each in ("a", text)]
        for message_id in send_all(wire, calls * 200):
            wire.result(message_id)
        assert wire.request("turn/get", turnId=turn)["content"] == ("a" + text) * 200


def test_after_a_shutdown_in_the_same_burst_nothing_about_the_server_is_told(workspace: Path) -> None:
    with serving(workspace) as wire:
        wire.initialize()
        ids = send_all(wire, [("session/create", {})] * 50 + [("shutdown", {}), ("server/info", {})])
        assert all("result" in wire.answer(message_id) for message_id in ids[:-1])
        assert wire.answer(ids[-1])["error"]["code"] == -32600
        wire.notify("exit")
        assert wire.process.wait(20) == 0


def test_a_burst_that_begins_with_initialize_is_answered_whole(workspace: Path) -> None:
    """LSP is loaded meanwhile: what follows is answered after it, in the stores that it names. A wrong one may be sent
    again."""
    folder = workspace / "folder"
    folder.mkdir()
    wrong: Message = {"processId": None, "rootUri": None, "capabilities": {"workspace": 5}}
    right: Message = {"processId": None, "rootUri": folder.as_uri(), "capabilities": {}}
    with serving(workspace) as wire:
        (refused,) = send_all(wire, [("initialize", wrong)])
        assert wire.answer(refused)["error"]["code"] == -32602
        assert wire.error("workspace/didChangeWorkspaceFolders", event={})["code"] == -32600
        wire.initialize(**right)
    with serving(workspace) as wire:
        wire.request("server/info")
        ids = send_all(wire, [("initialize", right), ("session/create", {}), ("server/info", {}), ("shutdown", {})])
        order = [wire.next_message() for _ in ids]
        assert all("result" in answer for answer in order)
        # What is asked about the server waits for neither; LSP may be there before it is read.
        assert {answer["id"] for answer in order[:2]} == {ids[2], ids[0]}
        assert wire.error("session/list")["code"] == -32600
        assert store_of(folder).exists()
        wire.notify("exit")
        assert wire.process.wait(20) == 0


def test_waiting_writes_are_cancelled_one_by_one(workspace: Path) -> None:
    with serving(workspace) as wire:
        turn = Conversation(wire).turn()
        with holding(workspace, WRITE_LOCK):
            ids = send_all(wire, appends(turn, 2000))
            for message_id in ids[1::2]:
                wire.notify("$/cancelRequest", id=message_id)
            assert {wire.answer(message_id)["error"]["code"] for message_id in ids[1::2]} == {-32800}
        for message_id in ids[::2]:
            wire.result(message_id)
        assert wire.request("turn/get", turnId=turn)["chunkCount"] == 1000


def many_waiting_writes(wire: Wire, turn: str) -> None:
    send_all(wire, appends(turn, 5000))


def many_messages_of_a_batch(wire: Wire, turn: str) -> None:
    append = {"jsonrpc": "2.0", "method": "turn/append", "params": {"turnId": turn, "content": "x"}}
    wire.send([append | {"id": f"b{position}"} for position in range(9000)])


def many_operations(wire: Wire, turn: str) -> None:
    operation = {"method": "turn/append", "params": {"turnId": turn, "content": "x"}}
    send_all(wire, [("transaction/run", {"operations": [operation] * 9000})] * 3)


def many_subscriptions(wire: Wire, turn: str) -> None:
    """As many as there may be, each from another place of the feed, and one change for all of them."""
    begun = [("turn/subscribe", {"turnId": turn, "since": position}) for position in range(MAX_SUBSCRIPTIONS)]
    send_all(wire, [*begun, *appends(turn, 1)])


def many_broken_messages(wire: Wire, turn: str) -> None:
    wire.send_bytes(b"[]\n" * 9000)


def long_session(wire: Wire) -> str:
    """A session of many turns and 10,000 tool calls; its id."""
    talk = Conversation(wire)
    calls = [{"id": str(position), "title": "read"} for position in range(1000)]
    turns = [("turn/create", {"responseId": talk.response, "toolCalls": calls})] * 10
    for message_id in send_all(wire, [*turns, *[("turn/create", {"responseId": talk.response})] * 500]):
        wire.result(message_id)
    session: str = talk.session
    return session


def a_long_deletion(wire: Wire, turn: str) -> None:
    wire.post("session/delete", sessionId=long_session(wire))


MANY_VALUES = {"values": [1] * 250_000}


def first_states(wire: Wire, turn: str) -> None:
    """Subscriptions that begin with much: long turns, many turns, many tool calls, sessions with large metadata."""
    talk = Conversation(wire)
    calls = [{"id": str(position), "title": "read"} for position in range(1000)]
    text = 'é"' * 250_000
    made = [
        *[("turn/create", {"responseId": talk.response, "content": text})] * 6,
        *[("turn/create", {"responseId": talk.response, "toolCalls": calls})] * 3,
        *[("turn/create", {"responseId": talk.response})] * 300,
        *[("session/create", {"metadata": MANY_VALUES})] * 4,
    ]
    for message_id in send_all(wire, made):
        wire.result(message_id)
    follow = [("turn/subscribe", {}), ("turn/subscribe", {"responseId": talk.response}), ("session/subscribe", {})]
    for message_id in send_all(wire, follow):
        wire.result(message_id)


def large_entities(wire: Wire, turn: str) -> None:
    """Short requests about what holds a large JSON value."""
    session = wire.request("session/create", metadata=MANY_VALUES)["id"]
    blocks = [{"type": "text", "text": "a"}] * 20_000
    made = wire.request("round/create", sessionId=Conversation(wire).session, content="", blocks=blocks)
    whole, request, response = (made[name]["id"] for name in ("round", "request", "response"))
    call: Message = {"id": "a", "arguments": MANY_VALUES}
    wire.request("toolCall/upsert", turnId=turn, toolCall=call)
    calls: list[tuple[str, Message]] = [
        ("session/get", {"sessionId": session}),
        ("session/update", {"sessionId": session, "title": "A talk"}),
        ("round/get", {"roundId": whole}),
        ("round/update", {"roundId": whole, "metadata": {"a": 1}}),
        ("request/get", {"requestId": request}),
        ("request/update", {"requestId": request, "content": "b"}),
        ("turn/create", {"responseId": response}),
        ("toolCall/upsert", {"turnId": turn, "toolCall": {"id": "a", "title": "read"}}),
        ("turn/update", {"turnId": turn, "model": "large"}),
    ]
    for message_id in send_all(wire, calls):
        wire.result(message_id)


def first_message_of_lsp(wire: Wire, turn: str) -> None:
    wire.answer(wire.post("initialize", processId=None, rootUri=None, capabilities={}))


def dense_messages(wire: Wire, turn: str) -> None:
    """Messages below 1 MiB that hold many values or digits, alone and in a batch."""
    values = [
        ["9" * 50_000] * 20,
        ["9" * 50_000],
        ["1" * 4000] * 100,
        ["1.25"] * 40_000,
        ["[" * 100 + "]" * 100] * 700,
        ["[" * 100 + "]" * 100] * 300,
        ["{}"] * 30_000,
    ]
    begun = '{"jsonrpc":"2.0","id":"dense %d","method":"session/create","params":{"metadata":{"a":[%s]}}}'
    bodies = [begun % (number, ",".join(found)) for number, found in enumerate(values)]
    for body in bodies:
        wire.send_bytes(wire.frame(body.encode()))
    for number in range(len(values)):
        assert "result" in wire.answer(f"dense {number}")
    for body in bodies[5:]:
        wire.send_bytes(wire.frame(f"[{body}]".encode()))
        assert "result" in wire.wait_for(lambda message: isinstance(message, list))[0]


LOADS = [
    dense_messages,
    first_states,
    large_entities,
    first_message_of_lsp,
    many_waiting_writes,
    many_messages_of_a_batch,
    many_operations,
    many_subscriptions,
    many_broken_messages,
    a_long_deletion,
]


@pytest.mark.usefixtures("long_integers")
@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.__name__)
def test_no_step_of_the_loop_is_long(workspace: Path, load: Callable[[Wire, str], None]) -> None:
    """Measured inside the server, in processor time of the loop's thread: a busy machine hardly lengthens that."""

    def attempt(directory: Path) -> list[str]:
        with watched(directory) as (wire, steps):
            turn = Conversation(wire).turn()
            for message_id in send_all(wire, appends(turn, 1500)):
                wire.result(message_id)
            steps.write_text("")
            load(wire, turn)
            wire.request("server/info")
            wire.answer(wire.post("turn/get", turnId=turn, includeText=False))
            return long_steps(steps)

    some_try_has_no_long_step(workspace, attempt)


def test_loading_the_language_server_makes_no_long_step(workspace: Path) -> None:
    def attempt(directory: Path) -> list[str]:
        with watched(directory) as (wire, steps):
            wire.request("server/info")
            steps.write_text("")
            wire.initialize(capabilities={"textDocument": {"synchronization": {"willSave": True}}})
            wire.request("session/create")
            # By then all objects were looked through once, those of the loaded modules too.
            time.sleep(1.5)
            wire.request("shutdown")
            return long_steps(steps)

    some_try_has_no_long_step(workspace, attempt)


def test_a_thousand_folders_make_no_long_step_and_take_little_memory(workspace: Path) -> None:
    def attempt(directory: Path) -> list[str]:
        folders = [{"uri": (directory / f"f{number}").as_uri(), "name": "f"} for number in range(1000)]
        for number in range(len(folders)):
            (directory / f"f{number}").mkdir()
        with watched(directory) as (wire, steps):
            wire.initialize(workspaceFolders=folders)
            wire.request("session/list")
            steps.write_text("")
            before = resident(wire.process)
            for message_id in send_all(wire, [("session/list", {"workspace": folder["uri"]}) for folder in folders]):
                assert wire.result(message_id)["sessions"] == []
            assert resident(wire.process) - before < 64 * MIB
            half = len(folders) // 2
            for event in (
                {"added": [], "removed": folders[:half]},
                {"added": folders[:half], "removed": folders[half:]},
            ):
                wire.notify("workspace/didChangeWorkspaceFolders", event=event)
            gone = wire.error("session/list", workspace=folders[-1]["uri"])
            assert gone["data"]["kind"] == "workspaceNotFound"
            assert wire.request("session/list", workspace=folders[0]["uri"])["sessions"] == []
            return long_steps(steps)

    some_try_has_no_long_step(workspace, attempt)


@pytest.mark.usefixtures("long_integers")
@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.__name__)
def test_under_every_load_the_server_is_there_and_ends(workspace: Path, load: Callable[[Wire, str], None]) -> None:
    wire = Wire(workspace)
    try:
        turn = Conversation(wire).turn()
        for message_id in send_all(wire, appends(turn, 3000)):
            wire.result(message_id)
        load(wire, turn)
        assert usual_info_seconds(wire) < PROMPT * slowness(time.perf_counter)
        load(wire, turn)
        assert end_by_signal(wire) < END * slowness(time.perf_counter)
    finally:
        wire.kill()


@pytest.mark.parametrize("pause", [0.0, 0.02, 0.1])
def test_a_write_that_an_end_meets_is_told_what_became_of_it(workspace: Path, pause: float) -> None:
    wire = Wire(workspace)
    try:
        session = long_session(wire)
        deletion = wire.post("session/delete", sessionId=session)
        time.sleep(pause)
        assert end_by_signal(wire) < END * slowness(time.perf_counter)
        answer = wire.answer(deletion)
    finally:
        wire.kill()
    with serving(workspace) as again:
        found = again.answer(again.post("session/get", sessionId=session))
        assert ("error" in found) is ("result" in answer)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows stops no process")
def test_a_write_is_told_what_became_of_it_though_the_process_is_stopped_while_it_ends(workspace: Path) -> None:
    """As on a machine that has no processor for it: it is stopped for longer than its whole end may take."""
    wire = Wire(workspace, "lines", "--log-level", "info")
    try:
        session = long_session(wire)
        deletion = wire.post("session/delete", sessionId=session)
        # What a server has not read when a signal comes is not answered.
        wire.request("server/info")
        wire.process.send_signal(signal.SIGTERM)
        wire.wait_for_log("ending with code 0")
        wire.process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        wire.process.send_signal(signal.SIGCONT)
        assert wire.process.wait(20) == 0
        answer = wire.answer(deletion)
    finally:
        wire.kill()
    with serving(workspace) as again:
        found = again.answer(again.post("session/get", sessionId=session))
        assert ("error" in found) is ("result" in answer)


def test_a_long_transaction_waits_for_a_lock_and_holds_up_nobody(workspace: Path) -> None:
    with serving(workspace, "lines", "--busy-timeout", "1") as wire:
        turn = Conversation(wire).turn()
        operations = [{"method": "turn/append", "params": {"turnId": turn, "content": "x"}}] * 9000
        with holding(workspace, WRITE_LOCK):
            late = wire.post("transaction/run", operations=operations)
            assert usual_info_seconds(wire) < PROMPT * slowness(time.perf_counter)
            error = wire.answer(late)["error"]
            assert error["data"]["kind"] == "busy"
            assert error["data"]["waitedMs"] < 2500
        wire.request("transaction/run", operations=operations)
        assert wire.request("turn/get", turnId=turn, includeText=False)["chunkCount"] == 9000


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the address space is not limited this way")
def test_what_needs_more_memory_than_there_is_gets_an_error(workspace: Path) -> None:
    limit = ("-c", _LIMITED)
    with serving(workspace, command=(sys.executable, *limit)) as wire:
        turn = Conversation(wire).turn()
        begun = b'{"jsonrpc":"2.0","id":"large","method":"session/create","params":{"metadata":{"m":['
        wire.send_bytes(begun + b"[]," * 6_999_999 + b"[]]}}}\n")
        assert "error" in wire.answer("large")
        for position in range(3):
            assert wire.request("turn/append", turnId=turn, content="a")["chunk"] == position


@contextmanager
def watched(directory: Path) -> Iterator[tuple[Wire, Path]]:
    """A server, and the file where its long steps are written down."""
    steps = directory / "steps"
    wire = Wire(directory, command=(sys.executable, "-c", _WATCHED), environment={"STEPS": str(steps)})
    try:
        yield wire, steps
    finally:
        wire.kill()


# The server itself, with a clock around each step of its event loop.
_WATCHED = """
import asyncio.events, os, runpy, sys, time

run = asyncio.events.Handle._run

def timed(handle):
    begun = time.thread_time()
    run(handle)
    seconds = time.thread_time() - begun
    if seconds > 0.02:
        with open(os.environ["STEPS"], "a") as steps:
            steps.write(f"{seconds:.3f} {handle!r}\\n")

asyncio.events.Handle._run = timed
sys.argv = ["mandrake-sessions", "serve"]
runpy.run_module("mandrake_sessions", run_name="__main__")
"""

# The server itself, in an address space of 400 MB.
_LIMITED = f"""
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, ({400 << 20}, {400 << 20}))
sys.argv = ["mandrake-sessions", "serve"]
runpy.run_module("mandrake_sessions", run_name="__main__")
"""


def test_what_came_in_one_burst_before_an_end_is_answered(workspace: Path) -> None:
    """The parent is dead, which ends the server; the requests behind it need a store that is not open yet."""
    wire = Wire(workspace)
    initialize: Message = {"processId": 2**22 - 1, "rootUri": None, "capabilities": {}}
    ids = send_all(wire, [("initialize", initialize), *[("session/create", {})] * 20])
    answers = [wire.answer(message_id) for message_id in ids]
    assert all("result" in answer for answer in answers)
    wire.close()


def test_a_batch_with_exit_in_the_middle_is_answered_whole(workspace: Path) -> None:
    wire = Wire(workspace)
    create = {"jsonrpc": "2.0", "method": "session/create"}
    wire.send([create | {"id": 1}, {"jsonrpc": "2.0", "method": "exit"}, create | {"id": 2}])
    answers = wire.next_message()
    assert sorted(answer["id"] for answer in answers) == [1, 2]
    assert all("result" in answer for answer in answers)
    assert wire.process.wait(20) == 1
    assert wire.unread() == []


READS: list[Callable[[Conversation, str], tuple[str, Message]]] = [
    lambda _, turn: ("turn/get", {"turnId": turn}),
    lambda talk, _: ("turn/list", {"responseId": talk.response}),
    lambda talk, _: ("turn/latest", {"responseId": talk.response}),
    lambda talk, _: ("response/status", {"responseId": talk.response}),
    lambda talk, _: ("session/history", {"sessionId": talk.session}),
    lambda _, turn: ("turn/subscribe", {"turnId": turn}),
]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("other_writes", [False, True], ids=["own appends", "another process's"])
def test_skipping_what_is_not_above_the_turn_is_enough(workspace: Path, seed: int, other_writes: bool) -> None:
    """Appends in bursts with reads of every kind between them: from each state that was read, and the changes above it
    alone, comes the text of the turn."""
    chosen = random.Random(seed)
    with serving(workspace) as wire, serving(workspace) as other:
        wire.let_be("turn/updated")
        talk = Conversation(wire)
        turn = talk.turn(detached=True)
        followed = wire.request("turn/subscribe", since=10**9)
        assert followed["reset"]
        reads: list[int] = []
        for _ in range(30):
            burst = [("turn/append", {"turnId": turn, "content": chosen.choice("abcdef")})] * chosen.randint(1, 6)
            if other_writes:
                written = send_all(other, burst)
                read = send_all(wire, [chosen.choice(READS)(talk, turn)])
                for message_id in written:
                    other.result(message_id)
                reads += read
            else:
                read_call = chosen.choice(READS)(talk, turn)
                sent = send_all(wire, [*burst, read_call, *burst])
                reads.append(sent[len(burst)])
                for message_id in (*sent[: len(burst)], *sent[len(burst) + 1 :]):
                    wire.result(message_id)
        stored = wire.request("turn/get", turnId=turn)
        told = _changes_until(wire, followed["subscriptionId"], stored["seq"])
        for message_id in reads:
            state = _turn_in(wire.result(message_id))
            text, seq = state["content"], state["seq"]
            for change in told:
                if change["seq"] > seq:
                    text += change["content"]
            assert text == stored["content"]


def _changes_until(wire: Wire, subscription: str, seq: int) -> list[Message]:
    found: list[Message] = []
    while not found or found[-1]["seq"] < seq:
        params = wire.notification()
        if params["subscriptionId"] == subscription and params["kind"] == "appended":
            found.append(params)
    return found


def _turn_in(result: Any) -> Message:
    """The one turn in whatever was read."""
    if "content" in result and "responseId" in result:
        return dict(result)
    turns = result["turns"] if "turns" in result else result["rounds"][0]["response"]["turns"]
    (turn,) = turns
    return dict(turn)
