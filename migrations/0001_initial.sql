-- minWriter: 1
-- minReader: 1
--
-- Every `pk` is the `seq` of the change that made the row: it is never given twice, not even after a deletion, and
-- says in which order rows came. `id` is the name that clients know. Times are milliseconds since the epoch.

-- One row: what is true of the file as a whole. `pruned_seq` is the last change that the feed no longer holds.
CREATE TABLE store (
    store_id TEXT NOT NULL,
    pruned_seq INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE session (
    pk INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL UNIQUE,
    external_id TEXT UNIQUE,
    title TEXT,
    description TEXT,
    preview TEXT,
    metadata TEXT NOT NULL,
    parent_id TEXT,
    forked_from_round_id TEXT,
    archived_at INTEGER,
    round_count INTEGER NOT NULL DEFAULT 0,
    next_round_index INTEGER NOT NULL DEFAULT 0,
    create_hash BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Each list of sessions is one range of one of these, so a page costs the same in a small store and in a large one.
CREATE INDEX session_by_archived ON session (archived_at IS NOT NULL, seq);
CREATE INDEX session_by_parent ON session (parent_id, seq) WHERE parent_id IS NOT NULL;

CREATE TABLE round (
    pk INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    session_pk INTEGER NOT NULL REFERENCES session (pk) ON DELETE CASCADE,
    "index" INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    create_hash BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (session_pk, "index")
) STRICT;

-- A round has exactly one request and one response; the three share their pk.
CREATE TABLE request (
    pk INTEGER PRIMARY KEY REFERENCES round (pk) ON DELETE CASCADE,
    id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    blocks TEXT,
    content TEXT NOT NULL
) STRICT;

CREATE TABLE response (
    pk INTEGER PRIMARY KEY REFERENCES round (pk) ON DELETE CASCADE,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    stop_reason TEXT,
    end_time INTEGER,
    next_turn_index INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- While a turn streams, what its appends moved (seq, chunk_count, tokens, sizes) stands in its last piece in `feed`;
-- every other change writes it here. `folded_chunks` pieces are in `text` already; the text begins at `content_pk`
-- and `raw_response_pk` there. `lease` names the process that streams it.
CREATE TABLE turn (
    pk INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL,
    session_pk INTEGER NOT NULL REFERENCES session (pk) ON DELETE CASCADE,
    round_pk INTEGER NOT NULL REFERENCES round (pk) ON DELETE CASCADE,
    "index" INTEGER NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    error TEXT,
    model TEXT,
    stream_start_time INTEGER NOT NULL,
    stream_end_time INTEGER,
    current_tokens INTEGER NOT NULL,
    expected_tokens INTEGER,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    input_cost REAL NOT NULL,
    output_cost REAL NOT NULL,
    metadata TEXT NOT NULL,
    chunk_count INTEGER NOT NULL DEFAULT 0,
    folded_chunks INTEGER NOT NULL DEFAULT 0,
    folded_bytes INTEGER NOT NULL DEFAULT 0,
    content_pk INTEGER NOT NULL,
    raw_response_pk INTEGER NOT NULL,
    content_bytes INTEGER NOT NULL DEFAULT 0,
    raw_response_bytes INTEGER NOT NULL DEFAULT 0,
    lease TEXT,
    create_hash BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (round_pk, "index")
) STRICT;

CREATE INDEX turn_by_session ON turn (session_pk);
CREATE INDEX turn_streaming ON turn (session_pk, pk) WHERE status = 'streaming';

CREATE TABLE tool_call (
    pk INTEGER PRIMARY KEY,
    turn_pk INTEGER NOT NULL REFERENCES turn (pk) ON DELETE CASCADE,
    id TEXT NOT NULL,
    title TEXT,
    kind TEXT,
    server_name TEXT,
    method_name TEXT,
    status TEXT NOT NULL,
    start_time INTEGER,
    end_time INTEGER,
    metadata TEXT NOT NULL,
    arguments TEXT NOT NULL,
    response TEXT NOT NULL,
    content TEXT NOT NULL,
    locations TEXT NOT NULL,
    UNIQUE (turn_pk, id)
) STRICT;

-- The text of turns, in runs: initial and replaced text (pk: the seq of that change, which the feed names), and
-- appended pieces folded together (pk: the seq of the last of them).
CREATE TABLE text (
    pk INTEGER PRIMARY KEY,
    turn_pk INTEGER NOT NULL REFERENCES turn (pk) ON DELETE CASCADE,
    content TEXT,
    raw_response TEXT
) STRICT;

CREATE INDEX text_by_turn ON text (turn_pk);

-- The change feed, which is the log of streamed text too: an append is one row here and nothing else. Its newest row
-- is never deleted, so max(seq) + 1 is never a number that was given before. Rows of what was deleted go with it.
CREATE TABLE feed (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    session_pk INTEGER,
    round_pk INTEGER,
    turn_pk INTEGER,
    chunk INTEGER,
    current_tokens INTEGER,
    output_tokens INTEGER,
    content_bytes INTEGER,
    raw_response_bytes INTEGER,
    content TEXT,
    raw_response TEXT,
    data TEXT
) STRICT;

-- The pieces of a turn in order, and the guard that no ordinal is stored twice.
CREATE UNIQUE INDEX feed_by_turn ON feed (turn_pk, chunk) WHERE turn_pk IS NOT NULL;
CREATE INDEX feed_by_session ON feed (session_pk) WHERE session_pk IS NOT NULL;
