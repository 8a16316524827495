"""A client: it starts a server process, calls the server's methods and follows changes in the store.

    async with Client("/path/of/a/workspace") as client:
        session = await client.session_create(title="A question")
        async with client.follow_turns(session_id=session.id) as changes:
            async for change in changes:
                ...

``SyncClient`` is the same for programs without an event loop. Entities and notifications are the classes of
``mandrake_sessions.model`` and ``mandrake_sessions.protocol.results``.
Importing this package loads neither the store nor SQLite. Only asyncio and the standard library are used beside attrs.
"""

from mandrake_sessions.client.changes import apply
from mandrake_sessions.client.client import SERVER, Client, Notification
from mandrake_sessions.client.errors import ClientError, NotAnswered, RequestFailed, ServerEnded
from mandrake_sessions.client.subscription import Subscription
from mandrake_sessions.client.sync import SyncClient, SyncSubscription

__all__ = [
    "SERVER",
    "Client",
    "ClientError",
    "NotAnswered",
    "Notification",
    "RequestFailed",
    "ServerEnded",
    "Subscription",
    "SyncClient",
    "SyncSubscription",
    "apply",
]
