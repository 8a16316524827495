"""The framing of a client's connection, which it chooses: a message a line, or LSP's ``Content-Length`` header before
each message."""

from __future__ import annotations

import sys
from typing import Literal

from mandrake_sessions.transport.framing import Framer, HeaderFramer, LineFramer

Framing = Literal["lines", "headers"]


def framer_for(framing: Framing) -> Framer:
    """Messages of the server may have any length."""
    return LineFramer(sys.maxsize) if framing == "lines" else HeaderFramer(sys.maxsize)
