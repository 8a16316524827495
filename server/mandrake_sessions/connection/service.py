"""What the server tells of itself: ``server/health`` and ``server/info``."""

from __future__ import annotations

import os
import platform

from mandrake_sessions.connection.health import HealthMonitor
from mandrake_sessions.connection.metrics import Metrics
from mandrake_sessions.connection.stores import Stores
from mandrake_sessions.errors import SessionsError, StoreError
from mandrake_sessions.limits import MAX_JSON_DEPTH, MAX_LIMIT, MAX_TEXT_BYTES
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.protocol.methods import PROTOCOL_VERSION
from mandrake_sessions.protocol.results import Health, Info, Limits, StoreInfo
from mandrake_sessions.version import __version__

NAME = "mandrake-sessions"


class ServerService:
    """See ``handlers.context.Service``."""

    def __init__(self, stores: Stores, monitor: HealthMonitor, metrics: Metrics) -> None:
        self._stores = stores
        self._monitor = monitor
        self._metrics = metrics

    def health(self) -> Health:
        return self._monitor.health()

    def info(self) -> Info:
        stores = [
            StoreInfo(place.scope, place.workspace, place.path, _store_id(found))
            for place, found in self._stores.known().items()
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
            methods=self._metrics.statistics(),
        )


def _store_id(found: SessionManager | StoreError | None) -> str | None:
    try:
        return found.check() if isinstance(found, SessionManager) else None
    except SessionsError:
        return None
