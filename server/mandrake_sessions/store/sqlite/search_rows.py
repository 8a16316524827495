"""Reads and writes one state of a search index (``store/search.py``): a connection that is in a transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

from mandrake_sessions.ids import now_ms
from mandrake_sessions.search_text import fold_parts, separated
from mandrake_sessions.store.interface import Row
from mandrake_sessions.store.search import Document, Found, Part, Progress, Within, Words
from mandrake_sessions.store.sql.values import shown
from mandrake_sessions.store.sqlite.search_sql import IndexSql, not_ours
from mandrake_sessions.store.sqlite.search_tables import SHARD_BYTES, drop_shard, make_shard, phrase, trigrams

# Words of a query stand near each other with so many others between them at the most.
_NEAR = 8
# A shard is emptied when so much of it was forgotten, or anything at all so long ago.
DEAD_PART = 5
DEAD_MS = 24 * 60 * 60 * 1000

_PARTS = tuple(Part)
_KNOWN_PARTS = frozenset(_PARTS)
_COLUMNS = "d.pk, d.session, d.owner, d.part, d.call, d.piece, d.size"


def _found(row: Row, closeness: float = 0.0, nearness: int = 0) -> Found:
    number, session, owner, part, call, piece, size, _ = row
    if part not in _KNOWN_PARTS:
        raise not_ours(f"part {shown(part)}")
    return Found(number, session, owner, _PARTS[part], call, piece, size, closeness, nearness)


class Reader:
    """``search.SearchReader``. Each of its methods raises IndexFault."""

    def __init__(self, sql: IndexSql, name: str) -> None:
        self._sql = sql
        self.name = name
        row = sql.execute("SELECT store_id, position, stage, scanned, last FROM meta").fetchone()
        if row is None:
            raise not_ours("nothing about itself")
        self.store_id: str = row[0]
        self.progress = Progress(*row[1:4])
        self.last: int = row[4]

    def faults(self) -> list[str]:
        """What is wrong with the file's pages."""
        rows = self._sql.execute("PRAGMA quick_check(3)").fetchall()
        return [text for (text,) in rows if text != "ok"]

    def words(self, wanted: Sequence[Words], within: Within) -> list[Found]:
        phrases = [phrase(each.words, is_prefix=each.is_prefix) for each in wanted]
        found: list[Found] = []
        for shard, below in self._shards(within):
            rows = self._matching(f"words_{shard}", " AND ".join(phrases), within, below, within.most - len(found))
            near = self._nearness(shard, wanted, phrases, rows)
            best = min((row[-1] for row in rows), default=0.0) or -1.0
            found += [_found(row, row[-1] / best, near.get(row[0], 0)) for row in rows]
            if len(found) >= within.most:
                break
        return found

    def parts(self, wanted: Sequence[str], within: Within) -> list[Found]:
        asked = " AND ".join(trigram for text in wanted for trigram in trigrams(text))
        found: list[Found] = []
        for shard, below in self._shards(within):
            rows = self._matching(f"trigrams_{shard}", asked, within, below, within.most - len(found))
            found += [_found(row) for row in rows]
            if len(found) >= within.most:
                break
        return found

    def put_off_sessions(self, most: int) -> list[tuple[int, int]]:
        statement = "SELECT session, after FROM put_off ORDER BY session LIMIT ?"
        return self._sql.execute(statement, (most,)).fetchall()

    def _shards(self, within: Within) -> Iterator[tuple[int, int]]:
        """The shards that may have them, latest first, each with the number that its documents are below."""
        shards = self._sql.execute("SELECT pk FROM shard WHERE first < ? ORDER BY pk DESC", (within.below,)).fetchall()
        return ((pk, within.below) for (pk,) in shards)

    def _matching(self, table: str, asked: str, within: Within, below: int, most: int) -> list[Row]:
        conditions = ""
        values: list[int | str] = []
        if within.session is not None:
            conditions = " AND d.session = ?"
            values.append(within.session)
        if within.parts is not None:
            conditions += " AND d.part IN (SELECT value FROM json_each(?))"
            values.append(json.dumps(sorted(within.parts)))
        rank = f"bm25({table})" if table.startswith("words") else "0"
        return self._sql.execute(
            f"SELECT {_COLUMNS}, {rank} FROM {table} CROSS JOIN document d ON d.pk = {table}.rowid"
            f" WHERE {table} MATCH ? AND {table}.rowid < ?{conditions} ORDER BY {table}.rowid DESC LIMIT ?",
            (asked, below, *values, most),
        ).fetchall()

    def _nearness(self, shard: int, wanted: Sequence[Words], phrases: list[str], rows: list[Row]) -> dict[int, int]:
        if len(phrases) < 2 or not rows:
            return {}
        last = wanted[-1]
        whole = phrase([word for each in wanted for word in each.words], is_prefix=last.is_prefix)
        asked = {1: f"NEAR({' '.join(phrases)}, {_NEAR})", 2: whole}
        if any(each.is_prefix for each in wanted[:-1]):
            # A prefix can only be the end of a phrase.
            del asked[2]
        found: dict[int, int] = {}
        for nearness, expression in asked.items():
            statement = f"SELECT rowid FROM words_{shard} WHERE words_{shard} MATCH ? AND rowid BETWEEN ? AND ?"
            for (number,) in self._sql.execute(statement, (expression, rows[-1][0], rows[0][0])):
                found[number] = nearness
        return found


