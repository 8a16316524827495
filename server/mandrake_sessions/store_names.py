"""How a call says which store it means."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

# The scope of a call that reads every store.
ALL: Final = "all"


@frozen(cache_hash=True)
class StoreName:
    """``workspace``: one of the client's folders, in one spelling of its path; None for the first. ``uri``: as it was
    given. ``store_id``: one of ``store/list``, in place of the rest."""

    scope: str = "workspace"
    workspace: str | None = None
    uri: str | None = field(default=None, eq=False)
    store_id: str | None = None

    @property
    def is_all(self) -> bool:
        """Whether all stores are meant."""
        return self.scope == ALL

    @property
    def is_any(self) -> bool:
        """Whether other stores may be meant than one of the client's folders, or the user's own."""
        return self.is_all or self.store_id is not None


DEFAULT_STORE = StoreName()
