"""What a search has to find, told plainly: every text of the model that contains the letters, whatever case and
accents."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from model.reference import Reference, round_view, session_view, turn_view
from wire import Message

# Where a text stands: session, round, turn, tool call, field.
Spot = tuple[str, str | None, str | None, str | None, str]

_LETTERS = re.compile(r"[A-Za-z]{3,}")
# So many words that stand somewhere are looked for, and as many that are inside of one.
MOST = 3


def spots(model: Reference, *, streaming: bool = False) -> Iterator[tuple[Spot, str]]:
    """Every text that has to be found; or those of turns that stream, which may be found where a turn was interrupted
    and goes on."""
    for spot, text, streams in _all_spots(model):
        if streams is streaming:
            yield spot, text


def _all_spots(model: Reference) -> Iterator[tuple[Spot, str, bool]]:
    """With each, whether it is of a turn that streams."""
    for session in model.sessions:
        view = session_view(session)
        session_id = str(getattr(view["id"], "value", view["id"]))
        if view["title"]:
            yield (session_id, None, None, None, "title"), view["title"], False
        for each in session.rounds:
            shown = round_view(each)
            round_id = shown["round"]["id"]
            yield (session_id, round_id, None, None, "request"), shown["request"]["content"], False
            for turn in each.turns:
                turn_shown = turn_view(turn)
                for spot, text in _of_turn(session_id, round_id, turn_shown):
                    yield spot, text, turn_shown["status"] == "streaming"


def _of_turn(session_id: str, round_id: str, turn: Message) -> Iterator[tuple[Spot, str]]:
    is_output = turn["kind"] == "tool_output"
    field, call = ("response", turn["toolCallId"]) if is_output else ("content", None)
    yield (session_id, round_id, turn["id"], call, field), turn["content"]
    for call in turn["toolCalls"]:
        asked = [*(call[name] or "" for name in ("title", "serverName", "methodName")), *_leaves(call["arguments"])]
        given = [*_leaves(call["response"]), *_leaves(call["content"])]
        yield (session_id, round_id, turn["id"], call["id"], "arguments"), "\n".join(asked)
        yield (session_id, round_id, turn["id"], call["id"], "response"), "\n".join(given)


def _leaves(value: Any) -> Iterator[str]:
    """The words of a JSON value; a field that is null says nothing."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if inner is not None:
                yield name
                yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif value is not None:
        yield str(value)


def folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", text).casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()


def queries(model: Reference) -> list[str]:
    """Words that stand somewhere, parts of them, and one that stands nowhere."""
    words = sorted({word for _, text in spots(model) for word in _LETTERS.findall(text)})
    chosen = words[:: max(1, len(words) // MOST)][:MOST]
    return ["nowhere", *chosen, *(word[1:] for word in chosen if len(word) > 3)]


def found_by(model: Reference, query: str, *, streaming: bool = False) -> set[Spot]:
    return {spot for spot, text in spots(model, streaming=streaming) if query.casefold() in folded(text)}
