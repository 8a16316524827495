"""mandrake-sessions: one durable, live store of agent conversations per workspace."""

import logging

from mandrake_sessions.manager import Durability, SessionManager
from mandrake_sessions.version import __version__

__all__ = ["Durability", "SessionManager", "__version__"]

# A library says nothing by itself; what is logged goes where the program that uses it wants it.
logging.getLogger(__name__).addHandler(logging.NullHandler())
