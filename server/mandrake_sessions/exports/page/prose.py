"""What people and agents say: Markdown as elements that the sanitiser lets through.

Raw HTML is text, pictures are addresses, and so is what leads elsewhere than to the web, a mailbox or the page itself.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from mandrake_sessions.exports.markdown_text import plain
from mandrake_sessions.exports.page.highlight import CLASSES, highlighted
from mandrake_sessions.exports.page.text import MAX_PROSE_BYTES, line, name, preformatted, taken
from mandrake_sessions.stopping import check_wanted

logger = logging.getLogger(__name__)

# An address of the web as people write it in a sentence.
_BARE = re.compile(r"""(https?://[^\s<>"'`]*[^\s<>"'`.,;:!?()*\[\]{}|])""")
_FOLLOWED = re.compile(r"(?:https?://|mailto:|#)", re.IGNORECASE)
# fmt: off
_TAGS = {
    "a", "bdi", "blockquote", "br", "code", "div", "em", "figcaption", "figure", "h4", "h5", "h6", "hr", "li", "ol",
    "p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}
# fmt: on
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "bdi": {"lang"}}
_ALIGNED = {"text-align:left": "left", "text-align:center": "center", "text-align:right": "right"}
_NAMES_OF_CLASSES = {
    "span": {*CLASSES, "elsewhere"},
    "figure": {"code"},
    "div": {"wide"},
    "th": set(_ALIGNED.values()),
    "td": set(_ALIGNED.values()),
}


def said(slices: Iterator[str], *, breaks: bool = False) -> Iterator[Markup]:
    """A text of any length; empty for an empty one. ``breaks``: an end of a line is one on the page, too."""
    begin, is_all = taken(slices, MAX_PROSE_BYTES)
    if not is_all:
        yield from preformatted(chain(begin, slices))
    elif text := "".join(begin):
        yield from rendered(text, breaks=breaks)


def rendered(text: str, *, breaks: bool = False) -> Iterator[Markup]:
    """A text that is not long."""
    check_wanted()
    try:
        made = Markup(_sanitiser().clean(_html(plain(text), breaks=breaks)))
    except Exception as error:
        # Deeper nested, say, than the parser goes. The text must not get into the log with the error's words.
        logger.debug("a text is shown as it is: %s", type(error).__name__)
        yield from preformatted([text])
    else:
        yield Markup('<div class="prose" dir="auto" lang="">{}</div>\n').format(made)


def _html(text: str, *, breaks: bool) -> str:
    parser = _parser(breaks=breaks)
    tokens = parser.parse(text)
    _check_whole(text, tokens)
    _adapt(tokens)
    return str(parser.renderer.render(tokens, parser.options, {}))


def _check_whole(text: str, tokens: Iterable[Token]) -> None:
    """The parser leaves out what is nested too deep, and the cells of a row that has more than its table's head. No
    mark of a block is a letter, so each letter has to be in a block. Raises ValueError."""
    kept = sum(_letters(token.content) + _letters(token.info) for token in tokens)
    if kept != _letters(text):
        raise ValueError("words would be left out")


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


@cache
def _sanitiser() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes=_NAMES_OF_CLASSES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )


@cache
def _parser(*, breaks: bool) -> MarkdownIt:
    """One that leaves no word out: an address that is defined apart would be shown nowhere."""
    parser = MarkdownIt("commonmark", {"html": False, "breaks": breaks})
    parser.enable(["table", "strikethrough"]).disable("reference")
    for kind, rule in (("fence", _code), ("code_block", _code), ("image", _image), ("link_close", _end_of_link)):
        parser.add_render_rule(kind, rule)
    parser.add_render_rule("table_open", lambda *_: '<div class="wide"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return parser


def _adapt(tokens: Iterable[Token]) -> None:
    """Headings come below those of the page, no style stands at an element, links lead where they may."""
    address = None
    for token in tokens:
        if token.type.startswith("heading"):
            token.tag = f"h{min(int(token.tag[1]) + 3, 6)}"
        elif token.type in ("th_open", "td_open"):
            style = token.attrs.pop("style", None)
            if style in _ALIGNED:
                token.attrs["class"] = _ALIGNED[style]
        elif token.type == "link_open":
            address = str(token.attrs.get("href", ""))
            if _FOLLOWED.match(address):
                address = None
            else:
                token.tag, token.attrs = "span", {"class": "elsewhere"}
        elif token.type == "link_close" and address is not None:
            token.tag, token.meta = "span", {"address": address}
            address = None
        if token.children:
            _adapt(token.children)
            token.children = list(_with_links(token.children))


def _with_links(tokens: Iterable[Token]) -> Iterator[Token]:
    """Addresses in the texts that are in no link become links."""
    is_in_link = False
    for token in tokens:
        if token.type in ("link_open", "link_close"):
            is_in_link = token.type == "link_open"
        if token.type != "text" or is_in_link or "://" not in token.content:
            yield token
            continue
        for number, part in enumerate(_BARE.split(token.content)):
            if number % 2:
                yield Token("link_open", "a", 1, attrs={"href": part})
            yield Token("text", "", 0, content=part)
            if number % 2:
                yield Token("link_close", "a", -1)


# ---- rules of the renderer, which gives itself, the tokens and the place among them


def _code(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> Markup:
    token = tokens[place]
    words = token.info.split()
    caption = Markup("<figcaption>{}</figcaption>").format(line(token.info)) if words else ""
    code = highlighted(token.content.removesuffix("\n"), words[0] if words else "")
    return Markup('<figure class="code">{}<pre><code>{}</code></pre></figure>\n').format(caption, code)


def _image(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> Markup:
    """Nothing is fetched for a page."""
    token = tokens[place]
    address = str(token.attrs.get("src", ""))
    title = str(token.attrs.get("title", ""))
    about = " ".join(filter(None, (token.content, title)))
    shown = Markup("{} {}").format(line(about), name(_decoded(address))) if about else name(_decoded(address))
    if _FOLLOWED.match(address):
        shown = Markup('<a href="{}">{}</a>').format(address, shown)
    return Markup("[image: {}]").format(shown)


def _end_of_link(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> Markup:
    token = tokens[place]
    if token.tag == "a":
        return Markup("</a>")
    return Markup("</span> {}").format(name(_decoded(token.meta["address"])))


def _decoded(address: str) -> str:
    return _parser(breaks=False).normalizeLinkText(address)
