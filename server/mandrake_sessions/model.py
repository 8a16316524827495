"""The entities of a store and the changes to them, as plain frozen values.

Field names are the wire's in snake case and the columns' to the letter. Times are milliseconds since the epoch, UTC;
costs are numbers of their currency; ids are lower-case UUIDs. A tuple or dict that hangs from an entity must not be
changed by its holder.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal

from attrs import field, frozen

from mandrake_sessions.value import Value

Json = Any
JsonObject = dict[str, Any]

ScopeName = Literal["workspace", "system"]
"""Which store is meant.

workspace: the store of a workspace, `<workspace>/.ws/db.sqlite`.
system: the user's own store, `~/.mandrake/db.sqlite`.
"""


class TurnStatus(StrEnum):
    """How a turn stands."""

    STREAMING = "streaming"
    """Text may still come."""
    COMPLETED = "completed"
    """It is whole; its text is final."""
    ERROR = "error"
    """It ended in an error, which ``error`` names; its text is final."""
    CANCELLED = "cancelled"
    """Somebody stopped it; its text is final."""
    INTERRUPTED = "interrupted"
    """The process that streamed it is gone, or a client said so. The next append, or an update to `streaming`, resumes
    it."""


class ResponseStatus(StrEnum):
    """How a response stands. Any status may follow any other; turns can be added to each."""

    OPEN = "open"
    """The agent is at work, or nobody has said otherwise."""
    REQUIRES_ACTION = "requires_action"
    """The agent waits for somebody, such as for a permission."""
    COMPLETED = "completed"
    """The agent has answered."""
    ERROR = "error"
    """It ended in an error."""
    CANCELLED = "cancelled"
    """Somebody stopped it."""
    INTERRUPTED = "interrupted"
    """The process that streamed one of its turns is gone, or a client said so; the next append to an `interrupted` turn
    makes it `open` again."""


class SessionState(StrEnum):
    """How a conversation stands: whether a turn of it streams, else what the response of its latest round says."""

    IDLE = "idle"
    """Nothing of the other three."""
    RUNNING = "running"
    """A turn of the session streams."""
    REQUIRES_ACTION = "requires_action"
    """The response of the latest round waits for somebody, and no turn of the session streams."""
    FAILED = "failed"
    """The response of the latest round ended in `error` or was `interrupted`."""


class Relation(StrEnum):
    """What a session is to its parent."""

    FORK = "fork"
    """It began as a copy of the parent's rounds."""
    SUBAGENT = "subagent"
    """An agent started it for a part of its work."""
    CONTINUATION = "continuation"
    """It goes on where the parent ended."""


class Origin(StrEnum):
    """Who asked for a round."""

    USER = "user"
    """A person, or a program in their place."""
    AGENT = "agent"
    """Nobody: the agent spoke by itself. Its request is empty, unless the client gave it a text all the same."""
    SYSTEM = "system"
    """The program around the agent."""


class ToolCallStatus(StrEnum):
    """How a tool call stands, in ACP's words. Any status may follow any other."""

    PENDING = "pending"
    """It has not begun."""
    IN_PROGRESS = "in_progress"
    """It runs."""
    COMPLETED = "completed"
    """It ended well."""
    FAILED = "failed"
    """It ended in an error."""


@frozen(eq=False, repr=False)
class Session(Value):
    """A conversation. ``streaming``: a turn of it streams now. ``seq`` and ``updated_at`` move together.

    ``external_id`` is the name that another program, ``agent``, has for it; ``source`` says how it came here, ``cwd``
    is the absolute directory that it was about. ``active_at`` is when the conversation last moved: appends and
    deletions do not move it. ``relation`` says what the session is to its parent, and stays where that is deleted.
    """

    id: str
    """The session's id."""
    seq: int
    """The ``seq`` of its last change but appends; it moves with ``updated_at``."""
    external_id: str | None
    agent: str | None
    source: str | None
    cwd: str | None
    title: str | None
    description: str | None
    preview: str | None
    """The beginning of its first request; null while there is none."""
    metadata: JsonObject
    """The client's own object."""
    parent_id: str | None
    """The session that it came from; null where there is none, and where that was deleted."""
    relation: Relation | None
    parent_tool_call_id: str | None
    forked_from_round_id: str | None
    """The last round that a fork took from its parent; null for others, and where the parent was deleted."""
    archived_at: int | None
    """When it was put away; null where it is not."""
    round_count: int
    """How many rounds it has."""
    streaming: bool
    """Whether a turn of it streams now."""
    state: SessionState
    """How the conversation stands."""
    active_at: int
    """When it last moved: the latest of its beginning, its rounds' beginnings, its turns' beginnings and ends
    (``stream_start_time`` and ``stream_end_time``), and its responses' ends. Appends do not move it, deletions do not
    lower it."""
    created_at: int
    """When it was made, or happened where the client said so."""
    updated_at: int
    """When anything in the session last changed but by an append."""


