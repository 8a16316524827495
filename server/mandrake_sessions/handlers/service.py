"""``server/*``"""

from __future__ import annotations

from mandrake_sessions.handlers.context import ServiceContext
from mandrake_sessions.protocol.params import NoParams
from mandrake_sessions.protocol.results import Health, Info


def server_health(context: ServiceContext, _: NoParams) -> Health:
    return context.service.health()


def server_info(context: ServiceContext, _: NoParams) -> Info:
    return context.service.info()
