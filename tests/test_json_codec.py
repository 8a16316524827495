"""Integers beyond what Python converts: the codec gives what the standard library would give without its limit."""

from __future__ import annotations

import json
import math
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandrake_sessions.json_codec import JsonDecoder, JsonEncoder, TooManyDigits
from mandrake_sessions.long_integers import MAX_INT_DIGITS, LongInteger, integer_of, may_have_long_integer, text_of

# As a process may have set its limit: the lowest that Python allows, Python's own, and none.
LIMITS = [640, 4300, 0]

decoder = JsonDecoder()
encoder = JsonEncoder(separators=(",", ":"))


@contextmanager
def limit_of(digits: int) -> Iterator[None]:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(digits)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)


# Made small, and written out in the tests: Hypothesis shows what it gives.
Integer = tuple[str, str, int]
integers: st.SearchStrategy[Integer] = st.tuples(
    st.sampled_from(["", "-"]),
    st.sampled_from(["10", "9", "1234567890"]),
    st.sampled_from([1, 639, 640, 641, 3788, 3789, 4299, 4300, 4301, 5000, 8600]),
)
trees = st.recursive(
    st.tuples(st.sampled_from(["%s", '"%s"', "%s.5e-60000", "0.%s", '[true,"x\\u00e9",1.5,%s]']), integers),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=8,
)


def written(integer: Integer) -> str:
    """As it stands in JSON."""
    sign, pattern, length = integer
    return sign + (pattern[0] + pattern[1:] * length if pattern == "10" else pattern * length)[:length]


def json_of(tree: Any) -> str:
    """JSON with long integers, and with runs of digits that are none."""
    if isinstance(tree, list):
        return f"[{','.join(map(json_of, tree))}]"
    form, integer = tree
    return str(form % written(integer).lstrip("-" if form == "0.%s" else ""))


@pytest.mark.parametrize("limit", LIMITS)
@given(tree=trees)
def test_values_come_and_go_as_without_a_limit(limit: int, tree: Any) -> None:
    text = json_of(tree)
    with limit_of(0):
        wanted = json.loads(text)
        encoded = json.dumps(wanted, separators=(",", ":"))
    with limit_of(limit):
        found = decoder.decode(text)
        assert found == wanted
        assert encoder.encode(found) == encoder.encode(wanted) == encoded
        check_types(found, wanted)


def check_types(found: Any, wanted: Any) -> None:
    """Whether an integer is a LongInteger depends on its digits alone."""
    if isinstance(wanted, list):
        for one, other in zip(found, wanted, strict=True):
            check_types(one, other)
    elif isinstance(wanted, dict):
        check_types(list(found.values()), list(wanted.values()))
    else:
        is_long = type(wanted) is int and abs(wanted) >= 10**MAX_INT_DIGITS
        assert type(found) is (LongInteger if is_long else type(wanted))


@given(before=st.integers(0, 2000), length=st.sampled_from([4301, 4302, 5000, 9000]))
def test_a_long_run_is_seen_wherever_it_stands(before: int, length: int) -> None:
    assert may_have_long_integer("x" * before + "7" * length)


@given(integer=integers)
def test_conversions_need_no_limit(integer: Integer) -> None:
    text = written(integer)
    with limit_of(0):
        number = int(text)
    with limit_of(640):
        assert integer_of(text) == number
        assert text_of(number) == text


@given(one=integers, other_one=integers)
def test_a_long_integer_compares_as_its_number(one: Integer, other_one: Integer) -> None:
    first, second = written(one), written(other_one)
    number, other, long = integer_of(first), integer_of(second), LongInteger(first)
    assert (long == other, long < other, long >= other) == (number == other, number < other, number >= other)
    assert (long == LongInteger(second), hash(long)) == (number == other, hash(number))
    assert (LongInteger(number), int(long), str(long)) == (long, number, first)
    assert pickle.loads(pickle.dumps(long)) == long
    assert long != first


@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_of_too_many_digits_is_refused(sign: str) -> None:
    read, write = JsonDecoder(max_digits=5000), JsonEncoder(max_digits=5000)
    fits, long = sign + "9" * 5000, sign + "9" * 5001
    assert write.encode(read.decode(f"[{fits}]")) == write.encode([integer_of(fits)]) == f"[{fits}]"
    for refused in (
        lambda: read.decode(long),
        lambda: write.encode(LongInteger(long)),
        lambda: write.encode(integer_of(long)),
    ):
        with pytest.raises(TooManyDigits, match="more than 5,000 digits"):
            refused()


@pytest.mark.parametrize("text", ["[1,]", "", " ", "1 2", "[" + "9" * 5000, "9" * 5000 + "x", "nul"])
def test_faults_are_those_of_the_standard_library(text: str) -> None:
    with limit_of(0), pytest.raises(json.JSONDecodeError) as wanted:
        json.loads(text)
    with pytest.raises(json.JSONDecodeError) as found:
        decoder.decode(text)
    assert str(found.value) == str(wanted.value)


def test_what_is_no_json_is_refused_beside_a_long_integer() -> None:
    long = integer_of("9" * 5000)
    for value in (long, LongInteger(long)):
        for other in (object(), {1, 2}, b"x"):
            with pytest.raises(TypeError, match="not JSON serializable"):
                encoder.encode([value, other])
        with pytest.raises(ValueError, match="not JSON compliant"):
            JsonEncoder(allow_nan=False).encode([value, math.nan])
