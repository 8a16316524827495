"""``round/*``"""

from __future__ import annotations

from mandrake_sessions.handlers.context import StoreContext
from mandrake_sessions.model import Deleted, RoundDetail, RoundPage
from mandrake_sessions.protocol.params import RoundChange, RoundCreate, RoundDelete, RoundId, RoundList


def round_create(context: StoreContext, params: RoundCreate) -> RoundDetail:
    return context.manager.create_round(**params)


def round_get(context: StoreContext, params: RoundId) -> RoundDetail:
    return context.manager.get_round(**params)


def round_update(context: StoreContext, params: RoundChange) -> RoundDetail:
    return context.manager.update_round(**params)


def round_list(context: StoreContext, params: RoundList) -> RoundPage:
    return context.manager.list_rounds(**params, lazily=True)


def round_delete(context: StoreContext, params: RoundDelete) -> Deleted:
    return context.manager.delete_round(**params)
