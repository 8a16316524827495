"""mandrake-sessions: one durable, live store of agent conversations per workspace."""

from mandrake_sessions.manager import Durability, SessionManager
from mandrake_sessions.version import __version__

__all__ = ["Durability", "SessionManager", "__version__"]
