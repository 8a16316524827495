"""Rejects databases in unsafe places: on a network file system, and behind links that lead elsewhere.

WAL needs memory that all processes share, and locks that all of them see. Neither works across a network, and SQLite
damages the file without an error (its documentation: "Use Of Memory-Mapped Files", "How To Corrupt").
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from mandrake_sessions.errors import StorageFailure, StorageReason
from mandrake_sessions.files import explain

_NETWORK = frozenset(
    {
        *("9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "cvmfs", "davfs", "gfs", "gfs2", "glusterfs", "gpfs"),
        *("lustre", "ncp", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "smb3", "smbfs", "vmhgfs", "webdav"),
        *("fuse.ceph", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs"),
        *("fuse.smbnetfs", "fuse.sshfs"),
    }
)
_ESCAPED = re.compile(r"\\([0-7]{3})")
# The format of macOS' mount: `//me@host/share on /Volumes/share (smbfs, nodev)`.
_MOUNT_LINE = re.compile(r".* on (/.*) \((\w+)[,)]")


def check_filesystem(path: str) -> None:
    """Reject a network file system.

    Raises:
        StorageFailure: ``unsupportedFilesystem``.
    """
    kind = kind_of(os.path.dirname(path), mounts())  # noqa: PTH120
    if kind in _NETWORK:
        raise unsupported(path, f"it lies on a network file system ({kind})")


def unsupported(path: str, why: str) -> StorageFailure:
    return StorageFailure(
        StorageReason.UNSUPPORTED_FILESYSTEM,
        lambda words: (
            f"{path}: {why}, where several processes would damage it; use a local disk ({words.setting('db_path')}), "
            f"or {words.setting('allow_network_filesystem')} if no other machine ever opens it"
        ),
        path,
    )


def mounts() -> list[tuple[str, str]]:
    """The mount points of this process, with the kind of each; empty if the system does not list them (Windows)."""
    if sys.platform == "darwin":
        return parse_mount(_printed_mounts())
    try:
        return parse_mountinfo(Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines())
    except OSError:
        return []


def _printed_mounts() -> list[str]:
    """What macOS' ``mount`` prints; nothing where it fails."""
    import subprocess

    try:
        printed = subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=True, timeout=5).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return printed.splitlines()


def parse_mountinfo(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Parse Linux' ``/proc/self/mountinfo`` (proc(5)): the mount point is the fifth field, the kind the first after the
    dash."""
    found = []
    for line in lines:
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if dash and len(fields) > 4 and after:
            point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
            found.append((point, after.split(" ")[0]))
    return found


def parse_mount(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Parse the output of macOS' ``mount``."""
    return [(match[1], match[2]) for line in lines if (match := _MOUNT_LINE.match(line))]


def kind_of(directory: str, mounted: list[tuple[str, str]]) -> str | None:
    """The kind of the file system that holds a directory: of the deepest mount above it, the last if several lie over
    each other."""
    kind, depth = None, -1
    for point, name in mounted:
        inside = directory == point or directory.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= depth:
            kind, depth = name, len(point)
    return kind


def check_kind(path: str) -> None:
    """Reject a path that exists and is not a file: opening a FIFO would wait for ever, and writing to a device may harm
    it.

    Raises:
        StorageFailure: ``open``.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _no_file(path, "it is a symbolic link that leads to itself") from error
        return
    if stat.S_ISDIR(mode):
        raise _no_file(path, "it is a directory")
    if not stat.S_ISREG(mode):
        raise _no_file(path, "it is a device, a FIFO or a socket")


def cannot_be_looked_at(path: str, error: OSError) -> StorageFailure:
    """The failure where the system does not tell whether there is a file."""
    return StorageFailure(StorageReason.OPEN, f"{path} cannot be looked at: {explain(error, path)}", path)


def _no_file(path: str, what: str) -> StorageFailure:
    return StorageFailure(
        StorageReason.OPEN,
        lambda words: (
            f"Failed to initialize database {path}: {what} and not a file; name a file with {words.setting('db_path')}"
        ),
        path,
    )


def check_links(path: str, inside: str | None) -> None:
    """Reject links that another user may have made: a -wal, -shm or -run that is a link and, with ``inside`` (a
    directory), a database that lies elsewhere, such as a checked-out ``.ws/db.sqlite`` that leads to another store.

    Raises:
        StorageFailure: ``open``.
    """
    for suffix in ("-wal", "-shm", "-run"):
        if os.path.islink(path + suffix):  # noqa: PTH114
            raise _linked(path, f"{path + suffix} is a symbolic link")
    if inside is None:
        return
    if os.path.islink(inside):  # noqa: PTH114
        raise _linked(path, f"{inside} is a symbolic link")
    real = os.path.realpath(path)
    if real != os.path.join(os.path.realpath(inside), os.path.basename(path)):  # noqa: PTH118, PTH119
        raise _linked(real, f"a symbolic link in {inside} leads to it")


def _linked(path: str, why: str) -> StorageFailure:
    return StorageFailure(
        StorageReason.OPEN,
        lambda words: (
            f"Failed to initialize database {path}: {why}; "
            f"remove it, or name the file that is meant with {words.setting('db_path')}"
        ),
        path,
    )