@frozen(eq=False, repr=False)
class Round(Value):
    """One request and its response; ``index`` counts from 0 in its session and is never given twice. ``copied_from_id``
    names the first original of a round that came with a fork."""

    id: str
    """The round's id."""
    session_id: str
    """The session that it is in."""
    request_id: str
    """Its request."""
    response_id: str
    """Its response."""
    index: int
    """Its place in the session: 0, 1, 2 …, never given twice."""
    origin: Origin
    """Who asked for it."""
    copied_from_id: str | None
    """The first original of a round that came with a fork; else null."""
    metadata: JsonObject
    """The client's own object."""
    created_at: int
    """When it was made, or happened where the client said so."""
    updated_at: int
    """When it last changed."""


@frozen(eq=False, repr=False)
class Request(Value):
    """What was asked: ``content`` is its text, ``blocks`` the client's own form where it is more than text."""

    id: str
    """The request's id."""
    round_id: str
    """The round that it is in."""
    content: str
    blocks: list[Json] | None
    created_at: int
    """When it was made, or happened where the client said so."""
    updated_at: int
    """When it last changed."""


@frozen(eq=False, repr=False)
class Usage(Value):
    """What an agent said of a whole response. A field that is ``None`` is counted from the turns instead.

    ``context_used`` of ``context_size`` tokens were in the model's context at the end; ``cost`` is in ``currency``.
    """

    input_tokens: int | None
    output_tokens: int | None
    thought_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    context_used: int | None
    context_size: int | None
    cost: float | None
    currency: str | None


@frozen(eq=False, repr=False)
class Response(Value):
    """What was answered, as a whole; its text is in its turns."""

    id: str
    """The response's id."""
    round_id: str
    """The round that it is in."""
    status: ResponseStatus
    """How the response stands, as the client said last. The server writes `interrupted` by itself where the process of
    a turn is gone, and `open` where an interrupted turn is resumed."""
    stop_reason: str | None
    usage: Usage | None
    end_time: int | None
    """When it ended; null while it is `open` or `requires_action`."""
    created_at: int
    """When it was made, or happened where the client said so."""
    updated_at: int
    """When it last changed."""


@frozen(eq=False, repr=False)
class ToolCall(Value):
    """A call of a tool inside a turn; ``id`` is the client's and unique in its turn."""

    id: str
    title: str | None
    kind: str | None
    server_name: str | None
    method_name: str | None
    arguments: Json
    response: Json
    content: Json
    locations: Json
    status: ToolCallStatus
    start_time: int | None
    end_time: int | None
    metadata: JsonObject


@frozen(eq=False, repr=False)
class Turn(Value):
    """A piece of a response that an agent streams.

    ``content`` and ``raw_response`` are ``None`` only where the call asked to leave them out. ``seq`` is that of the
    turn's last change, appends included; ``chunk_count`` is the number of appended pieces. ``tool_call_id`` names the
    call whose output a turn of kind ``tool_output`` is. ``cost`` is its whole cost, where the parts are not known;
    costs are in ``currency``, an ISO 4217 code.
    """

    id: str
    """The turn's id."""
    seq: int
    """The ``seq`` of its last change, appends included."""
    response_id: str
    """The response that it is in."""
    index: int
    """Its place in the response: 0, 1, 2 …, never given twice."""
    kind: str
    tool_call_id: str | None
    tool_calls: list[ToolCall]
    """Its tool calls, in the order in which they were stored first."""
    status: TurnStatus
    """How the turn stands."""
    error: str | None
    model: str | None
    stream_start_time: int
    """When its stream began."""
    stream_end_time: int | None
    """When its stream ended; null while it streams."""
    current_tokens: int
    expected_tokens: int | None
    input_tokens: int
    output_tokens: int
    thought_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    input_cost: float
    output_cost: float
    cost: float | None
    currency: str
    chunk_count: int
    """How many pieces were appended; also the ordinal of the next one."""
    metadata: JsonObject
    """The client's own object."""
    created_at: int
    """When it was made, or happened where the client said so."""
    updated_at: int
    """When it last changed."""
    content: str | None = None
    """The text of the turn; missing where it was not asked for."""
    raw_response: str | None = None
    """What the agent sent, as it came; missing where it was not asked for."""


