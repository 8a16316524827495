-- minWriter: 4
-- minReader: 4
--
-- What is asked of conversations: which agent had them, where, how they stand, and when they last moved. Programs of
-- before cannot keep `state`, and would read a cost wrongly.
--
-- Costs become integers of 10⁻⁹ of their currency, so that sums are exact. A cost of 10⁶ and more is kept at the
-- greatest one, 999999.999999999; one that is finer than 10⁻⁹ is rounded.
--
-- `external_id` was unique in the store, and is unique among the sessions of one agent now. Such a column cannot be
-- dropped, so the table is made again; rows keep their pk.

CREATE TABLE session_now (
    pk INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL,
    external_id TEXT,
    agent TEXT,
    source TEXT,
    cwd TEXT,
    title TEXT,
    description TEXT,
    preview TEXT,
    parent_id TEXT,
    relation TEXT,
    parent_tool_call_id TEXT,
    forked_from_round_id TEXT,
    archived_at INTEGER,
    round_count INTEGER NOT NULL DEFAULT 0,
    next_round_index INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'idle',
    active_at INTEGER NOT NULL,
    -- Of a copy that is being written, in several transactions: the process that writes it. Until the last of them
    -- nobody is shown the session, and the feed says nothing of it.
    copying_lease TEXT,
    -- Title, description and preview with their case folded, one below the other; NULL where they are long or have
    -- characters of number 0, so that they have to be looked at themselves.
    words TEXT,
    create_hash BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    metadata TEXT NOT NULL
) STRICT;

-- The state is told from the turns that stream, and from the response of the latest round.
INSERT INTO session_now (
    pk, id, seq, external_id, title, description, preview, parent_id, relation, forked_from_round_id, archived_at,
    round_count, next_round_index, state, active_at, words, create_hash, created_at, updated_at, metadata
)
SELECT
    pk, id, seq, external_id, title, description, preview, parent_id,
    CASE WHEN forked_from_round_id IS NOT NULL THEN 'fork' END,
    forked_from_round_id, archived_at, round_count, next_round_index,
    CASE
        WHEN EXISTS (SELECT 1 FROM turn t WHERE t.session_pk = s.pk AND t.status = 'streaming') THEN 'running'
        WHEN (
            SELECT p.status FROM round r JOIN response p ON p.pk = r.pk
            WHERE r.session_pk = s.pk ORDER BY r."index" DESC LIMIT 1
        ) = 'error' THEN 'failed'
        ELSE 'idle'
    END,
    max(
        created_at,
        coalesce((SELECT max(r.created_at) FROM round r WHERE r.session_pk = s.pk), 0),
        coalesce((SELECT max(p.end_time) FROM round r JOIN response p ON p.pk = r.pk WHERE r.session_pk = s.pk), 0),
        coalesce((SELECT max(t.stream_start_time) FROM turn t WHERE t.session_pk = s.pk), 0),
        coalesce((SELECT max(t.stream_end_time) FROM turn t WHERE t.session_pk = s.pk), 0)
    ),
    -- `casefold` is a function of the program's own connections: SQLite folds the case of ASCII alone.
    CASE WHEN length(CAST(coalesce(title, '') || char(10) || coalesce(description, '') || char(10)
            || coalesce(preview, '') AS BLOB)) <= 4000
        AND instr(CAST(coalesce(title, '') || char(10) || coalesce(description, '') || char(10)
            || coalesce(preview, '') AS BLOB), x'00') = 0
        THEN casefold(CAST(coalesce(title, '') || char(10) || coalesce(description, '') || char(10)
            || coalesce(preview, '') AS BLOB)) END,
    create_hash, created_at, updated_at, metadata
FROM session s;

DROP TABLE session;
ALTER TABLE session_now RENAME TO session;

CREATE UNIQUE INDEX session_by_external_id_of_agent ON session (external_id, agent)
WHERE external_id IS NOT NULL AND agent IS NOT NULL;
CREATE UNIQUE INDEX session_by_external_id_of_none ON session (external_id)
WHERE external_id IS NOT NULL AND agent IS NULL;

