"""SQL of what can be searched: which texts there are, whose they are, and which of their sessions are wanted.

Of a tool call, and of what a tool streams, the first 64 KiB of each text are searched; of a request the first MiB. Of a
request that a program put in and nobody typed, the texts of its blocks are searched. A change of what a document says
needs a new version of the index (``store/sqlite/search_files.py``).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from mandrake_sessions.search_text import composed
from mandrake_sessions.store.interface import Dialect, Sql
from mandrake_sessions.store.search import Document, Found, Part
from mandrake_sessions.store.sql.texts import TextPlace, each_slice, texts_of
from mandrake_sessions.store.sql.values import OddValue

CALL_BYTES = 64 * 1024
REQUEST_BYTES = 1024 * 1024
# Of blocks that take more than this, nothing is.
_BLOCKS_BYTES = 2 * REQUEST_BYTES
# A longer text is several documents, each of which begins with the end of the one before: what stands there is found
# as a phrase.
PIECE_CHARACTERS = 256 * 1024
OVERLAP_CHARACTERS = 300
# Stored as JSON, a text may be twice as long.
_STORED_BYTES = 2 * CALL_BYTES
TOOL_OUTPUT = "tool_output"


class TurnRow(NamedTuple):
    """What a turn's texts depend on."""

    pk: int
    session_pk: int
    seq: int
    kind: str
    status: str
    folded_chunks: int
    content_pk: int
    raw_response_pk: int
    content_bytes: int

    @property
    def place(self) -> TextPlace:
        return TextPlace(self.pk, self.folded_chunks, self.content_pk, self.raw_response_pk)

    @property
    def part(self) -> Part:
        return Part.OUTPUT if self.kind == TOOL_OUTPUT else Part.CONTENT


class _CallRow(NamedTuple):
    """What the texts of a tool call are made of; the JSON of the last three may be cut off."""

    pk: int
    title: Any
    server_name: Any
    method_name: Any
    arguments: bytes | None
    response: bytes | None
    content: bytes | None

    @property
    def names(self) -> list[str]:
        return [name for name in (self.title, self.server_name, self.method_name) if isinstance(name, str)]

    @property
    def values(self) -> tuple[bytes | None, ...]:
        return self.arguments, self.response, self.content


def turn_rows(sql: Sql, pks: Iterable[int]) -> list[TurnRow]:
    """Those of the turns that are there, in order."""
    rows = sql.execute(_turn_rows(sql.dialect), (sql.dialect.numbers(pks),))
    return [TurnRow._make(row) for row in rows]


def documents_of_turn(sql: Sql, turn: TurnRow) -> Iterator[Document]:
    """What a turn and its tool calls say; each document is read when it is asked for. Raises OddValue."""
    for piece, text in enumerate(_pieces(_content(sql, turn))):
        yield Document(turn.session_pk, turn.pk, turn.part, 0, piece, turn.seq, text)
    for row in sql.execute(_calls_of_turn(sql.dialect), (*[_STORED_BYTES] * 3, turn.pk)):
        call = _CallRow._make(row)
        for part, text in zip((Part.ARGUMENTS, Part.RESPONSE), _call_texts(call), strict=True):
            if text:
                yield Document(turn.session_pk, turn.pk, part, call.pk, 0, turn.seq, text)


def document_of_session(sql: Sql, pk: int) -> Iterator[Document]:
    """The title of a session, if it has one."""
    for text in titles(sql, [pk]).values():
        yield Document(pk, pk, Part.TITLE, 0, 0, 0, text)


def document_of_request(sql: Sql, session_pk: int, pk: int) -> Iterator[Document]:
    for text in requests(sql, [pk]).values():
        for piece, each in enumerate(_pieces(iter([text]))):
            yield Document(session_pk, pk, Part.REQUEST, 0, piece, 0, each)


def session_of_round(sql: Sql, pk: int) -> int | None:
    row = sql.execute("SELECT session_pk FROM round WHERE pk = ?", (pk,)).fetchone()
    return None if row is None else int(row[0])