@frozen(eq=False, repr=False)
class RoundDetail(Value):
    """A round with its request and its response."""

    round: Round
    """The round."""
    request: Request
    """Its request."""
    response: Response
    """Its response, without turns."""


@frozen(eq=False, repr=False)
class HistoryResponse(Response):
    """A response with its turns, in order."""

    turns: list[Turn]
    """Its turns by ``index``."""


@frozen(eq=False, repr=False)
class HistoryRound(Round):
    """A round with all that hangs from it."""

    request: Request
    """Its request."""
    response: HistoryResponse
    """Its response, with turns."""


@frozen(eq=False, repr=False)
class SessionPage(Value):
    """Sessions, the latest first: by their last change or, with ``sort: "active"``, by ``active_at``. ``seq`` is the
    store's at the moment of reading. The three pages name the store: its ``store_id`` is null, and ``seq`` 0, while
    nothing has been written yet."""

    sessions: list[Session]
    """The sessions of this page."""
    next_cursor: str | None
    seq: int
    store_id: str | None


class SearchField(StrEnum):
    """Which text a hit is in."""

    TITLE = "title"
    """The title of a session."""
    REQUEST = "request"
    """The text of a request."""
    CONTENT = "content"
    """What the agent said in a turn: messages, thoughts, plans."""
    ARGUMENTS = "arguments"
    """What a tool call was given, with its title, `serverName` and `methodName`."""
    RESPONSE = "response"
    """What a tool call gave, its `response` and its `content`; or streamed, as a turn of kind `tool_output`."""


class SearchRole(StrEnum):
    """Whose words a text is."""

    USER = "user"
    """Titles and requests."""
    AGENT = "agent"
    """What the agent said."""
    TOOL = "tool"
    """What tools were given and gave."""


@frozen(eq=False, repr=False)
class SearchHit(Value):
    """A text that was found."""

    session_id: str
    """The session that it is in."""
    round_id: str | None
    """The round that it is in; null for a title."""
    turn_id: str | None
    """The turn that it is in; null for a title and a request."""
    tool_call_id: str | None
    """The tool call whose arguments or response it is; null for other texts."""
    field: SearchField
    """Which text it is."""
    role: SearchRole
    """Whose words they are."""
    snippet: str
    """The part of the text that shows best why it was found, at most 300 UTF-16 units."""
    ranges: list[list[int]]
    """Where ``snippet`` shows what was looked for: the start and the end of each place, in UTF-16 units; the end is
    behind it."""
    score: float
    """The greater, the better. It compares within one store and one search."""
    at: int
    """The turn's ``stream_start_time``, else the round's ``created_at``; of a title the session's."""
    session: Session
    """The session."""


@frozen(eq=False, repr=False)
class SearchPage(Value):
    """What was found, best first."""

    hits: list[SearchHit]
    """The hits of this page."""
    next_cursor: str | None
    seq: int
    store_id: str | None
    pending: int
    """How many turns that have ended are not in the search index yet, so that they were not searched."""


@frozen(eq=False, repr=False)
class StoreRef(Value):
    """Which store a row of several stores is of: give its ``store_id`` as ``store`` to the methods that read."""

    store_id: str
    """The name of the store's history."""
    scope: ScopeName
    """Whether it is a workspace's store or the user's own."""
    workspace: str | None
    """The workspace's directory; null for the user's own store, and for a file of `--database` without one."""


