"""Write docs/reliability.md: what is promised, which test holds it, and the figures that its last run gave.

``make reliability`` runs the tests that count, and then this.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from attrs import frozen

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"


@frozen
class Promise:
    """``test``: a file of tests/, or one test in it; ``figure``: how the names of its figures begin."""

    text: str
    test: str
    figure: str | None = None


PARTS = {
    "A process ends": (
        Promise(
            "A server killed at any operation of the disk, in each kind of write, loses nothing that it acknowledged",
            "faults/test_kill.py::test_a_server_killed_at_any_operation_of_the_disk_loses_nothing",
            "killed at an operation of the disk",
        ),
        Promise(
            "… at a random moment while it streams", "faults/test_kill.py", "killed at a random moment of a stream"
        ),
        Promise("… while it folds, prunes, returns space, checkpoints", "faults/test_kill.py", "killed in idle work"),
        Promise("… while it migrates an older file", "faults/test_kill.py", "killed in a migration"),
        Promise("… while it makes a new file", "faults/test_kill.py", "killed in the making of a file"),
        Promise("… at any operation in between, with any work", "faults/test_kill.py", "killed in mixed work"),
        Promise(
            "A backup that is ended at any moment leaves a whole file or none",
            "commands/test_backup.py::test_ended_at_any_moment_it_leaves_a_whole_file_or_none",
            "ended while it made a backup",
        ),
        Promise(
            "A restore that is killed at any moment leaves the old store or the new one, whole",
            "commands/test_restore.py::test_killed_at_any_moment_the_store_is_the_old_or_the_restored_one",
            "ended while it restored",
        ),
        Promise(
            "The turns of a killed process become `interrupted`, and the next append resumes them", "e2e/test_leases.py"
        ),
        Promise("A process that is only stopped loses nothing", "faults/test_processes.py", "stopped in the middle"),
        Promise(
            "A second signal ends the server at once, without damage",
            "e2e/test_lifecycle.py::test_a_second_signal_ends_it_at_once_and_nothing_is_lost",
        ),
        Promise(
            "Twelve processes may start at once, on a new file and on an old one",
            "faults/test_starts.py",
            "started at once",
        ),
        Promise("… and be killed while they do", "faults/test_starts.py", "killed while starting"),
    ),
    "The machine ends": (
        Promise(
            "`full`: a power cut loses nothing that was acknowledged", "faults/test_power_cut.py", "power cut, full"
        ),
        Promise(
            "`balanced`: a power cut loses at most the last appends", "faults/test_power_cut.py", "power cut, balanced"
        ),
        Promise("`normal`: a power cut loses at most the last writes", "faults/test_power_cut.py", "power cut, normal"),
        Promise("A clock that is set back or forward changes no order and loses nothing", "faults/test_clock.py"),
    ),
    "The disk and the system fail": (
        Promise(
            "On a full disk the server rejects what does not fit, keeps what it stored, and goes on once there is room",
            "faults/test_full_disk.py",
            "full disk",
        ),
        Promise(
            "A write or a sync that fails is an error, and the next one works",
            "faults/test_full_disk.py",
            "write that fails",
        ),
        Promise(
            "Without free file descriptors a request gets a `storage` error; the server goes on once there are some",
            "faults/test_descriptors.py",
            "file descriptors",
        ),
        Promise("The server reads a read-only store, and writes again once it may", "faults/test_read_only.py"),
        Promise("The server refuses a network file system, and one without locks", "faults/test_filesystems.py"),
    ),
    "Others touch the file": (
        Promise(
            "The server waits for another program's lock, then names the process that holds it", "faults/test_locks.py"
        ),
        Promise(
            "The server reopens the path of a deleted, replaced or moved file, and says so",
            "faults/test_moved_files.py",
        ),
        Promise(
            "A deleted -wal or -shm loses nothing",
            "faults/test_moved_files.py::test_a_deleted_wal_or_shm_loses_nothing",
        ),
        Promise(
            "A write that the server acknowledges after somebody put a snapshot back (`rsync -a`, `cp -rp`, `tar -x`, "
            "renamed, mounted, linked) is in it",
            "faults/test_put_back.py",
        ),
        Promise(
            "The server checks a file that takes the place of the store, and names what is wrong with it",
            "faults/test_checked_when_replaced.py",
        ),
        Promise(
            "Tidying the lock files away interrupts no turn of a living process, and keeps none of a dead one",
            "faults/test_tidied_locks.py",
        ),
        Promise("What root creates in the store of another user belongs to that user", "faults/test_root_and_owner.py"),
        Promise(
            "The server leaves an odd entity out, names it once, and goes on with the rest",
            "faults/test_odd_entities.py",
        ),
        Promise(
            "The server reports a damaged file, reads it where it can, and does not write to it",
            "faults/test_damaged_files.py",
            "noise",
        ),
        Promise(
            "An old program does not touch a file that a newer one has locked it out of", "faults/test_newer_schema.py"
        ),
        Promise(
            "A write that the server acknowledges after its open files were overwritten in place (`cp -rp`, `dd`, "
            "`rsync --inplace`), or its -wal was cut, is in the store",
            "faults/test_overwritten.py",
        ),
        Promise(
            "A store that is written over with its own bytes stays the same store, with all that its -wal holds; and "
            "servers whose -wal is deleted before the store is copied over work again",
            "faults/test_own_bytes.py",
        ),
        Promise(
            "An odd value in any column of any table harms its entity alone, and `doctor --fix` mends it",
            "faults/test_odd_values.py",
        ),
        Promise(
            "The program names a schema that another program changed, and mends it where it can",
            "faults/test_odd_schemas.py",
        ),
        Promise(
            "A write during a restore is in the old file, which the restore keeps, or in the new one",
            "commands/test_restore.py::test_an_acknowledged_write_is_in_the_previous_or_the_restored_file",
        ),
    ),
    "The client is hostile, or gone": (
        Promise(
            "Each JSON type in each field of each method is answered once, never `internal`",
            "hostile/test_every_type_everywhere.py",
            "each type in each field",
        ),
        Promise(
            "Broken messages and bytes get the answers that an independent oracle predicts",
            "hostile/test_fuzz_messages.py",
            "fuzzed messages",
        ),
        Promise("Random calls leave exactly what was acknowledged", "hostile/test_fuzz_calls.py", "fuzzed calls"),
        Promise("Input without end costs bounded memory", "hostile/test_endless.py"),
        Promise("Each limit holds, on both sides", "hostile/test_limits.py"),
        Promise("A server needs no more memory than docs/limits.md says", "hostile/test_memory.py"),
        Promise(
            "The requests that wait behind a lock are bounded, and answered in order",
            "hostile/test_limits.py",
            "requests behind a lock",
        ),
        Promise("A client that does not read blocks nobody", "e2e/test_slow_readers.py"),
        Promise(
            "… nor one that does not read stderr, nor a log that cannot be written",
            "e2e/test_logs.py::test_a_client_that_does_not_read_stderr_holds_nobody_up",
        ),
        Promise(
            "Without a working directory, a home, a user name or standard streams, all works that does not need them",
            "e2e/test_surroundings.py",
        ),
        Promise("… with closed standard streams, and in any encoding", "e2e/test_standard_streams.py"),
        Promise(
            "A client that closes its pipe in the middle of a message leaves a whole store", "faults/test_processes.py"
        ),
    ),
    "Everything at once": (
        Promise(
            "Servers killed, stopped, restored, moved and locked out while agents write and subscribers resume: each"
            " acknowledged operation is stored once, each request answered once, each rebuilt state what is stored"
            " (40 s; `make soak MINUTES=30` for longer)",
            "soak/test_soak.py",
            "soak",
        ),
        Promise(
            "Pieces that were folded and then pruned from the feed lose no text, with every threshold tiny",
            "faults/test_fold_and_prune.py",
        ),
        Promise("Reading a store that is not there creates nothing", "e2e/test_absent_store.py"),
        Promise(
            "Nothing holds the event loop: under bursts, batches of 9,000, long transactions, 1,024 subscriptions and"
            " long deletions no step takes 50 ms of processor time",
            "e2e/test_event_loop.py::test_no_step_of_the_loop_is_long",
        ),
        Promise(
            "… the server answers and ends",
            "e2e/test_event_loop.py::test_under_every_load_the_server_is_there_and_ends",
        ),
        Promise(
            "A write that runs when the server ends is answered with its outcome",
            "e2e/test_event_loop.py::test_a_write_that_an_end_meets_is_told_what_became_of_it",
        ),
        Promise(
            "A message that needs more memory than there is gets one error, and the server goes on",
            "e2e/test_event_loop.py::test_what_needs_more_memory_than_there_is_gets_an_error",
        ),
        Promise(
            "A client that skips each change not above its state receives each append once, however appends are joined",
            "e2e/test_event_loop.py::test_skipping_what_is_not_above_the_turn_is_enough",
        ),
    ),
    "Who may read": (
        Promise(
            "Files are the owner's alone, links out of `.ws` are refused, deleted text is gone from all files",
            "faults/test_who_may_read.py",
        ),
        Promise(
            "No conversation text is in the log",
            "e2e/test_logs.py::test_no_content_stands_in_the_log_above_debug_level",
        ),
    ),
}

HEAD = """\
# Reliability

