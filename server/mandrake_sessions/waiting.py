"""The delays between tries, while another process holds a lock."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

FIRST_DELAY = 0.001
LONGEST_DELAY = 0.05


def backoff(budget: float) -> Iterator[float]:
    """Delays in seconds, exponential with full jitter, until ``budget`` seconds after the first.

    This function does not sleep: a thread sleeps, an event loop sets a timer. So one rule serves both.
    """
    deadline = time.monotonic() + budget
    ceiling = FIRST_DELAY
    while (left := deadline - time.monotonic()) > 0:
        yield min(random.uniform(0, ceiling), left)
        ceiling = min(ceiling * 2, LONGEST_DELAY)
