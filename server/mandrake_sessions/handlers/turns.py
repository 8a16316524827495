"""``turn/*``, but for subscriptions"""

from __future__ import annotations

from mandrake_sessions.fields import TurnPiece
from mandrake_sessions.handlers.context import StoreContext
from mandrake_sessions.model import Appended, Deleted, Turn, TurnPage
from mandrake_sessions.protocol.params import (
    TurnChange,
    TurnCreate,
    TurnGet,
    TurnId,
    TurnLatest,
    TurnList,
)


def turn_create(context: StoreContext, params: TurnCreate) -> Turn:
    return context.manager.create_turn(**params, lazily=True)


def turn_append(context: StoreContext, params: TurnPiece) -> Appended:
    return context.manager.append_turn(**params)


def turn_update(context: StoreContext, params: TurnChange) -> Turn:
    return context.manager.update_turn(**params, lazily=True)


def turn_get(context: StoreContext, params: TurnGet) -> Turn:
    return context.manager.get_turn(**params, lazily=True)


def turn_delete(context: StoreContext, params: TurnId) -> Deleted:
    return context.manager.delete_turn(**params)


def turn_list(context: StoreContext, params: TurnList) -> TurnPage:
    return context.manager.list_turns(**params, lazily=True)


def turn_latest(context: StoreContext, params: TurnLatest) -> Turn | None:
    return context.manager.latest_turn(**params, lazily=True)
