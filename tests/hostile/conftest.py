"""What the tests of hostile input share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _long_integers() -> Iterator[None]:
    """This process reads whatever the server has sent, and by itself Python reads no integer of more than 4,300
    digits."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(before)
