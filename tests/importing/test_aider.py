"""aider's history of a project: text, in which the beginnings of lines say who speaks."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from importing.importing import Place
from mandrake_sessions import SessionManager

NAME = ".aider.chat.history.md"
HEAD = """
# aider chat started at 2026-03-01 10:00:00

> Aider v0.86.2  
> Model: a/model with diff edit format  

"""  # noqa: W291
FIRST = """#### What is in here?  
#### Say all.  

A file, and

- a list

> Tokens: 1.5k sent, 500 cache write, 2.5k cache hit, 20 received. Cost: $0.25 message, $0.50 session.  
> Applied edit to a.txt  

"""  # noqa: W291
SECOND = """#### /add a.txt  
> Added a.txt to the chat  

#### /ask Why?  

#### Why?  

<thinking-content-0123456789abcdef>

Hm.

</thinking-content-0123456789abcdef>

So.

> Tokens: 10 sent, 5 received.  
"""  # noqa: W291


def history(place: Place, *parts: str, age: int = 0) -> Path:
    directory = place.home / "project"
    directory.mkdir(exist_ok=True)
    path = directory / NAME
    path.write_bytes("".join(parts).encode("utf-8", "surrogateescape"))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def said(place: Place, name: str) -> list[tuple[str, str, list[tuple[str, str | None]]]]:
    return [
        (each.origin, each.request.content, [(turn.kind, turn.content) for turn in each.response.turns])
        for each in place.rounds(name)
    ]


def name_of(path: Path, began: str = "2026-03-01 10:00:00") -> str:
    return f"{began} {path.parent}"


def test_what_was_typed_said_and_done_is_told_apart(place: Place) -> None:
    path = history(place, HEAD, FIRST, SECOND)
    place.bring(path.parent)
    assert said(place, name_of(path)) == [
        ("user", "What is in here?\nSay all.",
         [("message", "A file, and\n\n- a list"), ("tool_output", "Applied edit to a.txt")]),
        ("system", "/add a.txt", [("tool_output", "Added a.txt to the chat")]),
        ("user", "/ask Why?", [("thought", "Hm."), ("message", "So.")]),
    ]  # fmt: skip
    (session,) = place.sessions()
    assert (session.agent, session.cwd, session.metadata) == ("aider", str(path.parent), {"version": "0.86.2"})
    with SessionManager(place.database) as manager:
        (total,) = manager.usage().totals
    assert (total.input_tokens, total.output_tokens, total.cache_write_tokens) == (1510, 25, 500)
    assert (total.cache_read_tokens, total.cost) == (2500, 0.25)
    assert place.told(path)[-1]["turns"] == 0
    assert place.is_sound()


def test_an_edit_in_a_reply_stays_in_it(place: Place) -> None:
    edit = "a.txt\n```\n<<<<<<< SEARCH\none\n=======\ntwo\n>>>>>>> REPLACE\n```"
    history(place, HEAD, f"#### Mend it  \n\nDone:\n\n{edit}\n\n> Applied edit to a.txt  \n", age=100)
    place.bring(place.home / "project" / NAME)
    (session,) = place.sessions()
    (only,) = place.rounds(session_id=session.id)
    said = [(turn.kind, (turn.content or "").strip()) for turn in only.response.turns]
    assert said == [("message", f"Done:\n\n{edit}"), ("tool_output", "Applied edit to a.txt")]


def test_each_start_of_the_program_is_a_session(place: Place) -> None:
    path = history(place, HEAD, FIRST, HEAD, SECOND, HEAD.replace("10:00", "11:00"), "#### Last\n")
    place.bring(path)
    assert {session.external_id for session in place.sessions()} == {
        name_of(path), f"2026-03-01 10:00:00 #2 {path.parent}", name_of(path, "2026-03-01 11:00:00"),
    }  # fmt: skip
    told = place.told(path)
    assert told[-1]["rounds"] == 0


@pytest.mark.parametrize("size", range(len(HEAD), len(HEAD + FIRST + SECOND), 41))
def test_a_file_that_has_grown_brings_only_the_new(place: Place, size: int) -> None:
    """Wherever it ended before, also in a reply: that comes when it is whole."""
    whole = HEAD + FIRST + SECOND
    path = history(place, whole[:size])
    place.bring(path)
    history(place, whole)
    place.bring(path)
    rounds = said(place, name_of(path))
    assert [text for _, _, turns in rounds for kind, text in turns if kind == "message"] == [
        "A file, and\n\n- a list", "So.",
    ]  # fmt: skip


def test_a_last_reply_after_which_nothing_comes_is_not_lost(place: Place) -> None:
    text = HEAD + "#### Hello\n\nGood day.\n"
    path = history(place, text)
    place.bring(path)
    history(place, text, age=3600)
    place.bring(path)
    assert said(place, name_of(path)) == [("user", "Hello", [("message", "Good day.")])]


def test_what_failed_or_was_cut_off_says_so(place: Place) -> None:
    path = history(place, HEAD, "#### One\n> litellm.AuthenticationError: no key  \n\n",
                   "#### Two\n\nI was sayi\n^C KeyboardInterrupt\n\n#### Three\n", age=3600)  # fmt: skip
    place.bring(path)
    assert [each.response.status for each in place.rounds(name_of(path))] == ["error", "interrupted", "open"]


def test_hostile_text_does_no_harm(place: Place) -> None:
    path = history(place, HEAD, "#### Hel\udcfflo\n\n", "x" * 3_000_000, "\n> Tokens: 1.1.1k sent, ...k received.\n",
                   "# aider chat started at 9999-99-99 99:99:99\n#### x\n", "#### y\n" * 1000, "\x00\n",
                   "# aider chat started at 0001-01-01 00:00:00\n", "</thinking-content-0>\n", age=3600)  # fmt: skip
    told = place.bring(path, code=1).err
    assert "is not UTF-8" in told
    assert place.rounds(name_of(path))[0].request.content == "Hel\ufffdlo"
    assert place.is_sound()
    (path.parent / "other.md").write_text("# No chat\n")
    assert "other.md: no known program has written it" in place.bring(path.parent / "other.md", code=1).err
