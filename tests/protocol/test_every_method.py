"""Each method of the table is in every place that a new one has to go into. A failure names the place.

mypy and the program's own start see to the handler.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import pytest
from attrs import frozen

from golden import golden_file
from mandrake_sessions.handlers import HANDLERS
from mandrake_sessions.protocol.methods import METHODS, Access, Method
from mandrake_sessions.protocol.names import camel, snake
from mandrake_sessions.protocol.params import ResponseId
from mandrake_sessions.protocol.results import Nothing
from model.operations import BEGINNING, KINDS, pool
from model.over_pipes import compare_servers
from model.reference import EXTRA_IDS, WRITES
from wire import Wire

ROOT = Path(__file__).parents[2]
# About the server itself, or about many stores: the model is of one (tests/model/test_many_stores.py is of many).
NOT_OF_A_STORE = {"store/list", "rpc.discover", "server/health", "server/info"}
CLIENT = "server/mandrake_sessions/client/methods.py, by make docs"
SUBSCRIBING = (Access.FOLLOW, Access.UNSUBSCRIBE)


@frozen
class Place:
    """A file that has to know the methods which concern it, and the methods that it knows."""

    where: str
    known: Collection[str]
    concerns: Callable[[Method], bool] = lambda _: True


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What the model's test sends to servers: each kind of operation once, and everything that it reads."""
    workspace = tmp_path_factory.mktemp("driven")
    (workspace / ".git").mkdir()
    sent: set[str] = set()
    send_bytes = Wire.send_bytes

    def recording(self: Wire, data: bytes) -> None:
        sent.add(json.loads(data)["method"])
        send_bytes(self, data)

    operations = [[pool()[kind][0]] for kind in KINDS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wire, "send_bytes", recording)
        compare_servers(workspace, operations, [[operation] for operation in BEGINNING], "lines")
    return sent


@pytest.fixture
def places(driven: set[str]) -> list[Place]:
    return [
        Place("server/mandrake_sessions/handlers", HANDLERS),
        Place("tests/protocol/golden, from a call in tests/protocol/test_golden.py", _golden()),
        Place("tests/model/reference.py", {*WRITES, "transaction/run"}, lambda method: method.access.writes),
        Place("tests/model/operations.py", KINDS, lambda method: method.access.writes),
        Place("tests/model/checking.py", driven, _is_read_of_a_store),
        Place("tests/model/over_pipes.py", driven, lambda method: method.access in SUBSCRIBING),
        Place("docs/protocol.md, by make docs", _found(r"^### `(\w+[/.]\w+)`$", "docs/protocol.md")),
        Place("docs/protocol.schema.json, by make docs", _schema()),
        Place(CLIENT, _found(r"\.call\(\"(\w+[/.]\w+)\"", "server/mandrake_sessions/client/methods.py"), _is_call),
    ]


def _golden() -> set[str]:
    return {name for name in METHODS if golden_file(name).exists()}


def _schema() -> set[str]:
    return set(json.loads((ROOT / "docs/protocol.schema.json").read_text())["methods"])


def _found(pattern: str, file: str) -> set[str]:
    return set(re.findall(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE))


def _is_read_of_a_store(method: Method) -> bool:
    return method.access in (Access.READ, Access.LONG_READ)


def _is_call(method: Method) -> bool:
    return method.access not in SUBSCRIBING


def lacking(methods: Iterable[Method], places: list[Place]) -> list[str]:
    return [
        f"{method.name} is not in {place.where}"
        for method in methods
        for place in places
        if place.concerns(method) and method.name not in place.known
    ]


def test_every_method_is_in_every_place(places: list[Place]) -> None:
    missing = lacking(METHODS.values(), places)
    assert not missing, "\n".join(["", *missing])


def test_the_model_drives_the_methods_of_the_table_and_no_other(driven: set[str]) -> None:
    assert driven - NOT_OF_A_STORE == METHODS.keys() - NOT_OF_A_STORE, (
        "see tests/model/checking.py and tests/model/operations.py"
    )
    assert WRITES.keys() <= METHODS.keys(), "tests/model/reference.py knows a method that is not in the table"


@pytest.mark.parametrize("name", WRITES)
def test_the_model_knows_every_param_of_a_write(name: str) -> None:
    params = METHODS[name].params
    required, checks = WRITES[name]
    known = {*required, *checks, *EXTRA_IDS.get(name, ())}
    assert known == {camel(field) for field in params.__annotations__}, "see WRITES in tests/model/reference.py"
    assert set(required) == {camel(field) for field in params.__required_keys__}


EVERYWHERE = {
    "server/mandrake_sessions/handlers",
    "tests/protocol/golden, from a call in tests/protocol/test_golden.py",
    "docs/protocol.md, by make docs",
    "docs/protocol.schema.json, by make docs",
}


@pytest.mark.parametrize(
    ("access", "where"),
    [
        (Access.READ, {CLIENT, "tests/model/checking.py"}),
        (Access.LONG_READ, {CLIENT, "tests/model/checking.py"}),
        (Access.WRITE, {CLIENT, "tests/model/reference.py", "tests/model/operations.py"}),
        (Access.FOLLOW, {"tests/model/over_pipes.py"}),
        (Access.STORES, {CLIENT}),
        (Access.SERVICE, {CLIENT}),
    ],
    ids=lambda value: value.name if isinstance(value, Access) else "",
)
def test_a_new_method_is_missed_in_each_place(places: list[Place], access: Access, where: set[str]) -> None:
    """Were it only declared, the first test here would name each file to change."""
    new = Method("no/such", ResponseId, Nothing, access, "It is in no place yet.")
    assert set(lacking([new], places)) == {f"no/such is not in {place}" for place in EVERYWHERE | where}


def test_every_constant_is_named_after_its_method() -> None:
    from mandrake_sessions.protocol import methods

    named = {name: value.name for name, value in vars(methods).items() if isinstance(value, Method)}
    assert named == {snake(name).upper(): name for name in METHODS}
