"""Levels are counted in the text as they are in the value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandrake_sessions.nesting import count_each, is_deeper_than, is_text_deeper_than

# Texts that hold what the count must not take for brackets or for the end of a text.
leaves: st.SearchStrategy[Any] = st.sampled_from([1, None, "", "[[[", "}", '"', "\\", '\\"[', "é[", {}, []])
values: st.SearchStrategy[Any] = st.recursive(
    leaves, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from('[{"\\ab'), inner))
)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@pytest.mark.parametrize("length", [0, 65_533, 65_534, 70_000])
@pytest.mark.parametrize("few", [1, 3, 4])
def test_each_is_counted_however_long_the_text_is(length: int, few: int) -> None:
    for brackets in ("", "[", "[{", "{[[", "[{" * 5):
        text = brackets + "x" * length
        assert count_each(text, ("[", "{"), few) == count_each(text[::-1], ("[", "{"), few) == len(brackets)


@given(value=values, ascii_only=st.booleans())
def test_the_text_tells_the_levels(value: Any, ascii_only: bool) -> None:
    text, levels = json.dumps(value, ensure_ascii=ascii_only), depth(value)
    for limit in {max(1, levels - 1), max(1, levels), levels + 1}:
        assert is_text_deeper_than(text, value, limit) == is_deeper_than(value, limit) == (levels > limit)


@pytest.mark.parametrize("before", [0, 1, 13, 14, 65_535, 65_536, 200_000])
def test_in_a_long_text(before: int) -> None:
    """Windows and runs of brackets begin anywhere; texts go over the ends of windows."""
    for filling in ("[]", '"[[[[\\\\"', '"\\"["', "{}"):
        filled = ",".join([filling] * (before // len(filling)))
        inside = "[" * 126 + "]" * 126
        for levels, body in ((127, inside), (128, f"[{inside}]"), (129, f"[[{inside}]]")):
            text = f"[{filled}{',' if filled else ''}{body},{body}]"
            assert is_text_deeper_than(text, json.loads(text), 128) == (levels > 128)
            assert is_text_deeper_than(text, json.loads(text), 127) == (levels > 127)


def test_a_member_that_stands_twice_counts_as_it_is_decoded() -> None:
    text = '{"a": %s, "a": 1}' % ("[" * 200 + "]" * 200)
    assert not is_text_deeper_than(text, json.loads(text), 128)
