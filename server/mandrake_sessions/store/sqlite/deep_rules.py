"""The rules of the deep check about rows that must agree with each other. Each yields the problems that it finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mandrake_sessions.store.sql.standing import LAST_PIECE
from mandrake_sessions.store.sql.values import MAX_NUMBER
from mandrake_sessions.store.sqlite import checkup
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.migrate import known_migrations, user_version
from mandrake_sessions.store.sqlite.problems import Mend, Problem
from mandrake_sessions.store.sqlite.schema import columns_of

# No store has made so many copies: with a greater number no other could follow for long.
MAX_COPIED: Final = MAX_NUMBER // 2

# A turn as appends see it: while it streams, its last piece has values that its row does not have yet.
STANDING = f"""
SELECT t.pk, coalesce(a.chunk + 1, t.chunk_count) AS chunk_count, coalesce(a.seq, t.seq) AS seq,
       coalesce(a.content_bytes, t.content_bytes) AS content_bytes,
       coalesce(a.raw_response_bytes, t.raw_response_bytes) AS raw_response_bytes,
       t.folded_chunks, t.folded_bytes, t.content_pk, t.raw_response_pk
FROM turn t
{LAST_PIECE}
"""
_PIECES = f"""
SELECT s.pk, s.chunk_count, s.folded_chunks, count(f.seq), min(f.chunk), max(f.chunk)
FROM ({STANDING}) s LEFT JOIN feed f ON f.turn_pk = s.pk AND f.chunk >= s.folded_chunks
GROUP BY s.pk
"""


def _bytes(column: str) -> str:
    """The length of the text that a reader of the turn gets."""
    return f"""
coalesce((SELECT sum(length(CAST(x.{column} AS BLOB))) FROM text x
          WHERE x.turn_pk = s.pk AND x.pk >= s.{column}_pk), 0)
+ coalesce((SELECT sum(length(CAST(f.{column} AS BLOB))) FROM feed f
            WHERE f.turn_pk = s.pk AND f.chunk >= s.folded_chunks AND f.seq >= s.{column}_pk), 0)
"""


TEXT_BYTES = f"""
SELECT s.pk, s.content_bytes, s.raw_response_bytes, s.folded_bytes, {_bytes("content")}, {_bytes("raw_response")},
       coalesce((
           SELECT sum(coalesce(length(CAST(f.content AS BLOB)), 0) + coalesce(length(CAST(f.raw_response AS BLOB)), 0))
           FROM feed f WHERE f.turn_pk = s.pk AND f.chunk >= s.folded_chunks), 0)
