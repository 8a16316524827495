"""The params that every store method takes beside its own: which store is meant, and what is to be ignored."""

from __future__ import annotations

from typing import Any

from mandrake_sessions import rules
from mandrake_sessions.protocol.converter import structure_params
from mandrake_sessions.protocol.errors import InvalidParams
from mandrake_sessions.protocol.methods import METHODS, Method
from mandrake_sessions.protocol.params import AllStoreParams, AnyStoreParams, ReadStoreParams
from mandrake_sessions.quoting import shown
from mandrake_sessions.store_names import ALL, DEFAULT_STORE, StoreName
from mandrake_sessions.workspaces import path_of_uri

_STORE = ("scope", "workspace", "store")
# LSP's own, which a client's library may add to any request.
_TOKENS = ("workDoneToken", "partialResultToken")
_NOT_OWN = (*_STORE, *_TOKENS)


def store_name(params: dict[str, Any], method: Method) -> StoreName:
    """Which store the params of a method mean. Raises InvalidParams."""
    if "scope" not in params and "workspace" not in params and "store" not in params:
        return DEFAULT_STORE
    # `check_reach` says of which methods `all` is.
    may_be_all = method.reads_all or params.get("scope") == ALL
    kind: type[AnyStoreParams] = AllStoreParams if may_be_all else ReadStoreParams
    given = structure_params({name: params[name] for name in _STORE if name in params}, kind)
    _check_one_way(given)
    uri = given.get("workspace")
    path = None if uri is None else path_of_uri(uri)
    store_id = rules.uuid("store", given["store"]) if "store" in given else None
    return StoreName(given.get("scope", "workspace"), uri if path is None else str(path), uri, store_id)


def _check_one_way(given: dict[str, Any]) -> None:
    """Raises InvalidParams where the params name a store, or all, and a store in another way too."""
    if "store" in given:
        named, meant = "store", "store, which names one store by its id"
    elif given.get("scope") == ALL:
        named, meant = "scope", f'scope "{ALL}", which means every store'
    else:
        return
    for name in ("workspace", "scope"):
        if name in given and name != named:
            raise InvalidParams(name, f"cannot be given beside {meant}; leave out {name} or {named}")


def check_reach(method: Method, name: StoreName) -> None:
    """Raises InvalidParams where the method is not for all stores, or for a store of that kind."""
    if name.is_all and not method.reads_all:
        able = ", ".join(each.name for each in METHODS.values() if each.reads_all)
        raise InvalidParams("scope", f"must be one of workspace, system, not {shown(ALL)}; all is for {able}")
    if name.store_id is not None and not method.reads:
        raise InvalidParams(
            "store", "is for methods that read; give scope and workspace to a method that writes or subscribes"
        )


def own_params(params: dict[str, Any], *, names_store: bool = True) -> dict[str, Any]:
    """The params that are the method's own: without tokens, names that begin with ``_``, and the store's name where
    the method takes one."""
    ignored = _NOT_OWN if names_store else _TOKENS
    return {name: value for name, value in params.items() if name not in ignored and name[:1] != "_"}
