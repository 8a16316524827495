"""What the tests of hostile input share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _long_integers(long_integers: None) -> None:
    """Whatever the server has sent is read."""
