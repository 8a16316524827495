"""What a server tells of its own work: figures in server/info, LSP's trace, warnings in the editor."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from broken import FAULTY, break_program
from locking import WRITE_LOCK, holding
from mandrake_sessions.protocol.results import MethodStatistics
from strict import StrictSyncClient, Talk, connected
from wire import SERVER, Framing, Message, Wire, clean_environment, run_script

MARK = "b7MARKED"
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"processId": None, "capabilities": {}}}
UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


def methods(client: StrictSyncClient) -> dict[str, MethodStatistics]:
    return client.server_info().calls


def counts(client: StrictSyncClient) -> dict[str, tuple[int, int]]:
    """Calls and errors by method."""
    return {name: (figures.count, figures.errors) for name, figures in methods(client).items()}


def wire_counts(wire: Wire) -> dict[str, tuple[int, int]]:
    """The same over raw messages."""
    calls = wire.request("server/info")["calls"]
    return {name: (figures["count"], figures["errors"]) for name, figures in calls.items()}


def test_calls_and_errors_are_counted_by_method(client: StrictSyncClient) -> None:
    turn = Talk(client).turn()
    for chunk in (0, 1, 7):
        client.submit("turn/append", {"turnId": turn, "content": "a", "chunk": chunk}).exception()
    client.notify("turn/append", {"turnId": turn, "content": "a"})
    client.notify("turn/append", {"turnId": UNKNOWN, "content": "a"})
    client.told("turn/rejected")
    client.error("session/get", sessionId=UNKNOWN)
    assert counts(client) == {
        "session/create": (1, 0),
        "round/create": (1, 0),
        "turn/create": (1, 0),
        "turn/append": (5, 2),
        "session/get": (1, 1),
    }


def test_a_server_that_was_asked_nothing_has_no_figures_but_its_own(client: StrictSyncClient) -> None:
    assert methods(client) == {}
    assert counts(client) == {"server/info": (1, 0)}


def test_names_that_there_are_not_are_counted_together(wire: Wire) -> None:
    for number in range(100):
        wire.error(f"session/number-{number}")
        wire.notify(f"$/number-{number}")
    wire.send({"jsonrpc": "2.0", "id": "bad", "method": 5})
    assert wire.answer("bad")["error"]["code"] == -32600
    assert wire_counts(wire) == {"unknown": (201, 101)}


def test_lsp_batches_and_cancellations_are_counted_and_answers_are_not(wire: Wire) -> None:
    wire.initialize()
    wire.notify("$/cancelRequest", id=99)
    wire.send({"jsonrpc": "2.0", "id": 5, "result": None})
    wire.send([{"jsonrpc": "2.0", "id": n, "method": "session/create"} for n in ("a", "b")]
              + [{"jsonrpc": "2.0", "id": 7, "result": None}])  # fmt: skip
    assert [answer["id"] for answer in wire.next_message()] == ["a", "b"]
    assert wire_counts(wire) == {
        "initialize": (1, 0),
        "initialized": (1, 0),
        "$/cancelRequest": (1, 0),
        "session/create": (2, 0),
    }


def test_the_time_is_counted_from_arrival_to_answer(workspace: Path) -> None:
    with connected(workspace, "--busy-timeout", "0.2") as client:
        client.session_create()
        with holding(workspace, WRITE_LOCK):
            assert client.error("session/create").kind == "busy"
        figures = methods(client)["session/create"]
        assert (figures.count, figures.errors) == (2, 1)
        assert figures.total_ms > figures.max_ms >= 200


def trace_of(client: StrictSyncClient, count: int) -> list[Message]:
    """The next messages of the trace; what is measured in them becomes N."""
    found = [client.told("$/logTrace") for _ in range(count)]
    return [{name: re.sub(r"\d+\.\d ms|\d+ bytes", "N", text) for name, text in params.items()} for params in found]


def test_a_trace_tells_what_was_received_and_answered(workspace: Path, framing: Framing) -> None:
    with connected(workspace, framing=framing) as client:
        client.initialize(trace="messages")
        assert trace_of(client, 2) == [
            {"message": "Received notification 'initialized'."},
            {"message": "Notification 'initialized' succeeded in N."},
        ]
        client.session_create(title=MARK)
        client.error("session/get", sessionId=MARK)
        client.notify("$/setTrace", {"value": "verbose"})
        client.session_list(query=MARK)
        client.notify("$/setTrace", {"value": "off"})
        client.session_list(query=MARK)
        assert trace_of(client, 9) == [
            {"message": "Received request 'session/create - (2)'."},
            {"message": "Sent response 'session/create - (2)', it succeeded in N."},
            {"message": "Received request 'session/get - (3)'."},
            {"message": "Sent response 'session/get - (3)', it failed in N."},
            {"message": "Received notification '$/setTrace'."},
            {"message": "Notification '$/setTrace' succeeded in N."},
            {"message": "Received request 'session/list - (4)'.", "verbose": "Params: N"},
            {"message": "Sent response 'session/list - (4)', it succeeded in N.", "verbose": "Response: N"},
            {"message": "Received notification '$/setTrace'.", "verbose": "Params: N"},
        ]


def test_an_answer_comes_before_its_trace(wire: Wire) -> None:
    wire.notify("$/setTrace", value="messages")
    wire.post("session/list")
    assert [wire.next_message().get("method") for _ in range(4)] == ["$/logTrace"] * 2 + [None, "$/logTrace"]


def test_there_is_no_trace_of_the_trace(client: StrictSyncClient) -> None:
    """A client that echoes what it hears must not be echoed."""
    client.notify("$/setTrace", {"value": "messages"})
    trace_of(client, 1)
    client.notify("$/logTrace", {"message": "Received request"})
    client.notify("$/setTrace", {"value": "off"})
    assert trace_of(client, 1) == [{"message": "Received notification '$/setTrace'."}]


@pytest.mark.parametrize("value", ["loud", "", 5, None, ["messages"], {"messages": 1}])
def test_a_level_that_nobody_knows_leaves_the_trace_as_it_is(workspace: Path, value: Any) -> None:
    with connected(workspace) as client:
        client.initialize(trace=value)
        client.session_list()
        client.notify("$/setTrace", {"value": "messages"})
        trace_of(client, 1)
        client.notify("$/setTrace", {"value": value})
        client.session_list()
        assert len(trace_of(client, 4)) == 4
        client.notify("$/setTrace", {"value": "off"})
        trace_of(client, 1)
        assert client.told("window/logMessage")["message"].startswith("ignored a level of trace")


def test_the_compact_trace_of_a_client_library_is_one_of_messages(client: StrictSyncClient) -> None:
    client.initialize(trace="compact")
    assert trace_of(client, 2)[0] == {"message": "Received notification 'initialized'."}


def test_long_names_and_ids_are_cut(wire: Wire) -> None:
    wire.notify("$/setTrace", value="verbose")
    wire.send({"jsonrpc": "2.0", "id": "i" * 10_000, "method": "m" * 10_000})
    assert wire.answer("i" * 10_000)["error"]["code"] == -32601
    for params in (wire.notification("$/logTrace") for _ in range(3)):
        assert len(params["message"]) < 400


def test_an_editor_is_told_of_warnings_and_errors(workspace: Path, framing: Framing) -> None:
    with connected(workspace, command=FAULTY, framing=framing) as client:
        client.initialize()
        client.notify("turn/append", {"turnId": MARK, "content": MARK})
        assert client.told("window/logMessage") == {
            "type": 2, "message": "notification turn/append failed: invalidParams",
        }  # fmt: skip
        client.told("turn/rejected")
        client.session_create(title=MARK)
        break_program(workspace, "session")
        incident = client.error("session/list").data["incident"]
        # Idle work may meet the fault too, before it and until the end.
        idle = ("the event loop went on after an error that nobody caught", "the search index could not be filled")
        while (told := client.told("window/logMessage"))["message"].startswith(idle):
            pass
        assert told == {"type": 1, "message": f"incident {incident}"}
        client.let_be("window/logMessage")


WORDLESS = (
    sys.executable,
    "-c",
    """
