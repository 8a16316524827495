"""``mandrake-sessions demo``: an agent in one process, a watcher in another, and a store between them.

Nothing is staged: the agent has no language model, but it really looks at the directory, and every word that the
watcher draws has been through the store, by the same wire that any other client speaks.
"""

from mandrake_sessions.demo.run import run_demo

__all__ = ["run_demo"]
