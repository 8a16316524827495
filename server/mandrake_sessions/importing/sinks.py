"""Where rounds and turns are written: a new session, as a whole, or one that is there, which grows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from attrs import asdict, define, field

from mandrake_sessions.errors import Conflict, InvalidValue, NotFound
from mandrake_sessions.importing.assembling import Branched, Fields, cleaned, safe_text
from mandrake_sessions.importing.events import (
    Broken,
    Left,
    Position,
    Requested,
    Rewritten,
    SessionSaid,
    Spawned,
    Verbatim,
)
from mandrake_sessions.importing.names import Names, is_named, session_id_of, shared_round_id
from mandrake_sessions.importing.reading import Source, session_of
from mandrake_sessions.importing.shaping import Shape, lenient, safe_call, usable
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Relation, Request, Turn
from mandrake_sessions.operations.imports import (
    STAMPS,
    Columns,
    Imports,
    OpenRound,
    WholeSession,
    response_columns,
    round_columns,
    turn_columns,
)

# So many forks of forks are looked at.
_GENERATIONS: Final = 50
_ABSOLUTE: Final = re.compile(r"/|[A-Za-z]:[\\/]|\\\\")


# What a turn has from its beginning on.
_OF_THE_BEGINNING: Final = (
    "id", "tool_calls", "created_at", "stream_start_time", "stream_end_time", "content", "raw_response",
)  # fmt: skip
# What is given of one that is made again, beside its tool calls.
_OF_A_TURN: Final = (
    "id", "kind", "tool_call_id", "status", "model", "metadata", "current_tokens", "expected_tokens", "input_tokens",
    "output_tokens", "thought_tokens", "cache_read_tokens", "cache_write_tokens", "input_cost", "output_cost", "cost",
    "currency", "created_at", "stream_start_time", "stream_end_time", "content", "raw_response",
)  # fmt: skip
_FINAL: Final = ("completed", "error", "cancelled")
_NOTHING_USED: Final[Mapping[str, float | None]] = {
    "input_tokens": 0,
    "output_tokens": 0,
    "thought_tokens": None,
    "cache_read_tokens": None,
    "cache_write_tokens": None,
    "cost": None,
}


@define
class Counts:
    """What was written. ``kept``: how many bytes of files."""

    sessions: int = 0
    rounds: int = 0
    turns: int = 0
    calls: int = 0
    kept: int = 0


@define
class Told:
    """What a source has said of its conversation, the last word of each."""

    cwd: str | None = None
    title: str | None = None
    description: str | None = None
    at: int | None = None
    parent: str | None = None
    relation: str | None = None
    parent_tool_call: str | None = None
    is_kept_empty: bool = False

    def take(self, said: SessionSaid, metadata: dict[str, Any]) -> None:
        self.is_kept_empty = self.is_kept_empty or said.is_kept_empty
        for name in ("cwd", "title", "description", "at", "parent", "relation", "parent_tool_call"):
            value = getattr(said, name)
            if value is not None and not (name in ("cwd", "at") and getattr(self, name) is not None):
                setattr(self, name, safe_text(value) if isinstance(value, str) else value)
        metadata.update(cleaned(said.metadata))


@define
class _Place:
    """A round of a session that is there. ``known``: the turns that it has, in their order: those of a source that is
    read again come in the same."""

    response_id: str
    at: int
    known: Iterator[Turn] = field(factory=lambda: iter(()))
    # Whether it was there before.
    is_known: bool = False
    # Whether nothing is written into it.
    is_left_out: bool = False
    # Turns that were taken out, until the source gives them again.
    taken_out: dict[str, Turn] = field(factory=dict)
    # The turns that this reading has made.
    made: set[str] = field(factory=set)
    # Turns that are known, and which the source has not given until now.
    not_given: set[str] = field(factory=set)

    def take(self, turn_id: str) -> Turn | None:
        """The next turn that is known, if it is this one; else no more are taken from there."""
        found = next(self.known, None)
        if found is not None and found.id == turn_id:
            return found
        if found is not None:
            self.not_given = {found.id, *(turn.id for turn in self.known)}
            self.known = iter(())
        self.not_given.discard(turn_id)
        return None


class SessionSink:
    """What both kinds of sinks have. ``position``: how far the source was read, with all before it written."""

    def __init__(
        self,
        manager: SessionManager,
        imports: Imports,
        source: Source,
        report: Callable[[Broken | Rewritten], None],
    ) -> None:
        self._manager = manager
        self._imports = imports
        self._source = source
        self.report = report
        self.agent = source.agent
        self.session_id = session_of(source)
        self._shape = Shape(self.session_id)
        self.told = Told(title=source.title)
        self.metadata: dict[str, Any] = {}
        self.spawned: dict[str, str] = {}
        self.counts = Counts()
        self.position = Position()
        # The session that had the last round first of which this one has a copy.
        self.inherits: str | None = None
        # Whether something was said of the session since it was written.
        self.has_news = False
        self.progress: Callable[[int], None] | None = None
        # The id of the session that an agent's conversation has, or will have.
        self.id_of: Callable[[str, str], str] = session_id_of

    def add_round(self, requested: Requested, at: int | None) -> Any:
        raise NotImplementedError

    def add_turn(self, of: Any, name: str, fields: Fields) -> Any:
        raise NotImplementedError

    def change_call(self, turn: Any, call: Fields) -> None:
        raise NotImplementedError

    def drop_turn(self, of: Any, name: str) -> None:
        """A new session has no turn that is not wanted any more."""

    def end_round(self, of: Any, fields: Fields) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """All was given."""
        raise NotImplementedError

    def leave(self, left: Left) -> None:
        raise Branched(left)

    def verbatim(self, entity: Verbatim) -> None:
        """Sessions that are there keep what they have."""

    def say(self, said: SessionSaid) -> None:
        self.told.take(said, self.metadata)
        self.has_news = True

    def spawn(self, spawned: Spawned) -> None:
        self.spawned[spawned.external_id] = spawned.call

    def mark(self, position: Position) -> None:
        self.position = position
        if self.progress is not None:
            self.progress(position.offset)

    def _name_round(self, shared_id: str | None, fields: Fields) -> tuple[str, str | None]:
        """The id of a round, and that of the one that it is a copy of. ``shared_id``: see ``Requested``."""
        own: str = fields["id"]
        if shared_id is None:
            return own, None
        shared = shared_round_id(self._source.agent, shared_id)
        original = self._imports.original(shared)
        if original is None:
            return shared, None
        # A fork may be written with times of its own.
        is_copy = original.content == fields["content"] and (
            original.created_at == fields["created_at"] or self._comes_from(original.session_id)
        )
        if is_copy and original.session_id != self.session_id:
            self.inherits = original.session_id
        return own, original.id if is_copy else None

    def _comes_from(self, session_id: str) -> bool:
        """Whether the conversation goes back to a session."""
        named = self.told.parent
        above = None if named is None else self.id_of(self._source.agent, named)
        for _ in range(_GENERATIONS):
            if above in (None, session_id):
                break
            try:
                above = self._manager.get_session(above).parent_id
            except NotFound:
                return False
        return above == session_id

    def session_fields(self) -> Fields:
        """Those of the session, as they are known now."""
        told, metadata = self.told, dict(self.metadata)
        fields: Fields = {"metadata": metadata}
        if told.cwd is not None:
            if _ABSOLUTE.match(told.cwd):
                fields["cwd"] = told.cwd
            else:
                metadata["cwd"] = told.cwd
        for name in ("title", "description"):
            if (value := getattr(told, name)) is not None:
                fields[name] = value
        return fields


class WholeSink(SessionSink):
    """A session that is not there yet. It is made with its first round; ``finish`` shows it."""

    whole: WholeSession | None = None
    _verbatim: Verbatim | None = None
    _open: OpenRound | None = None

    def verbatim(self, entity: Verbatim) -> None:
        fields = dict(entity.fields)
        stamps = {name: fields.pop(name) for name in STAMPS if name in fields}
        if entity.kind == "session":
            if self.whole is not None:
                raise InvalidValue("session", "there is more than one in the file")
            self._verbatim = entity
            self.whole = self._imports.begin(self.session_id, fields.get("created_at"))
            return
        if self.whole is None:
            raise InvalidValue("session", "the file has no line of a session before its rounds")
        if entity.kind == "round":
            self.counts.rounds += 1
            copied_from = fields.pop("copied_from_id", None)
            self._open = self.whole.add_round(round_columns(fields), copied_from, **stamps)
        elif self._open is None:
            raise InvalidValue(entity.kind, "stands before the first round")
        elif entity.kind == "turn":
            self.counts.turns += 1
            self.counts.calls += len(fields.get("tool_calls", ()))
            self.whole.add_turn(self._open, turn_columns(fields), **stamps)
        else:
            self.whole.end_round(self._open, response_columns(fields), **stamps)

    def add_round(self, requested: Requested, at: int | None) -> OpenRound:
        return self.put_round(requested.shared_id, self._shape.round_columns(requested, at))

    def add_turn(self, of: OpenRound, name: str, fields: Fields) -> int:
        return self.put_turn(of, self._shape.turn_columns(name, fields))

    def change_call(self, turn: int, call: Fields) -> None:
        self.put_call(turn, self._shape.call_columns(call))

    def end_round(self, of: OpenRound, fields: Fields) -> None:
        self.put_end(of, self._shape.response_columns(fields))

    def put_round(self, shared_id: str | None, columns: Columns) -> OpenRound:
        """``add_round`` with what ``Shape`` makes of it; so with the others."""
        at = columns["created_at"]
        if self.whole is None:
            began = self.told.at if self.told.at is not None else at
            self.whole = self._imports.begin(self.session_id, min(usable(began), at))
        round_id, copied_from = self._name_round(shared_id, columns)
        self.counts.rounds += 1
        return self.whole.add_round({**columns, "id": round_id}, copied_from)

    def put_turn(self, of: OpenRound, columns: Columns) -> int:
        assert self.whole is not None
        self.counts.turns += 1
        self.counts.calls += len(columns.get("tool_calls", ()))
        return self.whole.add_turn(of, columns)

    def put_call(self, turn: int, columns: Columns) -> None:
        assert self.whole is not None
        self.whole.change_call(turn, columns)

    def put_end(self, of: OpenRound, columns: Columns) -> None:
        assert self.whole is not None
        self.whole.end_round(of, columns)

    def finish(self) -> None:
        """Show the session, if there is anything in it, or if it is kept without."""
        if self.whole is None and self.told.is_kept_empty:
            self.whole = self._imports.begin(self.session_id, usable(self.told.at))
        if self.whole is None:
            return
        if self._verbatim is not None:
            self.whole.show_verbatim(self._verbatim.fields)
            self.counts.sessions += 1
            return
        told = self.told
        fields = self.session_fields() | {
            "agent": self._source.agent,
            "source": f"import:{self._source.reader}",
            "external_id": self._source.external_id,
        }
        parent_id = None
        if told.parent is not None:
            fields["relation"] = told.relation
            parent_id = self.id_of(self._source.agent, told.parent)
            if told.parent_tool_call is not None:
                fields["parent_tool_call_id"] = told.parent_tool_call
        self.whole.show(fields, parent_id=parent_id)
        self.counts.sessions += 1


class GrowingSink(SessionSink):
    """A session that is there. What it has already is compared, so that a source may be read again from anywhere.
    ``before``: the title and description that the source had when it was read last."""

    before: Mapping[str, Any] = {}
    # Whether what is there stays as it is: the source has lost what it said, or says something else.
    only_adds = False
    # Whether another file of the conversation has made it: what is there stays where this file says something else, and
    # ``differs`` tells that it does.
    is_other_file = False
    differs = False
    # Whether the source was only added to, so that what it does not say any more is taken back by a later record.
    takes_back = False

    def add_round(self, requested: Requested, at: int | None) -> _Place:
        at = usable(at)
        fields = self._shape.round(requested, at)
        if self._is_of_another(fields):
            self.differs = True
            return _Place(fields["response_id"], at, is_left_out=True)
        if self._has_request(fields):
            return _Place(fields["response_id"], at, self._turns_of(fields["response_id"]), is_known=True)
        fields["id"], copied_from = self._name_round(requested.shared_id, fields)
        self.counts.rounds += 1
        lenient(lambda given: self._manager.create_round(self.session_id, **given), fields)
        if copied_from is not None:
            self._imports.mark_copy(fields["id"], copied_from)
        return _Place(fields["response_id"], at)

    def _is_of_another(self, fields: Fields) -> bool:
        """Whether the other file has another request in its place."""
        with suppress(NotFound):
            return self.is_other_file and _parts(
                self._manager.get_request(fields["request_id"]).content, fields["content"]
            )
        return False

    def _has_request(self, fields: Fields) -> bool:
        """Whether it is there. It gets the words that the source has for it by now."""
        try:
            there = self._manager.get_request(fields["request_id"])
        except NotFound:
            return False
        moved = {name: value for name, value in fields.items() if name in ("content", "blocks")}
        if _differs(there, moved) and self._may_replace(there.content, fields["content"], only_adds=self.only_adds):
            lenient(lambda given: self._manager.update_request(there.id, **given), moved)
        return True

    def _may_replace(self, before: str, now: str, *, only_adds: bool) -> bool:
        """Whether no words are lost by that: they go on, or the file that has them is kept."""
        if self.is_other_file:
            return now.startswith(before)
        return not only_adds and (self._source.beside is not None or now.startswith(before))

    def _turns_of(self, response_id: str) -> Iterator[Turn]:
        cursor: str | None = None
        while True:
            page = self._manager.list_turns(response_id, limit=200, cursor=cursor, include_raw=True)
            yield from page.turns
            cursor = page.next_cursor
            if cursor is None:
                return

    def add_turn(self, of: _Place, name: str, fields: Fields) -> str:
        if of.is_left_out:
            return ""
        at = usable(fields["at"])
        made = self._shape.turn(name, fields, at)
        error = made.pop("error", None)
        turn_id = str(made["id"])
        there = of.take(turn_id) or self._turn(turn_id)
        if there is not None and self.is_other_file and not made["content"].startswith(there.content or ""):
            self.differs = self.differs or _parts(there.content or "", made["content"])
            return turn_id
        only_adds = self.only_adds and turn_id not in of.made
        may_replace = there is not None and self._may_replace(there.content or "", made["content"], only_adds=only_adds)
        if there is not None and may_replace and _is_another(there, made):
            self._take_out(of, there)
            there = None
        if there is None:
            self.counts.turns += of.taken_out.pop(turn_id, None) is None
            self.counts.calls += len(made["tool_calls"])
            if self.only_adds:
                of.made.add(turn_id)
            lenient(lambda given: self._manager.create_turn(of.response_id, include_text=False, **given), made)
        else:
            self._change_turn(there, made, only_adds=only_adds)
        if error is not None and (there is None or there.error != error):
            self._manager.update_turn(turn_id, include_text=False, error=error)
        return turn_id

    def _turn(self, turn_id: str) -> Turn | None:
        with suppress(NotFound):
            return self._manager.get_turn(turn_id)
        return None

    def _take_out(self, of: _Place, there: Turn) -> None:
        """What a turn says that has ended is final: another one takes its place. Those after it follow it again."""
        for turn in (there, *of.known):
            self._manager.delete_turn(turn.id)
            of.taken_out[turn.id] = turn

    def drop_turn(self, of: _Place, name: str) -> None:  # noqa: ARG002
        with suppress(NotFound):
            self._manager.delete_turn(self._shape.names.of("turn", name))

    def _change_turn(self, there: Turn, made: Fields, *, only_adds: bool) -> None:
        """What is there already is not written again, so nobody hears of it."""
        known = {call.id: call for call in there.tool_calls}
        for call in made["tool_calls"]:
            present = known.pop(call["id"], None)
            self.counts.calls += present is None
            if present is None or (not only_adds and _differs(present, call)):
                self._manager.upsert_tool_call(there.id, call)
        for moved_away in () if only_adds else known:
            # The source has it at another turn by now.
            self._manager.delete_tool_call(there.id, moved_away)
            self.counts.calls -= 1
        # What a reply used is counted on its last turn: on another one than before, perhaps.
        given = {**_NOTHING_USED, **{name: value for name, value in made.items() if name not in _OF_THE_BEGINNING}}
        moved = {name: value for name, value in given.items() if getattr(there, name) != value}
        if moved and not only_adds:
            with suppress(Conflict):
                self._manager.update_turn(there.id, include_text=False, **moved)

    def change_call(self, turn: str, call: Fields) -> None:
        with suppress(NotFound):
            if turn:
                self._manager.upsert_tool_call(turn, safe_call(call))  # type: ignore[arg-type]

    def end_round(self, of: _Place, fields: Fields) -> None:
        if of.is_left_out:
            return
        for turn in of.taken_out.values():
            # The source does not have it any more.
            self._manager.create_turn(of.response_id, include_text=False, **_fields_of(turn))
        of.taken_out.clear()
        made = self._shape.response(fields)
        if of.is_known and made["status"] != "open" and self.takes_back and not self.only_adds:
            self._take_back(of)
        with suppress(NotFound):
            there = self._manager.get_response(of.response_id)
            if self.only_adds and of.is_known and there.status != "open":
                return
            if _differs(there, made):
                self._manager.update_response(of.response_id, **made)

    def _take_back(self, of: _Place) -> None:
        """What a file that has grown does not say any more, since a later record says what it was."""
        for turn_id in (*of.not_given, *(turn.id for turn in of.known)):
            if is_named(turn_id):
                self._manager.delete_turn(turn_id)
        of.not_given.clear()

    def finish(self) -> None:
        """Change what the source has said of the session since, and nothing that somebody has changed here."""
        present = self._manager.get_session(self.session_id)
        fields = self.session_fields()
        metadata = {**present.metadata, **fields.pop("metadata")}
        # Somebody may have given it another title here.
        fields = {name: value for name, value in fields.items() if self.before.get(name) != value and name != "cwd"}
        if metadata != present.metadata:
            fields["metadata"] = metadata
        self._manager.update_session(self.session_id, **fields)


def _is_another(there: Turn, made: Fields) -> bool:
    """Whether the source says something else by now than a turn that has ended, or that somebody gave up."""
    is_other_end = there.status in _FINAL and made["status"] != there.status
    return is_other_end or any(made.get(name, "") != getattr(there, name) for name in ("content", "raw_response"))


def _parts(one: str, other: str) -> bool:
    """Whether neither of two texts goes on from the other."""
    return not (one.startswith(other) or other.startswith(one))


def _fields_of(turn: Turn) -> Fields:
    """A turn as a new one is made."""
    fields = {name: getattr(turn, name) for name in _OF_A_TURN}
    fields["tool_calls"] = [
        {name: value for name, value in asdict(call, recurse=False).items() if value is not None}
        for call in turn.tool_calls
    ]
    return fields


def _differs(there: Any, fields: Fields) -> bool:
    return any(getattr(there, name) != value for name, value in fields.items())


def cut_branch(manager: SessionManager, imports: Imports, sink: SessionSink, left: Left) -> None:
    """Put the rounds of a branch that was left into a fork, and take them out of the session. What was done of it by an
    earlier run is not done again."""
    names = Names(sink.session_id)
    there = []
    for request in left.requests:
        with suppress(NotFound):
            there.append(manager.get_request(names.of("request", request)))
    if not there:
        return
    with suppress(NotFound):
        # Not there any more: another import has cut it off meanwhile.
        _cut(manager, imports, sink, left, there)


def _cut(manager: SessionManager, imports: Imports, sink: SessionSink, left: Left, there: list[Request]) -> None:
    names = Names(sink.session_id)
    through = there[-1].round_id
    try:
        fork = manager.fork_session(sink.session_id, through_round_id=through, id=names.of("branch", left.at_request))
    except Conflict:
        # The same request has begun a branch before: a file may have a record twice.
        again = names.of("branch", f"{left.at_request} {through}")
        fork = manager.fork_session(sink.session_id, through_round_id=through, id=again)
    with manager.transaction():
        imports.date_branch(fork.id, there[0].created_at)
        for each in reversed(there):
            with suppress(NotFound):
                manager.delete_round(each.round_id)


def set_parent(imports: Imports, session_id: str, parent_id: str, relation: str, call: str | None) -> None:
    """Where a session came from, once that is there."""
    with suppress(NotFound):
        imports.set_parent(session_id, parent_id, Relation(relation), call)
