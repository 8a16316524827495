"""``session/*``"""

from __future__ import annotations

from mandrake_sessions.fields import NewSession
from mandrake_sessions.handlers.context import StoreContext
from mandrake_sessions.model import Deleted, History, Session, SessionPage
from mandrake_sessions.protocol.params import SessionChange, SessionGet, SessionHistory, SessionId, SessionList


def session_create(context: StoreContext, params: NewSession) -> Session:
    return context.manager.create_session(**params)


def session_get(context: StoreContext, params: SessionGet) -> Session:
    return context.manager.get_session(**params)


def session_list(context: StoreContext, params: SessionList) -> SessionPage:
    return context.manager.list_sessions(**params, lazily=True)


def session_update(context: StoreContext, params: SessionChange) -> Session:
    return context.manager.update_session(**params)


def session_delete(context: StoreContext, params: SessionId) -> Deleted:
    return context.manager.delete_session(**params)


def session_history(context: StoreContext, params: SessionHistory) -> History:
    return context.manager.history(**params, lazily=True)
