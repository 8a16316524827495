"""What is left of an output when the terminal's control codes are left out."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandrake_sessions.commands.recording.terminal_text import TerminalText


def taken(*pieces: bytes) -> tuple[str, str]:
    """The raw output and the text of a stream that comes in these pieces."""
    stream = TerminalText()
    parts = [stream.feed(piece) for piece in pieces] + [stream.feed(b"", final=True)]
    return "".join(part.raw for part in parts), "".join(part.text for part in parts)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (b"plain\ttext\n", "plain\ttext\n"),
        ("zwölf 🦡 \u200b".encode(), "zwölf 🦡 \u200b"),
        # Control sequences: colors, the cursor, private modes, with blanks before the final character.
        (b"\x1b[1;31mred\x1b[0m \x1b[2J\x1b[?25l\x1b[3 qx\x1b[38:2:1:2:3m", "red x"),
        ("\u009b1mred\u009bm".encode(), "red"),
        # Strings: titles, links, colors; with both ends, and what a program inside tmux passes on.
        (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        (b"\x1bP1$r0m\x1b\\a\x1bXs\x1b\\b\x1b^p\x1b\\c\x1b_a\x1b\\d", "abcd"),
        ("\u009d0;title\u009ca\u0090q\u009cb".encode(), "ab"),
        (b"\x1bPtmux;\x1b\x1b]0;t\x07\x1b\\a", "a"),
        (b"\x1bktitle\x1b\\a", "a"),
        (b"\x1b]0;lost\x18a\x1bPlost\x1ab", "ab"),
        # Other escapes, and sets of characters.
        (b"\x1b7a\x1b8b\x1b=c\x1b>d\x1bcd\x1b(Be\x1b)0f\x1b#8g\x1b%Gh\x1bMi", "abcddefghi"),
        # Single control characters.
        (b"a\x00b\x07c\x08d\x0be\x0cf\x0e\x0fg\x7fh\x1fi", "abcdefghi"),
        ("a\u0085b\u0099c".encode(), "abc"),
        # Ends of lines.
        (b"a\r\nb\rc\r\r\nd\r\re\r", "a\nb\nc\nd\ne\n"),
        (b"10%\r\x1b[K20%\r\x1b[0m\nend", "10%\n20%\nend"),
        (b"\r1%\r2%\n\x1b[?2004l\rend\r\n\r\n", "1%\n2%\nend\n\n"),
        # Codes that are none: what they cannot hold is text.
        (b"a\x1b[12\nb\x1b\nc\x1b[1\x1b[2md\x1b(\xc3\xa9", "a\nb\ncdé"),
        (b"end\x1b[1", "end"),
        (b"end\x1b", "end"),
        (b"end\x1b]0;title", "end"),
        # Bytes that are no UTF-8.
        (b"a\xff\x1b[1m\xc3", "a\\xff\\xc3"),
    ],
)
def test_codes_are_left_out(output: bytes, text: str) -> None:
    assert taken(output) == (output.decode(errors="backslashreplace"), text)
    assert taken(*(bytes([byte]) for byte in output)) == taken(output)


_PIECES = st.sampled_from(
    [b"\x1b", b"[", b"]", b"P", b"\\", b"k", b"(", b"1;2", b"m", b" ", b"\x07", b"\x18", b"\r", b"\n", b"text", b"\x00",
     b"\xc2\x9b", b"\xc2\x9d", b"\xc2\x9c", b"\xc2\x85", b"\xc3\xa9", b"\xc3", b"\xff", b"\x08", b"\t", b"B"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=30).map(b"".join), st.lists(st.integers(0, 60), max_size=10))
def test_it_does_not_matter_where_the_stream_is_cut(output: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(output)) for cut in cuts), len(output)]
    pieces = [output[start:end] for start, end in pairwise(places)]
    raw, text = taken(*pieces)
    assert (raw, text) == taken(output)
    assert raw == output.decode(errors="backslashreplace")
    assert not [character for character in text if character < " " and character not in "\t\n"]


@given(st.text())
def test_text_without_control_characters_stays_as_it_is(text: str) -> None:
    plain = "".join(character for character in text if character >= " " and not "\x7f" <= character <= "\x9f")
    assert taken(plain.encode()) == (plain, plain)


@pytest.mark.parametrize("endless", [b"\x1b]0;" + b"x" * 60_000, b"\x1b[" + b"1;" * 30_000, b"\x1b" + b" " * 60_000,
                                     b"\x1b]" * 30_000, b"\xc2\x9d" * 30_000, b"\r" * 60_000])  # fmt: skip
def test_a_code_without_an_end_is_not_held(endless: bytes) -> None:
    stream = TerminalText()
    rest = endless[2:] if endless.count(endless[:2]) == 1 else endless
    stream.feed(endless)
    began = time.process_time()
    for _ in range(20):
        stream.feed(rest)
    held = sum(len(value) for value in vars(stream).values() if isinstance(value, str))
    assert held <= 4
    assert time.process_time() - began < 5