class UnavailableReason(StrEnum):
    """Why a read of all stores could not read one: a reason of `storage`, or one of three more."""

    CREATE_DIRECTORY = "createDirectory"
    """The directory of the store could not be made."""
    OPEN = "open"
    """The file could not be opened, or it was closed meanwhile."""
    MIGRATE = "migrate"
    """The file has an older schema: it has to be migrated first."""
    READ_ONLY = "readOnly"
    """Reading it would need a write, and the file, or its directory, may only be read."""
    FULL = "full"
    """Reading it would need a write, and the disk, or a quota, has no room."""
    CORRUPT = "corrupt"
    """The file is damaged."""
    SCHEMA_TOO_NEW = "schemaTooNew"
    """A newer release wrote the file."""
    FOREIGN_DATABASE = "foreignDatabase"
    """The file is the database of another program."""
    UNSUPPORTED_FILESYSTEM = "unsupportedFilesystem"
    """The file system cannot lock the file as SQLite needs it."""
    IO = "io"
    """Reading failed or took too long, or another file took its place just now."""
    BUSY = "busy"
    """Another process holds its lock."""
    COPIED = "copied"
    """It is the copy of another store, until it is opened."""
    GONE = "gone"
    """There is nothing in its place."""


@frozen(eq=False, repr=False)
class UnavailableStore(Value):
    """A store that a read of all stores could not read."""

    path: str
    """The store's file."""
    reason: UnavailableReason
    """Why it could not be read."""
    store_id: str
    """The name of the store's history, as `store/list` has it."""


@frozen(eq=False, repr=False)
class SessionOfStore(Session):
    """A session, with the store that it is in."""

    store: StoreRef
    """The store that it is in."""


@frozen(eq=False, repr=False)
class AllSessions(Value):
    """The answer with ``scope: "all"``: sessions of every store, latest first; of two with one time the lower
    ``store_id``, then the lower ``id``."""

    sessions: list[SessionOfStore]
    """The sessions of this page."""
    next_cursor: str | None
    seq: None
    """Null: each row has the ``seq`` of its own store."""
    store_id: None
    """Null: each row has its ``store``."""
    unavailable: list[UnavailableStore]
    """The stores that could not be read."""


@frozen(eq=False, repr=False)
class HitOfStore(SearchHit):
    """A text that was found, with the store that it is in."""

    store: StoreRef
    """The store that it is in."""


@frozen(eq=False, repr=False)
class AllHits(Value):
    """The answer with ``scope: "all"``: what was found in every store. First come the best hits of each store, then
    the second best, and so on; of two with one rank the lower ``store_id``."""

    hits: list[HitOfStore]
    """The hits of this page."""
    next_cursor: str | None
    seq: None
    """Null: the stores have each their own."""
    store_id: None
    """Null: each hit has its ``store``."""
    pending: int
    """How many turns of all these stores were not searched, as for one store."""
    unavailable: list[UnavailableStore]
    """The stores that could not be searched."""


@frozen(eq=False, repr=False)
class RoundPage(Value):
    """Rounds of a session by ``index``."""

    rounds: list[Round]
    """The rounds of this page, by ``index``."""
    next_cursor: str | None
    seq: int
    store_id: str | None


@frozen(eq=False, repr=False)
class TurnPage(Value):
    """Turns of a response by ``index``."""

    turns: list[Turn]
    """The turns of this page, by ``index``."""
    next_cursor: str | None
    seq: int
    store_id: str | None


@frozen(eq=False, repr=False)
class History(Value):
    """A page of a conversation: one consistent snapshot, taken at ``seq``."""

    session: Session
    """The session."""
    rounds: list[HistoryRound]
    """The rounds of this page, with all that hangs from them."""
    next_cursor: str | None
    seq: int
    store_id: str | None


@frozen(eq=False, repr=False)
class ResponseProgress(Value):
    """A response and its turns; complete when no turn streams, also when it has no turns."""

    is_complete: bool
    """Whether no turn of it streams; also where it has no turns."""
    response: Response
    """The response."""
    turns: list[Turn]
    """All its turns, by ``index``."""
    seq: int
    store_id: str | None


