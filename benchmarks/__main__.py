"""The one command: every subject, then the table.

python -m benchmarks [--only NAME]... [--full] [--rounds N] [--directory PATH] [--agents-python PATH]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    acp,
    agents,
    append,
    client,
    commands,
    disk,
    follow,
    fork,
    growth,
    history,
    importing,
    length,
    lists,
    memory,
    push,
    search,
    start,
    usage,
    writers,
)
from benchmarks.report import Options, Row, machine, table

SUBJECTS: dict[str, Callable[[Options], list[Row]]] = {
    "start": start.run,
    "commands": commands.run,
    "append": append.run,
    "client": client.run,
    "length": length.run,
    "disk": disk.run,
    "writers": writers.run,
    "push": push.run,
    "history": history.run,
    "lists": lists.run,
    "usage": usage.run,
    "fork": fork.run,
    "follow": follow.run,
    "search": search.run,
    "import": importing.run,
    "acp": acp.run,
    "memory": memory.run,
    "growth": growth.run,
    "agents": agents.run,
}
DOCS = Path(__file__).parents[1] / "docs"


def main() -> int:
    options = _parser().parse_args()
    # As with Ctrl-C, what was started ends and what was written goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(machine(options.directory), flush=True)
    rows: list[Row] = []
    begun = time.monotonic()
    try:
        for name in options.only or SUBJECTS:
            rows += _run(name, options)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; this is what there is\n")
    print(table(rows))
    load = f"; load at the end {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{(time.monotonic() - begun) / 60:.1f} minutes{load}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=SUBJECTS, metavar="NAME", help=", ".join(SUBJECTS))
    parser.add_argument("--full", action="store_true", help="a million appends, 200 MB of text: many minutes")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side of a comparison (default: 5)")
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="where to write: the disk to be measured")
    parser.add_argument("--agents-python", default=sys.executable, help="a Python that has openai-agents")
    return parser


def _run(name: str, options: argparse.Namespace) -> list[Row]:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=options.directory) as directory:
        rows = SUBJECTS[name](
            Options(
                rounds=max(1, options.rounds),
                full=options.full,
                directory=Path(directory),
                docs=DOCS,
                agents_python=options.agents_python,
            )
        )
    sys.stderr.write(f"{name}: {time.monotonic() - begun:.0f} s\n")
    return rows


if __name__ == "__main__":
    sys.exit(main())
