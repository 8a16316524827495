"""Processes that stream and listen while they are killed at random; see ``stress.Stress`` for what is held."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import stress

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no leases here")


def test_all_agree_in_the_end_whoever_was_killed(workspace: Path) -> None:
    """Four processes, two streams and two subscribers to everything in each. The feed is emptied now and then, so who
    was away has to begin anew, and pieces are sent again that the feed no longer has."""
    plan = stress.Plan(writers=4, streams=2, subscribers=2, seconds=8, kill_every=0.7, pause=0.5, prune=True)
    report = stress.run(workspace, plan)
    print(report)
    assert min(report.kills, report.interrupted, report.resumed, report.resets) > 0, (plan, report)
