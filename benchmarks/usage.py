"""What was used, summed up over a store with many turns."""

from __future__ import annotations

from benchmarks import fill
from benchmarks.driver import Server, connected, request
from benchmarks.report import Options, Row, at_most, median, milliseconds

# 100,000 turns.
SESSIONS, ROUNDS, TURNS = 1000, 20, 5
FILL_SECONDS = 120.0
SAMPLES = 15
MOST_MS = 100

WAYS = {
    "all": {},
    "by day": {"groupBy": "day", "timezone": "Europe/Berlin"},
    "by model": {"groupBy": "model"},
    "by session": {"groupBy": "session"},
    "by agent": {"groupBy": "agent"},
    "by cwd": {"groupBy": "cwd"},
}


def run(options: Options) -> list[Row]:
    with connected(options.directory) as client:
        fill.carry_out(client, fill.billed(SESSIONS, ROUNDS, TURNS), FILL_SECONDS)
        turns = client.session_usage().turns
    with Server(options.directory) as server:
        rows = []
        for name, params in WAYS.items():
            message = request(1, "session/usage", params)
            # Opens the store, and looks for the changes of the clock.
            server.exchange(message)
            taken = median([server.seconds_of(message) for _ in range(SAMPLES)])
            what = f"session/usage {name}, {turns:,} turns"
            rows.append(Row(what, milliseconds(taken), "", taken * 1000, at_most(MOST_MS, "ms")))
    return rows
