"""Code with its words in color: spans with classes, of which page.css knows each."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from typing import Any

from markupsafe import Markup, escape
from pygments.lexers import get_all_lexers, get_lexer_by_name
from pygments.token import Comment, Generic, Keyword, Name, Number, Operator, String, Token, _TokenType

logger = logging.getLogger(__name__)

# Longer code stays as it is, in UTF-8: what most languages take for some odd texts grows with the square of the length.
MAX_CODE_BYTES = 16 * 1024
# Seconds of processor time that code may take, and for each of its bytes: five times what usual code does.
_SECONDS, _SECONDS_A_BYTE = 0.1, 20e-6
# Tokens between two looks at the clock.
_MANY = 64
# Those whose lexers need little time from one token to the next, whatever the text.
# Pygments has 500 more.
# fmt: off
_LANGUAGES = frozenset((
    "python", "pytb", "javascript", "typescript", "tsx", "jsx", "json", "yaml", "toml", "bash",
    "powershell", "batch", "diff", "html", "xml", "css", "scss", "sql", "postgresql", "c", "cpp", "csharp",
    "objective-c", "java", "kotlin", "scala", "groovy", "go", "rust", "swift", "zig", "ruby", "php", "perl", "lua",
    "r", "julia", "dart", "elixir", "erlang", "haskell", "fsharp", "clojure", "scheme", "docker", "cmake",
    "nix", "terraform", "protobuf", "graphql", "markdown", "rst", "vim", "latex", "http", "nginx", "vue",
))
# fmt: on
# The narrower before the wider.
_CLASSES = {
    Keyword.Constant: "m",
    Keyword: "k",
    Operator.Word: "k",
    Comment.Preproc: "a",
    Comment: "c",
    String: "s",
    Number: "m",
    Name.Function: "f",
    Name.Class: "f",
    Name.Decorator: "f",
    Name.Builtin: "b",
    Name.Tag: "k",
    Name.Attribute: "a",
    Name.Variable: "a",
    Name.Constant: "m",
    Generic.Inserted: "i",
    Generic.Deleted: "d",
    Generic.Heading: "f",
    Generic.Subheading: "f",
}
CLASSES = frozenset(_CLASSES.values())


def highlighted(code: str, language: str) -> Markup:
    """Just the code where its language is not known, or it takes long."""
    known = _aliases().get(language.lower())
    if known is not None and 0 < (size := len(code.encode())) <= MAX_CODE_BYTES:
        try:
            return Markup("").join(_spans(code, known, _SECONDS + size * _SECONDS_A_BYTE))
        except Exception as error:
            # The lexers are many and by many hands. The text must not get into the log with the error's words.
            logger.debug("code is shown without colors: %s", type(error).__name__)
    return escape(code)


def _spans(code: str, language: str, seconds: float) -> Iterator[Markup]:
    lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    tokens = list(_in_time(lexer.get_tokens(code), seconds))
    if "".join(text for _, text in tokens) != code:
        raise ValueError("the lexer changes the text")
    for kind, neighbours in groupby(tokens, lambda token: _class_of(token[0])):
        text = "".join(text for _, text in neighbours)
        yield Markup(f'<span class="{kind}">{escape(text)}</span>') if kind else escape(text)


def _in_time(tokens: Iterable[Any], seconds: float) -> Iterator[Any]:
    """Raises TimeoutError."""
    end = time.thread_time() + seconds
    for number, token in enumerate(tokens):
        if number % _MANY == 0 and time.thread_time() > end:
            raise TimeoutError
        yield token


@cache
def _class_of(kind: _TokenType) -> str:
    """Empty for what has no color of its own."""
    while kind is not Token and kind.parent is not None:
        if kind in _CLASSES:
            return _CLASSES[kind]
        kind = kind.parent
    return ""


@cache
def _aliases() -> dict[str, str]:
    """The languages by each of their names. To ask Pygments for one that it does not know makes it look through all
    packages that are installed."""
    names = (aliases for _, aliases, _, _ in get_all_lexers(plugins=False) if not _LANGUAGES.isdisjoint(aliases))
    return {alias: aliases[0] for aliases in names for alias in aliases}
