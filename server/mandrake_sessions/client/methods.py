"""The methods of the server as typed functions. Generated from ``protocol/methods.py`` by ``make docs``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from mandrake_sessions import fields, model
from mandrake_sessions.protocol import params, results


class Methods:
    """One function for each method but those that subscribe. The arguments are the method's params, in snake case.

    ``where``: which store is meant, ``{"scope": "system"}`` or ``{"workspace": uri}``, or for a read ``{"store":
    store_id}``; without it the workspace's.
    Units, defaults and errors: ``docs/protocol.md``.
    """

    async def call(self, method: str, given: Mapping[str, Any], where: params.AnyStoreParams | None = None) -> Any:
        raise NotImplementedError

    async def session_create(
        self, *, where: params.StoreParams | None = None, **given: Unpack[fields.NewSession]
    ) -> model.Session:
        """Create a session."""
        result: model.Session = await self.call("session/create", given, where)
        return result

    async def session_get(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.SessionGet]
    ) -> model.Session:
        """One session, by either of its names."""
        result: model.Session = await self.call("session/get", given, where)
        return result

    async def session_list(
        self, *, where: params.AllStoreParams | None = None, **given: Unpack[params.SessionList]
    ) -> model.SessionPage | model.AllSessions:
        """Sessions, the latest first."""
        result: model.SessionPage | model.AllSessions = await self.call("session/list", given, where)
        return result

    async def session_update(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.SessionChange]
    ) -> model.Session:
        """Change, archive or bring back a session."""
        result: model.Session = await self.call("session/update", given, where)
        return result

    async def session_delete(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.SessionId]
    ) -> model.Deleted:
        """Delete a session and all in it."""
        result: model.Deleted = await self.call("session/delete", given, where)
        return result

    async def session_history(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.SessionHistory]
    ) -> model.History:
        """A conversation, a page at a time."""
        result: model.History = await self.call("session/history", given, where)
        return result

    async def session_fork(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.SessionFork]
    ) -> model.Session:
        """Copy a session, or its beginning, as a session of its own."""
        result: model.Session = await self.call("session/fork", given, where)
        return result

    async def session_usage(
        self, *, where: params.AllStoreParams | None = None, **given: Unpack[params.SessionUsage]
    ) -> results.UsageReport | results.AllUsage:
        """What was used: tokens and costs, rounds, turns and tool calls."""
        result: results.UsageReport | results.AllUsage = await self.call("session/usage", given, where)
        return result

    async def session_search(
        self, *, where: params.AllStoreParams | None = None, **given: Unpack[params.SessionSearch]
    ) -> model.SearchPage | model.AllHits:
        """What was said about something, best first."""
        result: model.SearchPage | model.AllHits = await self.call("session/search", given, where)
        return result

    async def session_export(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.SessionExport]
    ) -> model.Export:
        """A session as one document."""
        result: model.Export = await self.call("session/export", given, where)
        return result

    async def store_list(self) -> results.StoreList:
        """The stores that this user has used."""
        result: results.StoreList = await self.call("store/list", {})
        return result

    async def round_create(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.RoundCreate]
    ) -> model.RoundDetail:
        """Create a round with request and response."""
        result: model.RoundDetail = await self.call("round/create", given, where)
        return result

    async def round_get(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.RoundId]
    ) -> model.RoundDetail:
        """One round."""
        result: model.RoundDetail = await self.call("round/get", given, where)
        return result

    async def round_update(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.RoundChange]
    ) -> model.RoundDetail:
        """Replace a round's metadata."""
        result: model.RoundDetail = await self.call("round/update", given, where)
        return result

    async def round_list(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.RoundList]
    ) -> model.RoundPage:
        """The rounds of a session, by index."""
        result: model.RoundPage = await self.call("round/list", given, where)
        return result

    async def round_delete(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.RoundDelete]
    ) -> model.Deleted:
        """Delete a round, or it and all later ones."""
        result: model.Deleted = await self.call("round/delete", given, where)
        return result

    async def request_get(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.RequestId]
    ) -> model.Request:
        """One request."""
        result: model.Request = await self.call("request/get", given, where)
        return result

    async def request_update(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.RequestChange]
    ) -> model.Request:
        """Change a request."""
        result: model.Request = await self.call("request/update", given, where)
        return result

    async def response_get(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.ResponseId]
    ) -> model.Response:
        """One response, without its turns."""
        result: model.Response = await self.call("response/get", given, where)
        return result

    async def response_update(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.ResponseChange]
    ) -> model.Response:
        """Set the status of a response."""
        result: model.Response = await self.call("response/update", given, where)
        return result

    async def response_status(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.ResponseStatusGet]
    ) -> model.ResponseProgress:
        """A response, its turns, and whether one of them streams."""
        result: model.ResponseProgress = await self.call("response/status", given, where)
        return result

    async def turn_create(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.TurnCreate]
    ) -> model.Turn:
        """Begin to stream a turn, or store a whole one."""
        result: model.Turn = await self.call("turn/create", given, where)
        return result

    async def turn_append(
        self, *, where: params.StoreParams | None = None, **given: Unpack[fields.TurnPiece]
    ) -> model.Appended:
        """Store the next piece of a turn's text."""
        result: model.Appended = await self.call("turn/append", given, where)
        return result

    async def turn_update(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.TurnChange]
    ) -> model.Turn:
        """Change or end a turn."""
        result: model.Turn = await self.call("turn/update", given, where)
        return result

    async def turn_get(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.TurnGet]
    ) -> model.Turn:
        """One turn."""
        result: model.Turn = await self.call("turn/get", given, where)
        return result

    async def turn_delete(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.TurnId]
    ) -> model.Deleted:
        """Delete a turn."""
        result: model.Deleted = await self.call("turn/delete", given, where)
        return result

    async def turn_list(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.TurnList]
    ) -> model.TurnPage:
        """The turns of a response, by index."""
        result: model.TurnPage = await self.call("turn/list", given, where)
        return result

    async def turn_latest(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.TurnLatest]
    ) -> model.Turn | None:
        """The turn of the highest index, with its `rawResponse`, or null."""
        result: model.Turn | None = await self.call("turn/latest", given, where)
        return result

    async def tool_call_upsert(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.ToolCallUpsert]
    ) -> model.ToolCall:
        """Store or change a tool call."""
        result: model.ToolCall = await self.call("toolCall/upsert", given, where)
        return result

    async def tool_call_delete(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.ToolCallId]
    ) -> model.ToolCallDeleted:
        """Delete a tool call."""
        result: model.ToolCallDeleted = await self.call("toolCall/delete", given, where)
        return result

    async def transaction_run(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.TransactionRun]
    ) -> results.TransactionResults:
        """Several writes in one BEGIN IMMEDIATE: all or nothing."""
        result: results.TransactionResults = await self.call("transaction/run", given, where)
        return result

    async def rpc_discover(self) -> model.JsonObject:
        """This protocol as an OpenRPC document."""
        result: model.JsonObject = await self.call("rpc.discover", {})
        return result

    async def server_health(self) -> results.Health:
        """The status of each store."""
        result: results.Health = await self.call("server/health", {})
        return result

    async def server_info(self) -> results.Info:
        """The server: versions, limits, methods, counts."""
        result: results.Info = await self.call("server/info", {})
        return result
