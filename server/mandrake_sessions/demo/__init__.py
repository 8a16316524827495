"""``mandrake-sessions demo``: an agent in one process, a watcher in another, and a store between them.

The agent has no language model, but it really reads the directory. Every word that the watcher draws has been through
the store, over the same wire that any other client uses.
"""

from mandrake_sessions.demo.run import run_demo

__all__ = ["run_demo"]
