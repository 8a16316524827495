"""The limit: what Python itself needs for the JSON, the SQLite statements and the pipes of appends, and nothing else.

No validation, no framing but lines, no errors, one turn, one subscriber. What one read brings (64 at most) is one
transaction. With ``joined`` it tells the pieces of a transaction in one notification and inserts them in one
``executemany``, as the server does; without, each by itself.

    python bare_loop.py DATABASE MIGRATIONS [joined]
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

GROUP = 64
INSERT = (
    "INSERT INTO feed (seq, at, kind, turn_pk, chunk, current_tokens, output_tokens, content_bytes,"
    " raw_response_bytes, content, raw_response) VALUES (?, ?, 'appended', ?, ?, ?, ?, ?, ?, ?, ?)"
)
TURN = "01890a5d-ac96-774b-bcce-b302099a8057"
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def connect(path: str, migrations: str) -> sqlite3.Connection:
    """A new file with the server's tables, indexes and pragmas."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA journal_mode=WAL")
    # The migrations fold titles; a new file has none.
    connection.create_function("casefold", 1, lambda text: text, deterministic=True)
    for script in sorted(Path(migrations).glob("*.sql")):
        connection.executescript(script.read_text())
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON", "journal_size_limit=67108864"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def reply(message: dict[str, Any], seq: int) -> str:
    result = {"turnId": TURN, "seq": seq, "chunk": seq - 1, "chunkCount": seq}
    return encode({"jsonrpc": "2.0", "id": message["id"], "result": result})


def notification(seq: int, first: int, content: str) -> str:
    params = {
        "subscriptionId": TURN,
        "seq": seq,
        "kind": "appended",
        "sessionId": TURN,
        "roundId": TURN,
        "responseId": TURN,
        "turnId": TURN,
        "index": 0,
        "status": "streaming",
        "firstChunk": first,
        "lastChunk": seq - 1,
        "content": content,
        "currentTokens": 0,
        "outputTokens": 0,
    }
    return encode({"jsonrpc": "2.0", "method": "turn/updated", "params": params})


def carry_out(connection: sqlite3.Connection, lines: list[bytes], seq: int, *, joined: bool) -> bytes:
    """Store the pieces of these lines, the first under the seq after ``seq``; gives what to write."""
    now = time.time_ns() // 1_000_000
    messages = [json.loads(line) for line in lines]
    texts = [message["params"]["content"] for message in messages]
    rows = [
        (number, now, 1, number - 1, 0, 0, number * 20, 0, text, None) for number, text in enumerate(texts, seq + 1)
    ]
    connection.execute("BEGIN IMMEDIATE")
    if joined:
        connection.executemany(INSERT, rows)
    else:
        for row in rows:
            connection.execute(INSERT, row)
    connection.execute("COMMIT")
    said = [reply(message, number) for number, message in enumerate(messages, seq + 1)]
    if joined:
        said.append(notification(seq + len(texts), seq, "".join(texts)))
    else:
        said += [notification(number, number - 1, text) for number, text in enumerate(texts, seq + 1)]
    return ("\n".join(said) + "\n").encode()


def main() -> None:
    connection = connect(sys.argv[1], sys.argv[2])
    joined = "joined" in sys.argv[3:]
    seq, rest = 0, b""
    while data := os.read(0, 1 << 20):
        *lines, rest = (rest + data).split(b"\n")
        for start in range(0, len(lines), GROUP):
            group = lines[start : start + GROUP]
            os.write(1, carry_out(connection, group, seq, joined=joined))
            seq += len(group)
    connection.close()


if __name__ == "__main__":
    main()
