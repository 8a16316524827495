"""The store as the contract describes it, in plain lists: no SQL, no feed, nothing of the program's.

``Reference.carry_out`` takes a method and its params and gives the result that the program must give, with matchers
(see ``matching``) where only the program can know the value, or raises ``Refused``.
"""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from model.matching import AnyClock, Clock, Cost, Id, Latest, Ledger, Seq, Unknown

Json = Any
Params = dict[str, Any]
Check = Callable[[Any], bool]
T = TypeVar("T")

# How much of the first request the program shows in lists; the contract says just "the beginning".
PREVIEW = 200
ENDED = ("completed", "error", "cancelled")
TURN_STATUS = ("streaming", *ENDED, "interrupted")
RESPONSE_STATUS = ("open", "requires_action", *ENDED, "interrupted")
NOT_ENDED = ("open", "requires_action")
RELATIONS = ("fork", "subagent", "continuation")
ORIGINS = ("user", "agent", "system")
CALL_STATUS = ("pending", "in_progress", "completed", "failed")


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Refused(Exception):
    """The program must answer with an error of this kind, with ``data`` in it."""

    def __init__(self, kind: str, **data: Any) -> None:
        super().__init__(kind, data)
        self.kind = kind
        self.data = data


# ---- what each field may be (section 3)


def is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def is_word(value: Any) -> bool:
    return is_text(value) and value != ""


