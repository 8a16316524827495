"""The params that every store method takes beside its own: which store is meant, and what is to be ignored."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from mandrake_sessions.protocol.converter import structure_params
from mandrake_sessions.protocol.params import StoreParams
from mandrake_sessions.workspaces import path_of_uri

_STORE = ("scope", "workspace")
# LSP's own, which a client's library may add to any request.
_TOKENS = ("workDoneToken", "partialResultToken")
_NOT_OWN = (*_STORE, *_TOKENS)


@frozen(cache_hash=True)
class StoreName:
    """``workspace``: one of the client's folders, in one spelling of its path; None for the first. ``uri``: as it was
    given."""

    scope: str = "workspace"
    workspace: str | None = None
    uri: str | None = field(default=None, eq=False)


DEFAULT_STORE = StoreName()


def store_name(params: dict[str, Any]) -> StoreName:
    """Which store the params mean. Raises InvalidParams."""
    if "scope" not in params and "workspace" not in params:
        return DEFAULT_STORE
    given: StoreParams = structure_params({name: params[name] for name in _STORE if name in params}, StoreParams)
    uri = given.get("workspace")
    path = None if uri is None else path_of_uri(uri)
    return StoreName(given.get("scope", "workspace"), uri if path is None else str(path), uri)


def own_params(params: dict[str, Any], *, names_store: bool = True) -> dict[str, Any]:
    """The params that are the method's own: without tokens, names that begin with ``_``, and the store's name where
    the method takes one."""
    ignored = _NOT_OWN if names_store else _TOKENS
    return {name: value for name, value in params.items() if name not in ignored and name[:1] != "_"}
