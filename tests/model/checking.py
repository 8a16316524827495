"""A sequence of operations sent to the program and to the model at once, and everything that can be read compared."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from hypothesis import currently_in_test_context, note

from exported import read_back
from model.documents import MEDIA_TYPES, check_document
from model.matching import difference
from model.operations import STRANGE_ID, Operation, concrete
from model.reference import (
    WRITES,
    Params,
    Reference,
    Refused,
    Session,
    history_view,
    round_view,
    session_view,
    status_view,
    turn_view,
)
from model.searching import found_by, queries
from model.targets import Follower, Target
from model.usage import Conversation, used
from wire import Message


class Comparison:
    """The program (``target``, which may be replaced after a restart) and the model of what it must hold."""

    def __init__(self, target: Target, *, full_pages: bool = True) -> None:
        """Without ``full_pages`` a page may have fewer rows than its limit though there are more."""
        self.target = target
        self._full_pages = full_pages
        self.model = Reference()
        self._sent: list[tuple[str, Params]] = []

    # ---- writing

    def run(self, *burst: Operation) -> list[Any]:
        """Send operations together; each answer must be the model's. Gives the results, None for errors."""
        return self._carry_out(concrete(operation, self.model, self._sent) for operation in burst)

    def end_copies(self) -> None:
        """Complete the copies of turns that stream. They belong to the process that took them up last, so they would be
        interrupted when it ends, at a moment that nobody knows where it is killed."""
        for *_, turn in list(self.model.turns()):
            if turn.is_copy and turn.status == "streaming":
                self._carry_out([("turn/update", {"turnId": _id(turn.fields["id"]), "status": "completed"})])

    def _carry_out(self, wanted: Iterable[tuple[str, Params]]) -> list[Any]:
        """Each call is asked for when the model has carried out those before it."""
        calls, expected = [], []
        before, repeated = self.seq(), self.model.repeated
        for method, params in wanted:
            if currently_in_test_context():
                note(f"{method} {json.dumps(params)}")
            expected.append(self._expected(method, params))
            calls.append((method, params))
            self._sent.append((method, copy.deepcopy(params)))
        answers = self.target.answer(calls)
        for call, wanted, answer in zip(calls, expected, answers, strict=True):
            _check_answer(call, wanted, answer)
        if len(calls) == 1 and (isinstance(expected[0], Refused) or self.model.repeated > repeated):
            is_single = calls[0][0] != "transaction/run" or isinstance(expected[0], Refused)
            assert not is_single or self.seq() == before, f"{calls[0]} wrote something"
        return [answer.get("result") for answer in answers]

    def _expected(self, method: str, params: Params) -> Any:
        if method != "transaction/run" and method not in WRITES:
            return Refused("methodNotFound" if method == "no/such" else "any")
        try:
            return self.model.carry_out(method, params)
        except Refused as refused:
            return refused

    # ---- reading

    def read(self, method: str, **params: Any) -> Any:
        (answer,) = self.target.answer([(method, params)])
        assert "result" in answer, f"{method} {params}: {answer}"
        return answer["result"]

    def seq(self) -> int:
        """The store's."""
        seq: int = self.read("session/list", limit=1)["seq"]
        return seq

    def pages(self, method: str, key: str, limit: int, **params: Any) -> Iterator[Message]:
        """The rows of a list, page by page; each page but the last must be full."""
        cursor: dict[str, str] = {}
        seen: set[str] = set()
        while True:
            page = self.read(method, limit=limit, **params, **cursor)
            assert page["seq"] == self._store_seq, f"{method}: a page at {page['seq']}, not {self._store_seq}"
            assert page["storeId"] == self._store_id, f"{method}: a page of the store {page['storeId']}"
            may_be_short = page["nextCursor"] is None or not self._full_pages
            assert len(page[key]) == limit or (may_be_short and len(page[key]) < limit), page
            yield from page[key]
            if page["nextCursor"] is None:
                return
            assert page[key], f"{method}: an empty page has a cursor"
            assert page["nextCursor"] not in seen, f"{method}: this cursor leads back"
            seen.add(page["nextCursor"])
            cursor = {"cursor": page["nextCursor"]}

    def compare_everything(self) -> None:
        """Every read there is, of all that the model holds and of what it holds no more."""
        page = self.read("session/list", limit=1)
        self._store_seq, self._store_id = page["seq"], page["storeId"]
        assert self._store_seq >= self.model.ledger.last, "the store's seq is below one that was given"
        self._compare_sessions()
        for session in self.model.sessions:
            session_id = session.fields["id"]
            self._same(session_view(session), "session/get", sessionId=session_id)
            if session.fields["externalId"] is not None:
                self._compare_by_external_id(session)
            rounds = [round_view(each)["round"] for each in session.rounds]
            for limit in (2, 50):
                _same(
                    rounds,
                    list(self.pages("round/list", "rounds", limit, sessionId=_id(session_id))),
                    "round/list",
                )
            self._compare_history(session)
        for _, each in self.model.rounds():
            self._compare_round(each)
        for *_, turn in self.model.turns():
            self._same(turn_view(turn), "turn/get", turnId=turn.fields["id"])
            self._same(turn_view(turn, text=False), "turn/get", turnId=turn.fields["id"], includeText=False)
        self._compare_usage()
        self._compare_searches()
        self._compare_what_is_gone()
        assert self.seq() == self._store_seq, "reading moved the store's seq"

    def _compare_by_external_id(self, session: Session) -> None:
        """Without the agent it is found where no other agent has a session of that name."""
        agent, name = session.fields["agent"], session.fields["externalId"]
        namesakes = [s.fields["id"] for s in self.model.sessions if s.fields["externalId"] == name]
        if len(namesakes) == 1:
            self._same(session_view(session), "session/get", externalId=name)
        else:
            (answer,) = self.target.answer([("session/get", {"externalId": name})])
            data = answer["error"]["data"]
            assert data["reason"] == "ambiguous", answer
            assert sorted(data["candidates"]) == sorted(map(_id, namesakes)), answer
        if agent is not None:
            self._same(session_view(session), "session/get", externalId=name, agent=agent)

    def _compare_sessions(self) -> None:
        seqs = {id(s): self.read("session/get", sessionId=_id(s.fields["id"]))["seq"] for s in self.model.sessions}
        views = [session_view(s) for s in sorted(self.model.sessions, key=lambda s: -seqs[id(s)])]
        for limit in (1, 3):
            found = list(self.pages("session/list", "sessions", limit, archived=None))
            _same(views, found, "session/list")
        filters: list[tuple[Params, Any]] = [
            ({}, lambda v: v["archivedAt"] is None),
            ({"archived": True}, lambda v: v["archivedAt"] is not None),
            ({"archived": None, "streaming": True}, lambda v: v["streaming"]),
            ({"archived": None, "streaming": False}, lambda v: not v["streaming"]),
            ({"archived": None, "parentId": STRANGE_ID}, lambda v: False),
        ]
        for query in ("", "A", "\x00", "STRASSE", "ẞ", "\U0001f680"):
            filters.append(({"archived": None, "query": query}, lambda v, q=query: _contains(v, q)))
        for state in ("running", "requires_action", "failed", "idle"):
            filters.append(({"archived": None, "state": state}, lambda v, w=state: v["state"] == w))
        for name in ("agent", "source", "cwd", "parentId"):
            for value in sorted({_id(view[name]) for view in views} - {None})[:2]:
                filters.append(({"archived": None, name: value}, lambda v, n=name, w=value: _fits(v, n, w)))
        for params, keeps in filters:
            _same(
                [view for view in views if keeps(view)],
                list(self.pages("session/list", "sessions", 2, **params)),
                f"session/list {params}",
            )
        self._compare_by_activity(views)

    def _compare_by_activity(self, views: list[Message]) -> None:
        """When each was active is compared with the model elsewhere: here what is made of it."""
        found = list(self.pages("session/list", "sessions", 2, archived=None, sort="active"))
        moments = [session["activeAt"] for session in found]
        assert moments == sorted(moments, reverse=True)
        assert sorted(session["id"] for session in found) == sorted(_id(view["id"]) for view in views)
        for since in moments[:1] + moments[-1:]:
            for params, wanted in (
                ({"activeSince": since}, [session for session in found if session["activeAt"] >= since]),
                ({"activeUntil": since, "state": "idle"}, [
                    session for session in found if session["activeAt"] < since and session["state"] == "idle"
                ]),
            ):  # fmt: skip
                listed = list(self.pages("session/list", "sessions", 2, archived=None, sort="active", **params))
                _same(wanted, listed, f"session/list {params}")

    def _compare_searches(self) -> None:
        """What contains the letters is found, each text once, and nothing else."""
        for number, query in enumerate(queries(self.model)):
            wanted = {tuple(map(_id, spot)) for spot in found_by(self.model, query)}
            streaming = {tuple(map(_id, spot)) for spot in found_by(self.model, query, streaming=True)}
            end = time.monotonic() + SEARCHABLE_SECONDS
            while (found := self._searched(query) - streaming) != wanted and time.monotonic() < end:
                self.target.fill_search()
            assert found == wanted, f"session/search {query}: {found ^ wanted}"
            self._compare_narrower(query, wanted, streaming)
            if number == 1:
                self._compare_by_role(query, wanted, streaming)
                self._compare_by_moment(query)

    def _compare_narrower(self, query: str, wanted: set[tuple[Any, ...]], streaming: set[tuple[Any, ...]]) -> None:
        """The same in one session, of one agent, or of one directory."""
        for session in self.model.sessions[-1:]:
            view = session_view(session)
            own = _id(view["id"])
            assert self._searched(query, sessionId=own) - streaming == {spot for spot in wanted if spot[0] == own}
            for name in ("agent", "cwd"):
                if view[name] is not None:
                    fitting = {_id(s.fields["id"]) for s in self.model.sessions if _fits(s.fields, name, view[name])}
                    found = self._searched(query, **{name: view[name]}) - streaming
                    assert found == {spot for spot in wanted if spot[0] in fitting}, f"session/search {query} {name}"

    def _compare_by_role(self, query: str, wanted: set[tuple[Any, ...]], streaming: set[tuple[Any, ...]]) -> None:
        """The same of the words of one alone, and of sessions that are archived, or are not."""
        for role in _ROLES.values():
            whose = {spot for spot in wanted if _ROLES[spot[-1]] == role}
            assert self._searched(query, role=role) - streaming == whose, f"session/search {query} {role}"
        shown = {_id(s.fields["id"]) for s in self.model.sessions if session_view(s)["archivedAt"] is None}
        for archived in (False, True):
            fitting = {spot for spot in wanted if (spot[0] not in shown) is archived}
            assert self._searched(query, archived=archived) - streaming == fitting, f"session/search {query} {archived}"

    def _compare_by_moment(self, query: str) -> None:
        """When each was said is compared elsewhere: here what is made of it."""
        moments = {_spot(hit): hit["at"] for hit in self._hits(50, query)}
        for since in sorted(moments.values())[:1] + sorted(moments.values())[-1:]:
            later = {spot for spot, at in moments.items() if at >= since}
            assert self._searched(query, since=since) == later, f"session/search {query} since {since}"
            assert self._searched(query, until=since) == moments.keys() - later, f"session/search {query} until {since}"

    def _searched(self, query: str, **where: Any) -> set[tuple[Any, ...]]:
        found = None
        for limit in (2, 50):
            spots = [_spot(hit) for hit in self._hits(limit, query, **where)]
            assert len(spots) == len(set(spots)), f"session/search {query}: something twice in {spots}"
            found = set(spots)
        return found or set()

    def _hits(self, limit: int, query: str, **where: Any) -> list[Message]:
        wanted = {"query": query, "archived": None} | where
        return list(self.pages("session/search", "hits", limit, **wanted))

    def _compare_history(self, session: Any) -> None:
        for order in ("asc", "desc"):
            shown = ((2, True, True),) if order == "desc" else ((1, False, True), (50, True, False))
            for limit, raw, text in shown:
                rounds = [history_view(each, raw=raw, text=text) for each in session.rounds]
                params = {"sessionId": _id(session.fields["id"]), "order": order}
                params |= {"includeRaw": raw, "includeText": text}
                found = list(self.pages("session/history", "rounds", limit, **params))
                _same(rounds if order == "asc" else rounds[::-1], found, f"session/history {order} {limit}")
        page = self.read("session/history", limit=1, sessionId=_id(session.fields["id"]))
        _same(session_view(session), page["session"], "session/history: session")
        self._compare_export(session)

    def _compare_export(self, session: Any) -> None:
        document = self.read("session/export", sessionId=_id(session.fields["id"]), format="jsonl")
        found = read_back(document["content"].splitlines())
        assert (found["head"]["seq"], found["head"]["storeId"]) == (self._store_seq, self._store_id)
        _same(session_view(session), found["session"], "session/export: session")
        _same([history_view(each, raw=True) for each in session.rounds], found["rounds"], "session/export: rounds")

    def compare_documents(self) -> None:
        """Those of one session: they take long to make."""
        for session in self.model.sessions[-1:]:
            session_id = _id(session.fields["id"])
            rounds = list(self.pages("session/history", "rounds", 50, sessionId=session_id))
            for form, media_type in MEDIA_TYPES.items():
                made = self.read("session/export", sessionId=session_id, format=form, redact=False)
                assert made["mediaType"] == media_type
                check_document(form, made["content"], rounds)

    def _compare_usage(self) -> None:
        """The histories are those of the model by now, and have the times that the store gave."""
        talks = []
        for session in self.model.sessions:
            session_id = _id(session.fields["id"])
            rounds = list(self.pages("session/history", "rounds", 50, sessionId=session_id, includeText=False))
            talks.append(Conversation(self.read("session/get", sessionId=session_id), rounds))
        params: list[Params] = [{}, *({"groupBy": by} for by in ("day", "model", "session", "agent", "cwd"))]
        if talks:
            started = talks[-1].session["createdAt"]
            params += [
                {"sessionId": talks[-1].session["id"]},
                {"since": started},
                {"until": started, "groupBy": "agent"},
                {"groupBy": "day", "timezone": "Asia/Kolkata"},
            ]
            params += [{name: talks[-1].session[name]} for name in ("agent", "cwd") if talks[-1].session[name]]
        for each in params:
            _same(used(talks, **each), self.read("session/usage", **each), f"session/usage {each}")

    def _compare_round(self, each: Any) -> None:
        self._same(round_view(each), "round/get", roundId=each.fields["id"])
        self._same(dict(each.request), "request/get", requestId=each.request["id"])
        self._same(dict(each.response), "response/get", responseId=each.response["id"])
        response_id = _id(each.response["id"])
        for raw in (False, True):
            wanted = status_view(each, raw=raw) | {"seq": self._store_seq, "storeId": self._store_id}
            self._same(wanted, "response/status", responseId=response_id, includeRaw=raw)
            turns = [turn_view(turn, raw=raw) for turn in each.turns]
            for limit in (2 - raw, 50):
                found = list(self.pages("turn/list", "turns", limit, responseId=response_id, includeRaw=raw))
                _same(turns, found, f"turn/list {limit}")
        latest = turn_view(each.turns[-1]) if each.turns else None
        self._same(latest, "turn/latest", responseId=response_id)

    def _compare_what_is_gone(self) -> None:
        live = {_id(fields["id"]) for fields in _all_fields(self.model)}
        for entity, entity_id in {*self.model.gone, *((e, STRANGE_ID) for e in _GETTERS)}:
            if entity_id not in live:
                method, name = _GETTERS[entity]
                (answer,) = self.target.answer([(method, {name: entity_id})])
                refused = Refused("notFound", entity=entity, id=entity_id)
                _check_answer((method, {name: entity_id}), refused, answer)

    def _same(self, expected: Any, method: str, **params: Any) -> None:
        given = {name: _id(value) for name, value in params.items()}
        _same(expected, self.read(method, **given), f"{method} {given}")

    # ---- following

    def turns_now(self) -> dict[str, Message]:
        """What turn/get gives for every turn whose id is known: not for one in a copy that was not read yet."""
        ids = [_id(turn.fields["id"]) for *_, turn in self.model.turns()]
        return {turn_id: self.read("turn/get", turnId=turn_id) for turn_id in ids if turn_id is not None}

    def follower(self) -> Follower:
        """A client that has read every turn as it is now."""
        where = {
            _id(turn.fields["id"]): (_id(session.fields["id"]), _id(each.fields["id"]))
            for session, each, turn in self.model.turns()
        }
        return Follower(self.turns_now(), where)

    def compare_follower(self, follower: Follower, only: set[str] | None = None) -> None:
        """A client that only listened must hold just what turn/get gives."""
        copies = {_id(turn.fields["id"]) for *_, turn in self.model.turns() if turn.is_copy} - follower.known
        told = {turn_id: turn for turn_id, turn in self.turns_now().items() if turn_id not in copies}
        wanted = {turn_id: turn for turn_id, turn in told.items() if only is None or turn_id in only}
        _same(wanted, follower.turns, "what a subscriber holds")


