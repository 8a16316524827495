"""The typed functions of the client, one for each method of the table."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from mandrake_sessions.protocol.methods import METHODS, Access, Method
from mandrake_sessions.protocol.names import snake

CLIENT_FILE = "server/mandrake_sessions/client/methods.py"
LINE_LENGTH = 120
HEADER = '''"""The methods of the server as typed functions. Generated from ``protocol/methods.py`` by ``make docs``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from mandrake_sessions import fields, model
from mandrake_sessions.protocol import params, results


class Methods:
    """One function for each method but those that subscribe. The arguments are the method's params, in snake case.

    ``where``: which store is meant, ``{"scope": "system"}`` or ``{"workspace": uri}``; without it the workspace's.
    Units, defaults and errors: ``docs/protocol.md``.
    """

    async def call(self, method: str, given: Mapping[str, Any], where: params.StoreParams | None = None) -> Any:
        raise NotImplementedError
'''


def client_methods() -> str:
    """The whole file."""
    # A subscription is more than a call: what follows its reply has to be read.
    calls = [method for method in METHODS.values() if method.access not in (Access.FOLLOW, Access.LEAVE)]
    return HEADER + "".join(map(_function, calls))


def _function(method: Method) -> str:
    arguments, given = ["self"], "{}"
    if method.takes_store:
        arguments += ["*", "where: params.StoreParams | None = None"]
    if method.params.__annotations__:
        arguments, given = [*arguments, f"**given: Unpack[{_name(method.params)}]"], "given"
    result = _name(method.result)
    call = f'self.call("{method.name}", {given}{", where" if method.takes_store else ""})'
    return f'''
{_signature(snake(method.name), arguments, result)}
        """{method.summary}"""
        result: {result} = await {call}
        return result
'''


def _signature(name: str, arguments: list[str], result: str) -> str:
    """On one line if there is room, as the formatter has it."""
    line = f"    async def {name}({', '.join(arguments)}) -> {result}:"
    if len(line) <= LINE_LENGTH:
        return line
    return f"    async def {name}(\n        {', '.join(arguments)}\n    ) -> {result}:"


def _name(kind: Any) -> str:
    """``params.TurnGet``, ``model.Turn | None``."""
    if get_origin(kind) is UnionType:
        return " | ".join(map(_name, get_args(kind)))
    return "None" if kind is NoneType else f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"
