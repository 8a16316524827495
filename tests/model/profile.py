"""How much is tried: always the same examples, so that a failure is a failure for everybody.

With ``MANDRAKE_SESSIONS_EXAMPLES=20`` in the environment twenty times as many are tried, others at each run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

TIMES = max(1, int(os.environ.get("MANDRAKE_SESSIONS_EXAMPLES", "1")))
patient = pytest.mark.timeout(400 * TIMES)


def examples(count: int, *, shrink: bool = True) -> Callable[[Any], Any]:
    """Settings for that many examples. Without ``shrink`` a failure is shown as it was found."""
    return settings(
        max_examples=count * TIMES,
        deadline=None,
        derandomize=TIMES == 1,
        database=None,
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if shrink else [])],
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )
