"""mandrake-sessions: one durable, live store of agent conversations per workspace."""

import logging
from typing import TYPE_CHECKING

from mandrake_sessions.long_integers import LongInteger
from mandrake_sessions.version import __version__

if TYPE_CHECKING:
    from mandrake_sessions.manager import Durability, SessionManager

__all__ = ["Durability", "LongInteger", "SessionManager", "__version__"]

# A library says nothing by itself; what is logged goes where the program that uses it wants it.
logging.getLogger(__name__).addHandler(logging.NullHandler())

if not TYPE_CHECKING:

    def __dir__() -> list[str]:
        """With what is not loaded yet."""
        return sorted({*globals(), *__all__})

    def __getattr__(name: str) -> object:
        """The manager brings the store and SQLite with it: programs that use the client alone do not load them."""
        if name in ("Durability", "SessionManager"):
            from mandrake_sessions import manager

            return getattr(manager, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
