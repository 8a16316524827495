"""What the server tells of itself: ``server/health`` and ``server/info``."""

from __future__ import annotations

import os
import platform

from mandrake_sessions import limits
from mandrake_sessions.connection.conditions import Conditions
from mandrake_sessions.connection.health_monitor import HealthMonitor
from mandrake_sessions.connection.metrics import Metrics
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.protocol.methods import METHODS, PROTOCOL_VERSION
from mandrake_sessions.protocol.results import Health, Info, Limits, StoreInfo
from mandrake_sessions.store.engines import sqlite_version
from mandrake_sessions.version import __version__

NAME = "mandrake-sessions"


class ServerService:
    """See ``handlers.context.Service``."""

    def __init__(self, stores: OpenStores, conditions: Conditions, monitor: HealthMonitor, metrics: Metrics) -> None:
        self._stores = stores
        self._conditions = conditions
        self._monitor = monitor
        self._metrics = metrics

    def health(self) -> Health:
        return self._monitor.health()

    def info(self) -> Info:
        stores = [
            StoreInfo(place.scope, place.workspace, place.path, self._conditions.store_id(place, found))
            for place, found in self._stores.known().items()
        ]
        return Info(
            name=NAME,
            version=__version__,
            protocol_version=PROTOCOL_VERSION,
            sqlite_version=sqlite_version(),
            python_version=platform.python_version(),
            pid=os.getpid(),
            workspace=self._stores.places.workspace,
            stores=stores,
            limits=_limits(self._stores.settings.max_message_bytes),
            methods=list(METHODS),
            calls=self._metrics.statistics(),
        )


def _limits(max_message_bytes: int) -> Limits:
    return Limits(
        max_message_bytes=max_message_bytes,
        max_text_bytes=limits.MAX_TEXT_BYTES,
        max_metadata_bytes=limits.MAX_METADATA_BYTES,
        max_depth=limits.MAX_JSON_DEPTH,
        max_values=limits.MAX_VALUES,
        max_integer_digits=limits.MAX_INTEGER_DIGITS,
        max_limit=limits.MAX_LIMIT,
        max_subscriptions=limits.MAX_SUBSCRIPTIONS,
        max_operations=limits.MAX_OPERATIONS,
        max_batch=limits.MAX_BATCH,
        max_pending=limits.MAX_PENDING,
        max_pending_bytes=limits.MAX_PENDING_BYTES,
    )
