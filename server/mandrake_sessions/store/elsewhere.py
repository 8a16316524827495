"""Stores that are not open here: the register of those that this user has used, and visits. Few calls need them, so
they are loaded apart from ``engines``."""

from __future__ import annotations

from mandrake_sessions.store.sqlite.quiet import Stamp, stamp
from mandrake_sessions.store.sqlite.register import Register, RegisteredStore, RegisterFault, find_file
from mandrake_sessions.store.sqlite.visiting import Visit, VisitedStore

__all__ = [
    "Register",
    "RegisterFault",
    "RegisteredStore",
    "Stamp",
    "Visit",
    "VisitedStore",
    "find_file",
    "stamp",
]
