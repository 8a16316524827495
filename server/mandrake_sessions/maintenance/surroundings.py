"""The checks of what lies around the file of a store: they do not read the file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from mandrake_sessions.amounts import plural, size_text
from mandrake_sessions.files import file_size
from mandrake_sessions.maintenance.findings import Cure, Finding, Level
from mandrake_sessions.store.sqlite.facts import DISK_ADVICE, NEARLY_FULL, RESCUED, RESCUED_ADVICE, WAL_ADVICE, WAL_DEBT
from mandrake_sessions.store.sqlite.leases import dead_lease_files
from mandrake_sessions.store.sqlite.lock_files import unusable_lock_directory
from mandrake_sessions.store.sqlite.partial import dead_partials
from mandrake_sessions.store.sqlite.permissions import mode_against_owner, mode_for_others, private_files
from mandrake_sessions.store.sqlite.register import Register, RegisterFault
from mandrake_sessions.store.sqlite.replacing import second_names
from mandrake_sessions.store.sqlite.rescue import rescued_copies
from mandrake_sessions.time_limits import in_time
from mandrake_sessions.workspaces import WORKSPACE_DIRECTORY, own_directory, register_of_stores

_REGISTER_SECONDS = 3.0


def look_around(database: str) -> Iterator[Finding]:
    """The findings of all of them, in their order."""
    for look in (_wal, _leases, _permissions, _gitignore, _disk, _leftovers, _rescued, _register):
        yield look(database)


def _wal(database: str) -> Finding:
    size = file_size(database + "-wal")
    if size > WAL_DEBT:
        text = f"{size_text(size)} are not in the database yet"
        return Finding("wal", Level.WARNING, text, Cure.WAL, WAL_ADVICE)
    return Finding("wal", Level.OK, size_text(size))


def _leases(database: str) -> Finding:
    if (unusable := unusable_lock_directory(database)) is not None:
        return Finding("leases", Level.WARNING, unusable)
    if dead := dead_lease_files(database):
        return Finding(
            "leases", Level.WARNING, f"{plural(len(dead), 'lock file')} of processes that are gone", Cure.LEASES
        )
    return Finding("leases", Level.OK, "no lock file of a process that is gone")


def _permissions(database: str) -> Finding:
    if files := [path for path in private_files(database) if mode_for_others(path)]:
        return Finding("permissions", Level.PROBLEM, f"others may read {', '.join(files)}", Cure.PERMISSIONS)
    if any(mode_for_others(path) for path in private_directories(database)):
        text = f"others may look into {os.path.dirname(database)}"  # noqa: PTH120
        return Finding("permissions", Level.WARNING, text, Cure.PERMISSIONS)
    if (mode := mode_against_owner(database)) is not None:
        text = f"the mode of {database} ({mode:o}) keeps its owner from writing to it"
        return Finding(
            "permissions", Level.WARNING, text, advice=f"chmod u+rw {database}, unless it is to be read only"
        )
    return Finding("permissions", Level.OK, "only its owner may read it")


def _gitignore(database: str) -> Finding:
    directory = Path(database).parent
    if directory.name == WORKSPACE_DIRECTORY and not (directory / ".gitignore").exists():
        return Finding(
            "git", Level.WARNING, f"{directory} has no .gitignore, so git may commit the store", Cure.GITIGNORE
        )
    return Finding(
        "git",
        Level.OK,
        "a .gitignore keeps it out" if directory.name == WORKSPACE_DIRECTORY else "the store is not in a workspace",
    )


def _disk(database: str) -> Finding:
    free = shutil.disk_usage(os.path.dirname(database)).free  # noqa: PTH120
    text = f"{size_text(free)} are free"
    if free < NEARLY_FULL:
        return Finding("disk", Level.PROBLEM, text, advice=DISK_ADVICE)
    if free < file_size(database):
        return Finding("disk", Level.WARNING, f"{text}: no room for a backup beside the file", advice=DISK_ADVICE)
    return Finding("disk", Level.OK, text)


def _leftovers(database: str) -> Finding:
    if found := leftovers(database):
        text = f"{', '.join(found)}: left by a backup or restore that was killed"
        return Finding("leftovers", Level.WARNING, text, Cure.LEFTOVERS)
    return Finding("leftovers", Level.OK, "none")


def _rescued(database: str) -> Finding:
    if copies := rescued_copies(database):
        return Finding("rescued", Level.WARNING, f"{', '.join(copies)} {RESCUED}", advice=RESCUED_ADVICE)
    return Finding("rescued", Level.OK, "none")


def _register(_: str) -> Finding:
    """The register of the user's stores, which is beside no store but the user's own."""
    path = register_of_stores()
    if path is None:
        return Finding("register", Level.OK, "this user has no home directory, so no stores are listed")
    try:
        listed = in_time(str(path), Register(str(path)).check, _REGISTER_SECONDS)
    except (RegisterFault, TimeoutError) as fault:
        advice = "store/list lists no other stores until that is mended"
        if isinstance(fault, RegisterFault) and fault.is_damaged:
            advice = f"the next server that opens a store makes it again; you can delete {path}"
        return Finding("register", Level.WARNING, str(fault), advice=advice)
    if mode := mode_for_others(str(path)):
        text = f"others may read {path}, which lists your stores (mode {mode:o})"
        return Finding("register", Level.WARNING, text, advice=f"chmod 600 {path}")
    return Finding("register", Level.OK, f"it lists {plural(listed, 'store')}")


def private_directories(database: str) -> list[str]:
    """The store's directory, if it holds nothing else."""
    directory = own_directory(Path(database))
    return [] if directory is None else [str(directory)]


def leftovers(database: str) -> list[str]:
    """Files beside the store that a killed backup, migration or restore has left behind."""
    file = Path(database)
    return [*dead_partials(str(file.parent), file.stem), *second_names(database)]
