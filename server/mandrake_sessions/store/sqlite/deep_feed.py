"""The rules of the deep check about the feed: it tells of every entity what the entity's own row says.

A change above ``pruned_seq`` is what a subscriber reads, so these rules are about those. Where one finds something, its
mend makes every subscriber read the state again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mandrake_sessions.model import ChangeKind
from mandrake_sessions.store.sql.values import MAX_NUMBER
from mandrake_sessions.store.sqlite import checkup
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.deep_rules import STANDING, copied_seq, found
from mandrake_sessions.store.sqlite.problems import Mend, Problem
from mandrake_sessions.store.sqlite.schema import columns_of


def _words(*kinds: ChangeKind) -> str:
    return ", ".join(f"'{kind.value}'" for kind in kinds)


_KINDS = _words(*ChangeKind)
_OF_TURNS = _words(
    ChangeKind.TURN_CREATED, ChangeKind.TURN_APPENDED, ChangeKind.TURN_UPDATED, ChangeKind.TOOL_CALL_DELETED
)
_OF_ROUNDS = _words(
    ChangeKind.ROUND_CREATED, ChangeKind.ROUND_UPDATED, ChangeKind.RESPONSE_UPDATED, ChangeKind.TURN_DELETED
)
# Such a change took other rows of the feed with it.
_OF_DELETED = _words(ChangeKind.TURN_DELETED, ChangeKind.ROUND_DELETED, ChangeKind.SESSION_DELETED)
_OF_SESSIONS = _words(ChangeKind.SESSION_CREATED, ChangeKind.SESSION_DELETED, ChangeKind.ROUND_DELETED)

# The entity's table, the kind of the change that created it, and the column of the feed that names it.
_CREATIONS = (
    ("session", ChangeKind.SESSION_CREATED, "session_pk"),
    ("round", ChangeKind.ROUND_CREATED, "round_pk"),
    ("turn", ChangeKind.TURN_CREATED, "turn_pk"),
)
# The changes that have the number of what they created. A session that was copied is told of when all of it is there.
_AT_ONCE = _CREATIONS[1:]
# The parts of a round, each with the stored words of the change to it.
_UPDATES = (
    ("round", _words(ChangeKind.ROUND_UPDATED)),
    ("request", _words(ChangeKind.SESSION_UPDATED, ChangeKind.REQUEST_UPDATED)),
    ("response", _words(ChangeKind.RESPONSE_UPDATED)),
)

# A change that is not about the entity that its kind is about, or about one that it cannot be about.
MISPLACED: Final = f"""(
    kind IN ({_OF_TURNS}) AND (turn_pk IS NULL OR session_pk IS NOT NULL OR round_pk IS NOT NULL)
    OR kind NOT IN ({_OF_TURNS}) AND turn_pk IS NOT NULL
    OR kind NOT IN ({_OF_TURNS}, '{ChangeKind.SESSION_DELETED.value}') AND session_pk IS NULL
    OR kind IN ({_OF_ROUNDS}) AND round_pk IS NULL
    OR kind IN ({_OF_SESSIONS}) AND round_pk IS NOT NULL
    OR turn_pk > seq OR round_pk > seq OR session_pk > seq
    OR {" OR ".join(f"kind = '{kind.value}' AND {column} <> seq" for _, kind, column in _AT_ONCE)}
    OR kind = '{ChangeKind.SESSION_DELETED.value}' AND EXISTS (SELECT 1 FROM session s WHERE s.pk = feed.session_pk)
    OR EXISTS (SELECT 1 FROM round r WHERE r.pk = feed.round_pk AND r.session_pk <> feed.session_pk)
)"""

# The last change of each turn that the feed holds, beside the number that the turn has.
TURN_SEQS: Final = f"""
SELECT s.pk, s.seq, (SELECT max(f.seq) FROM feed f WHERE f.turn_pk = s.pk) AS last FROM ({STANDING}) s
"""
# The same of each session: every change in it counts but pieces of text.
SESSION_SEQS: Final = """
SELECT s.pk, s.seq, max(
    coalesce((SELECT max(f.seq) FROM feed f WHERE f.session_pk = s.pk), 0),
    coalesce((
        SELECT max((
            SELECT f.seq FROM feed f WHERE f.turn_pk = t.pk AND f.chunk IS NULL ORDER BY f.seq DESC LIMIT 1))
        FROM turn t WHERE t.session_pk = s.pk), 0)
) AS last
FROM session s
"""


def feed(connection: StoreConnection) -> Iterator[Problem]:
    """Each change is of a known kind, and about something that is there."""
    unknown = f"FROM feed WHERE kind NOT IN ({_KINDS})"
    yield from found(connection, "feed", "seq", unknown, "change of an unknown kind", Mend.FEED)
    if strays := checkup.stray_changes(connection):
        yield Problem("rows", strays, f"changes about a deleted session, round or turn: {strays}", Mend.FEED)
    odd = (
        "FROM feed WHERE at < 0 OR (kind = 'appended') <> (chunk IS NOT NULL)"
        f" OR chunk > {MAX_NUMBER}"
        " OR kind = 'appended' AND (turn_pk IS NULL OR chunk < 0 OR current_tokens IS NULL OR current_tokens < 0"
        " OR output_tokens IS NULL OR output_tokens < 0 OR content_bytes IS NULL OR content_bytes < 0"
        " OR raw_response_bytes IS NULL OR raw_response_bytes < 0)"
    )
    yield from found(connection, "feed", "seq", odd, "change with an impossible value", Mend.FEED)


def feed_and_entities(connection: StoreConnection) -> Iterator[Problem]:
    """The changes that the feed holds are those of the entities, and none of them is missing."""
    (pruned,) = connection.execute("SELECT max(pruned_seq) FROM store").fetchone()
    (last,) = connection.execute(f"SELECT max(seq) FROM feed WHERE seq <= {MAX_NUMBER}").fetchone()
    if pruned is None or last is None:
        # Other rules report that.
        return
    rows = f"FROM feed WHERE seq > {pruned} AND {MISPLACED}"
    yield from found(connection, "feed", "seq", rows, "change about the wrong entity for its kind", Mend.FEED)
    copies = Copies(connection)
    yield from _without_creation(connection, pruned, last, copies)
    yield from _without_last_change(connection, pruned, last, copies)
    yield from _without_update(connection, pruned, copies)
    yield from _gaps(connection, max(pruned, copies.last), last)


def _without_creation(connection: StoreConnection, pruned: int, last: int, copies: Copies) -> Iterator[Problem]:
    for table, kind, column in _CREATIONS:
        at = "true" if table == "session" else "f.seq = e.pk"
        rows = (
            f"FROM {table} e WHERE e.pk > {pruned} AND e.pk <= {last} AND NOT {copies.untold[table]} AND NOT EXISTS ("
            f"SELECT 1 FROM feed f WHERE {at} AND f.kind = '{kind.value}' AND f.{column} = e.pk)"
        )
        yield from found(connection, "feed", "e.pk", rows, f"{table} whose creation the feed has lost", Mend.FEED)


def _without_last_change(connection: StoreConnection, pruned: int, last: int, copies: Copies) -> Iterator[Problem]:
    """The ``seq`` of a turn or a session is that of the last change of it."""
    for table, seqs in (("turn", TURN_SEQS), ("session", SESSION_SEQS)):
        rows = (
            f"FROM ({seqs}) e WHERE e.seq <= {last}"
            f" AND NOT (coalesce(e.last, 0) = 0 AND e.seq = e.pk AND {copies.untold[table]})"
            f" AND CASE WHEN e.last > {pruned} THEN e.seq <> e.last ELSE e.seq > {pruned} END"
        )
        sentence = f"{table}.seq that is not the last change of the {table} in the feed"
        yield from found(connection, "feed", "e.pk", rows, sentence, Mend.FEED)


def _without_update(connection: StoreConnection, pruned: int, copies: Copies) -> Iterator[Problem]:
    """The parts of a round are created at one time: those that have not changed since have the same ``updated_at``.
    Copies have the times of what was copied."""
    unchanged = ", ".join(
        f"CASE WHEN {table}.pk NOT IN (SELECT f.round_pk FROM feed f WHERE f.round_pk IS NOT NULL"
        f" AND f.kind IN ({words})) THEN {table}.updated_at END AS {table}_at"
        for table, words in _UPDATES
    )
    rows = (
        f"FROM (SELECT round.pk, {unchanged} FROM round JOIN request ON request.pk = round.pk"
        f" JOIN response ON response.pk = round.pk WHERE round.pk > {pruned}) e"
        f" WHERE NOT {copies.untold['round']}"
        " AND (e.round_at <> e.request_at OR e.request_at <> e.response_at OR e.round_at <> e.response_at)"
    )
    sentence = "round, request or response whose update the feed has lost"
    yield from found(connection, "feed", "e.pk", rows, sentence, Mend.FEED)


class Copies:
    """Rows that the feed need not tell of, since they were copied or brought in: ``last`` is their last number,
    ``untold`` says by table whether ``e`` is one of them. Of such a session the feed tells once it is whole."""

    def __init__(self, connection: StoreConnection) -> None:
        self.last = copied_seq(connection)
        if "copying_lease" not in columns_of(connection, "session"):
            # An older schema, which has no copies.
            self.untold = dict.fromkeys(("session", "round", "turn"), "false")
            return
        conditions = ["r.copied_from_id IS NOT NULL"]
        if columns_of(connection, "import_source"):
            conditions.append("r.session_pk IN (SELECT i.session_pk FROM import_source i)")
        # A session that is brought in is hidden until it is whole.
        conditions.append("r.session_pk IN (SELECT s.pk FROM session s WHERE s.copying_lease IS NOT NULL)")
        of_copy = f"(SELECT r.pk FROM round r WHERE {' OR '.join(conditions)})"
        self.untold = {
            "session": "(e.pk IN (SELECT s.pk FROM session s WHERE s.copying_lease IS NOT NULL))",
            "round": f"(e.pk <= {self.last} AND e.pk IN {of_copy})",
            "turn": f"(e.pk <= {self.last} AND e.pk IN (SELECT t.pk FROM turn t WHERE t.round_pk IN {of_copy}))",
        }


def _gaps(connection: StoreConnection, pruned: int, last: int) -> Iterator[Problem]:
    """Every number has its change, except those before a deletion, which took the changes of what it deleted."""
    (after,) = connection.execute(
        f"SELECT coalesce(max(seq), 0) FROM feed WHERE kind IN ({_OF_DELETED}) AND seq <= {MAX_NUMBER}"
    ).fetchone()
    after = max(after, pruned)
    (present,) = connection.execute(f"SELECT count(*) FROM feed WHERE seq > {after} AND seq <= {last}").fetchone()
    if (missing := last - after - present) > 0:
        yield Problem("feed", missing, f"changes missing from the feed above {after}: {missing}", Mend.FEED)
