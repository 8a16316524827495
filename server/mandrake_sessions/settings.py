"""The settings. A flag overrides the environment, which overrides ``initializationOptions``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import Attribute, evolve, field, fields, frozen

from mandrake_sessions.protocol.names import camel
from mandrake_sessions.store.settings import Durability
from mandrake_sessions.value import Value

ENVIRONMENT_PREFIX = "MANDRAKE_SESSIONS_"
N = TypeVar("N", int, float)

LOG_LEVELS = ("debug", "info", "warning", "error")


class BadSetting(ValueError):
    """The value of a setting is wrong. ``source``: the flag, variable or option that it came from."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text that is not empty")
    return value


def _seconds(value: Any) -> float:
    number = _number(float, value)
    if number is None or not 0 <= number <= 10**9:
        raise ValueError("must be a number of seconds from 0 to 10^9, without a unit")
    return number


def _bytes(value: Any) -> int:
    number = None if isinstance(value, float) else _number(int, value)
    if number is None or not 1024 <= number <= 2**31:
        raise ValueError("must be a number of bytes from 1024 to 2^31: a whole number, without a unit")
    return number


def _number(kind: Callable[[Any], N], value: Any) -> N | None:
    """None if the text is not a number."""
    try:
        return None if isinstance(value, bool) else kind(value)
    except (ValueError, TypeError, OverflowError):
        return None


def _flag(value: Any) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if str(value).lower() not in known:
        raise ValueError("must be true or false")
    return known[str(value).lower()]


def _word(*words: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return str(value)

    return parse


def _setting(
    parse: Callable[[Any], Any], default: Any, help_text: str, metavar: str, *, alone: str | None = None
) -> Any:
    """``alone``: the meaning of the flag without a value."""
    return field(default=default, metadata={"parse": parse, "help": help_text, "metavar": metavar, "alone": alone})


@frozen(kw_only=True, eq=False, repr=False)
class Settings(Value):
    """Every setting of a server, with its default. The flags, variables and options are generated from this class."""

    workspace: str | None = _setting(_text, None, "the workspace's directory", "PATH")
    # The flag, variable or option that it came from; no setting itself.
    workspace_named_by: str = field(default="--workspace", eq=False)
    database: str | None = _setting(_text, None, "the file of the workspace's store itself", "PATH")
    durability: str = _setting(
        _word(*Durability), Durability.BALANCED.value, "what a commit waits for: balanced, full or normal", "WORD"
    )
    busy_timeout: float = _setting(_seconds, 5.0, "how long a call may wait for another process's lock", "SECONDS")
    lease_seconds: float = _setting(
        _seconds, 5.0, "how soon other servers notice that a writing process is gone", "SECONDS"
    )
    feed_max_bytes: int = _setting(_bytes, 8 * 1024 * 1024, "how much of the feed is kept for resuming", "BYTES")
    feed_max_age: float = _setting(_seconds, 604_800.0, "how long a change is kept for resuming", "SECONDS")
    allow_network_filesystem: bool = _setting(
        _flag, False, "open a store that other machines may share, which can damage it", "true|false", alone="true"
    )
    no_register: bool = _setting(
        _flag, False, "leave stores out of the register that store/list reads", "true|false", alone="true"
    )
    no_originals: bool = _setting(
        _flag, False, "import without keeping the files that conversations come from", "true|false", alone="true"
    )
    max_message_bytes: int = _setting(_bytes, 64 * 1024 * 1024, "the largest message that is read", "BYTES")
    log_level: str = _setting(_word(*LOG_LEVELS), "warning", "debug, info, warning or error", "WORD")
    log_file: str | None = _setting(_text, None, "where the log goes instead of stderr", "PATH")
    log_max_bytes: int = _setting(_bytes, 10 * 1024 * 1024, "when a log file is rotated; 3 old ones are kept", "BYTES")


def setting_fields() -> tuple[Attribute[Any], ...]:
    return tuple(setting for setting in fields(Settings) if setting.metadata)


def parse_setting(name: str, value: Any, source: str) -> Any:
    """Parse the value of one setting. Raises BadSetting, which names ``source``."""
    try:
        return getattr(fields(Settings), name).metadata["parse"](value)
    except ValueError as error:
        raise BadSetting(source, f"{value!r}: {error}") from None


def flag_of(name: str) -> str:
    """The flag of a setting."""
    return "--" + name.replace("_", "-")


def given_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The settings from the flags, by their settings' names, and from the environment. A flag that is None was not
    given. Raises BadSetting."""
    parsed = {name: parse_setting(name, value, flag_of(name)) for name, value in flags.items() if value is not None}
    given = {**from_environment(), **parsed}
    if "workspace" in given:
        by_flag = "workspace" in parsed
        given["workspace_named_by"] = flag_of("workspace") if by_flag else ENVIRONMENT_PREFIX + "WORKSPACE"
    return given


def from_environment(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The settings from the environment, such as ``MANDRAKE_SESSIONS_BUSY_TIMEOUT``. Raises BadSetting."""
    given = {}
    for setting in setting_fields():
        variable = ENVIRONMENT_PREFIX + setting.name.upper()
        if value := environment.get(variable):
            given[setting.name] = parse_setting(setting.name, value, variable)
    return given


def with_options(settings: Settings, given: frozenset[str], options: Mapping[str, Any]) -> Settings:
    """The settings with ``initialize.initializationOptions`` (wire names) added. Those in ``given`` override them.

    Names that are no settings are ignored; ``unknown_options`` names them. Raises BadSetting.
    """
    changes = {}
    for setting in setting_fields():
        name = camel(setting.name)
        if name in options and options[name] is not None and setting.name not in given:
            changes[setting.name] = parse_setting(setting.name, options[name], f"initializationOptions.{name}")
            if setting.name == "workspace":
                changes["workspace_named_by"] = f"initializationOptions.{name}"
    return evolve(settings, **changes)


def unknown_options(options: Mapping[str, Any]) -> list[str]:
    """The names among ``initializationOptions`` that are no settings. ``_`` begins one of the client's own."""
    known = option_names()
    return [name for name in options if name not in known and name[:1] != "_"]


def option_names() -> list[str]:
    """The settings' names in ``initializationOptions``."""
    return [camel(setting.name) for setting in setting_fields()]
