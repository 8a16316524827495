"""A server as pygls' own documentation would have one written, on ``LanguageServer`` and ``start_io``.

It is what ``test_traps.py`` compares ours with, so nothing here works around pygls, and nothing provokes it: every
handler does the plain thing.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

server = LanguageServer("stock", "1")


@server.feature("session/create")
def session_create(params: Any) -> Any:
    """Gives back what was sent, as far as a handler can still tell."""
    return _plain(params)


@server.feature("session/delete")
def session_delete(params: Any) -> None:
    """Fails as a handler with a bug would."""
    raise RuntimeError("a bug")


@server.feature("session/history")
def session_history(params: Any) -> str:
    """A long answer."""
    return "x" * int(params.size)


@server.feature("session/update")
def session_update(params: Any) -> None:
    """Does something that can be seen without reading stdout."""
    print(params.title, file=sys.stderr, flush=True)


@server.feature("session/list")
async def session_list(params: Any) -> list[Any]:
    """Has to wait for something before it can answer, as from a disk that is slow."""
    await asyncio.sleep(0.2)
    return []


@server.feature(types.WORKSPACE_SYMBOL)
def workspace_symbol(params: types.WorkspaceSymbolParams) -> list[types.WorkspaceSymbol]:
    """The one with typed params: ``query`` is a string. Gives it back as a name."""
    place = types.LocationUriOnly(uri="file:///")
    return [types.WorkspaceSymbol(name=params.query, kind=types.SymbolKind.File, location=place)]


def _plain(value: Any) -> Any:
    """The dictionaries that pygls made named tuples of, as dictionaries again."""
    if hasattr(value, "_asdict"):
        return {name: _plain(field) for name, field in value._asdict().items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


if __name__ == "__main__":
    server.start_io()
