"""Whatever the pieces in which bytes come, the messages in them are the same, in both framings."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mandrake_sessions.transport.framing import (
    Broken,
    Frame,
    Framer,
    FramingDetector,
    HeaderFramer,
    LineFramer,
    TooLong,
)
from mandrake_sessions.transport.jsonrpc import BrokenMessage, decode, encode
from model.matching import difference
from model.operations import texts, values
from model.profile import examples, patient

pytestmark = patient

MAX_BYTES = 1 << 20

messages = st.dictionaries(texts, values, max_size=4) | st.lists(values, min_size=1, max_size=3)
framings = st.sampled_from(["lines", "headers"])
cuts = st.lists(st.integers(0, 400), max_size=12)
line_blanks = st.sampled_from([b"", b"\n", b"\r\n", b"  \t\n \n"])
# Lines that are no messages: no line end in them, and not blank.
rubbish_lines = st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")).filter(lambda b: b.strip(b" \t\r"))
header_names = st.sampled_from([b"Content-Length", b"content-length", b"CONTENT-LENGTH", b"cOnTeNt-LeNgTh"])
other_headers = st.sampled_from(
    [
        b"",
        b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\n",
        b"X-Content-Length: 7\r\n",
        b"A:\r\n",
    ]
)
# A header block that says no length, and what follows until the next one.
lost_blocks = st.tuples(
    st.sampled_from([b"Hello", b"Content-Length: x", b"Content-Length: -1", b"Content-Length: 1\r\ncontent-length: 2"]),
    st.lists(rubbish_lines.filter(lambda b: b"content-length" not in b.lower()), max_size=3),
)


@examples(100)
@given(given=st.lists(messages, min_size=1, max_size=5), framing=framings, cut=cuts, data=st.data())
def test_messages_come_out_as_they_went_in(given: list[Any], framing: str, cut: list[int], data: st.DataObject) -> None:
    """Any JSON in any pieces, between blank lines or other headers, in LF or CRLF, after a byte-order mark or not."""
    stream = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + data.draw(line_blanks)
    for message in given:
        body = encode(message)
        if framing == "lines":
            stream += data.draw(line_blanks) + body + data.draw(st.sampled_from([b"\n", b"\r\n", b" \n"]))
        else:
            before, after = data.draw(other_headers), data.draw(other_headers)
            stream += before + data.draw(header_names) + b": %d\r\n" % len(body) + after + b"\r\n" + body
    if framing == "lines" and data.draw(st.booleans()):
        stream = stream.rstrip(b" \r\n")
    found = _frames(_pieces(stream, cut))
    assert all(isinstance(frame, bytes) for frame in found), found
    _same(given, found)


@examples(100)
@given(given=st.lists(messages, min_size=1, max_size=4), framing=framings, cut=cuts, data=st.data())
def test_rubbish_costs_no_message(given: list[Any], framing: str, cut: list[int], data: st.DataObject) -> None:
    """Lines that are no JSON, header blocks without a length, messages that are too large: each is one fault, and every
    message between them comes out."""
    largest = max(len(encode(message)) for message in given)
    framer = (LineFramer if framing == "lines" else HeaderFramer)(largest)
    stream = b""
    expected: list[Frame] = []
    for message in given:
        if data.draw(st.booleans()):
            size = largest + data.draw(st.integers(1, 300))
            body = b"[" + b"1" * (size - 1)
            stream += framer.wrap(body)
            expected.append(TooLong(size, body))
        if data.draw(st.booleans()) and framing == "lines":
            line = data.draw(rubbish_lines)[:largest]
            stream += line + b"\n"
            expected += [line.strip(b" \t\r")] if line.strip(b" \t\r") else []
        elif framing == "headers" and data.draw(st.booleans()):
            head, lines = data.draw(lost_blocks)
            stream += head + b"\r\n\r\n" + b"".join(line + b"\n" for line in lines)
            expected.append(Broken("a header block without a usable Content-Length"))
        stream += framer.wrap(encode(message))
        expected.append(encode(message))
    found = [frame for piece in _pieces(stream, cut) for frame in framer.feed(piece)] + list(framer.finish())
    assert list(map(_without_prefix, found)) == list(map(_without_prefix, expected))


@examples(100)
@given(given=st.lists(messages, min_size=1, max_size=5), wrong=st.integers(0, 4), cut=cuts, data=st.data())
def test_a_length_that_is_too_short_costs_its_own_message_alone(
    given: list[Any], wrong: int, cut: list[int], data: st.DataObject
) -> None:
    """As of a client that counts characters: what is left of its body has no line end before the next header."""
    bodies = [encode(message) for message in given]
    counted = wrong % len(bodies)
    missing = data.draw(st.integers(1, len(bodies[counted])))
    lengths = [len(body) - (missing if place == counted else 0) for place, body in enumerate(bodies)]
    stream = b"".join(b"Content-Length: %d\r\n\r\n%b" % pair for pair in zip(lengths, bodies, strict=True))
    frames = _frames(_pieces(stream, cut), "headers")
    whole = [frame for frame in frames if isinstance(frame, bytes)]
    if missing < len(bodies[counted]) or counted < len(bodies) - 1:
        assert sum(isinstance(frame, Broken) for frame in frames) == 1
    assert whole == [body[:length] for body, length in zip(bodies, lengths, strict=True)]


@pytest.mark.parametrize(
    ("first", "framing"),
    [
        (b"session/list\n", "lines"),
        (b"GET / HTTP/1.1\r\n", "lines"),
        (b"true\n", "lines"),
        (b"x" * 70_000, "lines"),
        (b"x" * 70_000 + b":\n", "lines"),
        (b"\xc3\xa4: 1\n", "lines"),
        (b'"a": 1\n', "lines"),
        (b"Content-Length: 2\r\n", "headers"),
        (b"X-Other:\n", "headers"),
        (b"\n  \r\n\xef\xbb\xbfcontent-type: x", "headers"),
    ],
)
def test_the_first_line_tells_the_framing(first: bytes, framing: str) -> None:
    """Headers need a letter first and a colon in the same line, however the bytes come."""
    for pieces in ([first], [first[i : i + 1] for i in range(len(first))]):
        detector = FramingDetector(MAX_BYTES)
        told = next((found for piece in pieces if (found := detector.feed(piece))), None) or detector.finish()
        assert told is not None
        assert told[0].name == framing


@examples(100)
@given(
    parts=st.lists(
        st.sampled_from(
            [b"Content-Length: 3", b"Content-Length:", b"content-length: 99999", b"\r\n", b"\n", b"\r", b" ",
             b"[1]", b"{", b"C", b"Cont", b"\xef\xbb", b"A: b"]
        )
        | st.binary(max_size=6),
        max_size=25,
    ),
    cut=cuts,
    known=st.sampled_from(["lines", "headers", "detected"]),
)  # fmt: skip
@example(parts=[b"\r\n", b"\xef\xbb\xbf", b"[1]"], cut=[2], known="detected")
def test_pieces_make_no_difference(parts: list[bytes], cut: list[int], known: str) -> None:
    """Any bytes at all give the same messages and faults, whether they come at once or byte by byte."""
    stream = b"".join(parts)
    at_once = _frames([stream], known)
    assert _frames(_pieces(stream, cut), known) == at_once
    assert _frames([stream[i : i + 1] for i in range(len(stream))], known) == at_once


@examples(100)
@given(messages)
def test_a_message_is_one_line(message: Any) -> None:
    """By anybody's idea of a line, and it is read back as it was."""
    encoded = encode(message)
    assert len(encoded.decode().splitlines()) == 1
    assert difference(message, decode(encoded)) is None


