"""What an edit changes, line by line, as part of a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from markupsafe import Markup

from mandrake_sessions.exports.diffs import Kind, compared
from mandrake_sessions.exports.markdown_text import plain
from mandrake_sessions.exports.page.text import name

# Lines that go out together.
_FEW: Final = 500
# The class of a line, and what stands before it.
_MARKS: Final[Mapping[Kind, tuple[str, str]]] = {
    "new": ("i", "+ "),
    "gone": ("d", "- "),
    "both": ("e", "  "),
    "between": ("h", ""),
}


def diff(path: str, old: str, new: str) -> Iterator[Markup]:
    """``path``: empty where it is not known."""
    yield Markup('<figure class="code diff">')
    if path:
        yield Markup("<figcaption>{}</figcaption>").format(name(path))
    yield Markup('<pre dir="auto" lang=""><code>')
    kept: list[Markup] = []
    for kind, text in compared(plain(old), plain(new)):
        class_, mark = _MARKS[kind]
        kept.append(Markup('<span class="{}">{}{}</span>\n').format(class_, mark, text))
        if len(kept) == _FEW:
            yield Markup("").join(kept)
            kept.clear()
    yield Markup("").join(kept) + Markup("</code></pre></figure>\n")
