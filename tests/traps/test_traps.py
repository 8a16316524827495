"""The traps of a stock pygls server (design, section 4): that it falls into each, and that ours does not.

"Never answered" is no matter of waiting: later requests are answered, the input ends, the server ends well, and among
all that it ever wrote there is no answer to the earlier one.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broken import FAULTY, break_program
from wire import SERVER, TIMEOUT, Conversation, Message, Wire, apply_update, clean_environment, serving

STOCK = (sys.executable, str(Path(__file__).with_name("stock_server.py")))

# How long a thing may take that a blocked server never does, and one that is not does in a few milliseconds.
BLOCKED_SECONDS = 1.5
# More than a pipe holds, and less than the 1 MiB at which ours reads no further requests.
UNREAD = 400_000


class Client(Wire):
    """A client with headers that takes any header (the stock server adds Content-Type), and can leave off reading."""

    def __init__(self, workspace: Path, command: tuple[str, ...]) -> None:
        self.reads = threading.Event()
        self.reads.set()
        super().__init__(workspace, "headers", command=command)

    @property
    def kept(self) -> list[Any]:
        """What came before the last answer that was asked for, and nobody has asked for."""
        return list(self._kept)

    def rest(self) -> list[Any]:
        """End the input; gives all that the server said besides what was asked for."""
        self.end_input()
        assert self.process.wait(TIMEOUT) == 0, self.stderr
        left = self.unread()
        self._kept.clear()
        return left

    def says(self, word: str, timeout: float) -> bool:
        """Whether the word comes on stderr in that time."""
        deadline = threading.Event()
        timer = threading.Timer(timeout, deadline.set)
        timer.start()
        while word not in self.stderr and not deadline.wait(0.005):
            pass
        timer.cancel()
        return word in self.stderr

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            while header := stream.readline():
                while (line := stream.readline()).strip():
                    header += line
                length = re.search(rb"Content-Length: (\d+)", header)
                assert length is not None, header
                self.reads.wait()
                body = stream.read(int(length[1]))
                if len(body) == int(length[1]):
                    self._messages.put(json.loads(body))
        self._messages.put(None)


@contextmanager
def connected(workspace: Path, command: tuple[str, ...]) -> Iterator[Client]:
    """As ``wire.serving``: it must end well, with nothing left unread; killed if the block fails."""
    client = Client(workspace, command)
    try:
        yield client
    except BaseException:
        client.reads.set()
        client.kill()
        raise
    finally:
        client.end_input()
    client.close()


def answers(messages: list[Any]) -> list[Any]:
    """What is no notification: batches of answers too."""
    return [message for message in messages if isinstance(message, list) or "method" not in message]


def request(message_id: Any, method: str, **params: Any) -> Message:
    return {"jsonrpc": "2.0", "id": message_id, "method": method, "params": params}


def encoded(message: Any) -> bytes:
    return message if isinstance(message, bytes) else json.dumps(message).encode()


def exactly(value: Any) -> str:
    """A JSON value so that 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)


# --- Requests that are never answered ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A message with something wrong, and what ours answers: to which id, with which code (None: a result)."""

    name: str
    stock: Any
    ours: Any
    code: int | None
    answered_id: Any = 1


NESTED = b'{"jsonrpc":"2.0","id":1,"method":"session/create","params":{"metadata":%b}}' % (
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000
)

