"""``transaction/run``"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mandrake_sessions.errors import TooLarge
from mandrake_sessions.handlers.context import StoreContext
from mandrake_sessions.handlers.registry import carry_out, handle
from mandrake_sessions.limits import MAX_OPERATIONS
from mandrake_sessions.protocol import methods
from mandrake_sessions.protocol.errors import InvalidParams, OperationFailed, method_not_found
from mandrake_sessions.protocol.methods import METHODS, OPERATIONS
from mandrake_sessions.protocol.params import Operation, TransactionRun
from mandrake_sessions.protocol.results import TransactionResults
from mandrake_sessions.protocol.store_params import own_params, store_name
from mandrake_sessions.store_names import DEFAULT_STORE


def transaction_run(context: StoreContext, params: TransactionRun) -> TransactionResults:
    count = len(params["operations"])
    if count > MAX_OPERATIONS:
        raise TooLarge("operations", f"{count} operations; a transaction may have at most {MAX_OPERATIONS}")
    results: Any = _results(context, params["operations"])
    return TransactionResults(results)


def _results(context: StoreContext, operations: list[Operation]) -> Iterator[Any]:
    """The operations are carried out while their results are asked for, so that no more than one is held: what is not
    asked for to the end is undone."""
    appends_only = all(operation["method"] == "turn/append" for operation in operations)
    with context.manager.transaction(appends_only=appends_only):
        for position, operation in enumerate(operations):
            yield _run(context, position, operation)


def _run(context: StoreContext, position: int, operation: Operation) -> Any:
    name, given = operation["method"], operation.get("params", {})
    if name in METHODS and name not in OPERATIONS:
        raise InvalidParams(
            f"operations[{position}].method", f"{name} is not a write, so it cannot be part of a transaction"
        )
    try:
        if name not in METHODS:
            raise method_not_found(name, OPERATIONS)
        if store_name(given, METHODS[name]) in (DEFAULT_STORE, context.store):
            return carry_out(context, METHODS[name], own_params(given))
    except Exception as error:
        raise OperationFailed(position, error) from error
    raise InvalidParams(
        f"operations[{position}].params", "names another store; a transaction is in one, so name it beside operations"
    )


handle(methods.TRANSACTION_RUN, transaction_run)
