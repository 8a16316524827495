"""What the server tells of itself: ``server/health`` and ``server/info``."""

from __future__ import annotations

import os
import platform
import shutil
import time
from pathlib import Path

from mandrake_sessions.connection.stores import StorePlace, Stores
from mandrake_sessions.errors import SessionsError, StorageFailure, StorageReason
from mandrake_sessions.ids import now_ms
from mandrake_sessions.limits import MAX_JSON_DEPTH, MAX_LIMIT, MAX_TEXT_BYTES
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.protocol.methods import PROTOCOL_VERSION
from mandrake_sessions.protocol.results import Health, Info, Limits, StoreHealth, StoreInfo
from mandrake_sessions.version import __version__

NAME = "mandrake-sessions"
_SEVERITY = ("ok", "degraded", "down")
_DEGRADED = frozenset({StorageReason.FULL, StorageReason.READ_ONLY})


class ServerService:
    """See ``handlers.context.Service``."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def health(self) -> Health:
        stores = [_store_health(place, manager) for place, manager in self._stores.all_open().items()]
        return Health(max((store.status for store in stores), key=_SEVERITY.index, default="ok"), stores)

    def info(self) -> Info:
        stores = [
            StoreInfo(place.scope, place.workspace, place.path, _store_id(manager))
            for place, manager in self._stores.all_open().items()
        ]
        limits = Limits(self._stores.settings.max_message_bytes, MAX_TEXT_BYTES, MAX_JSON_DEPTH, MAX_LIMIT)
        return Info(
            name=NAME,
            version=__version__,
            protocol_version=PROTOCOL_VERSION,
            sqlite_version=SessionManager.sqlite_version(),
            python_version=platform.python_version(),
            pid=os.getpid(),
            workspace=self._stores.workspace,
            stores=stores,
            limits=limits,
        )


def _store_id(manager: SessionManager) -> str | None:
    try:
        return manager.store_id()
    except SessionsError:
        return None


def _store_health(place: StorePlace, manager: SessionManager) -> StoreHealth:
    """A store as it answers now: reading its name is the check."""
    begun = time.perf_counter()
    error: SessionsError | None = None
    store_id = None
    try:
        store_id = manager.store_id()
    except SessionsError as found:
        error = found
    took_ms = (time.perf_counter() - begun) * 1000
    state = manager.state()
    return StoreHealth(
        scope=place.scope,
        workspace=place.workspace,
        path=place.path,
        store_id=store_id,
        open=error is None,
        status=_status(error, state.read_only),
        schema_version=state.schema_version,
        ref_count=state.references,
        last_check_at=now_ms(),
        last_check_ms=round(took_ms, 3),
        wal_bytes=_size(place.path + "-wal"),
        db_bytes=_size(place.path),
        free_bytes=_free(place.path),
        reconnects=0,
        busy_retries=state.busy_retries,
        last_error=None if error is None else str(error),
        warnings=_warnings(state.read_only),
    )


def _status(error: SessionsError | None, read_only: bool) -> str:
    if error is None:
        return "degraded" if read_only else "ok"
    return "degraded" if isinstance(error, StorageFailure) and error.reason in _DEGRADED else "down"


def _warnings(read_only: bool) -> list[str]:
    warnings = []
    if read_only:
        warnings.append("the file may only be read")
    if SessionManager.has_wal_reset_bug():
        warnings.append(
            f"SQLite {SessionManager.sqlite_version()} has the WAL-reset bug; use 3.51.3, 3.50.7, 3.44.6 or newer"
        )
    return warnings


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _free(path: str) -> int | None:
    """What is free on the disk that holds the file."""
    try:
        return shutil.disk_usage(Path(path).parent).free
    except OSError:
        return None
