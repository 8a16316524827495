"""A soak that is short enough for every run of the tests; ``make soak MINUTES=30`` is the long one."""

from __future__ import annotations

import sys

import pytest

from figures import record
from soak.soak import Plan, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no stops and no leases here")


@pytest.mark.timeout(400)
def test_nothing_is_lost_whatever_happens_to_servers_and_files() -> None:
    figures = run(Plan(seconds=40))
    record("soak", **{name: number for name, number in figures.items() if not name.startswith("refused")})
    assert min(figures[name] for name in ("pieces", "turns compared", "states compared", "checkpoints")) > 0
