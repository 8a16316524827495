"""The Agent Trajectory Interchange Format, as Harbor specifies it (RFC 0001, version 1.8).

docs/export.md says how a session becomes a trajectory, and what has no place in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from mandrake_sessions.exports.conversation import Conversation, is_long, slices
from mandrake_sessions.exports.json_parts import Fields, Rows, Text, encode, json_parts
from mandrake_sessions.exports.times import iso
from mandrake_sessions.exports.totals import Totals, cost_of_turn
from mandrake_sessions.exports.wire_fields import wire_fields
from mandrake_sessions.model import HistoryRound, Origin, Response, Session, ToolCall, Turn, TurnStatus
from mandrake_sessions.redaction import Cleaner
from mandrake_sessions.version import __version__

VERSION = "ATIF-v1.8"
# The format requires a name and a version of the agent.
_UNKNOWN = "unknown"
_NOTE = f"Exported by mandrake-sessions {__version__}."
_EMPTY = " The session has no steps; the format wants one, so an empty one stands here."
# What the members of a trajectory say already, or what is about the store.
_NOT_IN_EXTRA = ("id", "agent", "seq", "preview", "round_count", "streaming")


def parts(conversation: Conversation, cleaner: Cleaner) -> Iterator[str]:
    yield from json_parts(_Trajectory(conversation, cleaner).all())
    yield "\n"


class _Trajectory:
    def __init__(self, conversation: Conversation, cleaner: Cleaner) -> None:
        self._conversation = conversation
        self._cleaner = cleaner
        self._totals = Totals()
        self._steps = 0
        self._is_empty = False

    def all(self) -> Fields:
        return Fields(self._members())

    def _members(self) -> Iterator[tuple[str, Any]]:
        session = self._conversation.session
        yield "schema_version", VERSION
        yield "session_id", session.id
        yield "trajectory_id", session.id
        yield "agent", self._cleaner.json({"name": session.agent or _UNKNOWN, "version": _UNKNOWN})
        yield "steps", Rows(map(Fields, self._all_steps()))
        yield "notes", _NOTE + (_EMPTY if self._is_empty else "")
        yield "final_metrics", self._final_metrics()
        about = _said(_in_iso(wire_fields(session, Session, *_NOT_IN_EXTRA)))
        yield "extra", self._cleaner.json(about) | {"redacted": self._cleaner.count}

    # ---- steps

    def _all_steps(self) -> Iterator[Iterator[tuple[str, Any]]]:
        for each in self._conversation.rounds():
            yield from self._round(each)
        if not self._steps:
            self._is_empty = True
            yield self._step(None, "system", [("message", "")])

    def _round(self, each: HistoryRound) -> Iterator[Iterator[tuple[str, Any]]]:
        is_copied = each.copied_from_id is not None
        about = {"round": self._about_round(each)}
        if each.request.content or each.origin is not Origin.AGENT:
            source = "user" if each.origin is Origin.USER else "system"
            message = Text(self._cleaner.slices(slices(each.request.content)))
            yield self._step(each.created_at, source, [("message", message)], about, is_copied=is_copied)
            about = {}
        totals = Totals()
        for turn in each.response.turns:
            totals.add(turn)
            yield self._turn(turn, about, is_copied=is_copied)
            about = {}
        totals.close(each.response)
        self._totals.join(totals)

    def _about_round(self, each: HistoryRound) -> dict[str, Any]:
        response = _said(_in_iso(wire_fields(each.response, Response, "round_id", "created_at", "updated_at")))
        blocks = each.request.blocks
        about = {
            "id": each.id,
            "requestId": each.request.id,
            "origin": each.origin.value,
            "blocks": blocks,
            "metadata": each.metadata or None,
        }
        return _said(about | {"copiedFromId": each.copied_from_id, "response": response})

    def _turn(self, turn: Turn, about: dict[str, Any], *, is_copied: bool) -> Iterator[tuple[str, Any]]:
        text = Text(self._cleaner.slices(slices(turn.content)))
        about = about | {"turn": self._about_turn(turn)}
        if turn.kind == "tool_output":
            # Only a step that has the call may name it as the source.
            result = Fields((("content", text), ("extra", self._cleaner.json({"toolCallId": turn.tool_call_id}))))
            members: list[tuple[str, Any]] = [("message", ""), ("observation", {"results": [result]})]
            more = self._of_agents_alone(turn)
            return self._step(turn.stream_start_time, "system", members, about, more, is_copied=is_copied)
        members = [("model_name", self._cleaner.text(turn.model))] if turn.model else []
        members += [("message", ""), ("reasoning_content", text)] if turn.kind == "thought" else [("message", text)]
        return self._step(
            turn.stream_start_time, "agent", self._agent_members(turn, members), about, is_copied=is_copied
        )

    def _of_agents_alone(self, turn: Turn) -> Iterator[tuple[str, Any]]:
        """What only a step of an agent may have, for the ``extra`` of another step."""
        if turn.model:
            yield "modelName", self._cleaner.text(turn.model)
        yield from self._agent_members(turn, [])

    def _agent_members(self, turn: Turn, members: list[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        yield from members
        calls = iter(turn.tool_calls)
        first = next(calls, None)
        if first is not None:
            yield "tool_calls", Rows(self._calls(first, calls))
            again = self._conversation.again(turn) if is_long(turn) else turn
            yield "observation", Fields((("results", Rows(self._results(again.tool_calls))),))
        if metrics := _metrics(turn):
            yield "metrics", metrics

    def _step(
        self,
        at: int | None,
        source: str,
        members: Iterable[tuple[str, Any]],
        extra: dict[str, Any] | None = None,
        more: Iterable[tuple[str, Any]] = (),
        *,
        is_copied: bool = False,
    ) -> Iterator[tuple[str, Any]]:
        """``more``: further members of ``extra``, where there is one."""
        self._steps += 1
        yield "step_id", self._steps
        if (timestamp := iso(at)) is not None:
            yield "timestamp", timestamp
        yield "source", source
        yield from members
        if is_copied:
            yield "is_copied_context", True
        if extra:
            yield "extra", Fields(chain(self._cleaner.json(extra).items(), more))

    def _about_turn(self, turn: Turn) -> dict[str, Any]:
        kind = turn.kind if turn.kind != "message" else None
        status = turn.status.value if turn.status is not TurnStatus.COMPLETED else None
        about = {
            "id": turn.id,
            "kind": kind,
            "status": status,
            "error": turn.error,
            "endTime": iso(turn.stream_end_time),
            "createdAt": iso(turn.created_at) if turn.created_at != turn.stream_start_time else None,
            # The output of a tool says it with the result.
            "toolCallId": turn.tool_call_id if turn.kind != "tool_output" else None,
            "inputCost": turn.input_cost or None,
            "outputCost": turn.output_cost or None,
        }
        return _said(about | {"metadata": turn.metadata or None})

    # ---- tool calls

    def _calls(self, first: ToolCall, others: Iterable[ToolCall]) -> Iterator[dict[str, Any]]:
        for call in chain((first,), others):
            given = {} if call.arguments is None else call.arguments
            about = _said(_in_iso(wire_fields(call, ToolCall, "id", "arguments", "response", "content")))
            yield self._cleaner.json(
                {
                    "tool_call_id": call.id,
                    "function_name": call.method_name or call.title or call.kind or _UNKNOWN,
                    "arguments": given if isinstance(given, dict) else {"value": given},
                    "extra": about,
                }
            )

    def _results(self, calls: Iterable[ToolCall]) -> Iterator[dict[str, Any]]:
        for call in calls:
            for field, value in (("response", call.response), ("content", call.content)):
                if value is not None:
                    shown = self._cleaner.json({"source_call_id": call.id, "content": value})
                    content = shown["content"]
                    text = content if isinstance(content, str) else encode(content)
                    yield shown | {"content": text, "extra": {"field": field}}

    # ---- metrics

    def _final_metrics(self) -> dict[str, Any]:
        tokens, costs = self._totals.tokens, self._totals.costs
        others = {currency: self._totals.cost(currency) for currency in sorted(costs) if currency != "USD"}
        has_usd = "USD" in costs or not costs
        return {
            "total_prompt_tokens": tokens["input_tokens"],
            "total_completion_tokens": tokens["output_tokens"],
            "total_cached_tokens": tokens["cache_read_tokens"],
            **({"total_cost_usd": self._totals.cost("USD")} if has_usd else {}),
            "total_steps": self._steps,
            "extra": {
                "thoughtTokens": tokens["thought_tokens"],
                "cacheWriteTokens": tokens["cache_write_tokens"],
                **({"costs": others} if others else {}),
            },
        }


def _metrics(turn: Turn) -> dict[str, Any]:
    """Empty where nothing is known."""
    cost = cost_of_turn(turn)
    said = {
        "prompt_tokens": turn.input_tokens or None,
        "completion_tokens": turn.output_tokens or None,
        "cached_tokens": turn.cache_read_tokens,
        "cost_usd": (cost or turn.cost) if turn.currency == "USD" else None,
        "extra": _said(
            {
                "thoughtTokens": turn.thought_tokens,
                "cacheWriteTokens": turn.cache_write_tokens,
                "cost": {"amount": cost, "currency": turn.currency} if cost and turn.currency != "USD" else None,
            }
        )
        or None,
    }
    return _said(said)


def _in_iso(fields: dict[str, Any]) -> dict[str, Any]:
    """An entity's fields with its times as those of steps."""
    return {name: iso(value) if name.endswith(("At", "Time")) else value for name, value in fields.items()}


def _said(fields: dict[str, Any]) -> dict[str, Any]:
    """Those that say something, as JSON values."""
    return {name: value for name, value in fields.items() if value is not None and value != {}}
