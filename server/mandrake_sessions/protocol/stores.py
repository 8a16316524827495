"""The params that every store method takes beside its own: which store is meant, and what is to be ignored."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mandrake_sessions.protocol.converter import structure_params
from mandrake_sessions.protocol.params import StoreParams

_STORE = ("scope", "workspace")
# LSP's own, which a client's library may add to any request.
_TOKENS = ("workDoneToken", "partialResultToken")


@frozen
class StoreName:
    """``workspace``: a URI of one of the client's folders; None for the first."""

    scope: str = "workspace"
    workspace: str | None = None


DEFAULT_STORE = StoreName()


def store_name(params: dict[str, Any]) -> StoreName:
    """Which store the params mean. Raises InvalidParams."""
    if "scope" not in params and "workspace" not in params:
        return DEFAULT_STORE
    given: StoreParams = structure_params({name: params[name] for name in _STORE if name in params}, StoreParams)
    return StoreName(**given)


def own_params(params: dict[str, Any], *, names_store: bool = True) -> dict[str, Any]:
    """The params that are the method's own: without tokens, names that begin with ``_``, and the store's name where
    the method takes one."""
    ignored = (*_STORE, *_TOKENS) if names_store else _TOKENS
    return {name: value for name, value in params.items() if name[:1] != "_" and name not in ignored}