@examples(100)
@given(st.binary(max_size=60) | messages.map(encode).flatmap(lambda b: st.integers(0, len(b)).map(lambda n: b[:n])))
def test_no_bytes_stop_the_reader_of_json(raw: bytes) -> None:
    """They are a value, or an error that can be answered: nothing else is ever raised."""
    try:
        decode(raw)
    except BrokenMessage as broken:
        answer_to = broken.id
    else:
        return
    assert answer_to is None or isinstance(answer_to, str | int | float)


def _without_prefix(frame: Frame) -> Frame:
    """How much is kept of a message that is too large depends on the pieces."""
    return TooLong(frame.size, b"") if isinstance(frame, TooLong) else frame


def _pieces(stream: bytes, cut: list[int]) -> list[bytes]:
    places = sorted({0, *(place for place in cut if place < len(stream)), len(stream)})
    return [stream[start:end] for start, end in pairwise(places)]


def _frames(pieces: list[bytes], known: str = "detected") -> list[Frame]:
    """What a reader would get."""
    detector = FramingDetector(MAX_BYTES)
    framers: dict[str, Framer] = {"lines": LineFramer(MAX_BYTES), "headers": HeaderFramer(MAX_BYTES)}
    framer = framers.get(known)
    found: list[Frame] = []
    for piece in pieces:
        rest = piece
        if framer is None:
            detected = detector.feed(piece)
            if detected is None:
                continue
            framer, rest = detected
        found += framer.feed(rest)
    if framer is None and (last := detector.finish()) is not None:
        framer, rest = last
        found += framer.feed(rest)
    return found + (list(framer.finish()) if framer is not None else [])


def _same(expected: list[Any], frames: list[Frame]) -> None:
    found = [decode(frame) for frame in frames if isinstance(frame, bytes)]
    fault = difference(expected, found)
    assert fault is None, fault