def is_uuid(value: Any) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def is_cost(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 10**6


def is_moment(value: Any) -> bool:
    return is_count(value) and value <= time.time() * 1000 + 24 * 60 * 60 * 1000


def is_currency(value: Any) -> bool:
    return value in ("USD", "EUR", "JPY")


def is_directory(value: Any) -> bool:
    return is_text(value) and value[:1] == "/"


def is_usage(value: Any) -> bool:
    return isinstance(value, dict) and all(name in USAGE and USAGE[name](given) for name, given in value.items())


def is_boolean(value: Any) -> bool:
    return isinstance(value, bool)


def is_json(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_object(value: Any) -> bool:
    return isinstance(value, dict) and is_json(value)


def is_array(value: Any) -> bool:
    return isinstance(value, list) and is_json(value)


def one_of(*words: str) -> Check:
    return lambda value: value in words


def or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def is_tool_call(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and "id" in value
        and all(name in TOOL_CALL and TOOL_CALL[name](given) for name, given in value.items())
    )


def are_tool_calls(value: Any) -> bool:
    if not isinstance(value, list) or not all(map(is_tool_call, value)):
        return False
    return len({call["id"] for call in value}) == len(value)


TOOL_CALL: dict[str, Check] = {
    "id": is_word,
    **dict.fromkeys(("title", "kind", "serverName", "methodName"), or_null(is_text)),
    **dict.fromkeys(("arguments", "response", "content", "locations"), is_json),
    "status": one_of(*CALL_STATUS),
    "startTime": or_null(is_count),
    "endTime": or_null(is_count),
    "metadata": is_object,
}
NULLABLE_COUNTS = ("expectedTokens", "thoughtTokens", "cacheReadTokens", "cacheWriteTokens")
COUNTS = ("currentTokens", "inputTokens", "outputTokens")
COSTS = ("inputCost", "outputCost")
USAGE_COUNTS = (
    "inputTokens", "outputTokens", "thoughtTokens", "cacheReadTokens", "cacheWriteTokens", "contextUsed", "contextSize",
)  # fmt: skip
USAGE: dict[str, Check] = {
    **{name: or_null(is_count) for name in USAGE_COUNTS},
    "cost": or_null(is_cost),
    "currency": or_null(is_currency),
}
TURN: dict[str, Check] = {
    "kind": is_word,
    "toolCallId": or_null(is_text),
    "content": is_text,
    "rawResponse": is_text,
    "status": one_of(*TURN_STATUS),
    "model": or_null(is_text),
    "metadata": is_object,
    **dict.fromkeys(COUNTS, is_count),
    **dict.fromkeys(NULLABLE_COUNTS, or_null(is_count)),
    **dict.fromkeys(COSTS, is_cost),
    "cost": or_null(is_cost),
    "currency": is_currency,
    "includeText": is_boolean,
}
SESSION: dict[str, Check] = {
    "externalId": or_null(is_text),
    "agent": or_null(is_word),
    "source": or_null(is_word),
    "cwd": or_null(is_directory),
    "relation": or_null(one_of(*RELATIONS)),
    "title": or_null(is_text),
    "description": or_null(is_text),
    "metadata": is_object,
}
REQUEST: dict[str, Check] = {"content": is_text, "blocks": or_null(is_array)}
RAW: dict[str, Check] = {"includeRaw": is_boolean, "includeText": is_boolean}
IDS = ("sessionId", "roundId", "requestId", "responseId", "turnId")

# The params of the writes; the first is the one that the method cannot do without, if there is one.
WRITES: dict[str, tuple[tuple[str, ...], dict[str, Check]]] = {
    "session/create": (
        (),
        {"id": is_uuid, **SESSION, "parentId": or_null(is_uuid), "parentToolCallId": or_null(is_text)}
        | {"createdAt": is_moment},
    ),
    "session/update": (("sessionId",), {**SESSION, "archived": is_boolean}),
    "session/delete": (("sessionId",), {}),
    "session/fork": (
        ("sessionId",),
        {"id": is_uuid, "throughRoundId": or_null(is_uuid), "title": or_null(is_text)},
    ),
    "round/create": (
        ("sessionId", "content"),
        {"id": is_uuid, **REQUEST, "metadata": is_object, "origin": one_of(*ORIGINS), "createdAt": is_moment},
    ),
    "round/update": (("roundId", "metadata"), {"metadata": is_object}),
    "round/delete": (("roundId",), {"following": is_boolean}),
    "request/update": (("requestId",), REQUEST),
    "response/update": (
        ("responseId",),
        {"status": one_of(*RESPONSE_STATUS), "stopReason": or_null(is_text), "usage": or_null(is_usage)}
        | {"endTime": or_null(is_moment)},
    ),
    "turn/create": (
        ("responseId",),
        {"id": is_uuid, **TURN, "toolCalls": are_tool_calls, "detached": is_boolean}
        | {"createdAt": is_moment, "streamStartTime": is_moment, "streamEndTime": or_null(is_moment)},
    ),
    "turn/append": (
        ("turnId",),
        {"content": is_text, "rawResponse": is_text, "chunk": is_count}
        | dict.fromkeys(("currentTokens", "outputTokens"), is_count),
    ),
    "turn/update": (("turnId",), {**TURN, "error": or_null(is_text), "streamEndTime": or_null(is_moment)}),
    "turn/delete": (("turnId",), {}),
    "toolCall/upsert": (("turnId", "toolCall"), {"toolCall": is_tool_call}),
    "toolCall/delete": (("turnId", "toolCallId"), {"toolCallId": is_word}),
}
# Methods that there are, but that a transaction may not hold.
OTHERS = ("session/get", "turn/list", "transaction/run", "turn/subscribe")
EXTRA_IDS = {"round/create": ("requestId", "responseId")}


# ---- the entities


@dataclass(eq=False)
class Turn:
    fields: dict[str, Any]
    calls: dict[str, dict[str, Any]]
    content: str
    raw: str
    made_by: str | None
    # None: a piece of what was copied, of which the copy knows no more than that it was there.
    chunks: list[Seq | None] = field(default_factory=list)
    # The two texts of each chunk.
    pieces: list[tuple[str, str] | None] = field(default_factory=list)
    # Nobody is told of it when it is made.
    is_copy: bool = False

    @property
    def status(self) -> str:
        return str(self.fields["status"])

    def copy(self) -> Turn:
        chunks, pieces = list(self.chunks), list(self.pieces)
        return replace(self, fields=dict(self.fields), calls=dict(self.calls), chunks=chunks, pieces=pieces)


@dataclass(eq=False)
class Round:
    fields: dict[str, Any]
    request: dict[str, Any]
    response: dict[str, Any]
    made_by: str | None
    turns: list[Turn] = field(default_factory=list)
    next_turn: int = 0

    def copy(self) -> Round:
        fields, request, response = dict(self.fields), dict(self.request), dict(self.response)
        turns = [turn.copy() for turn in self.turns]
        return replace(self, fields=fields, request=request, response=response, turns=turns)


@dataclass(eq=False)
class Session:
    """``moments``: those in which the conversation moved; a deletion leaves them."""

    fields: dict[str, Any]
    made_by: str | None
    moments: list[Any]
    rounds: list[Round] = field(default_factory=list)
    next_round: int = 0

    def copy(self) -> Session:
        rounds = [each.copy() for each in self.rounds]
        return replace(self, fields=dict(self.fields), moments=list(self.moments), rounds=rounds)


class Reference:
    """A store. ``gone``: ids that were deleted, as ``(entity, id)``; ``repeated``: how many creates had been sent
    before."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.sessions: list[Session] = []
        self.gone: list[tuple[str, str]] = []
        self.repeated = 0
        self._least = 1

    # ---- looking things up

    def rounds(self) -> Iterator[tuple[Session, Round]]:
        return ((session, each) for session in self.sessions for each in session.rounds)

    def turns(self) -> Iterator[tuple[Session, Round, Turn]]:
        return ((session, each, turn) for session, each in self.rounds() for turn in each.turns)

    def session(self, session_id: str) -> Session:
        return _found("session", session_id, [s for s in self.sessions if _is(s.fields["id"], session_id)])

    def round(self, round_id: str, part: str = "round") -> tuple[Session, Round]:
        """By the id of the round, of its request or of its response."""
        name = "fields" if part == "round" else part
        return _found(part, round_id, [pair for pair in self.rounds() if _is(getattr(pair[1], name)["id"], round_id)])

    def turn(self, turn_id: str) -> tuple[Session, Round, Turn]:
        return _found("turn", turn_id, [found for found in self.turns() if _is(found[2].fields["id"], turn_id)])

    # ---- carrying out

    def carry_out(self, method: str, params: Params) -> Any:
        """What the write must give. Raises Refused, and then nothing has changed."""
        trial = self.copy()
        if method == "transaction/run":
            result: Any = {"results": [trial._operation(i, op) for i, op in enumerate(params["operations"])]}
        else:
            result = trial._write(method, params)
        vars(self).update(vars(trial))
        return result

    def copy(self) -> Reference:
        """Another store that holds the same. Values that are not known yet are shared, so that both learn them."""
        other = copy.copy(self)
        other.sessions = [session.copy() for session in self.sessions]
        other.gone = list(self.gone)
        return other

    def _operation(self, position: int, operation: Params) -> Any:
        try:
            if operation["method"] not in WRITES:
                raise Refused("methodNotFound" if operation["method"] not in OTHERS else "invalidParams")
            return self._write(operation["method"], operation["params"])
        except Refused as refused:
            refused.data["operation"] = position
            raise

    def _write(self, method: str, params: Params) -> Any:
        self._least = max(self._least, self.ledger.last + 1)
        given = _checked(method, params)
        carry_out: Callable[[Params], Any] = getattr(self, "_" + method.replace("/", "_"))
        return carry_out(given)

    def _next(self) -> Seq:
        """The seq of a change that happens now."""
        self._least += 1
        return Seq(self.ledger, self._least - 1)

    def _touch(self, session: Session, turn: Turn | None = None, *, changed: bool) -> Seq | None:
        """Something in the session happened. Where it may have been no change at all, seqs may stand or move."""
        seq = self._next() if changed else None
        for fields in (session.fields, *([turn.fields] if turn else [])):
            fields["seq"] = seq or Seq(self.ledger, fields["seq"].known)
            fields["updatedAt"] = Clock()
        return seq

    # ---- sessions

    def _session_create(self, given: Params) -> Any:
        if again := self._again("session", self.sessions, lambda s: s.fields["id"], given):
            return session_view(again)
        if given.get("parentId") is not None:
            self.session(given["parentId"])
        self._check_external_id(given.get("agent"), given.get("externalId"), None)
        fields = {
            "id": Id(), **dict.fromkeys(SESSION), "metadata": {}, "parentId": None, "parentToolCallId": None,
            "forkedFromRoundId": None, "archivedAt": None, "createdAt": Clock(), **given,
            "seq": self._next(), "updatedAt": Clock(),
        }  # fmt: skip
        session = Session(fields, _made_by(given), [fields["createdAt"]])
        self.sessions.append(session)
        return session_view(session)

    def _session_update(self, given: Params) -> Any:
        session = self.session(given.pop("sessionId"))
        names = session.fields | given
        self._check_external_id(names["agent"], names["externalId"], session)
        before = _frozen(session.fields)
        if "archived" in given and given["archived"] != (session.fields["archivedAt"] is not None):
            session.fields["archivedAt"] = Clock() if given["archived"] else None
        given.pop("archived", None)
        session.fields |= given
        self._touch(session, changed=_frozen(session.fields) != before)
        return session_view(session)

    def _session_delete(self, given: Params) -> Any:
        session = self.session(given["sessionId"])
        self.sessions.remove(session)
        self._bury("session", session.fields)
        for child in self.sessions:
            if child.fields["parentId"] is not None and _same(session.fields["id"], child.fields["parentId"]):
                child.fields |= {"parentId": None, "forkedFromRoundId": None}
                self._touch(child, changed=True)
        self._next()
        return _deleted(1, [self._bury_round(each) for each in session.rounds])

    def _session_fork(self, given: Params) -> Any:
        if again := self._again("session", self.sessions, lambda s: s.fields["id"], given):
            return session_view(again)
        source = self.session(given["sessionId"])
        last = source.rounds[-1] if source.rounds else None
        if given.get("throughRoundId") is not None:
            where, last = self.round(given["throughRoundId"])
            if where is not source:
                raise Refused("invalidParams", field="throughRoundId")
        kept = ("agent", "source", "cwd", "title", "description", "metadata")
        own = {"parentId": source.fields["id"], "relation": "fork", "parentToolCallId": None, "archivedAt": None}
        fields = {
            "id": given.get("id") or Id(), "externalId": None, **{name: source.fields[name] for name in kept}, **own,
            "forkedFromRoundId": last.fields["id"] if last else None,
            "createdAt": Clock(), "updatedAt": Clock(), "seq": self._next(),
        }  # fmt: skip
        if "title" in given:
            fields["title"] = given["title"]
        session = Session(fields, _made_by(given), [fields["createdAt"]])
        for each in source.rounds[: source.rounds.index(last) + 1] if last else []:
            session.rounds.append(self._copied(each, session))
        self.sessions.append(session)
        return session_view(session)

    def _copied(self, source: Round, into: Session) -> Round:
        """A copy of a round, of which the new session has the moments."""
        ids = {name: Id() for name in ("id", "requestId", "responseId")}
        common = {"roundId": ids["id"], "updatedAt": AnyClock()}
        origin = source.fields["copiedFromId"] or source.fields["id"]
        fields = source.fields | ids | {"sessionId": into.fields["id"], "copiedFromId": origin, "updatedAt": AnyClock()}
        response = source.response | common | {"id": ids["responseId"]}
        streaming = any(turn.status == "streaming" for turn in source.turns)
        if streaming and response["status"] in NOT_ENDED:
            response |= {"status": "interrupted", "endTime": Clock()}
        new = Round(fields, source.request | common | {"id": ids["requestId"]}, response, None)
        new.next_turn, into.next_round = source.next_turn, source.fields["index"] + 1
        new.turns = [self._copied_turn(turn, ids["responseId"]) for turn in source.turns]
        into.moments += [fields["createdAt"], response["endTime"] or 0]
        for turn in new.turns:
            into.moments += [turn.fields["streamStartTime"], turn.fields["streamEndTime"]]
        return new

    def _copied_turn(self, source: Turn, response_id: Any) -> Turn:
        fields = source.fields | {"id": Id(), "responseId": response_id, "seq": Seq(self.ledger, 1)}
        if source.status == "streaming":
            fields |= {"status": "interrupted", "streamEndTime": Clock(), "updatedAt": Clock()}
        known = len(source.chunks)
        calls = {call_id: dict(call) for call_id, call in source.calls.items()}
        chunks: list[Seq | None] = [None] * known
        return Turn(fields, calls, source.content, source.raw, None, chunks, [None] * known, is_copy=True)

    def _check_external_id(self, agent: str | None, external_id: str | None, own: Session | None) -> None:
        if external_id is not None and any(
            s is not own and (s.fields["agent"], s.fields["externalId"]) == (agent, external_id) for s in self.sessions
        ):
            raise Refused("conflict")

    # ---- rounds

    def _round_create(self, given: Params) -> Any:
        if again := self._again("round", [r for _, r in self.rounds()], lambda r: r.fields["id"], given):
            return round_view(again)
        session = self.session(given["sessionId"])
        for part in ("request", "response"):
            wanted = given.get(f"{part}Id")
            if wanted and any(_is(getattr(each, part)["id"], wanted) for _, each in self.rounds()):
                raise Refused("conflict")
        ids = {name: given.get(name) or Id() for name in ("id", "requestId", "responseId")}
        times = {"createdAt": given.get("createdAt", Clock()), "updatedAt": AnyClock()}
        common = {"roundId": ids["id"], **times}
        own = {"index": session.next_round, "metadata": given.get("metadata", {})}
        own |= {"origin": given.get("origin", "user"), "copiedFromId": None}
        session.moments.append(times["createdAt"])
        new = Round(
            {**ids, "sessionId": session.fields["id"], **own, **times},
            {"id": ids["requestId"], "content": given["content"], "blocks": given.get("blocks"), **common},
            {"id": ids["responseId"], "status": "open", "stopReason": None, "usage": None, "endTime": None} | common,
            _made_by(given),
        )
        session.next_round += 1
        session.rounds.append(new)
        self._touch(session, changed=True)
        return round_view(new)

    def _round_update(self, given: Params) -> Any:
        session, each = self.round(given.pop("roundId"))
        return self._change(session, each.fields, given) and round_view(each)

    def _round_delete(self, given: Params) -> Any:
        session, first = self.round(given["roundId"])
        following = given.get("following", False)
        gone = session.rounds[session.rounds.index(first) :] if following else [first]
        session.rounds = [each for each in session.rounds if each not in gone]
        for child in self.sessions:
            if any(_same(child.fields["forkedFromRoundId"], each.fields["id"]) for each in gone):
                child.fields["forkedFromRoundId"] = None
                self._touch(child, changed=True)
        self._touch(session, changed=True)
        return _deleted(0, [self._bury_round(each) for each in gone])

    def _request_update(self, given: Params) -> Any:
        session, each = self.round(given.pop("requestId"), "request")
        return self._change(session, each.request, given)

    def _response_update(self, given: Params) -> Any:
        session, each = self.round(given.pop("responseId"), "response")
        status, ended = given.get("status", each.response["status"]), each.response["endTime"]
        if status in NOT_ENDED:
            if given.get("endTime") is not None:
                raise Refused("conflict", reason="endTime")
            given["endTime"] = None
        elif given.get("endTime") is None:
            if "endTime" in given and ended is not None:
                raise Refused("conflict", reason="endTime")
            given["endTime"] = Clock() if ended is None else ended
        if given.get("usage") is not None:
            given["usage"] = dict.fromkeys(USAGE) | given["usage"]
            if given["usage"]["cost"] is not None:
                given["usage"]["cost"] = Cost(given["usage"]["cost"])
        if given["endTime"] is not None:
            session.moments.append(given["endTime"])
        return self._change(session, each.response, given)

    def _reopen(self, session: Session, each: Round) -> None:
        """A turn of an interrupted response streams again."""
        if each.response["status"] == "interrupted":
            each.response |= {"status": "open", "endTime": None}
            self._touch(session, changed=True)

    def _change(self, session: Session, fields: dict[str, Any], given: Params) -> dict[str, Any]:
        before = _frozen(fields)
        fields |= given
        self._touch(session, changed=_frozen(fields) != before)
        return dict(fields)

    # ---- turns

    def _turn_create(self, given: Params) -> Any:
        text = given.pop("includeText", True)
        if again := self._again("turn", [t for *_, t in self.turns()], lambda t: t.fields["id"], given):
            return turn_view(again, text=text)
        session, each = self.round(given["responseId"], "response")
        made_by = _made_by(given)
        given.pop("detached", None)
        calls = {call["id"]: _new_call(call) for call in given.pop("toolCalls", [])}
        content, raw = given.pop("content", ""), given.pop("rawResponse", "")
        ended = given.get("status", "streaming") != "streaming"
        fields = {
            "id": Id(), "seq": None, "index": each.next_turn, "kind": "message", "status": "streaming", "error": None,
            "model": None, "streamStartTime": None, "streamEndTime": None, "toolCallId": None,
            **dict.fromkeys(COUNTS, 0), **dict.fromkeys(NULLABLE_COUNTS), **dict.fromkeys(COSTS, Cost(0)),
            "cost": None, "currency": "USD", "metadata": {}, "createdAt": Clock(), "updatedAt": Clock(),
            **given, "responseId": each.response["id"],
        }  # fmt: skip
        if not ended and fields["streamEndTime"] is not None:
            raise Refused("conflict", reason="endTime")
        fields["streamStartTime"] = given.get("streamStartTime", fields["createdAt"])
        if ended and fields["streamEndTime"] is None:
            fields["streamEndTime"] = fields["streamStartTime"]
        session.moments += [fields["streamStartTime"], fields["streamEndTime"] or 0]
        turn = Turn(fields, calls, content, raw, made_by)
        each.next_turn += 1
        each.turns.append(turn)
        fields["seq"] = self._touch(session, changed=True)
        return turn_view(turn, text=text)

    def _turn_append(self, given: Params) -> Any:
        if not {"content", "rawResponse"} & given.keys():
            raise Refused("invalidParams")
        session, each, turn = self.turn(given["turnId"])
        count = len(turn.chunks)
        chunk = given.get("chunk", count)
        piece = (given.get("content", ""), given.get("rawResponse", ""))
        if chunk < count:
            if turn.pieces[chunk] not in (None, piece):
                raise Refused("conflict")
            return _receipt(turn, chunk)
        if chunk > count:
            raise Refused("conflict", expected=count)
        if turn.status in ENDED:
            raise Refused("conflict")
        if turn.status == "interrupted":
            turn.fields |= {"status": "streaming", "streamEndTime": None}
            self._touch(session, turn, changed=True)
            self._reopen(session, each)
        turn.content += given.get("content", "")
        turn.raw += given.get("rawResponse", "")
        turn.fields |= {name: given[name] for name in ("currentTokens", "outputTokens") if name in given}
        turn.fields["seq"] = self._next()
        turn.chunks.append(turn.fields["seq"])
        turn.pieces.append(piece)
        return _receipt(turn, chunk)

    def _turn_update(self, given: Params) -> Any:
        session, each, turn = self.turn(given.pop("turnId"))
        text = given.pop("includeText", True)
        before = _frozen(turn_view(turn))
        was, status = turn.status, given.get("status", turn.status)
        if was in ENDED and status != was:
            raise Refused("conflict")
        content, raw = given.pop("content", turn.content), given.pop("rawResponse", turn.raw)
        if "streaming" not in (was, status) and (content, raw) != (turn.content, turn.raw):
            raise Refused("conflict")
        replaced = (content, raw) != (turn.content, turn.raw)
        turn.content, turn.raw = content, raw
        if status == "streaming":
            if given.get("streamEndTime") is not None:
                raise Refused("conflict")
            given["streamEndTime"] = None
        elif was == "streaming":
            given["streamEndTime"] = Clock() if given.get("streamEndTime") is None else given["streamEndTime"]
        elif "streamEndTime" in given and given["streamEndTime"] is None:
            raise Refused("conflict")
        turn.fields |= given
        session.moments.append(turn.fields["streamEndTime"] or 0)
        self._touch(session, turn, changed=replaced or _frozen(turn_view(turn)) != before)
        if was != "streaming" and status == "streaming":
            self._reopen(session, each)
        return turn_view(turn, text=text)

    def _turn_delete(self, given: Params) -> Any:
        session, each, turn = self.turn(given["turnId"])
        each.turns.remove(turn)
        self._bury("turn", turn.fields)
        self._touch(session, changed=True)
        return {"deleted": {"sessions": 0, "rounds": 0, "requests": 0, "responses": 0, "turns": 1}}

    def _toolCall_upsert(self, given: Params) -> Any:  # noqa: N802 - named as the method is
        session, _, turn = self.turn(given["turnId"])
        call = given["toolCall"]
        before = _frozen(turn_view(turn))
        turn.calls[call["id"]] = turn.calls.get(call["id"], _new_call({})) | call
        self._touch(session, turn, changed=_frozen(turn_view(turn)) != before)
        return dict(turn.calls[call["id"]])

    def _toolCall_delete(self, given: Params) -> Any:  # noqa: N802 - named as the method is
        session, _, turn = self.turn(given["turnId"])
        if turn.calls.pop(given["toolCallId"], None) is None:
            raise Refused("notFound", entity="toolCall", id=given["toolCallId"])
        self._touch(session, turn, changed=True)
        return {"deleted": {"toolCalls": 1}}

    # ---- what all have in common

    def _again(self, entity: str, all_of_them: list[Any], id_of: Callable[[Any], Any], given: Params) -> Any:
        """What a create call that was sent before has made. Raises Refused where another call made it."""
        if "id" not in given:
            return None
        for found in all_of_them:
            if _is(id_of(found), given["id"]):
                if found.made_by != _made_by(given):
                    raise Refused("conflict")
                self.repeated += 1
                return found
        return None

    def _bury(self, entity: str, fields: dict[str, Any]) -> None:
        known = _known(fields["id"])
        if known is not None:
            self.gone.append((entity, known))

    def _bury_round(self, each: Round) -> int:
        for entity, fields in (
            ("round", each.fields),
            ("request", each.request),
            ("response", each.response),
        ):
            self._bury(entity, fields)
        for turn in each.turns:
            self._bury("turn", turn.fields)
        return len(each.turns)


# ---- what is read


def session_view(session: Session) -> dict[str, Any]:
    first = session.rounds[0].request["content"][:PREVIEW] if session.rounds else None
    streaming = any(turn.status == "streaming" for each in session.rounds for turn in each.turns)
    latest = session.rounds[-1].response["status"] if session.rounds else "open"
    state = {"requires_action": "requires_action", "error": "failed", "interrupted": "failed"}.get(latest, "idle")
    return {
        **session.fields,
        "preview": first,
        "roundCount": len(session.rounds),
        "streaming": streaming,
        "state": "running" if streaming else state,
        "activeAt": Latest(list(session.moments)),
    }


def round_view(each: Round) -> dict[str, Any]:
    return {"round": dict(each.fields), "request": dict(each.request), "response": dict(each.response)}


def history_view(each: Round, *, raw: bool, text: bool = True) -> dict[str, Any]:
    turns = [turn_view(turn, raw=raw, text=text) for turn in each.turns]
    return {**each.fields, "request": dict(each.request), "response": {**each.response, "turns": turns}}


def turn_view(turn: Turn, *, raw: bool = True, text: bool = True) -> dict[str, Any]:
    shown = ({"content": turn.content} if text else {}) | ({"rawResponse": turn.raw} if raw and text else {})
    calls = [dict(call) for call in turn.calls.values()]
    return {**turn.fields, "toolCalls": calls, "chunkCount": len(turn.chunks), **shown}


def status_view(each: Round, *, raw: bool) -> dict[str, Any]:
    complete = not any(turn.status == "streaming" for turn in each.turns)
    turns = [turn_view(turn, raw=raw) for turn in each.turns]
    return {"isComplete": complete, "response": dict(each.response), "turns": turns}


def _receipt(turn: Turn, chunk: int) -> dict[str, Any]:
    turn_id, seq = turn.fields["id"], turn.chunks[chunk] or turn.fields["seq"]
    return {"turnId": turn_id, "seq": seq, "chunk": chunk, "chunkCount": len(turn.chunks)}


def _new_call(given: dict[str, Any]) -> dict[str, Any]:
    return {**dict.fromkeys(TOOL_CALL), "arguments": {}, "status": "pending", "metadata": {}, **given}


def _deleted(sessions: int, turns: list[int]) -> dict[str, Any]:
    kinds = dict.fromkeys(("rounds", "requests", "responses"), len(turns))
    return {"deleted": {"sessions": sessions, **kinds, "turns": sum(turns)}}


_OTHER_IDS = ("id", "parentId", "throughRoundId")


def _checked(method: str, params: Params) -> Params:
    """The params with ids in lower case. Raises Refused."""
    required, checks = WRITES[method]
    ids = (*(name for name in required if name in IDS), *EXTRA_IDS.get(method, ()))
    checks = dict.fromkeys(ids, is_uuid) | checks
    own = {name: value for name, value in params.items() if name[:1] != "_"}
    for name in [*required, *own]:
        if name not in own or name not in checks or not checks[name](own[name]):
            raise Refused("invalidParams", field=name)
    lowered = {name: own[name].lower() for name in (*ids, *_OTHER_IDS) if own.get(name) is not None}
    return own | lowered | {name: Cost(own[name]) for name in (*COSTS, "cost") if own.get(name) is not None}


def _made_by(given: Params) -> str | None:
    """What was sent, to compare with when it is sent again. JSON's objects have no order."""
    if "id" not in given:
        return None
    return json.dumps({name: given[name] for name in given}, sort_keys=True, default=repr)


def _frozen(fields: dict[str, Any]) -> str:
    """The values without seqs and clocks, to see whether a change changed anything."""
    kept = {name: value for name, value in fields.items() if name not in ("seq", "updatedAt")}
    return json.dumps(kept, default=lambda value: repr(value) if isinstance(value, Cost) else str(id(value)))


def _known(entity_id: Any) -> str | None:
    """An id, where it is known yet."""
    found: str | None = entity_id.value if isinstance(entity_id, Unknown) else entity_id
    return found


def _is(entity_id: Any, wanted: str) -> bool:
    return _known(entity_id) == wanted.lower()


def _same(one: Any, other: Any) -> bool:
    """Whether two ids are of one entity."""
    return one is other or (_known(one) is not None and _known(one) == _known(other))


def _found(entity: str, entity_id: str, matches: list[T]) -> T:
    if not matches:
        raise Refused("notFound", entity=entity, id=entity_id.lower())
    return matches[0]