class Writer(Reader):
    """``search.SearchWriter``"""

    def __init__(self, sql: IndexSql, name: str) -> None:
        super().__init__(sql, name)
        self._shard, self._filled = self._latest_shard()

    def finish(self) -> None:
        """Write down what was counted; before the commit."""
        self._sql.execute("UPDATE shard SET bytes = ? WHERE pk = ?", (self._filled, self._shard))
        self._sql.execute("UPDATE meta SET last = ?", (self.last,))

    def set_progress(self, progress: Progress) -> None:
        if progress != self.progress:
            self._sql.execute(
                "UPDATE meta SET position = ?, stage = ?, scanned = ?",
                (progress.position, progress.stage, progress.scanned),
            )
            self.progress = progress

    def replace(
        self, session: int, owner: int, documents: Iterable[Document], most: int, seq: int | None = None
    ) -> tuple[int, bool]:
        rows = self._sql.execute(
            "SELECT part, call, piece, hash, pk, seq FROM document WHERE session = ? AND owner = ?", (session, owner)
        )
        if rows and seq is not None and all(row[-1] == seq for row in rows):
            return 0, True
        known = {row[:4]: row[4:] for row in rows}
        put = 0
        for document in documents:
            text = document.text.encode()
            hashed = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), signed=True)
            same = known.pop((int(document.part), document.call, document.piece, hashed), None)
            if same is None and put >= most:
                # Until all are there, none is as of any change.
                statement = "UPDATE document SET seq = -1 WHERE session = ? AND owner = ?"
                self._sql.execute(statement, (session, owner))
                return put, False
            if same is None:
                self._insert(document, len(text), hashed)
                put += len(text)
            elif same[1] != document.seq:
                self._sql.execute("UPDATE document SET seq = ? WHERE pk = ?", (document.seq, same[0]))
        self._forget(pk for pk, _ in known.values())
        return put, True

    def owners(self, session: int) -> list[int]:
        rows = self._sql.execute("SELECT DISTINCT owner FROM document WHERE session = ?", (session,))
        return [owner for (owner,) in rows]

    def remove(self, session: int, owners: Iterable[int]) -> None:
        for owner in owners:
            self.again(session, owner)

    def again(self, session: int, owner: int) -> None:
        rows = self._sql.execute("SELECT pk FROM document WHERE session = ? AND owner = ?", (session, owner)).fetchall()
        self._forget(pk for (pk,) in rows)

    def sessions(self, after: int, most: int) -> list[int]:
        statement = "SELECT DISTINCT session FROM document WHERE session > ? ORDER BY session LIMIT ?"
        return [session for (session,) in self._sql.execute(statement, (after, most))]

    def put_off(self, session: int, after: int) -> None:
        self._sql.execute("INSERT OR REPLACE INTO put_off VALUES (?, ?)", (session, after))

    def done(self, session: int) -> None:
        self._sql.execute("DELETE FROM put_off WHERE session = ?", (session,))

    def to_compact(self, most: int) -> list[tuple[int, int]]:
        for pk, first, end in self._shards_to_empty():
            if pk == self._shard:
                self._new_shard()
            rows = self._sql.execute(
                "SELECT session, owner FROM document WHERE pk >= ? AND pk < ?"
                " GROUP BY session, owner ORDER BY min(pk) LIMIT ?",
                (first, min(end, self.last + 1), most),
            ).fetchall()
            if rows:
                return rows
            drop_shard(self._sql, pk)
        return []

    def _shards_to_empty(self) -> list[tuple[int, int, int]]:
        """Each with the numbers between which its documents are."""
        return self._sql.execute(
            "SELECT pk, first, coalesce((SELECT min(n.first) FROM shard n WHERE n.pk > s.pk), ?) FROM shard s"
            " WHERE dead > 0 AND (dead * ? > bytes OR dead_at < ?) ORDER BY pk LIMIT 1",
            (2**62, DEAD_PART, now_ms() - DEAD_MS),
        ).fetchall()

    def _insert(self, document: Document, size: int, hashed: int) -> None:
        if self._filled >= SHARD_BYTES:
            self._new_shard()
        number = self.last = self.last + 1
        parts = fold_parts(document.text)
        self._sql.execute(
            "INSERT INTO document VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, document.session, document.owner, int(document.part), document.call, document.piece,
             document.seq, size, hashed),
        )  # fmt: skip
        self._sql.execute(f"INSERT INTO words_{self._shard} (rowid, text) VALUES (?, ?)", (number, separated(parts)))
        self._sql.execute(f"INSERT INTO trigrams_{self._shard} (rowid, text) VALUES (?, ?)", (number, parts))
        self._filled += size

    def _forget(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            statement = "DELETE FROM document WHERE pk = ? RETURNING size"
            ((size,),) = self._sql.execute(statement, (number,)).fetchall()
            self._sql.execute(
                "UPDATE shard SET dead = dead + max(?, 1), dead_at = coalesce(dead_at, ?)"
                " WHERE pk = (SELECT max(pk) FROM shard WHERE first <= ?)",
                (size, now_ms(), number),
            )

    def _latest_shard(self) -> tuple[int, int]:
        row: tuple[int, int] | None = self._sql.execute(
            "SELECT pk, bytes FROM shard ORDER BY pk DESC LIMIT 1"
        ).fetchone()
        if row is not None:
            return row
        make_shard(self._sql, 1, self.last + 1)
        return 1, 0

    def _new_shard(self) -> None:
        self.finish()
        make_shard(self._sql, self._shard + 1, self.last + 1)
        self._shard, self._filled = self._shard + 1, 0
