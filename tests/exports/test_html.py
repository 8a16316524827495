"""A page of HTML has the structure that it was given, whatever was said, and says all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exports.pages import HOSTILE, TAGS_OF_PROSE, Seen, checked, hostile_session, page_of
from exports.test_markdown import HOSTILE as ODD
from exports.test_markdown import texts
from mandrake_sessions import SessionManager
from mandrake_sessions.exports import export_session
from mandrake_sessions.exports.markdown_text import plain
from mandrake_sessions.exports.page.diffs import diff
from mandrake_sessions.exports.page.highlight import highlighted
from mandrake_sessions.exports.page.prose import said
from mandrake_sessions.exports.page.terminal import without_sequences
from mandrake_sessions.exports.page.text import MAX_PROSE_BYTES, line, preformatted
from mandrake_sessions.exports.page.values import shown_arguments
from mandrake_sessions.model import Relation, ResponseStatus, TurnStatus
from model.profile import examples, patient

pytestmark = patient

any_text = st.one_of(texts, st.text(max_size=60), st.lists(st.sampled_from(HOSTILE), max_size=3).map("\n\n".join))


def letters(text: str) -> set[str]:
    return set(re.findall("[A-Za-z]+", text))


def shown(parts: Iterator[str]) -> Seen:
    return checked("".join(parts))


def everything(seen: Seen) -> str:
    """The texts, and where links lead."""
    return " ".join([seen.text, *(value for _, found in seen.elements for value in found.values())])


# ---- texts


@given(any_text)
@examples(120)
def test_whatever_is_said_is_text(text: str) -> None:
    seen = shown(said(iter([text]), breaks=len(text) % 2 == 0))
    assert {tag for tag, _ in seen.elements} <= TAGS_OF_PROSE


@given(texts)
@examples(120)
def test_no_word_is_left_out(text: str) -> None:
    assert letters(text) <= letters(everything(shown(said(iter([text])))))


@given(any_text, any_text)
@examples(100)
def test_what_is_no_markdown_is_shown_to_the_letter(text: str, other: str) -> None:
    # A reader drops the first line feed, and there is one before the end.
    assert shown(preformatted([text, other])).text.removeprefix("\n").removesuffix("\n") == plain(text + other)
    on_one_line = plain(" ".join(text.split()))
    assert shown(iter([line(text)])).text == re.sub("[\u202a-\u202e\u2066-\u2069]", "\ufffd", on_one_line)
    for language in ("python", "html", "json", other):
        assert shown(iter([highlighted(text, language)])).text == text


@given(any_text, any_text)
@examples(100)
def test_both_sides_of_an_edit_are_shown(old: str, new: str) -> None:
    rows = shown(diff("", old, new)).text.split("\n")
    before, after = plain(old).split("\n"), plain(new).split("\n")
    assert [row for row in after if row and row not in before] == [
        row[2:] for row in rows if row[:1] == "+" and row[2:] and row[2:] not in before
    ]
    assert [row for row in before if row and row not in after] == [
        row[2:] for row in rows if row[:1] == "-" and row[2:] and row[2:] not in after
    ]


@given(st.dictionaries(texts, st.recursive(texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner))))
@examples(40)
def test_each_argument_of_a_tool_is_shown(value: dict[str, Any]) -> None:
    seen = shown(shown_arguments(value))
    expected = json.dumps(value, ensure_ascii=False)
    assert letters(expected.replace("\\n", " ").replace("\\t", " ")) <= letters(
        seen.text.replace("\\n", " ").replace("\\t", " ")
    ) | {"r", "u", "x"}


@pytest.mark.parametrize("text", [*HOSTILE, *ODD])
def test_a_page_has_its_structure(manager: SessionManager, text: str) -> None:
    page = page_of(manager, hostile_session(manager, text, [text] * 2))
    seen = checked(page)
    assert len(seen.all("section", class_="round")) == 2
    assert len(seen.all("article")) == 2 * 6
    assert len(seen.all("details", class_="tool")) == 2 * 7
    assert [found for found in seen.all("meta") if "http-equiv" in found] == seen.all("meta")[1:2]
    assert len(seen.all("script")) == len(seen.all("style")) == len(seen.all("title")) == 1
    assert len({found["id"] for _, found in seen.elements if "id" in found}) == 4 + 2 + 12 - 2
    assert page.startswith(
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-'
    )


def test_headings_are_in_order(manager: SessionManager) -> None:
    session = manager.create_session(title="T", description="# D").id
    made = manager.create_round(session, content="# a\n\n## b\n\n#### c\n")
    manager.create_turn(made.response.id, content="# d\n")
    seen = checked(page_of(manager, session))
    found = [tag for tag, _ in seen.elements if re.fullmatch("h[1-6]", tag)]
    assert found == ["h1", "h4", "h2", "h4", "h5", "h6", "h3", "h4"]


def test_links_lead_to_the_web_a_mailbox_or_the_page(manager: SessionManager) -> None:
    text = "[a](https://a.example/?q=1&r=2 'title') <mailto:b@c.example> [d](#round-1) [e](src/e.py)"
    text += " ![f](http://g.example/h.png)"
    seen = shown(said(iter([text])))
    found = seen.all("a")
    assert [link["href"] for link in found] == [
        "https://a.example/?q=1&r=2", "mailto:b@c.example", "#round-1", "http://g.example/h.png"
    ]  # fmt: skip
    assert {link["rel"] for link in found} == {"noopener noreferrer nofollow"}
    assert seen.text.strip() == "a b@c.example d e src/e.py [image: f http://g.example/h.png]".replace(
        "b@", "mailto:b@"
    )


def test_addresses_in_a_sentence_are_links() -> None:
    text = "See https://a.example/b?c=1&d, (http://e.example/f). `https://g.example` [https://h.example](https://i.example)"
    text += " javascript://x https:// **https://j.example** https://k.example/<b>"
    seen = shown(said(iter([text])))
    assert [link["href"] for link in seen.all("a")] == [
        "https://a.example/b?c=1&d", "http://e.example/f", "https://i.example", "https://j.example", "https://k.example/"
    ]  # fmt: skip


def test_code_has_colors_by_class() -> None:
    seen = shown(said(iter(["```python title\ndef f(): return 'x'  # y\n```\n```nolanguage\na < b\n```"])))
    assert {found["class"] for found in seen.all("span")} == {"k", "f", "s", "c"}
    assert "python title" in seen.text
    assert "a < b" in seen.text


# ---- bounds


def test_a_long_text_is_shown_as_it_is() -> None:
    text = "**é** <b>\n" * (MAX_PROSE_BYTES // 8)
    seen = shown(said(iter([text[at : at + 1000] for at in range(0, len(text), 1000)])))
    assert {tag for tag, _ in seen.elements} == {"pre"}
    assert seen.text.strip() == text.strip()


@pytest.mark.parametrize("piece", ["[", "![", "*a_ ", "|a", "* a\n", "> \n", "- > ", "<", "` a"])
def test_odd_texts_are_shown(piece: str) -> None:
    text = piece * (MAX_PROSE_BYTES // len(piece))
    assert letters(text) <= letters(shown(said(iter([text]))).text)


@pytest.mark.parametrize("nested", ["> ", "- ", "1. ", "**"])
def test_a_text_that_is_nested_too_deep_for_the_parser_is_shown_as_it_is(nested: str) -> None:
    assert "deep" in shown(said(iter([nested * 3000 + "deep"]))).text


@pytest.mark.parametrize(
    ("code", "language"),
    [("def f(): pass\n" * 10_000, "python"), ("a." * 8000, "javascript"), ("(" * 16_000, "make"), ("x", "no such")],
)
def test_code_that_is_long_or_takes_long_has_no_colors(code: str, language: str) -> None:
    assert highlighted(code, language) == code


def test_an_edit_of_many_lines_is_not_compared() -> None:
    old, new = ("\n".join(f"{word} {number}" for number in range(5000)) for word in ("old", "new"))
    rows = shown(diff("p", f"same\n{old}", f"same\n{new}")).text.strip().split("\n")
    assert [row[:5] for row in rows[1:]] == ["- old"] * 5000 + ["+ new"] * 5000


def test_a_table_with_more_cells_than_columns_is_shown_as_it_is() -> None:
    text = "| a | b |\n|---|---|\n| c | d | hidden |\n"
    assert shown(said(iter([text]))).text.strip() == text.strip()
    assert "table" in {tag for tag, _ in shown(said(iter([text.replace(" hidden |", "")]))).elements}


# ---- parts


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_what_is_for_a_terminal_is_read_without_its_sequences(size: int) -> None:
    text = "\x1b[1;31mred\x1b[0m \x1b]8;;https://a.example\x1b\\link\x1b]8;;\x07 \x1b]0;title\x07\x9b2Kend"
    text += "\x1b(B\x1bM\r\n\x1b"
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    assert "".join(without_sequences(parts)) == "red link end\r\n\x1b"
    assert shown(preformatted(without_sequences(parts))).text.strip() == "red link end\n␛"


def test_a_sequence_does_not_hide_a_secret(manager: SessionManager) -> None:
    made = manager.create_round(manager.create_session().id, content="?")
    manager.create_turn(
        made.response.id, kind="tool_output", content="ghp_oHwLMeaZqo9DZDNjN1\x1b[0mGTPdVKsb1DS2S5yXB6\n" * 2
    )
    page = page_of(manager, made.round.session_id, redact=True)
    assert "GTPdVKsb1DS2S5yXB6" not in page
    assert page.count("[redacted: ") == 2
    assert "Secrets and home directories that were replaced: 2" in page


def test_an_edit_is_shown_as_what_it_changes() -> None:
    arguments = {"file_path": "a.py", "old_string": "1\n2\n3\n", "new_string": "1\n4\n3\n", "replace_all": True}
    seen = shown(shown_arguments(arguments))
    assert [row for row in seen.text.split("\n") if row[:2] in ("- ", "+ ")] == ["- 2", "+ 4"]
    assert '"replace_all": true' in seen.text
    assert "old_string" not in seen.text
    assert seen.text.count("a.py") == 1
    edits = [{"oldText": "1", "newText": "2"}, {"oldText": "1", "newText": "2", "more": "word"}]
    several = shown(shown_arguments({"filePath": "a", "edits": edits}))
    assert "word" in several.text
    assert len(several.all("figure", class_="diff")) == 2


def test_a_plan_is_a_list(manager: SessionManager) -> None:
    made = manager.create_round(manager.create_session().id, content="?")
    entries = [
        {"content": f"step {status}", "priority": "high", "status": status} for status in ("completed", "pending")
    ]
    for content in (json.dumps(entries), json.dumps({"entries": entries}), "- [x] written", "[1, 2]", "[" * 50_000):
        manager.create_turn(made.response.id, kind="plan", content=content)
    seen = checked(page_of(manager, made.round.session_id))
    assert len(seen.all("ul", class_="steps")) == 2
    assert "☑ step completed" in seen.text
    assert "[1, 2]" in seen.text
    with_more = {"plan": [{"step": "one", "status": "pending", "reason": "word"}], "todos": {"name": []}}
    assert {"reason", "word", "name"} <= letters(shown(shown_arguments(with_more)).text)


def test_how_things_ended_is_said_in_words(manager: SessionManager) -> None:
    session = manager.create_session().id
    made = manager.create_round(session, content="?")
    for status in (TurnStatus.CANCELLED, TurnStatus.INTERRUPTED, TurnStatus.ERROR, TurnStatus.STREAMING):
        manager.create_turn(made.response.id, content="x", status=status)
    manager.update_response(made.response.id, status=ResponseStatus.CANCELLED, stop_reason="max_tokens")
    text = checked(page_of(manager, session)).text
    for words in (
        "Cancelled",
        "Interrupted",
        "Error",
        "Still streaming",
        "The answer was cancelled",
        "stopped: max_tokens",
    ):
        assert words in text


def test_tokens_and_costs_are_those_of_the_other_formats(manager: SessionManager) -> None:
    session = manager.create_session().id
    made = manager.create_round(session, content="?")
    for currency in ("USD", "EUR"):
        manager.create_turn(made.response.id, content="x", model="m", input_tokens=1500, cost=0.25, currency=currency)
    manager.update_response(made.response.id, usage={"context_used": 12_000, "context_size": 200_000})
    text = checked(page_of(manager, session)).text
    assert "3,000 tokens in · 0.25 EUR · 0.25 USD" in text
    assert "12,000 of 200,000 tokens in the context" in text
    assert "1 round · 2 turns · 0 tool calls" in text


# ---- other sessions


def test_other_sessions_are_linked_where_they_have_a_page(manager: SessionManager) -> None:
    session = manager.create_session(title="Parent").id
    made = manager.create_round(session, content="?")
    manager.create_turn(made.response.id, tool_calls=[{"id": "call-7"}])
    child = manager.create_session(
        title="Child", parent_id=session, relation=Relation.SUBAGENT, parent_tool_call_id="call-7"
    ).id
    fork = manager.fork_session(session, title="Fork").id
    alone = page_of(manager, session)
    assert alone.count(f"mandrake-sessions show {child}") == alone.count(f"mandrake-sessions show {fork}") == 2
    places = {session: "p é.html", child: "c.html", fork: "f.html"}
    seen = checked(page_of(manager, session, places=places))
    assert [link["href"] for link in seen.all("a") if link["href"].endswith(".html")] == [
        "c.html", "f.html", "c.html", "f.html"
    ]  # fmt: skip
    assert "Subagent: Child" in seen.text
    for other, words in ((child, "Subagent of"), (fork, "Fork of")):
        seen = checked(page_of(manager, other, places=places))
        assert seen.all("a", href="p%20%C3%A9.html")
        assert words in seen.text
    assert "copied" in seen.text


def test_a_page_in_an_answer_says_what_it_is(manager: SessionManager) -> None:
    session = manager.create_session(title="/home/alice/x").id
    with manager.snapshot():
        made = export_session(manager, session, "html")
    assert (made.media_type, made.redacted) == ("text/html", 1)
    assert "alice" not in made.content