FAULTS = [
    Fault("a required field is missing", request(1, "workspace/symbol"), request(1, "session/get"), -32602),
    Fault(
        "a field of another type",
        request(1, "initialize", processId=None, rootUri=None, capabilities=5),
        request(1, "initialize", processId=None, rootUri=None, capabilities=5),
        -32602,
    ),
    Fault(
        "params are an array",
        {"jsonrpc": "2.0", "id": 1, "method": "workspace/symbol", "params": [1]},
        {"jsonrpc": "2.0", "id": 1, "method": "session/list", "params": [1]},
        -32602,
    ),
    Fault(
        "no params",
        {"jsonrpc": "2.0", "id": 1, "method": "session/create"},
        {"jsonrpc": "2.0", "id": 1, "method": "session/create"},
        None,
    ),
    Fault("initialize without its fields", request(1, "initialize"), request(1, "initialize"), -32602),
    Fault("bad JSON", b"{nonsense", b"{nonsense", -32700, None),
    Fault("bad JSON behind an id", b'{"jsonrpc":"2.0","id":1,', b'{"jsonrpc":"2.0","id":1,', -32700),
    Fault("bad UTF-8", b'{"jsonrpc":"\xff"}', b'{"jsonrpc":"\xff"}', -32700, None),
    Fault("too deep", NESTED, NESTED, -32600),
    Fault("no JSON-RPC", {"id": 1, "method": "session/create"}, {"id": 1, "method": "session/create"}, -32600),
    Fault("JSON-RPC 1.0", request(1, "session/create") | {"jsonrpc": "1.0"}, {"jsonrpc": "1.0", "id": 1}, -32600),
    Fault("a batch", [request(1, "session/create")], [request(1, "session/create")], None),
]
EACH_FAULT = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def test_stock_never_answers_a_request_it_cannot_read(workspace: Path) -> None:
    with connected(workspace, STOCK) as stock:
        for fault in FAULTS:
            stock.send_bytes(stock.frame(encoded(fault.stock)))
            assert stock.request("session/create", title="fine") == {"title": "fine"}
            assert answers(stock.kept) == [], fault.name
        assert answers(stock.rest()) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_ours_answers_it_and_goes_on(workspace: Path, fault: Fault) -> None:
    with connected(workspace, SERVER) as ours:
        ours.send_bytes(ours.frame(encoded(fault.ours)))
        ours.send(request(2, "session/create", title="fine"))
        assert ours.result(2)["title"] == "fine"
        (said,) = ours.rest()
        answer = said[0] if isinstance(fault.ours, list) else said
        assert answer["id"] == fault.answered_id
        assert answer.get("error", {}).get("code") == fault.code
        assert ("result" in answer) == (fault.code is None)


def test_stock_never_answers_a_request_after_shutdown(workspace: Path) -> None:
    with connected(workspace, STOCK) as stock:
        stock.initialize()
        assert stock.request("shutdown") is None
        stock.post("session/create")
        stock.notify("exit")
        assert answers(stock.rest()) == []


def test_ours_refuses_a_request_after_shutdown(workspace: Path) -> None:
    with connected(workspace, SERVER) as ours:
        ours.initialize()
        assert ours.request("shutdown") is None
        error = ours.error("session/create")
        assert (error["code"], error["data"]["kind"]) == (-32600, "invalidRequest")
        ours.notify("exit")
        assert ours.process.wait(TIMEOUT) == 0


# --- Values that come out other than they went in ---------------------------------------------------------------------

MESSAGE_LIKE = [
    {"jsonrpc": "2.0"},
    {"jsonrpc": "2.0", "method": "exit"},
    {"jsonrpc": "2.0", "id": 2, "method": "session/create", "params": {"title": "inner"}},
    {"jsonrpc": "2.0", "id": 2, "result": {"class": 1}},
    {"deep": [{"down": {"jsonrpc": "1.0", "id": [], "error": None}}]},
]


def test_stock_takes_a_value_with_a_jsonrpc_key_for_a_message(workspace: Path) -> None:
    with connected(workspace, STOCK) as stock:
        for value in MESSAGE_LIKE:
            stock.post("session/create", metadata=value)
            assert stock.request("session/create", title="fine") == {"title": "fine"}
            assert answers(stock.kept) == [], value
        assert answers(stock.rest()) == []


def test_ours_stores_and_returns_it_untouched(workspace: Path) -> None:
    with connected(workspace, SERVER) as ours, serving(workspace) as other:
        ours.initialize(initializationOptions={"_values": MESSAGE_LIKE})
        for value in MESSAGE_LIKE:
            text = json.dumps(value)
            call = {"id": "call", "arguments": value, "response": value, "content": [value], "locations": [value]}
            conversation = Conversation(ours, metadata=value)
            turn_id = conversation.turn(content=text, rawResponse=text, toolCalls=[call], metadata=value)
            assert other.request("session/get", sessionId=conversation.session)["metadata"] == value
            turn = other.request("turn/get", turnId=turn_id)
            assert (turn["content"], turn["rawResponse"], turn["metadata"]) == (text, text, value)
            assert {name: turn["toolCalls"][0][name] for name in call} == call