# What has ended is found within a second, on a machine that is not busy.
SEARCHABLE_SECONDS = 10.0
_ROLES = {"title": "user", "request": "user", "content": "agent", "arguments": "tool", "response": "tool"}
_SPOT = ("sessionId", "roundId", "turnId", "toolCallId", "field")
_GETTERS = {
    "session": ("session/get", "sessionId"),
    "round": ("round/get", "roundId"),
    "request": ("request/get", "requestId"),
    "response": ("response/get", "responseId"),
    "turn": ("turn/get", "turnId"),
}


def _check_answer(call: tuple[str, Params], expected: Any, answer: Message) -> None:
    if not isinstance(expected, Refused):
        assert "result" in answer, f"{call}: should succeed, and gave {answer}"
        _same(expected, answer["result"], str(call))
        return
    assert "error" in answer, f"{call}: should fail with {expected}, and gave {answer}"
    error = answer["error"]
    assert isinstance(error["message"], str)
    data = error["data"]
    assert expected.kind == "any" or data["kind"] == expected.kind, f"{call}: {expected}, but it gave {error}"
    assert error["code"] == _CODES[data["kind"]], error
    assert isinstance(data["retryable"], bool)
    given = dict(expected.data)
    if (field := given.pop("field", None)) is not None:
        assert field in data["path"], f"{call}: {field} is wrong, but it gave {error}"
    for name, value in given.items():
        assert data.get(name) == value, f"{call}: {name} is not {value!r} in {error}"


_CODES = {"invalidParams": -32602, "methodNotFound": -32601, "notFound": -32010, "conflict": -32011}


def _same(expected: Any, actual: Any, what: str) -> None:
    found = difference(expected, actual)
    assert found is None, f"{what}: {found}"


def _spot(hit: Message) -> tuple[Any, ...]:
    return tuple(hit[name] for name in _SPOT)


def _id(entity_id: Any) -> Any:
    return getattr(entity_id, "value", entity_id)


def _fits(view: Message, name: str, wanted: str) -> bool:
    if name != "cwd":
        return bool(_id(view[name]) == wanted)
    return view["cwd"] is not None and f"{view['cwd']}/".startswith(f"{wanted.rstrip('/')}/")


def _contains(view: Message, query: str) -> bool:
    shown = [view[name] for name in ("title", "description", "preview")]
    return any(text is not None and query.casefold() in text.casefold() for text in shown)


def _all_fields(model: Reference) -> Iterator[dict[str, Any]]:
    yield from (session.fields for session in model.sessions)
    for _, each in model.rounds():
        yield from (each.fields, each.request, each.response)
    yield from (turn.fields for *_, turn in model.turns())
