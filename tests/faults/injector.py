"""Faults of the disk, and a kill at a chosen moment, inside a real server process whose code knows nothing of it.

SQLite does all of its file work through a table of C functions (its VFS). ``install`` puts functions of ours in front
of those that write, so that every write, truncation, sync and deletion of the database, its -wal and its journal

- is recorded in a trace file, if ``FAULTS_TRACE`` names one: a write, truncation or deletion before it is done, a
  creation and a sync after. A record is one ``write`` to a descriptor opened with ``O_APPEND``: a kill loses none.
- follows a plan, if ``FAULTS_PLAN`` names a file that holds one (see ``Plan``). The plan is looked at before each of
  them, so a test may change it at any time, by renaming another file over it. Counting begins anew with each plan.

The -shm is shared memory, which SQLite builds again from the -wal: it is left alone. This works where ``_sqlite3`` is
linked to a shared libsqlite3; ``why_not`` says why it does not.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SQLITE_OK, SQLITE_FULL = 0, 13
SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC, SQLITE_IOERR_TRUNCATE = 778, 1034, 1546
_OPEN_CREATE = 0x4
_OPEN_JOURNAL_OR_WAL = 0x800 | 0x80000

OPEN, WRITE, TRUNCATE, SYNC, DELETE, SYNC_DIRECTORY = range(1, 7)
# The files of a store. A server also writes the register of stores and the search index, of which nothing is promised.
_STORE = "db.sqlite"
NAMES = {"open": OPEN, "write": WRITE, "truncate": TRUNCATE, "sync": SYNC, "delete": DELETE}
# kind, length of the name, a number (offset, size), length of the data; then the file's name, then the data.
HEADER = struct.Struct("<BHqI")

_Int64 = ctypes.c_int64
_OnFile = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_Write = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, _Int64)
_Truncate = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, _Int64)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_FileSize = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Int64))
_Open = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_Delete = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)


class _Methods(ctypes.Structure):
    """``sqlite3_io_methods``, version 3."""

    _fields_ = [
        ("version", ctypes.c_int),
        ("close", ctypes.c_void_p),
        ("read", ctypes.c_void_p),
        ("write", ctypes.c_void_p),
        ("truncate", ctypes.c_void_p),
        ("sync", ctypes.c_void_p),
        ("file_size", ctypes.c_void_p),
        ("others", ctypes.c_void_p * 12),
    ]


class _Vfs(ctypes.Structure):
    """The beginning of ``sqlite3_vfs``."""

    _fields_ = [
        ("version", ctypes.c_int),
        ("file_bytes", ctypes.c_int),
        ("path_bytes", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
        ("delete", ctypes.c_void_p),
    ]


def _find_vfs() -> _Vfs | str:
    """The VFS that ``sqlite3`` of this Python uses; or why it cannot be had."""
    if not sys.platform.startswith("linux"):
        return "the library that _sqlite3 uses is looked for in /proc, which is Linux's"
    import sqlite3  # noqa: F401  it loads the library

    lines = Path("/proc/self/maps").read_text().splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if "libsqlite3" in line}
    if len(paths) != 1:
        return f"_sqlite3 is not linked to one shared libsqlite3 here, so its VFS cannot be reached: {sorted(paths)}"
    find = ctypes.CDLL(paths.pop()).sqlite3_vfs_find
    find.restype = ctypes.POINTER(_Vfs)
    return find(None).contents  # type: ignore[no-any-return]


def why_not() -> str | None:
    """Why no faults can be injected here; None if they can."""
    found = _find_vfs()
    return found if isinstance(found, str) else None


class Plan:
    """What is to go wrong, from a JSON object:

    ``kill``: ``[n, when]``, the process is killed ``before`` or ``after`` the n-th (from 1) operation, or with it
    ``half`` done. ``fail``: ``{code, kinds, file, after, times}``: operations of these kinds on files whose name ends
    so fail with SQLite's ``code``, but for the first ``after``, as many as ``times`` (all, if it is left out).
    ``room``: so many bytes may files grow by, then the disk is full.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        self._kill_at, self._when = given.get("kill", (0, ""))
        self._fail = given.get("fail")
        self._left = None if self._fail is None else self._fail.get("times", 1 << 60)
        self._skip = 0 if self._fail is None else self._fail.get("after", 0)
        self._room: int | None = given.get("room")
        self._done = 0

    def moment(self) -> str:
        """Count an operation; when the process is to be killed at it, if it is."""
        self._done += 1
        return self._when if self._done == self._kill_at else ""

    def failure(self, kind: int, name: str, growth: int) -> int:
        """The code that the operation has to fail with; 0 if it may go on."""
        if self._room is not None and growth > 0:
            if growth > self._room:
                return SQLITE_FULL
            self._room -= growth
        fail = self._fail
        if fail is None or kind not in map(NAMES.get, fail["kinds"]) or not name.endswith(fail.get("file", "")):
            return SQLITE_OK
        if self._skip:
            self._skip -= 1
            return SQLITE_OK
        assert self._left is not None
        self._left -= 1
        return int(fail["code"]) if self._left >= 0 else SQLITE_OK


class _File:
    """An open file. ``syncs_directory``: its next sync makes its name durable too, as SQLite's own VFS does it."""

    def __init__(self, name: str, methods: _Methods, *, syncs_directory: bool) -> None:
        self.name = name
        self.methods = methods
        self.syncs_directory = syncs_directory