-- Each list of sessions is a few ranges of one of these, so a page costs the same in a small store and in a large one.
CREATE INDEX session_by_seq ON session (archived_at IS NOT NULL, seq);
CREATE INDEX session_by_activity ON session (archived_at IS NOT NULL, active_at, pk);
CREATE INDEX session_by_state_and_seq ON session (state, agent, archived_at IS NOT NULL, seq);
CREATE INDEX session_by_state_and_activity ON session (state, agent, archived_at IS NOT NULL, active_at, pk);
CREATE INDEX session_by_parent_and_seq ON session (parent_id, archived_at IS NOT NULL, seq)
WHERE parent_id IS NOT NULL;
CREATE INDEX session_by_parent_and_activity ON session (parent_id, archived_at IS NOT NULL, active_at, pk)
WHERE parent_id IS NOT NULL;
-- What is rare is looked for here and not in the rows, which are many times as long.
CREATE INDEX session_by_words ON session (cwd, source, words);
CREATE INDEX session_copying ON session (pk) WHERE copying_lease IS NOT NULL;

-- Up to this number the feed need not have a change for each: copied rows take numbers, and only their session is told
-- of.
ALTER TABLE store ADD COLUMN copied_seq INTEGER NOT NULL DEFAULT 0;

ALTER TABLE round ADD COLUMN origin TEXT NOT NULL DEFAULT 'user';
-- The first original of a copied round.
ALTER TABLE round ADD COLUMN copied_from_id TEXT;
CREATE INDEX round_by_original ON round (copied_from_id) WHERE copied_from_id IS NOT NULL;

-- What an agent said of a whole response; it has a row only where it said so. Costs are integers of 10⁻⁹.
CREATE TABLE response_usage (
    pk INTEGER PRIMARY KEY REFERENCES response (pk) ON DELETE CASCADE,
    input_tokens INTEGER,
    output_tokens INTEGER,
    thought_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    context_used INTEGER,
    context_size INTEGER,
    cost INTEGER,
    currency TEXT
) STRICT;

CREATE TABLE turn_now (
    pk INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL,
    session_pk INTEGER NOT NULL REFERENCES session (pk) ON DELETE CASCADE,
    round_pk INTEGER NOT NULL REFERENCES round (pk) ON DELETE CASCADE,
    "index" INTEGER NOT NULL,
    kind TEXT NOT NULL,
    tool_call_id TEXT,
    status TEXT NOT NULL,
    error TEXT,
    model TEXT,
    stream_start_time INTEGER NOT NULL,
    stream_end_time INTEGER,
    current_tokens INTEGER NOT NULL,
    expected_tokens INTEGER,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thought_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    input_cost INTEGER NOT NULL,
    output_cost INTEGER NOT NULL,
    cost INTEGER,
    currency TEXT NOT NULL DEFAULT 'USD',
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
    metadata TEXT NOT NULL,
    UNIQUE (round_pk, "index")
) STRICT;

INSERT INTO turn_now (
    pk, id, seq, session_pk, round_pk, "index", kind, status, error, model, stream_start_time, stream_end_time,
    current_tokens, expected_tokens, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, input_cost,
    output_cost, chunk_count, folded_chunks, folded_bytes, content_pk, raw_response_pk, content_bytes,
    raw_response_bytes, lease, create_hash, created_at, updated_at, metadata
)
SELECT
    pk, id, seq, session_pk, round_pk, "index", kind, status, error, model, stream_start_time, stream_end_time,
    current_tokens, expected_tokens, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
    CASE WHEN input_cost < 1000000 THEN min(CAST(round(input_cost * 1e9) AS INTEGER), 999999999999999)
        ELSE 999999999999999 END,
    CASE WHEN output_cost < 1000000 THEN min(CAST(round(output_cost * 1e9) AS INTEGER), 999999999999999)
        ELSE 999999999999999 END,
    chunk_count, folded_chunks, folded_bytes, content_pk, raw_response_pk, content_bytes, raw_response_bytes, lease,
    create_hash, created_at, updated_at, metadata
FROM turn;

DROP TABLE turn;
ALTER TABLE turn_now RENAME TO turn;

-- The turns of a session, and all that is summed up for what was used, so that nothing else of a turn is read then.
CREATE INDEX turn_by_session ON turn (
    session_pk, model, currency, stream_start_time, stream_end_time, round_pk, input_tokens, output_tokens,
    thought_tokens, cache_read_tokens, cache_write_tokens, input_cost, output_cost, cost
);
CREATE INDEX turn_streaming ON turn (session_pk, pk) WHERE status = 'streaming';
