"""Pages as a parser of HTML sees them, and texts that try to be more than text."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, Final

from mandrake_sessions import SessionManager
from mandrake_sessions.exports import document
from mandrake_sessions.model import TurnStatus

HOSTILE: Final = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    '"><img src=https://example.org/a onerror=window.hacked=1><a title="',
    "' onmouseover='window.hacked = 1' style='background: url(https://example.org/b)' x='",
    "[press](javascript:window.hacked=1) <javascript:window.hacked=1> [x]( java\tscript:window.hacked=1)",
    "[data](data:text/html,<script>window.hacked=1</script>) ![p](https://example.org/c.png) ![q](data:image/svg,x)",
    "[file](file:///etc/passwd) [relative](//example.org/d) [other](ws://example.org/e 'a title')",
    "</style><style>body { background: url(https://example.org/f) }</style>@import 'https://example.org/g';",
    "</script><script>window.hacked = 1</script>",
    "</pre></code></details></article></section></main></title></textarea><script>window.hacked = 1</script>",
    "<svg onload='window.hacked = 1'><animate onbegin='window.hacked = 1' attributeName=x></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=window.hacked=1&gt;'>",
    "<meta http-equiv=refresh content='0; url=https://example.org/h'><base href='https://example.org/'>",
    "<form action='https://example.org/i'><input autofocus onfocus='window.hacked = 1'><button>x</button></form>",
    "<iframe src='https://example.org/j' srcdoc='<script>parent.hacked = 1</script>'></iframe><object data=x>",
    "<link rel=stylesheet href='https://example.org/k'><video src='https://example.org/l' autoplay></video>",
    "]]> <![CDATA[ <!-- <?php ?> --> <!DOCTYPE x> &lt;script&gt; &#60;script&#62; &#x3c;b>",
    "```<script>window.hacked=1</script>\n<script>window.hacked=1</script>\n```\n~~~\" onload='window.hacked=1' x=\"\n",
    "\x1b]8;;javascript:window.hacked=1\x07press\x1b]8;;\x07 \x1b[31m<b>red</b>\x1b[0m\x00\x08\x9b1m",
    "\u202e\u2067 turned \u2069 round \u202c",
    "| <b> | `|` |\n|---|:-:|\n| <script>window.hacked=1</script> | [x](javascript:window.hacked=1) | left out |",
    "<a href='https://example.org/m' ping='https://example.org/n' target=_blank>x</a> https://example.org/o",
]  # fmt: skip
# fmt: off
TAGS: Final = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "h3", "h4", "h5", "h6", "dl", "div",
    "dt", "dd", "code", "bdi", "time", "p", "details", "summary", "ul", "ol", "li", "main", "section", "article",
    "small", "span", "strong", "em", "s", "pre", "figure", "figcaption", "blockquote", "br", "hr", "table", "thead",
    "tbody", "tr", "th", "td", "nav", "footer", "script", "input", "button",
}
# Of what is Markdown.
TAGS_OF_PROSE: Final = {
    "a", "bdi", "blockquote", "br", "code", "div", "em", "figcaption", "figure", "h4", "h5", "h6", "hr", "li", "ol",
    "p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}
ATTRIBUTES: Final = {
    "aria-hidden", "aria-label", "autocomplete", "charset", "class", "content", "datetime", "dir", "hidden", "href",
    "http-equiv", "id", "lang", "name", "open", "placeholder", "rel", "role", "spellcheck", "start", "title", "type",
}
# fmt: on
_VOID: Final = {"meta", "br", "hr", "input"}


class Seen(HTMLParser):
    """What is in a page, or a part of one; that it is well formed is checked."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")

    @property
    def text(self) -> str:
        return "".join(text for tag, text in self.texts if tag not in ("script", "style"))

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        """The attributes of each such element. ``class_``: one of its classes."""
        name = wanted.pop("class_", None)
        return [
            found
            for each, found in self.elements
            if each == tag
            and wanted.items() <= found.items()
            and (name is None or name in found.get("class", "").split())
        ]


def checked(page: str) -> Seen:
    """What is in a page, of which nothing is more than it may be."""
    seen = Seen(page)
    assert {tag for tag, _ in seen.elements} <= TAGS
    assert {name for _, attributes in seen.elements for name in attributes} <= ATTRIBUTES
    for _, attributes in seen.elements:
        href = attributes.get("href", "#")
        assert href.startswith(("https://", "http://", "mailto:", "#")) or (":" not in href and "/" not in href), href
    return seen


def page_of(manager: SessionManager, session: str, *, redact: bool = False, places: Any = None) -> str:
    with manager.snapshot():
        return "".join(document(manager, session, "html", redact, places).parts)


def hostile_session(manager: SessionManager, own: str, texts: list[str]) -> str:
    """A session whose own fields say ``own``, with a round for each text, which stands in each field."""
    parent = manager.create_session(title=own).id
    meta = {own: [own]}
    session = manager.create_session(
        title=own,
        description=own,
        agent=own,
        source=own,
        cwd=f"/{own}",
        external_id=own,
        metadata=meta,
        parent_id=parent,
    ).id
    for text in texts:
        _round(manager, session, text)
    return session


def _round(manager: SessionManager, session: str, text: str) -> None:
    made = manager.create_round(session, content=text, blocks=[text, {text: text}], metadata={text: text})
    values: list[Any] = [
        text,
        {text: text},
        [{"type": "text", "text": text}],
        [{"type": "content", "content": {"type": "text", "text": text}}],
        [{"type": "diff", "path": text, "oldText": text, "newText": f"{text}\n{text}"}],
        [{"type": text, text: text}, {"type": "image", "data": text, "mimeType": text, "uri": text}],
        [{"type": "resource_link", "uri": text, "name": text}, {"type": "terminal", "terminalId": text}],
    ]
    steps = [{"content": text, "status": "pending", "activeForm": text}]
    arguments: list[Any] = [
        text,
        {text: text},
        {"file_path": text, "old_string": text, "new_string": f"{text}\n", text: text},
        {"path": text, "edits": [{"oldText": None, "newText": text}], "command": f"{text}\n{text}"},
        {"plan": [{"step": text, "status": text}], "todos": steps},
        [text],
        None,
    ]
    named = dict.fromkeys(("title", "kind", "server_name", "method_name"), text)
    calls: list[Any] = [
        {"id": f"{number}{text}", "arguments": given, "response": value, "content": value, "metadata": {text: text}}
        | {"locations": [{"path": text}], **named}
        for number, (given, value) in enumerate(zip(arguments, values, strict=True))
    ]
    turn = manager.create_turn(made.response.id, content=text, tool_calls=calls, model=text, metadata={text: text})
    manager.append_turn(turn.id, content="", raw_response=text)
    manager.update_turn(turn.id, status=TurnStatus.ERROR, error=text)
    for kind in ("thought", "plan", "tool_output", "stderr", text):
        said = f"{text}\n" * 30 if kind == "thought" else text
        manager.create_turn(
            made.response.id, kind=kind, content=said, tool_call_id=text, model=text, status=TurnStatus.COMPLETED
        )
    manager.update_response(made.response.id, stop_reason=text)
    manager.create_session(title=text, parent_id=session, parent_tool_call_id=f"0{text}")
