"""Members of messages that are never stored: what authenticates somebody, and the environments and headers of MCP
servers."""

from __future__ import annotations

import re
from typing import Any, Final

LEFT_OUT: Final = "[left out]"
# What lies deeper is not looked through, and so not stored.
_LEVELS: Final = 120
_SECRET: Final = re.compile(
    r"(proxy)?authorization|(api|access|private|secret|client|auth)?(key|token|secret)s?(value)?|x?apikey"
    r"|(access|refresh|id|auth|bearer|session|oauth)token|(pass(word|wd|phrase))|credentials?|(set)?cookies?"
)
# Words of the pattern that name other things as well.
_HARMLESS: Final = frozenset({"key", "keys", "tokens"})
_OF_SERVERS: Final = ("env", "headers")


def is_secret(name: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return plain not in _HARMLESS and _SECRET.fullmatch(plain) is not None


def without_secrets(value: Any, level: int = 0) -> Any:
    """The same value with ``LEFT_OUT`` for each secret. Values without any are not copied."""
    if isinstance(value, dict):
        return _of_object(value, level) if level < _LEVELS else LEFT_OUT
    if isinstance(value, list):
        return _of_list(value, level) if level < _LEVELS else LEFT_OUT
    return value


def _of_list(value: list[Any], level: int) -> list[Any]:
    made = value
    for index, item in enumerate(value):
        if isinstance(item, dict | list) and (clean := without_secrets(item, level + 1)) is not item:
            made = list(value) if made is value else made
            made[index] = clean
    return made


def _of_object(value: dict[str, Any], level: int) -> dict[str, Any]:
    made = value
    for name, item in value.items():
        clean = item
        if item is not None and not isinstance(item, bool) and is_secret(name):
            clean = LEFT_OUT
        elif name == "mcpServers":
            clean = _without_environments(item)
        elif isinstance(item, dict | list):
            clean = without_secrets(item, level + 1)
        if clean is not item:
            made = dict(value) if made is value else made
            made[name] = clean
    return made


def _without_environments(servers: Any) -> Any:
    """Servers as a list, or as an object by name."""
    if isinstance(servers, dict):
        return {name: _without_environment(server) for name, server in servers.items()}
    if isinstance(servers, list):
        return [_without_environment(server) for server in servers]
    return LEFT_OUT


def _without_environment(server: Any) -> Any:
    if not isinstance(server, dict):
        return LEFT_OUT
    return without_secrets({name: item for name, item in server.items() if name not in _OF_SERVERS})