KEYS = [
    ({"class": 1, "ok": 2}, {"_0": 1, "ok": 2}),
    ({"1x": {"1y": [{"1z": 1}]}}, {"_0": {"_0": [{"_0": 1}]}}),
    ({"a b": 1, "": 2}, {"_0": 1, "_1": 2}),
    ({"_private": 1}, {"_0": 1}),
    ({"_1": "own", "x-y": "other"}, {"_0": "own", "_1": "other"}),
]


def test_stock_renames_keys_that_are_no_python_names(workspace: Path) -> None:
    with connected(workspace, STOCK) as stock:
        for given, mangled in KEYS:
            assert stock.request("session/create", metadata=given) == {"metadata": mangled}


def test_ours_keeps_keys(workspace: Path) -> None:
    with connected(workspace, SERVER) as ours:
        for given, _ in KEYS:
            made = ours.request("session/create", metadata=given)
            assert exactly(made["metadata"]) == exactly(given)
            assert ours.request("session/get", sessionId=made["id"]) == made


NUMBERS_AND_TEXT: list[Any] = [
    2**63,
    -(2**70),
    10**400,
    1,
    1.0,
    -0.0,
    0.1,
    5e-324,
    1.7976931348623157e308,
    True,
    None,
    "a\0b",
    "\u2028\x85",
    "ü€😀",
    "",
    [],
    {},
]


def test_ours_keeps_numbers_text_and_nul_exactly(workspace: Path) -> None:
    """The stock server does so too, where it gets that far: no trap, but a promise."""
    given = {f"value {position}": value for position, value in enumerate(NUMBERS_AND_TEXT)}
    with connected(workspace, SERVER) as ours, serving(workspace) as other:
        made = ours.request("session/create", metadata=given, title="a\0b")
        found = other.request("session/get", sessionId=made["id"])
        assert exactly(made["metadata"]) == exactly(found["metadata"]) == exactly(given)
        assert found["title"] == "a\0b"


NO_STRINGS = [(["a"], "['a']"), ({"a": 1}, "{'a': 1}"), (1, "1"), (True, "True")]


def test_stock_makes_a_string_of_anything(workspace: Path) -> None:
    with connected(workspace, STOCK) as stock:
        for given, coerced in NO_STRINGS:
            assert stock.request("workspace/symbol", query=given)[0]["name"] == coerced


def test_ours_says_what_is_no_string(workspace: Path) -> None:
    with connected(workspace, SERVER) as ours:
        for given, _ in NO_STRINGS:
            error = ours.error("session/create", title=given)
            assert (error["code"], error["data"]["kind"]) == (-32602, "invalidParams"), given
            assert error["data"]["path"] == "params.title"
        assert ours.request("session/list")["sessions"] == []


# --- Tracebacks -------------------------------------------------------------------------------------------------------

# What an error must not hold.
INSIDES = re.compile(r'Traceback \(|\.py\b|File "|site-packages|SELECT|INSERT|sqlite3\.|no such table')


def test_stock_sends_a_traceback_with_its_paths_to_the_client(workspace: Path) -> None:
    with connected(workspace, STOCK) as stock:
        answer = stock.answer(stock.post("session/delete"))
        assert any(STOCK[1] in line for line in answer["error"]["data"]["traceback"])
        assert INSIDES.search(str(answer["error"]))
        stock.send({"jsonrpc": "2.0", "id": "no handler's fault", "method": 5, "params": {}})
        assert INSIDES.search(str(stock.answer("no handler's fault")["error"]))


