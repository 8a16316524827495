"""Integers of up to 50,000 digits in JSON of a client's: kept by the server, the commands, and programs that embed the
manager, whatever limit their process has for converting integers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commands.running import run
from mandrake_sessions import SessionManager
from mandrake_sessions.client import RequestFailed
from mandrake_sessions.client.framing import Framing
from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.limits import MAX_INTEGER_DIGITS
from mandrake_sessions.long_integers import LongInteger, integer_of
from strict import connected
from wire import clean_environment, serving, store_of

LIMITS = [{}, {"PYTHONINTMAXSTRDIGITS": "640"}, {"PYTHONINTMAXSTRDIGITS": "0"}]
NUMBERS = {str(length): integer_of("-" + "7" * length) for length in (640, 641, 4300, 4301, 6000, MAX_INTEGER_DIGITS)}
# It prints the hash, since its process need not be able to print an `int` of 4,300 digits.
EMBEDDING = """
import sys
from mandrake_sessions import SessionManager
before = sys.get_int_max_str_digits()
with SessionManager(sys.argv[1]) as manager:
    (session,) = manager.list_sessions().sessions
print(hash(tuple(session.metadata.values())))
assert sys.get_int_max_str_digits() == before
"""


@pytest.mark.parametrize("limit", LIMITS, ids=["usual", "low", "none"])
def test_all_who_use_a_store_give_them_back(workspace: Path, limit: dict[str, Any]) -> None:
    with connected(workspace, environment=limit) as client:
        given = {"id": "01a218f8-2c87-7576-9e89-d606a86eb66f", "title": "a", "metadata": NUMBERS}
        session = client.session_create(**given)  # type: ignore[arg-type]
        # Sent again it is the same call.
        assert client.session_create(**given) == session  # type: ignore[arg-type]
        made = client.round_create(session_id=session.id, content="", blocks=[NUMBERS])
        with client.follow_turns() as changes:
            next(changes)
            turn = client.turn_create(response_id=made.response.id, metadata=NUMBERS)
            client.request("toolCall/upsert", {"turnId": turn.id, "toolCall": {"id": "a", "arguments": NUMBERS}})
            assert next(changes).turn.metadata == NUMBERS  # type: ignore[union-attr]
            assert next(changes).tool_call.arguments == NUMBERS  # type: ignore[union-attr]
        assert client.session_update(session_id=session.id, title="b").metadata == NUMBERS
        assert client.session_list().sessions[0].metadata == NUMBERS
    for command in (["doctor"], ["doctor", "--fix"], ["backup", "copy"], ["restore", "copy"]):
        done = run(workspace, *command, **limit)
        assert "JSON" not in done.out
    embedding = subprocess.run(
        [sys.executable, "-c", EMBEDDING, store_of(workspace)],
        env=clean_environment(workspace) | limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert embedding.stdout == f"{hash(tuple(NUMBERS.values()))}\n", embedding.stderr

    with connected(workspace, environment=limit) as client:
        assert client.session_get(session_id=session.id).metadata == NUMBERS
        found = client.turn_get(turn_id=turn.id)
        assert (found.metadata, found.tool_calls[0].arguments) == (NUMBERS, NUMBERS)
        assert client.request_get(request_id=made.request.id).blocks == [NUMBERS]


def test_a_program_that_embeds_the_manager(database: Path) -> None:
    before = sys.get_int_max_str_digits()
    with SessionManager(database) as manager:
        session = manager.create_session(metadata=NUMBERS)
        found = manager.get_session(session.id).metadata
        assert found == session.metadata == NUMBERS
        assert [type(number) for number in found.values()] == [int] * 3 + [LongInteger] * 3
        # What was read may be stored again.
        assert manager.update_session(session.id, metadata=found).metadata == NUMBERS
        for long in (10**MAX_INTEGER_DIGITS, LongInteger("1" * (MAX_INTEGER_DIGITS + 1)), -(10**1_000_000)):
            with pytest.raises(InvalidValue, match="more than 50,000 digits"):
                manager.create_session(metadata={"a": [long]})
    assert sys.get_int_max_str_digits() == before


def test_one_that_is_too_long_is_refused(workspace: Path, framing: Framing) -> None:
    with connected(workspace, framing=framing) as client:
        for number in (10**MAX_INTEGER_DIGITS, -(10**MAX_INTEGER_DIGITS)):
            with pytest.raises(RequestFailed) as failed:
                client.session_create(metadata={"a": number})
            assert failed.value.kind == "parse"


@pytest.mark.usefixtures("long_integers")
@pytest.mark.parametrize(
    "number", ["1" * 4300, "1" * 4301, "-" + "1" * MAX_INTEGER_DIGITS], ids=lambda number: str(len(number))
)
def test_as_an_id_and_in_place_of_another_type(workspace: Path, framing: Framing, number: str) -> None:
    """The answer has the same id; and where an integer is wanted, so long a one is refused as any that is too large."""
    calls: list[tuple[str, str]] = [
        ("session/list", '{"limit": %s}'), ("turn/update", '{"turnId": "a", "cost": %s}'), ("session/get", "%s"),
        ("turn/append", '{"turnId": %s}'), ("session/list", '{"workspace": %s}'),
        ("initialize", '{"processId": %s, "capabilities": {}}'),
    ]  # fmt: skip
    with serving(workspace, framing) as wire:
        for method, params in calls:
            body = f'{{"jsonrpc":"2.0","id":{number},"method":"{method}","params":{params % number}}}'
            wire.send_bytes(wire.frame(body.encode()))
            answer: dict[str, Any] = wire.next_message()
            assert answer["id"] == integer_of(number)
            assert answer["error"]["data"]["kind"] == "invalidParams", answer
        wire.send_bytes(
            wire.frame(f'{{"jsonrpc":"2.0","method":"$/cancelRequest","params":{{"id":{number}}}}}'.encode())
        )
        capabilities = f'{{"experimental":{{"a":{number}}},"general":{{"positionEncodings":[{number}]}}}}'
        body = f'{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"capabilities":{capabilities}}}}}'
        wire.send_bytes(wire.frame(body.encode()))
        assert "result" in wire.answer(1)
        assert wire.answer(wire.post("shutdown"))["result"] is None
