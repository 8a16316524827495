"""What each method does and each notification means, beyond the line in the table: Markdown, in the words of the wire.

Only what is generated needs it.
"""

from __future__ import annotations

from mandrake_sessions.limits import MAX_FORK_BYTES, MAX_FORK_PARTS

_AGAIN = (
    "With an `id` the call can be sent again: the same params give the entity as it now is and write nothing, other "
    "params are a `conflict` (`idInUse`)."
)
_BOUNDS = "A `since` that is not below `until` finds nothing."
_PAGED = "The next page has the same params and the `nextCursor` of this one as `cursor`."
_RAW = "`rawResponse` comes only with `includeRaw: true`; `includeText: false` leaves both texts out."

DETAILS: dict[str, str] = {
    "session/create": f"A session is a conversation; it begins without rounds. {_AGAIN} A `parentId` must be there.",
    "session/get": (
        "Give `sessionId`, or the `externalId` by which another program knows the session. Where sessions of several "
        "agents have that name, give `agent` too (`null`: the session of none)."
    ),
    "session/list": (
        'What changed last comes first, or with `sort: "active"` what was active last. All filters that are given must '
        f"hold; without any, all sessions that are not archived are listed. {_PAGED} To follow what the list shows, "
        "subscribe with `session/subscribe` and its `seq`. With "
        '`scope: "all"` the sessions of all stores are listed by `updatedAt` (or `activeAt`), each with its `store`, '
        "and what cannot be read stands in `unavailable`. An `activeSince` that is not below `activeUntil` finds "
        "nothing."
    ),
    "session/update": (
        "What is left out is kept, `null` clears. `archived: true` sets `archivedAt` and takes the session out of "
        "`session/list`, `false` brings it back. It can be sent again at any time."
    ),
    "session/delete": (
        "It is gone with its rounds, requests, responses and turns, and so is what the feed keeps of them. Sessions "
        "that came from it stay, with `parentId: null`."
    ),
    "session/history": (
        "The rounds of a session, each with request, response and turns: one consistent snapshot a page. A page ends "
        f"at `limit` rounds or about 8 MiB, and has one round at least. {_RAW} {_PAGED}"
    ),
    "session/fork": (
        "The copy has the rounds up to and with `throughRoundId`, all of them without it, with requests, "
        "responses, turns and tool calls, under new ids; texts, times, costs, indexes and counts are those of "
        "the original. A turn that still streams is copied as `interrupted`, a detached one too, and its "
        "response, if that was `open` or `requires_action`, with it; so the `state` of such a copy is `failed` until "
        "somebody goes on. A round that is damaged in the file is left "
        "out, as in every list; `server/health` names it. `copiedFromId` of a round names the first original, in "
        "a fork of a fork too. The copy has `agent`, `source`, `cwd`, `description`, `metadata` and, without `title`, "
        "the title of the original, and neither its `externalId` nor its `archivedAt`; `relation` is `fork`, and "
        "`forkedFromRoundId` is the last copied round, also without `throughRoundId`. It is of one state of the "
        "store: what others change or delete meanwhile comes after it. Others see it when it is whole, as one "
        "`created` of the session and nothing for its turns; they can write while it is made, however long the "
        f"session is. Inside `transaction/run` they cannot, so there a session of more than {MAX_FORK_PARTS:,} "
        f"rounds, turns and tool calls, or {MAX_FORK_BYTES // 1024 // 1024} MiB, is `tooLarge`. `$/cancelRequest` "
        f"ends it until then, and leaves nothing. {_AGAIN} When the original is deleted, `parentId` and "
        "`forkedFromRoundId` become null, when that round is, the latter; `relation` stays."
    ),
    "session/usage": (
        "A turn counts at its `streamStartTime`, with its tool calls; a round at its `createdAt`. Rounds of origin "
        "`system`, which nobody asked for, are not counted as rounds; what they used is. What an agent "
        "said of a whole response (`usage`) stands in place of its turns' numbers, field by field: it counts at "
        "the response's `endTime`, else with the round, by model to the last turn's, and in its own currency, "
        "else in that of the last turn, else in `USD`. So a turn with 10 `inputTokens`, 4 `outputTokens`, and in "
        "`USD` an `inputCost` of 0.1 and an `outputCost` of 0.2, whose response has the `usage` "
        '`{"inputTokens": 7, "cost": 0.5, "currency": "EUR"}`, gives two totals: `EUR` with 7 `inputTokens` and a '
        "`cost` of 0.5, and `USD` with 4 `outputTokens`, both parts of the costs and a `cost` of 0. A turn that "
        "streams counts as it is now. Copies of a round"
        " are not counted while an older one of the same origin is stored; so a fork has only what is new in it, "
        "until its original is deleted. Sums are exact: integers may be larger than 64 bits, and a cost is the "
        "double that is nearest to the sum. Archived sessions count. Groups of more than about 8 MiB are "
        f'`tooLarge`. {_BOUNDS} With `scope: "all"` the sums are those of all stores, but for what stands in '
        "`unavailable`."
    ),
    "session/export": (
        "The session as it is at one moment, rendered as docs/export.md describes. With `redact`, secrets become "
        "`[redacted: …]` and the paths of home directories `~`; the store stays as it is. A document above 8 MiB "
        "is `tooLarge`: page with `session/history`, or use the command `mandrake-sessions export`, which has no such "
        "bound. The first redacted export of a user compiles the detector's rules, which takes seconds."
    ),
    "session/search": (
        "A text is found if it has all terms of the query: as words, in any case and without accents, several in "
        "quotes as a phrase; or as parts of words, for terms of three characters or more. `word*` finds any word that "
        'begins so, `"a phr"*` any phrase; a `*` elsewhere, also inside the quotes, is a character like others. '
        "Signs between and around words are no part of them, in phrases either: `foo::bar()` finds each text in which "
        "`bar` follows `foo`. But texts that have a term as it is written come first (`c++`, `.env`, `foo::bar()`; "
        "terms of three characters or more). A term of one or two characters, neither "
        "of them a letter or a digit (`=>`, `😀`), is left out: alone it finds nothing. In Chinese, Japanese, Korean, "
        "Thai, Lao, Burmese and Khmer each character is a word, so one is enough. "
        "Nothing in a query is an error, and there are no operators; its first 4,096 characters and 32 terms count. "
        "What stands in rounds of origin `system` comes after what people typed and agents answered. "
        "A turn is found once it has ended; one that was interrupted and goes on may be found meanwhile. "
        "Texts are titles, requests (the first MiB), what turns say, and of tool calls `title`, `serverName`, "
        "`methodName`, `arguments`, `response` and `content` (the first 64 KiB of each). Words come before parts of "
        "words; words next to each other before others; titles and requests before what tools gave. `ranges` cover a "
        "term as it is written where the text has it so, else its words, and of `word*` what stands before the `*`. "
        "To search an archived session with "
        "`sessionId`, send `archived: null` too. "
        "A turn is found from its end on. Servers fill a search index within a second of what was written. Before it "
        "searches, the first page puts in what is still missing, for about 0.2 seconds at most; a server whose input "
        "has ended does so for about 0.25 seconds. So a client finds what it has written before, and a script what "
        "others have. `pending` counts the turns that are missing nevertheless: search again in a second. Those of "
        "stores that are not open here count too, and are missing until a server opens these. While the index cannot "
        "be filled (`server/health` says why), or another process fills it, titles and requests may be missing too, "
        "which `pending` does not count. Stores that are not open here are searched as far as their index is filled. "
        "The copies in a fork are texts of their own, each of them a hit. "
        "The pages of one search hold 10,000 hits at the most. With "
        '`scope: "all"` come the best hits of each store, then the second best of each, and so on, each hit with its '
        "`store`; what cannot be searched stands in `unavailable`. "
        f"{_BOUNDS} {_PAGED}"
    ),
    "store/list": (
        "Give a `storeId` as `store` to a method that reads. A store that is gone is listed for 90 days, with "
        "`available: false`. Servers note a store when they open it, and then every ten minutes at most; with "
        "`--no-register` they note nothing. The order is that of these notes."
    ),
    "round/create": (
        "A round is one request and its response; all three are made together, and the response is `open`. Add turns "
        f"to `response.id` with `turn/create`. {_AGAIN}"
    ),
    "round/get": "It comes with its request and its response, without turns.",
    "round/update": "The object takes the place of the one that the round has.",
    "round/list": f"Without requests, responses and turns; `session/history` has those. {_PAGED}",
    "round/delete": (
        "With `following: true` all later rounds of the session go too, as for editing a request and sending it again. "
        "Other rounds keep their index, and no index is given twice."
    ),
    "request/get": "What was asked: its text, and its blocks where it was more than text.",
    "request/update": "What is left out is kept.",
    "response/get": "Its turns come with `response/status`, `turn/list` or `session/history`.",
    "response/update": (
        "What is left out is kept, `null` clears. Any status may follow any other. A response that is neither `open` "
        "nor `requires_action` has an `endTime`: the given one, or now; one that becomes either loses it. `usage` is "
        "replaced whole. A permission that is asked for while a turn streams may be said by `requires_action`, but the "
        "session's `state` is `running` until no turn streams. `interrupted` may be said too, as of a conversation "
        "that is recorded afterwards."
    ),
    "response/status": (
        "The response with all its turns, and `isComplete`: whether none of them streams. It is true without turns "
        f"too, so look at `response.status` where your client sets it. {_RAW}"
    ),
    "turn/create": (
        "A turn is a part of a response that an agent streams: a message, a thought, the output of a tool. It begins "
        "with `content`, which is no chunk, and belongs to this process until it ends (see leases). With another "
        f"`status` than `streaming` it is stored whole, and ends at `streamStartTime`. {_AGAIN} The result always has "
        "both texts, unless `includeText` is false."
    ),
    "turn/append": (
        "Adds to the end of `content`, of `rawResponse`, or of both. With `chunk`, the ordinal of the piece, it can be "
        "sent again: the next ordinal is stored, one that is stored already is acknowledged and not stored again, also "
        "after the turn's end. Without it the piece is stored as the next. An `interrupted` turn goes back to "
        "`streaming`, and its response to `open`; one that has ended is a `conflict`. Sent as a notification it has no "
        "answer, and a failure comes as `turn/rejected`. It costs the same however long the turn is."
    ),
    "turn/update": (
        "What is left out is kept, `null` clears. `content` replaces the whole text and leaves the ordinals of chunks "
        "as they are. A turn ends by a `status` other than `streaming`, and gets its `streamEndTime`. From then on "
        "another `content`, `rawResponse` or status is a `conflict` (`turnEnded`); the same ones are not, and other "
        "fields may still change. Only an `interrupted` turn can be given another status, `streaming` too. A turn that "
        "a client makes `interrupted` leaves its response as it is: say that with `response/update`."
    ),
    "turn/get": "Always with `rawResponse`, unless `includeText` is false.",
    "turn/delete": "Other turns keep their index.",
    "turn/list": f"{_RAW} {_PAGED}",
    "turn/latest": "`null` where the response has no turns.",
    "toolCall/upsert": (
        "A call with a new `id` is added at the end of the turn's `toolCalls`; of one that is there, what is left out "
        "is kept. It may be sent again, and also when the turn has ended."
    ),
    "toolCall/delete": "Its output, if it is a turn of its own, stays.",
    "turn/subscribe": (
        "Give one of the three ids, or none for the store. The result is the state at `seq`; `turn/updated` then comes "
        "for each later change in range, whichever process made it. With `since`, everything after that `seq` is sent "
        "again instead of a state, and `storeId` says which history that `seq` is of; where that cannot be done, "
        "`reset` is true and the state comes. A store that is not there yet is waited for. Subscriptions end with the "
        "connection."
    ),
    "turn/unsubscribe": "Nothing is sent for the subscription after the answer.",
    "session/subscribe": (
        "The result is the session at `seq`, or for the store the 50 that changed last; `session/updated` then comes "
        "for each later change. `since` and `storeId` are as in `turn/subscribe`."
    ),
    "session/unsubscribe": "Nothing is sent for the subscription after the answer.",
    "transaction/run": (
        "All are stored, or none. An operation sees what those before it did. The error of the one that failed is the "
        "error of the request, with its position in `data.operation`. Operations name no store: the transaction's own "
        "`scope` and `workspace` hold for all. Subscribers are sent each change by itself."
    ),
    "rpc.discover": (
        "Methods with params, results and errors, and all types, for generators and tools. What the server sends by "
        "itself stands in `x-notifications`."
    ),
    "server/health": "It never waits behind other requests, and answers while a store is locked or gone.",
    "server/info": "It never waits behind other requests.",
    "turn/updated": (
        "Sent for each committed change to a turn in a subscription's range, in the order of `seq`. Neighbouring "
        "appends to one turn may be joined into one."
    ),
    "session/updated": "Sent for each committed change to a session, or to a round, request or response of it.",
    "subscription/ended": "The last that is sent for a subscription that the client did not end itself.",
    "turn/rejected": "An append that was sent as a notification failed, and nothing of it is stored.",
    "server/healthChanged": "The `status` of a store is another than was told before, or its file was opened again.",
}
