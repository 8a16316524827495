"""``store/*``"""

from __future__ import annotations

from mandrake_sessions.handlers.registry import handle_stores
from mandrake_sessions.protocol import methods

handle_stores(methods.STORE_LIST, lambda context, _: context.stores.listed())
