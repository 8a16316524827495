"""A document in Markdown has the structure that it was given, whatever was said in it: a real parser sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mandrake_sessions import SessionManager
from mandrake_sessions.exports import export_session
from mandrake_sessions.exports.markdown_text import fenced, inline, longest_run, quoted
from mandrake_sessions.model import TurnStatus
from model.profile import examples, patient

pytestmark = patient

PARSERS = [MarkdownIt("commonmark"), MarkdownIt("gfm-like", {"linkify": False})]
HOSTILE = [
    "# A heading\n\n## Another\nUnder\n===\n",
    "```\nan open fence",
    "~~~~\nanother\n~~~\n# no heading",
    "<div><script>alert(1)</script>\n\n</details></div>",
    "<!-- a comment that never ends\n\n",
    "- a\n  ```\n<b>\n",
    "1. x\n\n       ```\n   <b>`\n",
    "a ` b\nc `<b>` d `",
    "| a `|` <b> |\n|---|---|\n| `<i>` | x |\n",
    "> quoted\n> ```\n</blockquote><b>",
    "\r# cr\r\n## crlf\r",
    "\x00\x1b[31m\x85\u2028# x",
    "`\\`<b>`",
    "``<b>` <i>`` <u>",
    "    indented\n<b>\n\t```\n<i>",
    "[x]: <b>\n\n[x]\n---\n***\n",
    "\\<b> &lt;b> <https://a.b> <a@b.c> <?php ?> <![CDATA[x]]>",
    "```<b>\n<i>\n``` x\n<u>\n```\n<s>",
    "  ```\n```\n<b>",
]
TAGS = {"", "<details>", "</details>", "<summary>Thought</summary>", "<summary>Blocks of the request</summary>"}
pieces = st.sampled_from([
    "```", "~~~", "`", "``", "<b>", "</details>", "<!--", "\n", "\n\n", "\r", " ", "   ", "    ", "\t", "- ", "1. ",
    "> ", "# ", "|", "---", "===", "\\", "a", "[x]", "(y)", "*", "_", "\x00", "<", ">", "&", "=", "'", '"', "!",
])  # fmt: skip
texts = st.lists(pieces, max_size=40).map("".join)


def top_level(parser: MarkdownIt, document: str) -> list[str]:
    """What stands in no quote and in no list."""
    return [token.type for token in parser.parse(document) if token.level == 0 and token.nesting >= 0]


def all_tokens(tokens: list[Token]) -> list[Token]:
    return [inner for token in tokens for inner in (token, *all_tokens(token.children or []))]


def html(parser: MarkdownIt, document: str) -> list[str]:
    return [token.content for token in all_tokens(parser.parse(document)) if token.type.startswith("html")]


def split(text: str) -> list[str]:
    return [text[at : at + 3] for at in range(0, len(text), 3)]


def check_quoted(text: str) -> None:
    for document in ("".join(quoted([text])), "".join(quoted(split(text)))):
        for parser in PARSERS:
            assert html(parser, document) == [], document
            assert top_level(parser, document + "\nend\n") in (
                ["blockquote_open", "paragraph_open"],
                ["paragraph_open"],
            )


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_quoted_stays_in_its_quote(text: str) -> None:
    check_quoted(text)


@given(texts)
@examples(100)
def test_whatever_is_quoted_stays_in_its_quote(text: str) -> None:
    check_quoted(text)


@given(texts)
@examples(100)
def test_whatever_is_fenced_stays_in_its_fence(text: str) -> None:
    for slices in ([text], split(text)):
        document = "".join(fenced(slices, longest_run(slices)))
        for parser in PARSERS:
            assert top_level(parser, document + "\nend\n") == ["fence", "paragraph_open"], document


@given(texts)
@examples(100)
def test_a_title_means_itself(text: str) -> None:
    for parser in PARSERS:
        tokens = parser.parse(f"# {inline(text)}\n")
        assert {token.type for token in all_tokens(tokens)} <= {
            "heading_open", "inline", "text", "text_special", "heading_close"
        }  # fmt: skip


def test_plain_code_stays_as_it_was_written() -> None:
    said = "Use `<b>`:\n\n```html\n<b>&lt;</b>\n```\n\nand 1 < 2\n"
    assert "".join(quoted([said])) == "> Use `<b>`:\n>\n> ```html\n> <b>&lt;</b>\n> ```\n>\n> and 1 < 2\n"


def test_a_long_line_comes_out_whole() -> None:
    said = "`<b>` " + "x" * 300_000 + " <i>\nnext"
    shown = "".join(quoted(said[at : at + 50_000] for at in range(0, len(said), 50_000)))
    assert shown.replace("&lt;", "<") == f"> {said}".replace("\n", "\n> ") + "\n"
    check_quoted(said)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_document_has_its_structure(manager: SessionManager, text: str) -> None:
    session = manager.create_session(title=text or "t", description=text, agent=text, external_id=text or "e").id
    for _ in range(2):
        made = manager.create_round(session, content=text, blocks=[text])
        calls: list[Any] = [
            {
                "id": text,
                "method_name": text,
                "title": text,
                "arguments": {text: text},
                "response": text,
                "content": [text],
            },
            {
                "id": f"edit {text}",
                "content": [
                    {"type": "diff", "path": text, "oldText": text, "newText": f"{text}\nand more"},
                    {"type": "content", "content": {"type": "text", "text": text}},
                ],
            },
        ]
        manager.create_turn(made.response.id, kind="thought", content=text, status=TurnStatus.COMPLETED)
        turn = manager.create_turn(made.response.id, content=text, tool_calls=calls, model=text)
        manager.create_turn(
            made.response.id, kind="tool_output", tool_call_id=text, content=text, status=TurnStatus.COMPLETED
        )
        manager.create_turn(made.response.id, kind=text, content=text, status=TurnStatus.COMPLETED)
        manager.update_turn(turn.id, status=TurnStatus.ERROR, error=text, input_tokens=7, cost=0.5, currency="EUR")
    with manager.snapshot():
        document = export_session(manager, session, "markdown", redact=False).content
    for parser in PARSERS:
        tokens = parser.parse(document)
        headings = [token.tag for token in tokens if token.type == "heading_open" and token.level == 0]
        assert headings == ["h1", "h2", "h3", "h2", "h3"]
        assert {line for tag in html(parser, document) for line in tag.split("\n")} <= TAGS
        assert sum(token.type == "fence" and token.level == 0 for token in tokens) == 2 * 7
    assert document.count("**Error:**") == 2
    assert "14 tokens in · 1 EUR" in document


def test_blocks_are_shown_as_what_they_say(manager: SessionManager) -> None:
    """A text as a text, an edit as what it changes, all else as JSON; of a request what its text does not say."""
    session = manager.create_session().id
    link = {"type": "resource_link", "uri": "file:///a.py", "name": "a.py"}
    said = [{"type": "text", "text": "Mend"}, link, {"type": "text", "text": "it"}, {"type": "text", "text": "soon"}]
    made = manager.create_round(session, content="Mend it", blocks=said)
    edit = {"type": "diff", "path": "/w/a.py", "oldText": "one\r\ntwo\r\n", "newText": "one\r\n2\r\n"}
    new = {"type": "diff", "path": "/w/b.py", "newText": "new\n"}
    told = {"type": "content", "content": {"type": "text", "text": "It is done."}}
    other: Any = {"type": "terminal", "terminalId": "t"}
    calls: Any = [{"id": "1", "content": [edit, new, told, other], "response": [{"type": "text", "text": "Good."}]}]
    manager.create_turn(made.response.id, tool_calls=calls, status=TurnStatus.COMPLETED)
    again = manager.create_round(session, content="Once more", blocks=[{"type": "text", "text": "Once more"}])
    assert again.request.blocks is not None
    with manager.snapshot():
        document = export_session(manager, session, "markdown", redact=False).content
    fences = [
        (token.info, token.content if token.info != "json" else json.loads(token.content))
        for token in all_tokens(PARSERS[0].parse(document))
        if token.type == "fence"
    ]
    assert fences == [
        ("json", [link, said[3]]),
        ("text", "Good.\n"),
        ("diff", " one\n-two\n+2\n"),
        ("diff", "+new\n"),
        ("text", "It is done.\n"),
        ("json", other),
    ]
    assert "`/w/a.py`:" in document


def test_a_document_of_nothing(manager: SessionManager) -> None:
    session = manager.create_session().id
    with manager.snapshot():
        document = export_session(manager, session, "markdown", redact=False).content
    assert document.startswith("# A conversation\n\n- Began: ")
    assert top_level(PARSERS[0], document) == ["heading_open", "bullet_list_open"]
