"""The page: what stands around the timeline.

It is written while the conversation is read, so what is known at the end alone, the totals and the index, stands behind
the timeline; page.css shows it before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from markupsafe import Markup

from mandrake_sessions.exports.conversation import Conversation, slices, title_in
from mandrake_sessions.exports.page.policy import POLICY, SCRIPT, STYLE
from mandrake_sessions.exports.page.prose import said
from mandrake_sessions.exports.page.related import Related
from mandrake_sessions.exports.page.text import line, moment, name, one_line
from mandrake_sessions.exports.page.timeline import Timeline
from mandrake_sessions.exports.words import used
from mandrake_sessions.model import Session
from mandrake_sessions.redaction import AsItIs, Cleaner, detector
from mandrake_sessions.version import __version__

_HEAD = Markup(
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta http-equiv="Content-Security-Policy" content="{}">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta name="color-scheme" content="light dark">\n'
    '<meta name="referrer" content="no-referrer">\n'
    "<title>{}</title>\n"
)
_BEGIN = Markup('</head>\n<body>\n<a class="skip" href="#index">Index</a>\n')
_FIND = Markup(
    '<div class="find" role="search" hidden>'
    '<input id="find" type="search" aria-label="Find in this page" placeholder="Find  ( / )" autocomplete="off"'
    ' spellcheck="false">'
    '<span role="status"></span>'
    '<button type="button" class="previous" aria-label="Previous hit">↑</button>'
    '<button type="button" class="next" aria-label="Next hit">↓</button></div>\n'
)
# Of the list of children, above which it is folded.
_FEW = 4

_Row = tuple[str, Markup | str]


def parts(conversation: Conversation, cleaner: Cleaner) -> Iterator[str]:
    return _Page(conversation, cleaner).all()


class _Page:
    def __init__(self, conversation: Conversation, cleaner: Cleaner) -> None:
        self._session = conversation.session
        self._cleaner = cleaner
        self._related = Related(conversation, cleaner)
        self._timeline = Timeline(conversation, cleaner, self._related)

    def all(self) -> Iterator[Markup]:
        session = self._session
        title = one_line(title_in(session, self._cleaner)) or "A conversation"
        yield _HEAD.format(POLICY, title) + STYLE + _BEGIN
        yield Markup("<header>\n<h1>{}</h1>\n").format(line(title))
        yield from self._about(session)
        yield Markup("</header>\n") + _FIND + Markup("<main>\n")
        yield from self._timeline.all()
        yield Markup("</main>\n")
        yield from self._totals()
        yield from self._index()
        yield from self._foot()
        yield SCRIPT + Markup("</body>\n</html>\n")

    def _about(self, session: Session) -> Iterator[Markup]:
        clean = self._cleaner.text
        rows: list[_Row] = [
            ("Agent", name(clean(session.agent)) if session.agent else ""),
            ("Directory", name(clean(session.cwd)) if session.cwd else ""),
            ("Began", moment(session.created_at)),
            ("Last active", moment(session.active_at)),
            ("Archived", moment(session.archived_at)),
            ("Session", name(session.id)),
            ("Known as", name(clean(session.external_id)) if session.external_id else ""),
            ("Source", line(clean(session.source)) if session.source else ""),
        ]
        if (parent := self._related.parent()) is not None:
            rows.append(parent)
        yield _list(rows)
        if session.description:
            yield from said(self._cleaner.slices(slices(session.description)), breaks=True)
        yield from self._children()

    def _children(self) -> Iterator[Markup]:
        children = list(self._related.children())
        if not children:
            return
        is_open = Markup(" open") if len(children) <= _FEW else ""
        yield Markup('<details class="children"{}><summary>Sessions that came from this one</summary>\n<ul>\n').format(
            is_open
        )
        yield from (Markup("<li>{}</li>\n").format(child) for child in children)
        yield Markup("</ul>\n</details>\n")

    # ---- what is known at the end

    def _totals(self) -> Iterator[Markup]:
        timeline, turns = self._timeline, self._timeline.turns
        counts = ((len(timeline.index), "round"), (turns.count, "turn"), (turns.calls, "tool call"))
        rows: list[_Row] = [
            ("Models" if len(turns.models) > 1 else "Model", Markup(", ").join(map(name, turns.models))),
            ("All together", " · ".join(f"{count:,} {word}{'' if count == 1 else 's'}" for count, word in counts)),
            ("Used", used(timeline.totals)),
        ]
        yield Markup('<section class="totals" aria-label="Totals">\n') + _list(rows) + Markup("</section>\n")

    def _index(self) -> Iterator[Markup]:
        yield Markup('<nav id="index" aria-label="Index">\n<details><summary>Index</summary>\n<ol>\n')
        for entry in self._timeline.index:
            mark = Markup(' <span class="sign" title="{0}">✗<span class="apart"> {0}</span></span>').format(entry.ended)
            yield Markup('<li><a href="#round-{0}"><span>{0}</span> {1}{2}</a></li>\n').format(
                entry.number, line(entry.title), mark if entry.ended else ""
            )
        yield Markup("</ol>\n</details>\n</nav>\n")

    def _foot(self) -> Iterator[Markup]:
        yield Markup("<footer>\n<p>Written by mandrake-sessions {}.</p>\n").format(__version__)
        if not isinstance(self._cleaner, AsItIs):
            yield Markup("<p>Secrets and home directories that were replaced: {}</p>\n").format(self._cleaner.count)
            if detector.was_missing():
                yield Markup("<p>Redacted without {}, so fewer kinds of secrets were found.</p>\n").format(
                    detector.PACKAGE
                )
        yield Markup("</footer>\n")


def _list(rows: Iterable[_Row]) -> Markup:
    """Those that say something."""
    shown = (Markup("<div><dt>{}</dt><dd>{}</dd></div>\n").format(*row) for row in rows if row[1])
    return Markup("<dl>\n{}</dl>\n").format(Markup("").join(shown))
