"""The process's own standard streams, taken so that nobody else writes to the client."""

from __future__ import annotations

import os
import sys


def claim_standard_streams() -> tuple[int, int]:
    """Descriptors of stdin and stdout that nobody else has: ``(stdin, stdout)``.

    From here on ``print``, and whatever a library writes to fd 1, goes to stderr, and fd 0 is empty.
    """
    stdin, stdout = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return stdin, stdout