def test_ours_sends_an_incident_and_keeps_the_traceback_in_the_log(workspace: Path) -> None:
    """An honest internal error: the program has a wrong statement."""
    with connected(workspace, FAULTY) as ours:
        session_id = ours.request("session/create")["id"]
        break_program(workspace, "session")
        for method, params in (
            ("session/list", {}),
            ("session/create", {}),
            ("session/history", {"sessionId": session_id}),
        ):
            error = ours.error(method, **params)
            assert (error["code"], error["data"]["kind"]) == (-32603, "internal"), error
            assert not INSIDES.search(json.dumps(error)), error
            assert ours.says(error["data"]["incident"], TIMEOUT)
        assert ours.says("Traceback", TIMEOUT)


def test_ours_tells_nothing_of_its_insides_in_any_error(workspace: Path, tmp_path: Path) -> None:
    unknown = "0198c0de-0000-7000-8000-000000000000"
    blocked = tmp_path / "blocked"
    (blocked / ".git").mkdir(parents=True)
    (blocked / ".ws").write_text("a file where a directory has to be")
    foreign = tmp_path / "foreign"
    (foreign / ".git").mkdir(parents=True)
    (foreign / ".ws").mkdir()
    with closing(sqlite3.connect(foreign / ".ws" / "db.sqlite")) as database:
        database.execute("CREATE TABLE strange (x)")
    damaged = tmp_path / "damaged"
    (damaged / ".git").mkdir(parents=True)
    (damaged / ".ws").mkdir()
    (damaged / ".ws" / "db.sqlite").write_bytes(b"no database, but more than a hundred bytes of something " * 40)
    fails: list[tuple[str, Message, int]] = [
        ("no/method", {}, -32601),
        ("session/get", {}, -32602),
        ("session/get", {"sessionId": "x"}, -32602),
        ("session/get", {"sessionId": unknown}, -32010),
        ("session/create", {"titel": "x"}, -32602),
        ("session/create", {"title": "\ud800"}, -32602),
        ("session/create", {"metadata": []}, -32602),
        ("session/create", {"scope": "elsewhere"}, -32602),
        ("session/create", {"workspace": "file:///elsewhere"}, -32014),
        ("session/create", {"externalId": "taken", "id": unknown}, -32011),
        ("session/list", {"cursor": "'; DROP TABLE sessions"}, -32602),
        ("session/list", {"limit": 10**30}, -32602),
        ("turn/create", {"responseId": unknown}, -32010),
        ("turn/create", {"responseId": unknown, "inputCost": -1}, -32602),
        ("turn/create", {"responseId": unknown, "inputTokens": 2**70}, -32602),
        ("turn/append", {"turnId": unknown, "content": "x"}, -32010),
        ("transaction/run", {"operations": [{"method": "session/get", "params": {}}]}, -32602),
        ("transaction/run", {"operations": [{"method": "session/delete", "params": {"sessionId": unknown}}]}, -32010),
        ("initialize", {"processId": {}, "rootUri": None, "capabilities": {}}, -32602),
        ("initialize", {"processId": None, "rootUri": None, "capabilities": {"workspace": 5}}, -32602),
        ("workspace/executeCommand", {"command": "nothing"}, -32602),
    ]
    with connected(workspace, SERVER) as ours:
        ours.request("session/create", externalId="taken")
        for method, params, code in fails:
            error = ours.error(method, **params)
            assert error["code"] == code, (method, params, error)
            assert not INSIDES.search(json.dumps(error)), (method, params, error)
    for broken in (blocked, foreign, damaged):
        with connected(broken, SERVER) as ours:
            error = ours.error("session/create")
            assert (error["code"], error["data"]["kind"]) == (-32013, "storage")
            assert not INSIDES.search(json.dumps(error).replace("db.sqlite", "")), error
            assert ours.notification("server/healthChanged")["status"] == "down"


# --- Headers ----------------------------------------------------------------------------------------------------------

SPELLINGS = [
    b"content-length: %d\r\n\r\n",
    b"CONTENT-LENGTH: %d\r\n\r\n",
    b"Content-Length:%d\r\n\r\n",
    b"Content-Length:  %d \r\n\r\n",
]


def spelled(spelling: bytes, message: Message) -> bytes:
    """A message under such a header. Its last byte is a line feed, so that the next header is on a line of its own."""
    body = encoded(message) + b"\n"
    return spelling % len(body) + body


