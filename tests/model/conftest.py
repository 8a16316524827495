"""What the property tests need before they begin."""

from __future__ import annotations

import pytest

from model.operations import pool


@pytest.fixture(autouse=True, scope="session")
def operations() -> None:
    """Hypothesis draws the operations, which it does not do inside a test that draws."""
    pool()
