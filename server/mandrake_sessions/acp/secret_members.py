"""Members of messages that are never stored: what authenticates somebody, and the environments and headers of MCP
servers."""

from __future__ import annotations

import re
from typing import Any, Final

LEFT_OUT: Final = "[left out]"
# What lies deeper is not looked through, and so not stored.
_LEVELS: Final = 120
# What the name ends with says what it is: GITHUB_TOKEN, x-api-key, newPassword. ``keys`` and ``tokens`` are most often
# members and counts of an object.
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ENDINGS: Final = (
    "authorization", "token", "secret", "secrets", "password", "passwords", "passwd", "passphrase", "passcode", "pwd",
    "credential", "credentials", "cookie", "cookies", "apikey", "jwt",
)  # fmt: skip
_SHORT: Final = frozenset({"otp", "pin"})
_KEYS: Final = frozenset({"key", "keys", "tokens"})
_OF_KEYS: Final = frozenset({
    "api", "access", "private", "secret", "client", "auth", "ssh", "signing", "encryption", "license", "service",
    "refresh", "session", "bearer", "oauth",
})  # fmt: skip
_OF_SERVERS: Final = ("env", "headers")


def is_secret(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    if words and words[-1] == "value":
        del words[-1]
    if not words:
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    return last.endswith(_ENDINGS) or last in _SHORT or (last in _KEYS and before in _OF_KEYS)


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