def test_stock_reads_one_spelling_of_the_header(workspace: Path) -> None:
    with connected(workspace, STOCK) as stock:
        for spelling in SPELLINGS:
            stock.send_bytes(spelled(spelling, request("lost", "session/create")))
            assert stock.request("session/create", title="fine") == {"title": "fine"}
            assert stock.kept == [], spelling
        assert stock.rest() == []


def test_stock_is_deaf_for_ever_after_one_header_in_another_spelling(workspace: Path) -> None:
    """Each body ends up on the line of the next header, which then is no header either."""
    with connected(workspace, STOCK) as stock:
        assert stock.request("session/create", title="fine") == {"title": "fine"}
        body = encoded(request("lost", "session/create"))
        stock.send_bytes(b"content-length: %d\r\n\r\n%b" % (len(body), body))
        for _ in range(3):
            stock.post("session/create")
        assert stock.rest() == []


def test_ours_reads_every_spelling(workspace: Path) -> None:
    with connected(workspace, SERVER) as ours:
        for message_id, spelling in enumerate(SPELLINGS, 1):
            ours.send_bytes(spelled(spelling, request(message_id, "session/create", title="ü€😀")))
            assert ours.result(message_id)["title"] == "ü€😀"
        body = encoded(request("more", "session/create"))
        ours.send_bytes(b"X-Other: 1\r\ncontent-length: %d\r\nContent-Type: x\r\n\r\n%b" % (len(body), body))
        assert ours.result("more")["title"] is None


# --- Input from a file, and its end -----------------------------------------------------------------------------------


def test_asyncio_reads_no_regular_file(tmp_path: Path) -> None:
    """Why there is a thread. (The stock server has threads for it too, so ``server < file`` is no trap of pygls'.)"""
    path = tmp_path / "file"
    path.touch()

    async def connect() -> None:
        with path.open("rb") as file:
            await asyncio.get_running_loop().connect_read_pipe(asyncio.Protocol, file)

    with pytest.raises(ValueError, match="pipes/sockets only"):
        asyncio.run(connect())


def from_file(workspace: Path, command: tuple[str, ...], messages: list[Message]) -> list[Any]:
    """What a server that is started on a file of messages with headers answers until it ends."""
    path = workspace / "input"
    path.write_bytes(b"".join(b"Content-Length: %d\r\n\r\n%b" % (len(encoded(m)), encoded(m)) for m in messages))
    with path.open("rb") as file:
        done = subprocess.run(
            command,
            stdin=file,
            capture_output=True,
            cwd=workspace,
            env=clean_environment(workspace),
            timeout=TIMEOUT,
            check=True,
        )
    bodies = re.split(rb"Content-Length: \d+\r\n(?:Content-Type: .*\r\n)?\r\n", done.stdout)
    return [json.loads(body) for body in bodies[1:]]


def test_stock_cancels_at_the_end_of_input_what_waits(workspace: Path) -> None:
    """Requests whose handlers answer at once are answered; one that has to wait for anything is not carried out."""
    said = from_file(workspace, STOCK, [request(1, "session/create"), request(2, "session/list")])
    assert said[0] == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert (said[1]["id"], said[1]["error"]["code"]) == (2, -32800)


def test_ours_answers_all_of_a_file(workspace: Path) -> None:
    messages = [request(n, "session/create" if n % 2 else "session/list") for n in range(1, 401)]
    said = from_file(workspace, SERVER, messages)
    assert sorted(message["id"] for message in said) == list(range(1, 401))
    assert all("result" in message for message in said)


# --- A client that does not read --------------------------------------------------------------------------------------


def test_stock_stands_still_while_its_client_does_not_read(workspace: Path) -> None:
    with connected(workspace, STOCK) as stock:
        stock.notify("session/update", title="before")
        assert stock.says("before", TIMEOUT)
        stock.reads.clear()
        long = stock.post("session/history", size=UNREAD)
        stock.notify("session/update", title="behind")
        assert not stock.says("behind", BLOCKED_SECONDS)
        stock.reads.set()
        assert stock.says("behind", TIMEOUT)
        assert len(stock.result(long)) == UNREAD