import sys
from mandrake_sessions.protocol import words
words._OPERATIONS.clear()
from mandrake_sessions.cli import main
sys.exit(main())
""",
    "serve",
)


def test_an_error_that_cannot_be_worded_is_internal(workspace: Path) -> None:
    """It would be no use to send it again, and the log says what is wrong with the program."""
    with connected(workspace, command=WORDLESS) as client:
        client.session_create(external_id="a")
        error = client.error("session/create", externalId="a")
        assert (error.code, error.data["kind"], error.data["retryable"]) == (-32603, "internal", False)
        client.session_create(external_id="b")
    assert error.data["incident"] in client.log
    assert "KeyError" in client.log


def test_an_editor_is_told_of_what_threads_log(workspace: Path) -> None:
    """A history is read on another thread, and so is what goes wrong with it."""
    with connected(workspace, command=FAULTY) as client:
        client.initialize()
        session = Talk(client).session
        break_program(workspace, "round")
        incident = client.error("session/history", sessionId=session).data["incident"]
        assert client.told("window/logMessage") == {"type": 1, "message": f"incident {incident}"}
        # Idle work may meet the fault too before the end.
        client.let_be("window/logMessage")


def test_a_script_hears_nothing_of_the_log(workspace: Path) -> None:
    failing = {"jsonrpc": "2.0", "method": "session/get", "params": {"sessionId": UNKNOWN}}
    assert run_script(workspace, failing, failing) == []
    assert run_script(workspace, {"jsonrpc": "2.0", "method": "initialized"}, failing) == []
    assert [message["id"] for message in run_script(workspace, INITIALIZE, failing)] == [1]


FLOOD = 20_000


def told_while_nobody_reads(workspace: Path, first: Message, flood: Message, told_by: str) -> list[Message]:
    """An editor that asks for more than waits in the door, then sends the same notification very often, and reads only
    when all of it is sent; then it sends it once more, and waits until ``told_by`` tells of it. What it has read then,
    without its first answers."""
    process = subprocess.Popen([*SERVER, "serve"], cwd=workspace, env=clean_environment(workspace),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None

    def line(message: Message) -> bytes:
        return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"

    with process, process.stdin, process.stdout:
        create = {"id": 2, "method": "session/create", "params": {"metadata": {"a": "x" * 100_000}}}
        process.stdin.write(line(INITIALIZE) + line({"method": "initialized"}) + line(create))
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(2)]
        get = {"id": 3, "method": "session/get", "params": {"sessionId": answers[1]["result"]["id"]}}
        process.stdin.write(line(first) + line(get) * 30)
        process.stdin.write(line(flood) * FLOOD)
        process.stdin.flush()
        kept: list[Message] = []
        while sum(message.get("id") == 3 for message in kept) < 30:
            kept.append(json.loads(process.stdout.readline()))
        # Once this is answered the flood is over, and nothing waits any more: what comes now is told again.
        process.stdin.write(line({"id": 4, "method": "server/health"}))
        process.stdin.flush()
        while kept[-1].get("id") != 4:
            kept.append(json.loads(process.stdout.readline()))
        process.stdin.write(line(flood))
        process.stdin.flush()
        while kept[-1].get("method") != told_by:
            kept.append(json.loads(process.stdout.readline()))
        process.stdin.close()
        kept += [json.loads(rest) for rest in process.stdout]
    assert process.returncode == 0
    return kept


def test_a_trace_that_nobody_reads_has_gaps_and_says_so(workspace: Path) -> None:
    first = {"method": "$/setTrace", "params": {"value": "verbose"}}
    told = told_while_nobody_reads(workspace, first, {"method": "$/again"}, "$/logTrace")
    trace = [message["params"]["message"] for message in told if message.get("method") == "$/logTrace"]
    left_out = [int(found[1]) for text in trace if (found := re.search(r" (\d+) messages of this trace", text))]
    assert sum(left_out) > FLOOD
    # Each is received and answered, but for the request that begins the trace, of which only the end is told.
    assert len(trace) + sum(left_out) == 1 + 2 * (30 + FLOOD + 2)


def test_warnings_that_nobody_reads_are_dropped(workspace: Path) -> None:
    """Whether one of them got through depends on who is faster; those that are sent once all was read do."""
    bad = {"method": "$/setTrace", "params": {"value": "loud"}}
    told = told_while_nobody_reads(workspace, bad, bad, "window/logMessage")
    warnings = [message for message in told if message.get("method") == "window/logMessage"]
    assert 0 < len(warnings) < FLOOD
    assert told[-1] in warnings
    assert len(told) == 30 + 1 + len(warnings)