class Injector:
    """Stands between SQLite and its VFS; it must live as long as the process."""

    def __init__(self, vfs: _Vfs, trace: str | None, plan: str | None) -> None:
        self._vfs = vfs
        self._trace = None if trace is None else os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._plan_path = plan
        self._plan_state: tuple[int, int] | None = None
        self._plan = Plan({})
        self._files: dict[int, _File] = {}
        self._wrapped: dict[int, _Methods] = {}
        self._kept: list[Any] = []
        self._real_open, self._real_delete = _Open(vfs.open), _Delete(vfs.delete)
        vfs.open = self._address(_Open(self._open))
        vfs.delete = self._address(_Delete(self._delete))

    def _address(self, function: Any) -> int | None:
        self._kept.append(function)
        return ctypes.cast(function, ctypes.c_void_p).value

    # ---- the functions that SQLite calls

    def _open(self, vfs: int, path: int | None, file: int, flags: int, out: int | None) -> int:
        if not path:
            return int(self._real_open(vfs, path, file, flags, out))
        full_path = ctypes.string_at(path).decode()
        name = Path(full_path).name
        if not name.startswith(_STORE):
            return int(self._real_open(vfs, path, file, flags, out))
        there = Path(full_path).exists()
        result = int(self._real_open(vfs, path, file, flags, out))
        if result == SQLITE_OK and not there:
            self._record(OPEN, name, 0)
        methods = ctypes.c_void_p.from_address(file)
        if result == SQLITE_OK and methods.value:
            new = bool(flags & _OPEN_CREATE) and bool(flags & _OPEN_JOURNAL_OR_WAL)
            original = _Methods.from_address(methods.value)
            self._files[file] = _File(name, original, syncs_directory=new)
            methods.value = ctypes.addressof(self._wrapping(methods.value))
        return result

    def _close(self, file: int) -> int:
        return int(_OnFile(self._files.pop(file).methods.close)(file))

    def _write(self, file: int, data: int, size: int, offset: int) -> int:
        known = self._files[file]
        write = _Write(known.methods.write)
        growth = offset + size - self._size(file, known) if self._plan_given() else 0

        def torn() -> None:
            self._record(WRITE, known.name, offset, ctypes.string_at(data, size // 2))
            write(file, data, size // 2, offset)

        def whole() -> int:
            self._record(WRITE, known.name, offset, ctypes.string_at(data, size))
            return int(write(file, data, size, offset))

        return self._do(WRITE, known.name, whole, torn, growth)

    def _truncate(self, file: int, size: int) -> int:
        known = self._files[file]

        def whole() -> int:
            self._record(TRUNCATE, known.name, size)
            return int(_Truncate(known.methods.truncate)(file, size))

        return self._do(TRUNCATE, known.name, whole)

    def _sync(self, file: int, flags: int) -> int:
        known = self._files[file]

        def whole() -> int:
            result = int(_Sync(known.methods.sync)(file, flags))
            if result == SQLITE_OK:
                self._record(SYNC, known.name, 0)
                if known.syncs_directory:
                    known.syncs_directory = False
                    self._record(SYNC_DIRECTORY, "", 0)
            return result

        return self._do(SYNC, known.name, whole)

    def _delete(self, vfs: int, path: int, sync_directory: int) -> int:
        name = Path(ctypes.string_at(path).decode()).name
        if not name.startswith(_STORE):
            return int(self._real_delete(vfs, path, sync_directory))

        def whole() -> int:
            self._record(DELETE, name, 0)
            result = int(self._real_delete(vfs, path, sync_directory))
            if result == SQLITE_OK and sync_directory:
                self._record(SYNC_DIRECTORY, "", 0)
            return result

        return self._do(DELETE, name, whole)

    # ---- what they do

    def _do(
        self, kind: int, name: str, whole: Callable[[], int], torn: Callable[[], None] = lambda: None, growth: int = 0
    ) -> int:
        plan = self._current_plan()
        moment = plan.moment()
        if moment in ("before", "half"):
            if moment == "half":
                torn()
            os.kill(os.getpid(), signal.SIGKILL)
        code = plan.failure(kind, name, growth)
        result = code or whole()
        if moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def _wrapping(self, address: int) -> _Methods:
        """The same table with our functions in it; one for each table of SQLite's."""
        found = self._wrapped.get(address)
        if found is None:
            found = self._wrapped[address] = _Methods()
            ctypes.memmove(ctypes.addressof(found), address, ctypes.sizeof(_Methods))
            found.close = self._address(_OnFile(self._close))
            found.write = self._address(_Write(self._write))
            found.truncate = self._address(_Truncate(self._truncate))
            found.sync = self._address(_Sync(self._sync))
        return found

    @staticmethod
    def _size(file: int, known: _File) -> int:
        size = _Int64()
        _FileSize(known.methods.file_size)(file, ctypes.byref(size))
        return size.value

    def _record(self, kind: int, name: str, number: int, data: bytes = b"") -> None:
        if self._trace is not None:
            encoded = name.encode()
            os.write(self._trace, HEADER.pack(kind, len(encoded), number, len(data)) + encoded + data)

    def _plan_given(self) -> bool:
        return self._plan_path is not None

    def _current_plan(self) -> Plan:
        if self._plan_path is not None:
            found = os.stat(self._plan_path)  # noqa: PTH116
            state = (found.st_ino, found.st_mtime_ns)
            if state != self._plan_state:
                self._plan_state = state
                self._plan = Plan(json.loads(Path(self._plan_path).read_text()))
        return self._plan


_installed: Injector | None = None


def install() -> None:
    """Put it in front of SQLite, for as long as the process lives, as the environment says."""
    global _installed
    vfs = _find_vfs()
    assert not isinstance(vfs, str), vfs
    _installed = Injector(vfs, os.environ.get("FAULTS_TRACE"), os.environ.get("FAULTS_PLAN"))
