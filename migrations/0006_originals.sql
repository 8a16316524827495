-- minWriter: 4
-- minReader: 4
--
-- The files that conversations were brought in from, byte for byte, for `mandrake-sessions restore-transcript`: side
-- tables, so that no other read passes them. Programs of before may still read and write.
--
-- A session has one file under an empty `file_name`, its transcript, and perhaps others that lie beside that one, by their
-- own names. Where its program may write several transcripts of it, each has its own name. `path` is where it was. `file_id`, `size` and `mtime_ns` are those of the file when all of it was kept
-- last; NULL while that goes on, so that the next import goes on with it.
CREATE TABLE original_file (
    pk INTEGER PRIMARY KEY,
    session_pk INTEGER NOT NULL REFERENCES session (pk) ON DELETE CASCADE,
    reader TEXT NOT NULL,
    file_name TEXT NOT NULL,
    path TEXT NOT NULL,
    file_id TEXT,
    size INTEGER,
    mtime_ns INTEGER,
    UNIQUE (session_pk, file_name)
) STRICT;

-- Its bytes, in order and without a gap: `size` of them from `start` on, compressed with zlib. Of a file that was
-- compressed itself these are the bytes inside. The last block is written again while the file grows, until it is full.
CREATE TABLE original_block (
    pk INTEGER PRIMARY KEY,
    file_pk INTEGER NOT NULL REFERENCES original_file (pk) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    size INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    UNIQUE (file_pk, start)
) STRICT;

-- Rounds that a program put in by itself are not counted in `usage`, and found last: they are looked up by themselves.
CREATE INDEX round_of_system ON round (session_pk, created_at) WHERE origin = 'system';
