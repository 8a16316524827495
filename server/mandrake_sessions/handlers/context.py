"""What a handler is given beside its params."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from mandrake_sessions.model import FeedStart, Scope
from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.protocol.results import Health, Info
from mandrake_sessions.protocol.store_params import StoreName


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


class Service(Protocol):
    """The server itself."""

    def health(self) -> Health: ...

    def info(self) -> Info: ...


@frozen
class StoreContext:
    """For a method that is about a store."""

    store: StoreName
    manager: Conversations
    subscriptions: Beginning


@frozen
class SubscriptionContext:
    """For a method that ends a subscription, whatever store it is of."""

    subscriptions: Subscriptions


@frozen
class ServiceContext:
    """For a method that is about the server."""

    service: Service