def texts_found(
    sql: Sql, found: Sequence[Found], may_match: Callable[[str], bool] | None = None
) -> Iterator[tuple[Found, str]]:
    """The documents that are still there, each with its text, in their order. Those that cannot be read are left
    out; so may be those of tool calls whose JSON, in lower case, ``may_match`` says no to: it takes long to read."""
    by_part: dict[Part, list[Found]] = defaultdict(list)
    for each in found:
        by_part[each.part].append(each)
    texts: dict[tuple[int, int, int], str] = {}
    for part, few in by_part.items():
        texts.update(_texts_of_part(sql, part, few, may_match))
    for each in found:
        text = texts.get((each.part, each.call or each.owner, each.piece))
        if text is not None:
            yield each, text


def _texts_of_part(
    sql: Sql, part: Part, found: list[Found], may_match: Callable[[str], bool] | None
) -> dict[tuple[int, int, int], str]:
    owners = [each.call or each.owner for each in found]
    if part is Part.TITLE:
        return {(part, pk, 0): text for pk, text in titles(sql, owners).items()}
    if part is Part.REQUEST:
        pieces = {each: _pieces(iter([text])) for each, text in requests(sql, owners).items()}
        return {(part, pk, piece): text for pk, texts in pieces.items() for piece, text in enumerate(texts)}
    if part in (Part.ARGUMENTS, Part.RESPONSE):
        which = 0 if part is Part.ARGUMENTS else 1
        return {(part, pk, 0): texts[which] for pk, texts in _calls(sql, owners, may_match)}
    return _contents(sql, part, found)


def _contents(sql: Sql, part: Part, found: list[Found]) -> dict[tuple[int, int, int], str]:
    texts: dict[tuple[int, int, int], str] = {}
    rows = [row for row in turn_rows(sql, {each.owner for each in found}) if row.part is part]
    short = [row for row in rows if row.content_bytes <= PIECE_CHARACTERS and part is Part.CONTENT]
    try:
        together = texts_of(sql, [row.place for row in short], raw=False)
    except OddValue:
        # One of them is not UTF-8.
        rows, together = rows, []
        short = []
    for row, (content, _) in zip(short, together, strict=True):
        texts[part, row.pk, 0] = composed(content)
    wanted = {(each.owner, each.piece) for each in found}
    for row in set(rows) - set(short):
        try:
            for piece, text in enumerate(_pieces(_content(sql, row))):
                if (row.pk, piece) in wanted:
                    texts[part, row.pk, piece] = text
        except OddValue:
            continue
    return texts


def _content(sql: Sql, turn: TurnRow) -> Iterator[str]:
    """The content of a turn, as far as it is searched, in slices."""
    left = CALL_BYTES if turn.part is Part.OUTPUT else None
    for text in each_slice(sql, turn.place, "content"):
        if left is None:
            yield text
            continue
        cut = text.encode()[:left].decode(errors="ignore")
        yield cut
        left -= len(cut.encode())
        if left <= 0 or cut != text:
            return


def _pieces(slices: Iterator[str]) -> Iterator[str]:
    """A text in pieces of a bounded length; nothing of an empty one."""
    held = ""
    fresh = False
    for text in slices:
        held += text
        fresh = fresh or bool(text)
        while len(held) > PIECE_CHARACTERS:
            yield composed(held[:PIECE_CHARACTERS])
            held = held[PIECE_CHARACTERS - OVERLAP_CHARACTERS :]
    if fresh and held:
        yield composed(held)


def titles(sql: Sql, pks: Iterable[int]) -> dict[int, str]:
    rows = sql.execute(_titles(sql.dialect), (CALL_BYTES, sql.dialect.numbers(pks)))
    return {pk: _decoded(title) for pk, title in rows if title}


def requests(sql: Sql, pks: Iterable[int]) -> dict[int, str]:
    rows = sql.execute(_requests(sql.dialect), (REQUEST_BYTES, _BLOCKS_BYTES, sql.dialect.numbers(pks)))
    texts = {pk: _decoded(content) or _text_of_blocks(blocks) for pk, content, blocks in rows}
    return {pk: text for pk, text in texts.items() if text}


def _text_of_blocks(stored: bytes | None) -> str:
    """The texts of a request's blocks, without what they hold beside, such as images."""
    try:
        blocks = json.loads(bytes(stored or b"[]"))
    except (ValueError, RecursionError):
        return ""
    given = blocks if isinstance(blocks, list) else []
    texts = [block.get("text") for block in given if isinstance(block, dict) and block.get("type") == "text"]
    whole = "\n".join(text for text in texts if isinstance(text, str))
    return composed(whole.encode("utf-8", "ignore")[:REQUEST_BYTES].decode(errors="ignore"))


