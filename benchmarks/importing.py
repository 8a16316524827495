"""Transcripts of Claude Code brought in, beside bare ``json.loads`` of the same lines.

``MANDRAKE_SESSIONS_TRANSCRIPTS`` names a directory with recorded transcripts, which are multiplied with fresh ids;
otherwise transcripts are made up that have the same proportions: more than half of them is what the program sends to
the model, and notes for itself.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import Options, Row, at_least, at_most, median

FEW, MANY = 60_000_000, 300_000_000
MEGABYTE, MEBIBYTE = 1_000_000, 1024 * 1024
MOST_ROUNDS = 3
MOST_MEMORY = 200
_UUID = re.compile(rb"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-)[0-9a-f]{12}")
_NAME = re.compile(rb'"uuid":"([^"]+)"')
_ID = re.compile(rb"\b((?:msg|toolu|req|srvtoolu)_[0-9A-Za-z]+)")
_AGENT = re.compile(rb'("agentId":"[0-9a-f]+|agent-[0-9a-f]+(?=\.))')


def run(options: Options) -> list[Row]:
    directory = options.directory / "projects"
    size, records = _write(directory, MANY if options.full else FEW)
    long = options.directory / "long"
    _write_long(long / "00000000-0000-4000-8000-000000000000.jsonl", (MANY if options.full else FEW))
    ours: list[tuple[float, float, float]] = []
    beside: list[tuple[float, float]] = []
    for number in range(min(MOST_ROUNDS, options.rounds)):
        stored, used, taken, _ = _bring(directory, options.directory / f"{number}.sqlite")
        ours.append((stored, used, taken))
        beside.append(_decode(directory))
    _, _, _, memory = _bring(long, options.directory / "long.sqlite")

    def of(part: int, count: int) -> tuple[float, float]:
        return count / median([each[part] for each in ours]), count / median([each[part] for each in beside])

    what = f"import of {size / MEGABYTE:.0f} MB of transcripts of Claude Code"
    (rate, bare), (rows, bare_rows), (by_processor, bare_by_processor) = of(0, size), of(0, records), of(1, size)
    rate, bare = rate / MEGABYTE, bare / MEGABYTE
    whole = size / median([each[2] for each in ours]) / MEGABYTE
    return [
        Row(what, f"{rate:.1f} MB/s", f"bare json.loads {bare:.0f} MB/s", rate, at_least(20, "MB/s")),
        Row("the same, records", f"{rows:,.0f}/s", f"bare json.loads {bare_rows:,.0f}/s", rows / bare_rows),
        Row(
            "the same, until a search finds all of it",
            f"{whole:.1f} MB/s",
            f"until it is stored {rate:.1f} MB/s",
            whole / rate,
        ),
        Row(
            "all of it, by processor time",
            f"{by_processor / MEGABYTE:.1f} MB/s",
            f"bare json.loads {bare_by_processor / MEGABYTE:.0f} MB/s",
            by_processor / bare_by_processor,
        ),
        Row("memory of an import of one long file", f"{memory:.0f} MiB", "", memory, at_most(MOST_MEMORY, "MiB")),
    ]


def _write(directory: Path, most: int) -> tuple[int, int]:
    """Transcripts of so many bytes; gives the bytes and the records."""
    templates = list(_recorded()) or [(Path("-made-up") / "x.jsonl", _made_up(12))]
    size = records = 0
    for number in itertools.count(1):
        for path, text in templates:
            if size >= most:
                return size, records
            made = _fresh(text, number)
            name = _fresh(os.fsencode(path), number).decode()
            target = directory / name.replace("x.jsonl", f"00000000-0000-4000-8000-{number:012x}.jsonl")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(made)
            size, records = size + len(made), records + made.count(b"\n")
    raise AssertionError


def _write_long(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        text, follows = _made_up(12), b"null"
        for number in itertools.count():
            if file.tell() >= size:
                break
            made = _fresh(text, number).replace(b'{"parentUuid":null', b'{"parentUuid":' + follows, 1)
            follows = b'"' + _NAME.findall(made)[-1] + b'"'
            file.write(made)


def _recorded() -> Iterator[tuple[Path, bytes]]:
    named = os.environ.get("MANDRAKE_SESSIONS_TRANSCRIPTS")
    for projects in sorted(Path(named).glob("claude-code-*/projects")) if named else ():
        for path in sorted(projects.rglob("*.jsonl")):
            yield path.relative_to(projects), path.read_bytes()


def _fresh(text: bytes, number: int) -> bytes:
    """The same with other ids."""
    mark = b"%x" % number
    text = _UUID.sub(lambda found: found[1] + b"%012x" % number, text)
    return _AGENT.sub(rb"\g<1>" + mark, _ID.sub(rb"\g<1>" + mark, text))


def _made_up(rounds: int) -> bytes:
    """A transcript of about 3 kB a record."""
    ids = (f"{number:08x}-0000-4000-8000-000000000000" for number in itertools.count(1))
    last: str | None = None
    lines: list[bytes] = []

    def add(kind: str, **fields: Any) -> None:
        nonlocal last
        record: dict[str, Any] = {"parentUuid": last, "isSidechain": False}
        record |= {"attachment": fields.pop("attachment")} if kind == "attachment" else {}
        last = next(ids)
        record |= {"type": kind, "uuid": last, "timestamp": f"2026-03-01T10:{len(lines) // 60 % 60:02}:00.000Z"}
        lines.append(json.dumps(record | fields, separators=(",", ":")).encode() + b"\n")

    for number in range(rounds):
        note = {"type": "file-history-snapshot", "snapshot": {"text": "note " * 900}}
        lines.append(json.dumps(note, separators=(",", ":")).encode() + b"\n")
        add("user", message={"role": "user", "content": f"What is in file {number}?"}, cwd="/home/somebody")
        add("attachment", attachment={"type": "skill_listing", "content": "context " * 900})
        blocks = [
            {"type": "thinking", "thinking": "Hm. " * 100},
            {"type": "text", "text": "I look. " * 100},
            {"type": "tool_use", "id": f"toolu_{number:04}", "name": "Read", "input": {"file_path": "/a" * 20}},
        ]
        for block in blocks:
            message = {"id": f"msg_{number:04}", "role": "assistant", "model": "m", "content": [block]}
            usage = {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 300}
            add("assistant", message=message | {"stop_reason": "tool_use", "usage": usage})
        result = {"type": "tool_result", "tool_use_id": f"toolu_{number:04}", "content": "line of a file\n" * 200}
        add("user", message={"role": "user", "content": [result]}, toolUseResult={"file": "line of a file\n" * 200})
        message = {"id": f"msg_{number:04}b", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
        add("assistant", message=message | {"content": [{"type": "text", "text": "It is a file. " * 50}]})
    return b"".join(lines)


def _bring(source: Path, database: Path) -> tuple[float, float, float, float]:
    """The seconds until the command says that all is stored, those of the processor, the seconds until it ends, and the
    memory that it has at the most, in MiB."""
    words = (sys.executable, "-m", "mandrake_sessions", "import", "--database", str(database), str(source))
    begun = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = iter(process.stdout.readline, b"")
        assert any(b"brought in" in line for line in said)
        stored = time.perf_counter() - begun
        process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    taken = time.perf_counter() - begun
    assert process.returncode == 0
    return stored, used.ru_utime + used.ru_stime, taken, used.ru_maxrss * 1024 / MEBIBYTE


def _decode(directory: Path) -> tuple[float, float]:
    """The seconds that it takes, and those of the processor."""
    begun, used = time.perf_counter(), time.process_time()
    for path in directory.rglob("*.jsonl"):
        with path.open("rb") as file:
            for line in file:
                json.loads(line)
    return time.perf_counter() - begun, time.process_time() - used
