"""The rounds of a conversation, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from attrs import frozen
from markupsafe import Markup

from mandrake_sessions.exports.binary import without_binary
from mandrake_sessions.exports.blocks import beyond_text
from mandrake_sessions.exports.conversation import Conversation, is_typed, slices
from mandrake_sessions.exports.page.prose import said
from mandrake_sessions.exports.page.related import Related
from mandrake_sessions.exports.page.text import MAX_PROSE_BYTES, line, moment, preformatted, shortened, taken
from mandrake_sessions.exports.page.turns import Turns
from mandrake_sessions.exports.page.values import shown_value
from mandrake_sessions.exports.totals import Totals
from mandrake_sessions.exports.words import ASKED, RESPONSE_ENDED, Endings, used, why_stopped
from mandrake_sessions.model import HistoryRound, Response
from mandrake_sessions.redaction import Cleaner

# Characters of a round in the index.
_TITLE = 90


@frozen
class IndexEntry:
    """A round: its number, the beginning of what was asked, and how it ended where that is not well."""

    number: int
    title: str
    ended: str


class Timeline:
    """``totals``, ``index`` and ``turns`` say afterwards what there was."""

    def __init__(self, conversation: Conversation, cleaner: Cleaner, related: Related) -> None:
        self.totals = Totals()
        self.index: list[IndexEntry] = []
        self.turns = Turns(conversation, cleaner, related)
        self._conversation = conversation
        self._cleaner = cleaner
        self._related = related

    def all(self) -> Iterator[Markup]:
        for each in self._conversation.rounds():
            yield from self._round(each)
            yield Markup("</section>\n")

    def _round(self, each: HistoryRound) -> Iterator[Markup]:
        request = self._cleaner.slices(slices(each.request.content))
        begin, _ = taken(request, MAX_PROSE_BYTES)
        yield self._head(each, shortened("".join(begin), _TITLE))
        blocks = beyond_text(each.request.content, each.request.blocks)
        if begin or blocks is not None:
            yield Markup('<div class="request">\n')
            text = chain(begin, request)
            yield from preformatted(text, "output") if is_typed(each) else said(text, breaks=True)
            if blocks is not None:
                yield from self._blocks(blocks)
            yield Markup("</div>\n")
        totals, endings = Totals(), Endings(each.response)
        for number, turn in enumerate(each.response.turns):
            if not number:
                yield Markup('<h3 class="apart">Answer</h3>\n')
            totals.add(turn)
            yield from self.turns.turn(turn, endings)
        totals.close(each.response)
        self.totals.join(totals)
        yield from self._end(each.response, totals, endings)
        yield from self._related.of_round(each.id)

    def _head(self, each: HistoryRound, title: str) -> Markup:
        number, asked = each.index + 1, ASKED[each.origin]
        self.index.append(IndexEntry(number, title or asked, RESPONSE_ENDED.get(each.response.status, "")))
        copied = Markup(' <small class="tag">copied</small>') if each.copied_from_id is not None else ""
        return Markup(
            '<section class="round {0}" id="round-{1}">\n<h2><a href="#round-{1}">{1}</a> {2}{3} {4}</h2>\n'
        ).format(each.origin.value, number, asked, copied, moment(each.created_at))

    def _blocks(self, blocks: Any) -> Iterator[Markup]:
        yield Markup("<details><summary>Blocks of the request</summary>\n")
        yield from shown_value(self._cleaner.json(without_binary(blocks)))
        yield Markup("</details>\n")

    def _end(self, response: Response, totals: Totals, endings: Endings) -> Iterator[Markup]:
        if ended := endings.of_response(response):
            yield Markup('<p class="ended">{}</p>\n').format(ended)
        told = [told] if (told := used(totals)) else []
        usage = response.usage
        if usage is not None and usage.context_used is not None:
            whole = f" of {usage.context_size:,}" if usage.context_size is not None else ""
            told.append(f"{usage.context_used:,}{whole} tokens in the context")
        shown: list[str | Markup] = [*told]
        if (reason := why_stopped(response)) is not None:
            shown.append(Markup("stopped: {}").format(line(self._cleaner.text(reason))))
        if shown:
            yield Markup('<p class="used">{}</p>\n').format(Markup(" · ").join(shown))