This page lists what the program promises, the test under `tests/` for each promise, and its last run: how many cases
passed, and what they counted. The tests run in `make check`. `make reliability` runs them again and writes this page.
By hand, `MANDRAKE_SESSIONS_FAULTS=20` tries twenty times as many kills and power cuts, and
`MANDRAKE_SESSIONS_FUZZ_SECONDS=600` fuzzes for ten minutes.

Six things are not promised. SQLite keeps no checksums: damage inside a text that leaves the file's structure whole
goes undetected. A write that failed with `io` may have reached the -wal: after a kill it can be there, whole, though
the server did not acknowledge it. A bug of SQLite before 3.51.3 (but not in 3.50.7 and 3.44.6) can damage a file in
rare races; `doctor` and `server/health` warn of it. A program that cuts the -shm of an open store, or of its search
index, ends the servers that use it (SIGBUS); acknowledged writes stay. One that overwrites the -shm alone can damage an
index of the store, which `doctor` finds. A program that copies something over the store while a checkpoint copies the
-wal into it leaves a mixture, which the server reports as damaged; that takes a few milliseconds for each 4 MB written.
The command `record` passes output on before it stores it, so that the program is not slowed: killed with SIGKILL, it
loses what it passed on in the last 20 ms, and of a program that prints faster than the store takes it, up to 18 MiB.
What is stored is the beginning of what was passed on, without gaps.
"""


def passed_tests(report: Path) -> Counter[str]:
    """How many cases passed, of each file of tests/ and of each test in it, from a JUnit report."""
    passed: Counter[str] = Counter()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        if not len(case):
            file = case.attrib["classname"].replace(".", "/").removeprefix("tests/") + ".py"
            passed[file] += 1
            passed[f"{file}::{case.attrib['name'].partition('[')[0]}"] += 1
    return passed


def figures_by_name(lines: Iterator[str]) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for line in lines:
        figures = json.loads(line)
        found.setdefault(figures.pop("name"), []).append(figures)
    return found


def total(found: dict[str, list[dict[str, object]]], begin: str | None) -> str:
    """The sums of all figures whose name begins so, such as ``; kills 37, pieces lost 0``."""
    sums: Counter[str] = Counter()
    for name, runs in found.items():
        if begin is not None and name.startswith(begin):
            for key, value in ((key, value) for figures in runs for key, value in figures.items()):
                if isinstance(value, int) and key != "first_seed":
                    sums[key] += value
    shown = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in sums.items())
    return f"; {shown}" if shown else ""


def page(passed: Counter[str], found: dict[str, list[dict[str, object]]]) -> str:
    parts = [HEAD]
    for title, promises in PARTS.items():
        rows = [f"| {p.text} | {_shown(p.test)} | {passed[p.test]} passed{total(found, p.figure)} |" for p in promises]
        parts.append("\n".join([f"## {title}\n", "| promise | held by | last run |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def _shown(test: str) -> str:
    file, _, name = test.partition("::")
    return f"`{file}`" + (f" `{name}`" if name else "")


def check_tests() -> None:
    """Raises ValueError for a test that is not there."""
    for promise in (promise for promises in PARTS.values() for promise in promises):
        file, _, name = promise.test.partition("::")
        path = ROOT / "tests" / file
        if not path.exists() or (name and f"def {name}(" not in path.read_text(encoding="utf-8")):
            raise ValueError(f"{promise.test} is named as holding a promise, and is not there")


if __name__ == "__main__":
    check_tests()
    with Path(sys.argv[2]).open(encoding="utf-8") as lines:
        figures = figures_by_name(lines)
    PAGE.write_text(page(passed_tests(Path(sys.argv[1])), figures), encoding="utf-8")
