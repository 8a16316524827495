-- minWriter: 4
-- minReader: 4
--
-- What was brought in from other programs' files, and how far: the side table of `mandrake-sessions import`. It is about
-- files, and holds no word of a conversation but titles. Programs of before may still read and write. Their `doctor`
-- says of a session that was brought in that the feed has lost its creations, and mends that by a reset of subscribers:
-- rows that were brought in as a whole are told of as copies are, once, when all are there.
--
-- `key` is the reader's name for a source, which stays with it when its file is moved or compressed. `file_id` (device
-- and inode), `size` and `mtime_ns` tell that a file is as it was; `checksum` is of the bytes before `position`, and
-- tells one that grew from one that was written again. `position` counts bytes of what is inside a compressed file, and
-- `state` is what the reader has to know there (JSON). A source whose session was deleted keeps its row, without the
-- session, so that the next run does not bring back what somebody has deleted. What is kept of the original records
-- will hang from `pk`, by their positions.
CREATE TABLE import_source (
    pk INTEGER PRIMARY KEY,
    reader TEXT NOT NULL,
    key TEXT NOT NULL,
    session_pk INTEGER REFERENCES session (pk) ON DELETE SET NULL,
    session_id TEXT,
    path TEXT NOT NULL,
    file_id TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    position INTEGER NOT NULL,
    checksum TEXT NOT NULL,
    imported_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    UNIQUE (reader, key)
) STRICT;

-- Deleting a session looks here.
CREATE INDEX import_source_by_session ON import_source (session_pk) WHERE session_pk IS NOT NULL;