def test_ours_carries_out_what_a_client_that_does_not_read_asks_for(workspace: Path) -> None:
    with connected(workspace, SERVER) as silent, serving(workspace) as other:
        watching = other.request("session/subscribe")
        silent.reads.clear()
        long = silent.post("session/create", metadata={"text": "x" * UNREAD})
        behind = silent.post("session/create", title="behind")
        other.wait_for(lambda m: m.get("method") == "session/updated" and m["params"]["session"]["title"] is None)
        other.wait_for(lambda m: m.get("method") == "session/updated" and m["params"]["session"]["title"] == "behind")
        silent.reads.set()
        assert len(silent.result(long)["metadata"]["text"]) == UNREAD
        assert silent.result(behind)["title"] == "behind"
        other.request("session/unsubscribe", subscriptionId=watching["subscriptionId"])


def test_ours_lets_nobody_wait_for_a_subscriber_that_does_not_read(workspace: Path) -> None:
    """Nor does that subscriber miss anything when it reads again: it applies what comes, and has what is stored."""
    pieces, piece = 64, "x" * 65_536
    with connected(workspace, SERVER) as silent, serving(workspace) as agent:
        conversation = Conversation(agent)
        own = silent.request("session/create")
        silent.request("turn/subscribe", sessionId=conversation.session, includeRaw=True)
        silent.reads.clear()
        turn_id = conversation.turn()
        for _ in range(pieces):
            agent.request("turn/append", turnId=turn_id, content=piece)
        ended = agent.request("turn/update", turnId=turn_id, status="completed")
        assert len(ended["content"]) == pieces * len(piece)
        with serving(workspace) as third:
            assert third.request("session/get", sessionId=own["id"]) == own
            assert third.request("session/update", sessionId=own["id"], title="new")["title"] == "new"
        silent.reads.set()
        turns: dict[str, Message] = {}
        for params in silent.notifications_until(ended["seq"]):
            apply_update(turns, params)
        assert turns == {turn_id: ended}


def test_ours_ends_on_sigterm_though_its_client_does_not_read(workspace: Path) -> None:
    """Its loop is free: it takes the signal, closes the store (no WAL is left) and exits with 0."""
    with connected(workspace, SERVER) as silent:
        silent.request("session/create", title="before")
        silent.reads.clear()
        for _ in range(4):
            silent.post("session/create", metadata={"text": "x" * UNREAD})
        silent.process.terminate()
        assert silent.process.wait(TIMEOUT) == 0
        silent.reads.set()
        assert not (workspace / ".ws" / "db.sqlite-wal").exists()
        silent.rest()


# --- What pygls' capabilities and imports hold ------------------------------------------------------------------------


def test_stock_has_no_experimental_capabilities(workspace: Path) -> None:
    with connected(workspace, STOCK) as stock:
        assert "experimental" not in stock.initialize()["capabilities"]


def test_ours_tells_its_methods_in_experimental_capabilities(workspace: Path) -> None:
    with connected(workspace, SERVER) as ours:
        result = ours.initialize()
        told = result["capabilities"]["experimental"]["mandrakeSessions"]
        assert told["protocolVersion"] == 2
        assert {"session/create", "turn/append", "transaction/run", "server/health"} <= set(told["methods"])
        assert {"turn/updated", "session/updated", "subscription/ended"} <= set(told["notifications"])
        assert result["serverInfo"]["name"] == "mandrake-sessions"


def imported(workspace: Path, *arguments: str) -> set[str]:
    """The modules that a Python program with no input imports before it ends."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=workspace,
        env=clean_environment(workspace),
        timeout=TIMEOUT,
        check=True,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_the_json_rpc_core_of_pygls_brings_the_types_of_lsp(workspace: Path) -> None:
    assert "lsprotocol.types" in imported(workspace, "-c", "import pygls.protocol.json_rpc")


def test_ours_loads_neither_for_a_client_that_speaks_no_lsp(workspace: Path) -> None:
    modules = imported(workspace, *SERVER[1:], "serve")
    assert "mandrake_sessions.connection.server" in modules
    assert not {name for name in modules if name.startswith(("pygls", "lsprotocol"))}
