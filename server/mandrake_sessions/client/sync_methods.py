"""The methods of the server as typed functions that wait. Generated from ``protocol/methods.py`` by ``make docs``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from mandrake_sessions import fields, model
from mandrake_sessions.protocol import params, results


class SyncMethods:
    """One function for each method but those that subscribe. The arguments are the method's params, in snake case.

    ``where``: which store is meant, ``{"scope": "system"}`` or ``{"workspace": uri}``, or for a read ``{"store":
    store_id}``; without it the workspace's.
    Units, defaults and errors: ``docs/protocol.md``.
    """

    def call(self, method: str, given: Mapping[str, Any], where: params.AnyStoreParams | None = None) -> Any:
        raise NotImplementedError

    def session_create(
        self, *, where: params.StoreParams | None = None, **given: Unpack[fields.NewSession]
    ) -> model.Session:
        """Create a session."""
        result: model.Session = self.call("session/create", given, where)
        return result

    def session_get(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.SessionGet]
    ) -> model.Session:
        """One session, by either of its names."""
        result: model.Session = self.call("session/get", given, where)
        return result

    def session_list(
        self, *, where: params.AllStoreParams | None = None, **given: Unpack[params.SessionList]
    ) -> model.SessionPage | model.AllSessions:
        """Sessions, the latest first."""
        result: model.SessionPage | model.AllSessions = self.call("session/list", given, where)
        return result

    def session_update(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.SessionChange]
    ) -> model.Session:
        """Change, archive or bring back a session."""
        result: model.Session = self.call("session/update", given, where)
        return result

    def session_delete(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.SessionId]
    ) -> model.Deleted:
        """Delete a session and all in it."""
        result: model.Deleted = self.call("session/delete", given, where)
        return result

    def session_history(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.SessionHistory]
    ) -> model.History:
        """A conversation, a page at a time."""
        result: model.History = self.call("session/history", given, where)
        return result

    def session_fork(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.SessionFork]
    ) -> model.Session:
        """Copy a session, or its beginning, as a session of its own."""
        result: model.Session = self.call("session/fork", given, where)
        return result

    def session_usage(
        self, *, where: params.AllStoreParams | None = None, **given: Unpack[params.SessionUsage]
    ) -> results.UsageReport | results.AllUsage:
        """What was used: tokens and costs, rounds, turns and tool calls."""
        result: results.UsageReport | results.AllUsage = self.call("session/usage", given, where)
        return result

    def session_search(
        self, *, where: params.AllStoreParams | None = None, **given: Unpack[params.SessionSearch]
    ) -> model.SearchPage | model.AllHits:
        """What was said about something, best first."""
        result: model.SearchPage | model.AllHits = self.call("session/search", given, where)
        return result

    def session_export(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.SessionExport]
    ) -> model.Export:
        """A session as one document."""
        result: model.Export = self.call("session/export", given, where)
        return result

    def store_list(self) -> results.StoreList:
        """The stores that this user has used."""
        result: results.StoreList = self.call("store/list", {})
        return result

    def round_create(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.RoundCreate]
    ) -> model.RoundDetail:
        """Create a round with request and response."""
        result: model.RoundDetail = self.call("round/create", given, where)
        return result

    def round_get(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.RoundId]
    ) -> model.RoundDetail:
        """One round."""
        result: model.RoundDetail = self.call("round/get", given, where)
        return result

    def round_update(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.RoundChange]
    ) -> model.RoundDetail:
        """Replace a round's metadata."""
        result: model.RoundDetail = self.call("round/update", given, where)
        return result

    def round_list(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.RoundList]
    ) -> model.RoundPage:
        """The rounds of a session, by index."""
        result: model.RoundPage = self.call("round/list", given, where)
        return result

    def round_delete(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.RoundDelete]
    ) -> model.Deleted:
        """Delete a round, or it and all later ones."""
        result: model.Deleted = self.call("round/delete", given, where)
        return result

    def request_get(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.RequestId]
    ) -> model.Request:
        """One request."""
        result: model.Request = self.call("request/get", given, where)
        return result

    def request_update(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.RequestChange]
    ) -> model.Request:
        """Change a request."""
        result: model.Request = self.call("request/update", given, where)
        return result

    def response_get(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.ResponseId]
    ) -> model.Response:
        """One response, without its turns."""
        result: model.Response = self.call("response/get", given, where)
        return result

    def response_update(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.ResponseChange]
    ) -> model.Response:
        """Set the status of a response."""
        result: model.Response = self.call("response/update", given, where)
        return result

    def response_status(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.ResponseStatusGet]
    ) -> model.ResponseProgress:
        """A response, its turns, and whether one of them streams."""
        result: model.ResponseProgress = self.call("response/status", given, where)
        return result

    def turn_create(self, *, where: params.StoreParams | None = None, **given: Unpack[params.TurnCreate]) -> model.Turn:
        """Begin to stream a turn, or store a whole one."""
        result: model.Turn = self.call("turn/create", given, where)
        return result

    def turn_append(
        self, *, where: params.StoreParams | None = None, **given: Unpack[fields.TurnPiece]
    ) -> model.Appended:
        """Store the next piece of a turn's text."""
        result: model.Appended = self.call("turn/append", given, where)
        return result

    def turn_update(self, *, where: params.StoreParams | None = None, **given: Unpack[params.TurnChange]) -> model.Turn:
        """Change or end a turn."""
        result: model.Turn = self.call("turn/update", given, where)
        return result

    def turn_get(self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.TurnGet]) -> model.Turn:
        """One turn."""
        result: model.Turn = self.call("turn/get", given, where)
        return result

    def turn_delete(self, *, where: params.StoreParams | None = None, **given: Unpack[params.TurnId]) -> model.Deleted:
        """Delete a turn."""
        result: model.Deleted = self.call("turn/delete", given, where)
        return result

    def turn_list(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.TurnList]
    ) -> model.TurnPage:
        """The turns of a response, by index."""
        result: model.TurnPage = self.call("turn/list", given, where)
        return result

    def turn_latest(
        self, *, where: params.ReadStoreParams | None = None, **given: Unpack[params.TurnLatest]
    ) -> model.Turn | None:
        """The turn of the highest index, with its `rawResponse`, or null."""
        result: model.Turn | None = self.call("turn/latest", given, where)
        return result

    def tool_call_upsert(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.ToolCallUpsert]
    ) -> model.ToolCall:
        """Store or change a tool call."""
        result: model.ToolCall = self.call("toolCall/upsert", given, where)
        return result

    def tool_call_delete(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.ToolCallId]
    ) -> model.ToolCallDeleted:
        """Delete a tool call."""
        result: model.ToolCallDeleted = self.call("toolCall/delete", given, where)
        return result

    def transaction_run(
        self, *, where: params.StoreParams | None = None, **given: Unpack[params.TransactionRun]
    ) -> results.TransactionResults:
        """Several writes in one BEGIN IMMEDIATE: all or nothing."""
        result: results.TransactionResults = self.call("transaction/run", given, where)
        return result

    def rpc_discover(self) -> model.JsonObject:
        """This protocol as an OpenRPC document."""
        result: model.JsonObject = self.call("rpc.discover", {})
        return result

    def server_health(self) -> results.Health:
        """The status of each store."""
        result: results.Health = self.call("server/health", {})
        return result

    def server_info(self) -> results.Info:
        """The server: versions, limits, methods, counts."""
        result: results.Info = self.call("server/info", {})
        return result