@frozen(eq=False, repr=False)
class CurrencyTotal(Value):
    """What was used, of all that is counted in one currency."""

    currency: str
    """The currency of the costs, an ISO 4217 code. Tokens count with the currency of their turn."""
    input_tokens: int
    """The tokens that were billed for the input."""
    output_tokens: int
    """The tokens that were billed for the output; of a turn that streams those of its last piece."""
    thought_tokens: int
    """The tokens of the models' thoughts."""
    cache_read_tokens: int
    """The tokens that the providers read from their caches."""
    cache_write_tokens: int
    """The tokens that the providers wrote to their caches."""
    input_cost: float
    """What turns say that their input cost."""
    output_cost: float
    """What turns say that their output cost."""
    cost: float
    """The whole cost: of a turn its ``cost``, else ``input_cost`` and ``output_cost``; of a response what its agent
    said."""


@frozen(eq=False, repr=False)
class UsageTotals(Value):
    """What was used."""

    totals: list[CurrencyTotal]
    """One total for each currency of which a number is not 0, by its code; empty where all are 0."""
    rounds: int
    """How many rounds there are, without those of origin ``system``; each counts at its ``created_at``."""
    turns: int
    """How many turns there are; each counts at its ``stream_start_time``."""
    tool_calls: int
    """How many tool calls these turns have."""
    streamed_ms: int
    """From the start to the end of each turn that has ended, added up, in milliseconds; an end before the start, as of
    a clock that was set back, counts as 0."""


@frozen(eq=False, repr=False)
class UsageGroup(Value):
    """What was used, of what has one key."""

    key: str | None
    """A day (`YYYY-MM-DD`), a name or an id; null for what has none."""
    totals: list[CurrencyTotal]
    rounds: int
    turns: int
    tool_calls: int
    streamed_ms: int


@frozen(eq=False, repr=False)
class Export(Value):
    """A session as one document, in the format that was asked for."""

    content: str
    """The document, of at most 8 MiB in UTF-8."""
    media_type: str
    """What kind of text it is: `text/markdown`, `text/html`, `application/jsonl` or `application/json` (atif)."""
    redacted: int
    """How many secrets and paths of home directories something else stands for in it; ``0`` where nobody asked for
    that."""


@frozen(eq=False, repr=False)
class Appended(Value):
    """The receipt of a stored piece: its ``seq``, its ordinal and how many pieces the turn has now."""

    turn_id: str
    """The turn."""
    seq: int
    """The ``seq`` of the piece; the turn's, where that of an old piece is no longer kept."""
    chunk: int
    """The ordinal of the piece."""
    chunk_count: int
    """How many pieces the turn has; the ordinal of the next one."""


@frozen(eq=False, repr=False)
class Counts(Value):
    """How many entities of each kind a deletion took."""

    sessions: int = 0
    """How many sessions went."""
    rounds: int = 0
    """How many rounds."""
    requests: int = 0
    """How many requests."""
    responses: int = 0
    """How many responses."""
    turns: int = 0
    """How many turns."""


@frozen(eq=False, repr=False)
class Deleted(Value):
    """What a deletion took."""

    deleted: Counts
    """How many of each kind went."""


@frozen(eq=False, repr=False)
class PrunableSession(Value):
    """A session that nobody has changed for long. ``title``: its title, or the beginning of its first request;
    ``last_change``: milliseconds since the epoch; sizes in bytes:
    requests and texts of turns, raw responses, tool calls, metadata and titles, what the feed keeps of it, and the
    files that it was brought in from, compressed.
    """

    id: str
    title: str | None
    archived: bool
    last_change: int
    round_count: int
    texts_bytes: int
    raw_responses_bytes: int
    tool_calls_bytes: int
    metadata_bytes: int
    feed_bytes: int
    originals_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        sizes = (self.texts_bytes, self.raw_responses_bytes, self.tool_calls_bytes, self.metadata_bytes)
        return sum(sizes) + self.feed_bytes + self.originals_bytes


@frozen(eq=False, repr=False)
class ToolCallCounts(Value):
    """How many tool calls a deletion took."""

    tool_calls: int = 1
    """How many tool calls went: 1."""


@frozen(eq=False, repr=False)
class ToolCallDeleted(Value):
    deleted: ToolCallCounts = ToolCallCounts()
    """How many went."""


