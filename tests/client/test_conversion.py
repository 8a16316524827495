"""What the client sends and reads is what the golden files hold, for every method and notification of the table."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from golden import recorded
from mandrake_sessions.client import Client, ClientError
from mandrake_sessions.client.conversion import notification_from_wire, params_to_wire, result_from_wire
from mandrake_sessions.protocol.converter import structure_params, unstructure
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS, Access
from mandrake_sessions.protocol.names import camel, snake
from mandrake_sessions.protocol.store_params import own_params


# The golden file of session/unsubscribe holds an error alone.
@pytest.mark.parametrize("name", [name for name in METHODS if name != "session/unsubscribe"])
def test_params_and_results_are_those_of_the_golden_files(name: str) -> None:
    answered = recorded(name, "result")
    assert answered
    for exchange in answered:
        where: Any = {key: value for key, value in exchange["params"].items() if key == "scope"}
        given = structure_params(own_params(exchange["params"]), METHODS[name].params)
        if name == "transaction/run":
            for operation in given["operations"]:
                operation["params"] = structure_params(operation["params"], METHODS[operation["method"]].params)
        assert params_to_wire(name, given, where) == exchange["params"]
        assert unstructure(result_from_wire(name, given, exchange["result"])) == exchange["result"]


@pytest.mark.parametrize("name", [notification.name for notification in NOTIFICATIONS])
def test_notifications_are_those_of_the_golden_files(name: str) -> None:
    told = recorded(name, "params")
    assert told
    for exchange in told:
        found = unstructure(notification_from_wire(name, exchange["params"]))
        if changes := found.get("changes"):
            found["changes"] = {camel(field): unstructure(value) for field, value in changes.items()}
        assert found == {key: value for key, value in exchange["params"].items() if value is not None or key in found}


def test_a_program_can_print_what_it_receives() -> None:
    (exchange, *_) = recorded("turn/updated", "params")
    change = notification_from_wire("turn/updated", exchange["params"])
    assert repr(change).startswith("TurnUpdated(subscription_id=")
    assert f"seq={change.seq}, " in repr(change)


def test_every_method_has_a_function_or_begins_or_ends_a_subscription() -> None:
    functions = {name for name, _ in inspect.getmembers(Client, inspect.iscoroutinefunction)}
    subscribing = {name for name, method in METHODS.items() if method.access in (Access.FOLLOW, Access.UNSUBSCRIBE)}
    assert {snake(name) for name in METHODS.keys() - subscribing} <= functions
    assert subscribing == {f"{what}/{verb}" for what in ("turn", "session") for verb in ("subscribe", "unsubscribe")}


def test_members_of_a_newer_server_are_ignored_and_missing_ones_are_an_error() -> None:
    (exchange, *_) = recorded("turn/append", "result")
    result = exchange["result"]
    assert unstructure(result_from_wire("turn/append", {}, result | {"newer": 1})) == result
    with pytest.raises(ClientError, match=r"turn/append: .*chunk_count"):
        result_from_wire("turn/append", {}, {name: result[name] for name in result if name != "chunkCount"})


def test_a_name_that_is_not_declared_goes_out_as_it_is() -> None:
    given = {"turn_id": "a", "tool_call": {"id": "b", "start_time": 1, "begun_at": 2}, "metadata_of": {"a_b": 1}}
    assert params_to_wire("toolCall/upsert", given, {"scope": "system"}) == {
        "turnId": "a", "toolCall": {"id": "b", "startTime": 1, "begun_at": 2}, "metadata_of": {"a_b": 1},
        "scope": "system",
    }  # fmt: skip