def _calls(
    sql: Sql, pks: Iterable[int], may_match: Callable[[str], bool] | None
) -> Iterator[tuple[int, tuple[str, str]]]:
    rows = sql.execute(_calls_by_pk(sql.dialect), (*[_STORED_BYTES] * 3, sql.dialect.numbers(pks)))
    for row in rows:
        call = _CallRow._make(row)
        if may_match is not None and all(text is None or text.isascii() for text in row[1:]):
            together = " ".join([*call.names, *(bytes(text or b"").decode() for text in call.values)])
            if not may_match(together.lower()):
                continue
        yield call.pk, _call_texts(call)


def _call_texts(call: _CallRow) -> tuple[str, str]:
    """What a tool call asks for, its names first, and what it gave."""
    arguments, response, content = (json_text(_decoded(value)) for value in call.values)
    # Agents say it twice.
    given = [response] if content in response else [response, content]
    asked = [*dict.fromkeys(call.names), arguments]
    return _joined(asked), _joined(given)


def _joined(texts: Iterable[str]) -> str:
    return "\n".join(filter(None, map(_bounded, texts)))


def _bounded(text: str) -> str:
    return composed(text.encode()[:CALL_BYTES].decode(errors="ignore"))


# A string, perhaps cut off at the end; a number or a word; a mark.
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)("?)|([^\s\[\]{},:"]+)|([:{}\[\],])', re.DOTALL)


def json_text(encoded: str) -> str:
    """What JSON says, in lines: the names of fields with what they hold, no quotes and escapes. The JSON may be cut off
    anywhere."""
    lines: list[str] = []
    name, last = "", None
    for string, closed, bare, mark in [*_TOKEN.findall(encoded), ("", "", "", ",")]:
        if mark == ":":
            name, last = f"{last}: ", None
        elif mark:
            if last is not None or (mark in "{[" and name):
                lines.append(name + (last or ""))
                name, last = "", None
        elif bare == "null":
            name = ""
        else:
            last = bare or _string(string, is_closed=bool(closed))
    return "\n".join(lines)


def _string(encoded: str, *, is_closed: bool) -> str:
    if "\\" not in encoded:
        return encoded
    if not is_closed:
        # It may end in the middle of an escape.
        encoded = re.sub(r"\\(u[0-9a-fA-F]{0,3})?$", "", encoded)
    try:
        return str(json.loads(f'"{encoded}"', strict=False)).encode("utf-8", "ignore").decode()
    except ValueError:
        return encoded


def _decoded(stored: bytes | None) -> str:
    """Cut off in the middle of a character, perhaps."""
    return composed(bytes(stored or b"").decode(errors="ignore"))


@cache
def _turn_rows(dialect: Dialect) -> str:
    columns = ", ".join(f"t.{name}" for name in TurnRow._fields)
    return f"SELECT {columns} FROM turn t WHERE {dialect.among('t.pk')} ORDER BY t.pk"


def _call_columns(dialect: Dialect) -> str:
    texts = (f"substr({dialect.as_bytes(f'c.{name}')}, 1, ?)" for name in ("arguments", "response", "content"))
    return f"c.pk, c.title, c.server_name, c.method_name, {', '.join(texts)}"


@cache
def _calls_of_turn(dialect: Dialect) -> str:
    return f"SELECT {_call_columns(dialect)} FROM tool_call c WHERE c.turn_pk = ? ORDER BY c.pk"


@cache
def _calls_by_pk(dialect: Dialect) -> str:
    return f"SELECT {_call_columns(dialect)} FROM tool_call c WHERE {dialect.among('c.pk')}"


@cache
def _titles(dialect: Dialect) -> str:
    return (
        f"SELECT s.pk, substr({dialect.as_bytes('s.title')}, 1, ?) FROM session s"
        f" WHERE s.title IS NOT NULL AND {dialect.among('s.pk')}"
    )


@cache
def _requests(dialect: Dialect) -> str:
    blocks = dialect.as_bytes("q.blocks")
    return (
        f"SELECT q.pk, substr({dialect.as_bytes('q.content')}, 1, ?),"
        f" CASE WHEN q.content = '' AND r.origin = 'system' AND length({blocks}) <= ? THEN {blocks} END"
        f" FROM request q JOIN round r ON r.pk = q.pk WHERE {dialect.among('q.pk')}"
    )
