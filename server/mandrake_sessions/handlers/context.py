"""What a handler is given beside its params."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from attrs import frozen

from mandrake_sessions.model import FeedStart, Scope
from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.protocol.results import Health, Info, StoreList
from mandrake_sessions.store_names import StoreName
from mandrake_sessions.value import Value

if TYPE_CHECKING:
    from mandrake_sessions.operations.joining import Joining

R = TypeVar("R")


class Beginning(Protocol):
    """Where subscriptions begin; they are sent nothing before their answer."""

    def follow_turns(self, manager: Conversations, scope: Scope, start: FeedStart, *, raw: bool, text: bool) -> str:
        """Send ``turn/updated`` from ``start`` on; gives the subscription's id."""

    def follow_sessions(self, manager: Conversations, scope: Scope, start: FeedStart) -> str:
        """Send ``session/updated`` from ``start`` on; gives the subscription's id."""


class Subscriptions(Protocol):
    """The subscriptions of the connection."""

    def end(self, subscription_id: str, *, turns: bool) -> bool:
        """Send nothing more for a subscription to turns, or to sessions; whether there was one."""


class Stores(Protocol):
    """All stores of the user."""

    def listed(self) -> StoreList: ...

    def joined(self, joining: Joining[Any, R]) -> R:
        """What all of them give that can be read, as one result."""


class Service(Protocol):
    """The server itself."""

    def health(self) -> Health: ...

    def info(self) -> Info: ...


@frozen(eq=False, repr=False)
class StoreContext(Value):
    """For a method that is about a store."""

    store: StoreName
    manager: Conversations
    subscriptions: Beginning


@frozen(eq=False, repr=False)
class SubscriptionContext(Value):
    """For a method that ends a subscription, whatever store it is of."""

    subscriptions: Subscriptions


@frozen(eq=False, repr=False)
class StoresContext(Value):
    """For a method that is about all stores."""

    stores: Stores


@frozen(eq=False, repr=False)
class ServiceContext(Value):
    """For a method that is about the server."""

    service: Service
