"""Messages that are broken in every way the grammar knows, by lines and with headers, among others that are not.

What each must be answered with is told by ``oracle.py``. Every tenth message or so makes a session: those that were
acknowledged are in the store afterwards, and no others.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from hostile import fuzzing, generate
from hostile.fuzzing import all_pages, answers_in, canonical, converse, pieces, run_cases
from hostile.oracle import ONE_ERROR, Expected, compare, read
from wire import Framing

pytestmark = fuzzing.patient

MAX_BYTES = 40_000
FLAGS = ("--durability", "normal", "--max-message-bytes", str(MAX_BYTES))
MESSAGES = 700


class Stream:
    """What is sent, and what must come back."""

    def __init__(self, rng: random.Random, framing: Framing) -> None:
        self.rng = rng
        self.framing = framing
        self.parts: list[bytes] = []
        self.expected: list[Expected] = []
        self.silent = 0
        self.counted: Counter[str] = Counter()

    def add(self) -> None:
        """One more message: a valid one, one that makes a session, or a broken one."""
        rng = self.rng
        number = len(self.parts)
        made = generate.message(rng, rng.choice((f"m{number}", number, f"m{rng.randrange(number + 1)}", 0.5)))
        dice = rng.random()
        if dice < 0.1:
            body = generate.encoded(rng, creation(f"creation {number}"))
            self._take(body, body)
            self.counted["creations"] += 1
            return
        if dice < 0.3:
            body = generate.encoded(rng, made)
        elif dice < 0.6:
            body = generate.encoded(rng, generate.broken_message(rng, made))
        else:
            body = generate.broken_bytes(rng, generate.encoded(rng, made))
        if not generate.ends_the_server(body):
            self._noise() if rng.random() < 0.3 else self._take(body, body)

    def _noise(self) -> None:
        noise = line_noise(self.rng) if self.framing == "lines" else header_noise(self.rng)
        self.parts.append(noise[0])
        self.expected += noise[1]
        self.counted["noise"] += 1

    def _take(self, body: bytes, said: bytes) -> None:
        if self.framing == "lines":
            ends = self.rng.choice((b"\n", b"\r\n", b" \t\n", b"\n\n"))
            self.parts.append(body + ends)
            # A line feed inside makes two of it, and blank lines are nothing.
            for line in body.split(b"\n"):
                if line.strip(b" \t\r"):
                    self._expect(line.strip(b" \t\r"))
        else:
            self.parts.append(header(self.rng, len(body)) + body)
            self._expect(body)

    def _expect(self, body: bytes) -> None:
        found = read(body, MAX_BYTES)
        self.silent += found.silent
        self.expected += [found.answer] if found.answer is not None else []
        self.counted["messages"] += 1


def creation(message_id: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message_id, "method": "session/create", "params": {"title": message_id}}


def line_noise(rng: random.Random) -> tuple[bytes, list[Expected]]:
    """Lines that are nothing, or no message at all."""
    match rng.randrange(5):
        case 0:
            return rng.choice((b"\n", b"\r\n", b" \r \t\n", b" " * (MAX_BYTES + 1) + b"\n")), []
        case 1:
            # Blanks around a message are not of it, however many.
            blanks = b" " * rng.choice((0, 10, MAX_BYTES, 3 * MAX_BYTES))
            return blanks + b"1" + blanks + b"\n", [ONE_ERROR]
        case 2:
            return b"[" + b"1" * rng.choice((MAX_BYTES - 1, MAX_BYTES, 5 * MAX_BYTES)) + b"\n", [ONE_ERROR]
        case 3:
            return b"Content-Length: 2\r\n\r\n{}\n", [ONE_ERROR, ONE_ERROR]
        case _:
            line = bytes(byte for byte in rng.randbytes(rng.randrange(1, 80)) if byte != 10).strip(b" \t\r")
            answer = read(line, MAX_BYTES).answer if line else None
            return line + b"\n", [answer] if answer else []


def header(rng: random.Random, size: int) -> bytes:
    """A header block that states the size, in one of many ways."""
    name = rng.choice((b"Content-Length", b"content-length", b"CONTENT-LENGTH", b" Content-Length ", b"cOntent-lEngth"))
    length = name + rng.choice((b":", b": ", b":\t ", b" :  ")) + b"0" * rng.randrange(3) + b"%d" % size
    others = [
        rng.choice(
            (b"Content-Type: a/b; charset=utf-8", b"X:", b": x", b"no colon", b"X-Content-Length: 7", b"\xff: \0")
        )
        for _ in range(rng.randrange(3))
    ]
    lines = [*others, length, *([length] if rng.random() < 0.2 else [])]
    rng.shuffle(lines)
    end = rng.choice((b"\r\n", b"\n"))
    before = rng.choice((b"", b"\r\n", b"\n \t\r\n"))
    return before + end.join(lines) + end + end


USELESS = (
    b"Content-Length: x", b"Content-Length: -5", b"Content-Length: +5", b"Content-Length: 1e3", b"Content-Length: 0x10",
    b"Content-Length:", b"Content-Length", b"Content-Length: 5 5", b"Content-Length: 5,5", b"Content-Length: 5.0",
    b"Content-Length: 9999999999999999", b"Content-Length: " + b"9" * 5000, b"Content-Length: 3\r\nContent-Length: 4",
    b"Content-Length: 3\r\ncontent-length: 03", b"X: y", b"{", b"[1]", b"\0", b"\xff\xfe", b"Content-Length: \xd9\xa3",
)  # fmt: skip
JUNK = (
    b"",
    b"junk",
    b" Content-Length: five",
    b"X-Content-Length: 5",
    b"{}",
    b"\r",
    b"\0\xff",
    b"Content-Len: 5",
    b"C",
)


def header_noise(rng: random.Random) -> tuple[bytes, list[Expected]]:
    """Header blocks without a usable length, and what follows until the next; bodies that are skipped."""
    junk = b"".join(rng.choice(JUNK) + rng.choice((b"\n", b"\r\n")) for _ in range(rng.randrange(4)))
    match rng.randrange(4):
        case 0:
            size = rng.choice((MAX_BYTES + 1, MAX_BYTES * 3))
            return header(rng, size) + b"x" * size, [ONE_ERROR]
        case 1:
            endless = rng.choice((b"X: ", b"Content-Length: 5\r\nX: ")) + b"a" * rng.choice((66_000, 200_000)) + b"\r\n"
            return endless + b"\r\n" + junk + resync(), [ONE_ERROR]
        case _:
            return rng.choice(USELESS) + rng.choice((b"\r\n\r\n", b"\n\n")) + junk + resync(), [ONE_ERROR]


def resync() -> bytes:
    """Where messages begin again: at a line that starts so. It is a response to nothing, which has no answer."""
    body = b'{"jsonrpc":"2.0","id":0,"result":0}'
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def test_fuzz_messages(tmp_path: Path, framing: Framing) -> None:
    def case(rng: random.Random, seed: int) -> Counter[str]:
        workspace = tmp_path / f"case-{seed}"
        (workspace / ".git").mkdir(parents=True)
        stream = Stream(rng, framing)
        while len(stream.parts) < MESSAGES:
            stream.add()
        said = converse(workspace, framing, pieces(rng, b"".join(stream.parts)), *FLAGS)
        answers = answers_in(said)
        compare(stream.expected, answers)
        check_store(workspace, stream, answers)
        shutil.rmtree(workspace)
        return stream.counted + Counter(answers=len(answers), bytes=sum(map(len, stream.parts)))

    run_cases(f"fuzzed messages, {framing}", 3, case)


def check_store(workspace: Path, stream: Stream, answers: list[Any]) -> None:
    """Those sessions are there that were acknowledged, and beside them at the most those nobody was told of."""
    flat = [answer for message in answers for answer in (message if isinstance(message, list) else [message])]
    made = {answer["result"]["id"] for answer in flat if "roundCount" in (answer.get("result") or {})}
    wanted = {one for one in stream.expected if not one.batch and any(key.startswith('"creation ') for key in one.ids)}
    answered = {canonical(answer["id"]) for answer in flat if "result" in answer}
    assert {key for one in wanted if len(one.ids) == 1 for key in one.ids} <= answered
    listed = {row["id"] for row in all_pages(workspace, "session/list", "sessions", archived=None)}
    assert made <= listed
    assert len(listed - made) <= stream.silent
