"""What the server tells of itself: ``server/health`` and ``server/info``."""

from __future__ import annotations

import os
import platform
import shutil
import time
from pathlib import Path

from mandrake_sessions import limits
from mandrake_sessions.connection.stores import StorePlace, Stores
from mandrake_sessions.errors import Busy, SessionsError, StorageFailure, StorageReason, StoreError
from mandrake_sessions.ids import now_ms
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
        stores = [_store_health(place, found) for place, found in self._stores.known().items()]
        return Health(max((store.status for store in stores), key=_SEVERITY.index, default="ok"), stores)

    def info(self) -> Info:
        stores = [
            StoreInfo(place.scope, place.workspace, place.path, _store_id(found))
            for place, found in self._stores.known().items()
        ]
        return Info(
            name=NAME,
            version=__version__,
            protocol_version=PROTOCOL_VERSION,
            sqlite_version=SessionManager.sqlite_version(),
            python_version=platform.python_version(),
            pid=os.getpid(),
            workspace=self._stores.workspace,
            stores=stores,
            limits=_limits(self._stores.settings.max_message_bytes),
        )


def _limits(max_message_bytes: int) -> Limits:
    return Limits(
        max_message_bytes=max_message_bytes,
        max_text_bytes=limits.MAX_TEXT_BYTES,
        max_metadata_bytes=limits.MAX_METADATA_BYTES,
        max_depth=limits.MAX_JSON_DEPTH,
        max_integer_digits=limits.MAX_INTEGER_DIGITS,
        max_limit=limits.MAX_LIMIT,
        max_subscriptions=limits.MAX_SUBSCRIPTIONS,
        max_operations=limits.MAX_OPERATIONS,
        max_batch=limits.MAX_BATCH,
        max_pending=limits.MAX_PENDING,
        max_pending_bytes=limits.MAX_PENDING_BYTES,
    )


def _store_id(found: SessionManager | StoreError | None) -> str | None:
    try:
        return found.store_id() if isinstance(found, SessionManager) else None
    except SessionsError:
        return None


def _store_health(place: StorePlace, found: SessionManager | StoreError | None) -> StoreHealth:
    """A store as it answers now: reading its name is the check. One that nobody has opened yet is well."""
    begun = time.perf_counter()
    error: SessionsError | None = found if isinstance(found, StoreError) else None
    store_id = state = None
    if isinstance(found, SessionManager):
        try:
            state = found.state()
            store_id = found.store_id()
        except SessionsError as failed:
            error = failed
    took_ms = (time.perf_counter() - begun) * 1000
    read_only = state is not None and state.read_only
    return StoreHealth(
        scope=place.scope,
        workspace=place.workspace,
        path=place.path,
        store_id=store_id,
        open=state is not None and error is None,
        status=_status(error, read_only),
        schema_version=None if state is None else state.schema_version,
        ref_count=0 if state is None else state.references,
        last_check_at=now_ms(),
        last_check_ms=round(took_ms, 3),
        wal_bytes=_size(place.path + "-wal"),
        db_bytes=_size(place.path),
        free_bytes=_free(place.path),
        reconnects=0,
        busy_retries=0 if state is None else state.busy_retries,
        last_error=None if error is None else str(error),
        warnings=_warnings(read_only),
    )


def _status(error: SessionsError | None, read_only: bool) -> str:
    if error is None:
        return "degraded" if read_only else "ok"
    passing = isinstance(error, Busy) or (isinstance(error, StorageFailure) and error.reason in _DEGRADED)
    return "degraded" if passing else "down"


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
    """What is free on the disk that holds the file, or would."""
    directory = Path(path).parent
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None