FROM ({STANDING}) s
"""


def store_row(connection: StoreConnection) -> Iterator[Problem]:
    """Exactly one row says which store this is."""
    rows = _count(connection, "SELECT count(*) FROM store")
    if rows != 1:
        text = "the row that says which store this is (table store) is missing"
        if rows:
            text = f"{rows} rows say which store this is (table store); there must be one"
        yield Problem("store", 1, text, Mend.STORE_ROW)


def ledger(connection: StoreConnection) -> Iterator[Problem]:
    """The ledger has every migration up to the version that the file states."""
    version = user_version(connection)
    recorded = {row[0] for row in connection.execute("SELECT version FROM migration")}
    known = {migration.version for migration in known_migrations()}
    if lost := sorted(set(range(1, version + 1)) - recorded):
        text = f"schema {version} without a row in the ledger (table migration) for version {_listed(lost)}"
        yield Problem("ledger", len(lost), text, Mend.TABLES if known.issuperset(lost) else None)
    if recorded and max(recorded) > version:
        text = f"the file says schema {version} (user_version), its ledger {max(recorded)}"
        yield Problem("ledger", 1, text, Mend.TABLES)


def relations(connection: StoreConnection) -> Iterator[Problem]:
    """The parent of every row exists, and so does what must hang from the row."""
    for table, count in connection.execute(
        'SELECT "table", count(*) FROM pragma_foreign_key_check GROUP BY 1 ORDER BY 1'
    ):
        yield Problem("references", count, f"{table}: {count} refer to a missing row", Mend.RELATIONS)
    for part in ("request", "response"):
        lost = f"FROM round r WHERE NOT EXISTS (SELECT 1 FROM {part} p WHERE p.pk = r.pk)"
        yield from found(connection, "relations", "r.pk", lost, f"round without a {part}", Mend.RELATIONS)
    torn = "FROM turn t JOIN round r ON r.pk = t.round_pk WHERE t.session_pk <> r.session_pk"
    yield from found(
        connection, "relations", "t.pk", torn, "turn whose round belongs to another session", Mend.RELATIONS
    )


def numbers(connection: StoreConnection) -> Iterator[Problem]:
    """The feed gave every number, and another one can follow."""
    odd = f"FROM feed WHERE seq < 1 OR seq > {MAX_NUMBER}"
    yield from found(connection, "numbers", "seq", odd, "change with an impossible number", Mend.NUMBERS)
    (newest,) = connection.execute(f"SELECT coalesce(max(seq), 0) FROM feed WHERE seq <= {MAX_NUMBER}").fetchone()
    last = max(newest, copied_seq(connection))
    for table, column in (("session", "seq"), ("turn", "seq"), ("round", "pk"), ("turn", "pk"), ("text", "pk")):
        beyond = f"FROM {table} WHERE {column} > {last} AND {column} <= {MAX_NUMBER}"
        sentence = f"{table}.{column} above {last}, the newest change of the feed"
        yield from found(connection, "numbers", "pk", beyond, sentence, Mend.FEED)
    for table in ("session", "turn"):
        early = f"FROM {table} WHERE seq < pk"
        yield from found(connection, "numbers", "pk", early, f"{table} changed before its creation", Mend.VALUES)
    if "copied_seq" in columns_of(connection, "store"):
        beyond = f"FROM store WHERE copied_seq > {MAX_COPIED}"
        yield from found(connection, "store", "copied_seq", beyond, "copied_seq that cannot be", Mend.STORE_ROW)
    pruned = f"FROM store WHERE pruned_seq > {last}"
    yield from found(connection, "numbers", "pruned_seq", pruned, "pruned_seq above the newest change", Mend.FEED)


def copied_seq(connection: StoreConnection) -> int:
    """The last number of a copied row, up to which the feed need not have a change for each number; 0 where there is
    none."""
    if "copied_seq" not in columns_of(connection, "store"):
        return 0
    (last,) = connection.execute(
        f"SELECT coalesce(max(copied_seq), 0) FROM store WHERE copied_seq BETWEEN 0 AND {MAX_COPIED}"
    ).fetchone()
    return int(last)


def counters(connection: StoreConnection) -> Iterator[Problem]:
    """Every counter agrees with the rows that it counts."""
    if count := checkup.wrong_counts(connection):
        text = f"sessions with a wrong count of rounds: {count}"
        yield Problem("counters", count, text, Mend.ROUND_COUNTS)
    if count := checkup.wrong_states(connection):
        text = f"sessions whose state or last activity is not what their rounds and turns say: {count}"
        yield Problem("counters", count, text, Mend.ROUND_COUNTS)
    if count := checkup.wrong_words(connection):
        text = f"sessions whose words are not those of their title, description and preview: {count}"
        yield Problem("counters", count, text, Mend.COUNTERS)
    if count := checkup.low_counters(connection):
        text = f"counters that would give an index twice: {count}"
        yield Problem("counters", count, text, Mend.COUNTERS)
    count, first = 0, None
    for pk in checkup.wrong_previews(connection):
        count, first = count + 1, pk if first is None else first
    if count:
        text = f"session.preview: {count} differ from the beginning of the first request; the first in row {first}"
        yield Problem("counters", count, text, Mend.COUNTERS)


def ends(connection: StoreConnection) -> Iterator[Problem]:
    """A turn has an end time once it has ended, and not before."""
    endless = "FROM turn WHERE (status = 'streaming') <> (stream_end_time IS NULL)"
    sentence = "turn whose stream_end_time contradicts its status"
    yield from found(connection, "ends", "pk", endless, sentence, Mend.VALUES)


def pieces(connection: StoreConnection) -> Iterator[Problem]:
    """Every piece of a turn's text is folded into it, or still in the feed."""
    count, first = 0, ""
    for pk, chunk_count, folded, stored, lowest, highest in connection.execute(_PIECES):
        if not _is_whole(chunk_count, folded, stored, lowest, highest):
            count += 1
            others = f"{stored} of {chunk_count - folded} others"
            first = first or f"turn {pk} has {chunk_count} pieces, {folded} folded, and {others}"
    if count:
        yield Problem(
            "pieces", count, f"{count} turns lack pieces of their text, or have wrong counts: {first}", Mend.TEXTS
        )


