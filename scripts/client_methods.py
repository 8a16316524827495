"""The typed functions of the two clients, one for each method of the table."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from mandrake_sessions.model import JsonObject
from mandrake_sessions.protocol.methods import METHODS, Access, Method
from mandrake_sessions.protocol.names import snake

CLIENT_FILE = "server/mandrake_sessions/client/methods.py"
SYNC_CLIENT_FILE = "server/mandrake_sessions/client/sync_methods.py"
LINE_LENGTH = 120
HEADER = '''"""The methods of the server as {kind}. Generated from ``protocol/methods.py`` by ``make docs``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from mandrake_sessions import fields, model
from mandrake_sessions.protocol import params, results


class {name}:
    """One function for each method but those that subscribe. The arguments are the method's params, in snake case.

    ``where``: which store is meant, ``{{"scope": "system"}}`` or ``{{"workspace": uri}}``, or for a read ``{{"store":
    store_id}}``; without it the workspace's.
    Units, defaults and errors: ``docs/protocol.md``.
    """

    {define} call(self, method: str, given: Mapping[str, Any], where: params.AnyStoreParams | None = None) -> Any:
        raise NotImplementedError
'''


def client_methods() -> str:
    """The whole file of the asyncio client."""
    return _file(HEADER.format(kind="typed functions", name="Methods", define="async def"), "async def", "await ")


def sync_client_methods() -> str:
    """The whole file of the client without an event loop."""
    return _file(HEADER.format(kind="typed functions that wait", name="SyncMethods", define="def"), "def", "")


def _file(header: str, define: str, wait: str) -> str:
    # A subscription is more than a call: what follows its reply has to be read.
    calls = [method for method in METHODS.values() if method.access not in (Access.FOLLOW, Access.UNSUBSCRIBE)]
    return header + "".join(_function(method, define, wait) for method in calls)


def _function(method: Method, define: str, wait: str) -> str:
    arguments, given = ["self"], "{}"
    if method.store_params is not None:
        arguments += ["*", f"where: params.{method.store_params.__name__} | None = None"]
    if method.params.__annotations__:
        arguments, given = [*arguments, f"**given: Unpack[{_name(method.params)}]"], "given"
    result = _name(method.result)
    call = f'self.call("{method.name}", {given}{", where" if method.takes_store else ""})'
    return f'''
{_signature(f"{define} {snake(method.name)}", arguments, result)}
        """{method.summary}"""
        result: {result} = {wait}{call}
        return result
'''


def _signature(definition: str, arguments: list[str], result: str) -> str:
    """On one line if there is room, as the formatter has it."""
    line = f"    {definition}({', '.join(arguments)}) -> {result}:"
    if len(line) <= LINE_LENGTH:
        return line
    return f"    {definition}(\n        {', '.join(arguments)}\n    ) -> {result}:"


def _name(kind: Any) -> str:
    """``params.TurnGet``, ``model.Turn | None``."""
    if get_origin(kind) is UnionType:
        return " | ".join(map(_name, get_args(kind)))
    if kind == JsonObject:
        return "model.JsonObject"
    return "None" if kind is NoneType else f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"