class ChangeKind(StrEnum):
    """What a change did. The words are stored in the feed, except ``requestUpdated`` and ``toolCallUpdated``: their
    rows keep the words that programs of before 0.3.1 know."""

    SESSION_CREATED = "sessionCreated"
    SESSION_UPDATED = "sessionUpdated"
    SESSION_DELETED = "sessionDeleted"
    ROUND_CREATED = "roundCreated"
    ROUND_UPDATED = "roundUpdated"
    ROUND_DELETED = "roundDeleted"
    REQUEST_UPDATED = "requestUpdated"
    RESPONSE_UPDATED = "responseUpdated"
    TURN_CREATED = "created"
    TURN_APPENDED = "appended"
    TURN_UPDATED = "updated"
    TURN_DELETED = "deleted"
    TOOL_CALL_UPDATED = "toolCallUpdated"
    TOOL_CALL_DELETED = "toolCallDeleted"


# One is made for each append, and frozen slots are set one by one through a function.
@frozen(kw_only=True, slots=False, eq=False, repr=False)
class Change(Value):
    """One committed change. Which of the last fields are set depends on ``kind``:

    ``turn`` (created, as it was then), ``first_chunk`` to ``output_tokens`` (appended: just the new text),
    ``changes`` (updated, and with a tool call: every field of the turn itself that differs), ``tool_call`` (the whole
    call, new or changed), ``tool_call_id`` (its deletion), ``round``, ``request`` and ``response`` (what it is about,
    as it is now). The ids are ``None`` below what was deleted.
    """

    seq: int
    kind: ChangeKind
    session_id: str
    round_id: str | None = None
    response_id: str | None = None
    turn_id: str | None = None
    index: int | None = None
    status: TurnStatus | None = None
    turn: Turn | None = None
    first_chunk: int | None = None
    last_chunk: int | None = None
    content: str | None = None
    raw_response: str | None = None
    current_tokens: int | None = None
    output_tokens: int | None = None
    changes: JsonObject | None = None
    tool_call: ToolCall | None = None
    tool_call_id: str | None = None
    round: Round | None = None
    request: Request | None = None
    response: Response | None = None


@frozen(eq=False, repr=False)
class FeedStart(Value):
    """Where a listener begins: the store's name, the position, and the state there.

    ``store_id`` is None, and ``seq`` 0, where the store is not there yet.
    ``reset`` is true when a ``since`` could not be honoured and ``turns`` or ``sessions`` hold the state instead.
    """

    store_id: str | None
    seq: int
    reset: bool
    turns: list[Turn] = field(factory=list)
    sessions: list[Session] = field(factory=list)


@frozen(eq=False, repr=False)
class Scope(Value):
    """What part of a store a listener hears: one turn, one response, one session, or (all ``None``) everything.

    The ids above the narrowest are kept too, so that the deletion of a whole round or session is heard.
    """

    session_id: str | None = None
    round_id: str | None = None
    response_id: str | None = None
    turn_id: str | None = None

    def covers(self, change: Change) -> bool:
        """Whether the change happened inside, or took away, what this scope is about."""
        for own, theirs in (
            (self.session_id, change.session_id),
            (self.round_id, change.round_id),
            (self.response_id, change.response_id),
            (self.turn_id, change.turn_id),
        ):
            if own is None:
                return True
            if theirs is None:
                return change.kind in DELETIONS
            if own != theirs:
                return False
        return True


DELETIONS: Final = frozenset({ChangeKind.SESSION_DELETED, ChangeKind.ROUND_DELETED, ChangeKind.TURN_DELETED})

Order = Literal["asc", "desc"]
"""Which end of a conversation comes first.

asc: the oldest round.
desc: the latest round.
"""

Sort = Literal["changed", "active"]
"""What comes first in a list of sessions.

changed: what changed last, by `seq`.
active: what was active last, by `activeAt`, then by order of creation.
"""

GroupBy = Literal["day", "model", "session", "agent", "cwd"]
"""What makes a group of what was used.

day: a day of the time zone, `YYYY-MM-DD`.
model: the model of the turn; for a round, and for what an agent said of a whole response, that of the last turn.
session: the session, by its id.
agent: the program whose sessions they are.
cwd: the directory that the sessions are about, each by itself.
"""

ExportFormat = Literal["markdown", "html", "jsonl", "atif"]
"""How a session is written down.

markdown: for people.
html: one page that needs nothing else, for people to look at.
jsonl: JSON lines, without any loss; `mandrake-sessions import` takes them.
atif: a trajectory for tools that read those of agents.
"""