def texts(connection: StoreConnection) -> Iterator[Problem]:
    """The text of a turn begins where its row says, and is as long."""
    for column in ("content_pk", "raw_response_pk"):
        yield from found(
            connection, "texts", "t.pk", _astray(column), f"turn.{column} that names no text of the turn", Mend.TEXTS
        )
    count, first = 0, ""
    for pk, content, raw, folded, content_found, raw_found, unfolded in connection.execute(TEXT_BYTES):
        if not _is_counted(content, raw, folded, content_found, raw_found, unfolded):
            count += 1
            first = first or (
                f"turn {pk} says {content} + {raw} bytes, {folded} of them folded, "
                f"and has {content_found} + {raw_found}, {unfolded} not folded"
            )
    if count:
        yield Problem("texts", count, f"{count} turns have wrong lengths of their texts: {first}", Mend.TEXTS)


def broken_turns(connection: StoreConnection) -> list[int]:
    """The pks of the turns of which ``pieces`` or ``texts`` finds something wrong."""
    broken = {row[0] for row in connection.execute(_PIECES) if not _is_whole(*row[1:])}
    broken |= {row[0] for row in connection.execute(TEXT_BYTES) if not _is_counted(*row[1:])}
    for column in ("content_pk", "raw_response_pk"):
        broken |= {row[0] for row in connection.execute(f"SELECT t.pk {_astray(column)}")}
    return sorted(broken)


def _astray(column: str) -> str:
    return (
        f"FROM turn t WHERE t.{column} <> t.pk"
        f" AND NOT EXISTS (SELECT 1 FROM text x WHERE x.pk = t.{column} AND x.turn_pk = t.pk)"
    )


def _is_whole(chunk_count: int, folded: int, stored: int, lowest: int | None, highest: int | None) -> bool:
    if folded < 0 or chunk_count - folded != stored:
        return False
    return not stored or (lowest, highest) == (folded, chunk_count - 1)


def _is_counted(content: int, raw: int, folded: int, content_found: int, raw_found: int, unfolded: int) -> bool:
    return (content, raw, folded) == (content_found, raw_found, content_found + raw_found - unfolded)


def found(connection: StoreConnection, check: str, key: str, rows: str, what: str, mend: Mend) -> Iterator[Problem]:
    """One problem for the rows of a FROM clause, if there are any."""
    count, first = connection.execute(f"SELECT count(*), min({key}) {rows}").fetchone()
    if count:
        yield Problem(check, count, f"{what}: {count} of them, the first is {first}", mend)


def _count(connection: StoreConnection, statement: str) -> int:
    (found,) = connection.execute(statement).fetchone()
    return int(found)


def _listed(versions: list[int]) -> str:
    return ", ".join(map(str, versions[:5])) + (" …" if len(versions) > 5 else "")
