"""File systems that several machines share, or that have no locks, are refused unless a flag says otherwise.

There is no network file system to be had on a test machine: what the kernel says of the mounts, and of a lock, is
replaced in the server's own process; everything else is the real program.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mandrake_sessions.store.sqlite.filesystem import kind_of, mounts, parse_mount, parse_mountinfo
from strict import connected

MOUNTINFO = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 22 0:27 / /home rw,relatime shared:9 master:2 - nfs4 server:/export rw,vers=4.2
40 31 0:30 / /home/me/local\040disk rw - ext4 /dev/vdb rw
41 22 0:31 / /mnt rw - fuse.sshfs me@host:/ rw
42 41 0:32 / /mnt/over rw - xfs /dev/vdc rw
43 42 0:33 / /mnt/over rw - cifs //server/share rw
""".strip()

MOUNT = """
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
//me@server/share on /Volumes/share (smbfs, nodev, nosuid, mounted by me)
map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)
""".strip()


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/srv", "ext4"),
        ("/home", "nfs4"),
        ("/home/me", "nfs4"),
        ("/homes", "ext4"),
        ("/home/me/local disk/x", "ext4"),
        ("/mnt/a", "fuse.sshfs"),
        ("/mnt/over/a", "cifs"),
    ],
)
def test_the_kind_is_that_of_the_deepest_mount_laid_last(directory: str, kind: str) -> None:
    assert kind_of(directory, parse_mountinfo(MOUNTINFO.splitlines())) == kind


def test_what_macos_prints_is_understood() -> None:
    printed = parse_mount(MOUNT.splitlines())
    assert kind_of("/Volumes/share/x", printed) == "smbfs"
    assert kind_of("/Users/me", printed) == "apfs"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no table of mounts")
def test_this_machines_own_mounts_are_found() -> None:
    assert kind_of("/", mounts()) is not None


NETWORK = "import mandrake_sessions.store.sqlite.filesystem as f; f.mounts = lambda: [('/', 'nfs4')]"
NO_LOCKS = """
import errno, fcntl
def refused(*_): raise OSError(errno.ENOLCK, 'No locks available')
fcntl.flock = refused
"""
EMPTY_LOCKS = "import fcntl; fcntl.flock = lambda *_: None"


def program(before: str) -> tuple[str, ...]:
    code = f"{before}\nimport sys\nfrom mandrake_sessions.cli import main\nsys.exit(main(sys.argv[1:]))"
    return sys.executable, "-c", code, "serve"


@pytest.mark.skipif(sys.platform == "win32", reason="there is neither a table of mounts nor flock")
@pytest.mark.parametrize(
    "before", [NETWORK, NO_LOCKS, EMPTY_LOCKS], ids=["network", "no locks", "locks that do not lock"]
)
def test_the_error_says_what_to_do(workspace: Path, before: str) -> None:
    with connected(workspace, command=program(before)) as client:
        error = client.error("session/create")
        assert (error.code, error.data["reason"]) == (-32013, "unsupportedFilesystem")
        assert "--allow-network-filesystem" in error.message
        assert client.told("server/healthChanged").status == "down"
    assert not (workspace / ".ws" / "db.sqlite").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is neither a table of mounts nor flock")
@pytest.mark.parametrize("before", [NETWORK, NO_LOCKS], ids=["network", "no locks"])
def test_a_flag_lets_it_through(workspace: Path, before: str) -> None:
    with connected(workspace, "--allow-network-filesystem", command=program(before)) as client:
        assert client.session_create().id
