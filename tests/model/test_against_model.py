"""Random sequences of operations: servers must give what the model gives, before and after a restart, and those who
only listen must end up with the same. A manager without a server is compared in ``tests/conformance``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from model.operations import Burst, sequences
from model.over_pipes import compare_servers
from model.profile import examples, patient
from wire import Framing

pytestmark = patient


@examples(4, shrink=False)
@given(before=sequences(90, 30), after=sequences(90, 30), framing=st.sampled_from(["lines", "headers"]))
def test_the_server_does_what_the_model_does(before: list[Burst], after: list[Burst], framing: Framing) -> None:
    with tempfile.TemporaryDirectory() as directory:
        workspace = Path(directory)
        (workspace / ".git").mkdir()
        compare_servers(workspace, before, after, framing)
