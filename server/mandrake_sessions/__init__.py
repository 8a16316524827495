"""mandrake-sessions: one durable, live store of agent conversations per workspace."""

__version__ = "0.1.0"

from mandrake_sessions.manager import Durability, SessionManager

__all__ = ["Durability", "SessionManager", "__version__"]
