"""Servers of stores whose round trips are long do what the model does, too: the work of each store runs on a thread."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given

from connection import slow_store
from model.operations import Burst, sequences
from model.over_pipes import compare_servers
from model.profile import examples, patient

pytestmark = patient


@examples(2, shrink=False)
@given(before=sequences(30, 15), after=sequences(30, 15))
def test_a_server_of_a_slow_store_does_what_the_model_does(before: list[Burst], after: list[Burst]) -> None:
    """Answers, reads, and what those who listen end up with; no event loop makes a round trip."""
    with tempfile.TemporaryDirectory() as directory:
        workspace = Path(directory)
        (workspace / ".git").mkdir()
        compare_servers(workspace, before, after, "lines", **slow_store.server(round_trip=0.0005))
        noted = workspace / slow_store.ON_THE_LOOP
        assert not noted.exists(), noted.read_text()
