"""What a query looks for. Every text is a query: nothing in it is an error, and there are no operators.

A query is a list of terms: words, phrases in quotes, and beginnings of words (``word*``). A text matches it either as
words (each term stands there as whole words, one after the other), or as parts (each term of three or more characters
stands there somewhere, also inside words; shorter ones as whole words).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Final

from attrs import define

from mandrake_sessions.search_text import UNSPACED, composed, fold_parts, is_unspaced, words_of

# So much of a query is looked at; what follows is left out.
MAX_CHARACTERS: Final = 4096
MAX_TERMS: Final = 32
# The shortest part of a word that can be found.
SHORTEST_PART: Final = 3

_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»\uff02", '"'))
_TERM = re.compile(r'"([^"]*)"(\*?)|([^\s"]+)')
# Nothing that belongs to a word comes before, or after.
_BEGIN, _END = f"(?<![^\\W_{UNSPACED}])", f"(?![^\\W_{UNSPACED}])"


@define(slots=False)
class Term:
    """A term, folded; ``words`` are its words, ``is_prefix``: the last of them may go on."""

    text: str
    words: tuple[str, ...]
    is_prefix: bool

    @cached_property
    def as_words(self) -> re.Pattern[str] | None:
        """Finds it as whole words in a folded text; None where it has no words."""
        return re.compile("".join(self._word_parts())) if self.words else None

    @cached_property
    def as_part(self) -> re.Pattern[str] | None:
        """Finds it anywhere in a folded text; None where it is too short for that."""
        if not self.is_part:
            return None
        return re.compile(r"[\s\0]+".join(map(re.escape, self.text.split(" "))))

    def is_in_words(self, folded: str) -> bool:
        """Whether a folded text has it as whole words."""
        # Looking for the words alone is many times as fast, and most texts do not have them.
        if not self.words or not all(word in folded for word in self.words):
            return False
        return self.as_words is not None and self.as_words.search(folded) is not None

    def is_in_parts(self, folded: str) -> bool:
        """Whether a folded text has it anywhere; as whole words, where it is too short for that."""
        if not self.is_part:
            return self.is_in_words(folded)
        if self.text in folded:
            return True
        return " " in self.text and self.as_part is not None and self.as_part.search(folded) is not None

    @property
    def is_part(self) -> bool:
        return len(self.text) >= SHORTEST_PART

    def _word_parts(self) -> Iterator[str]:
        before: str | None = None
        for word in self.words:
            unspaced = is_unspaced(word)
            if before is None:
                yield "" if unspaced else _BEGIN
            else:
                yield r"[\W_]*" if unspaced or is_unspaced(before) else r"[\W_]+"
            yield re.escape(word)
            before = word
        if before is not None and not self.is_prefix and not is_unspaced(before):
            yield _END


@define(slots=False)
class Query:
    """The terms of a query; each is there once."""

    terms: tuple[Term, ...]

    @property
    def worded(self) -> bool:
        """Whether texts can match it as words."""
        return bool(self.terms) and all(term.words for term in self.terms)

    @property
    def parts(self) -> list[str]:
        """The terms that may be parts of words."""
        return [term.text for term in self.terms if term.is_part]

    @property
    def written(self) -> list[str]:
        """The terms that are more than one word: phrases, and words with signs between or around them."""
        return [term.text for term in self.terms if term.is_part and term.text not in term.words]

    def matches_words(self, folded: str) -> bool:
        """Whether a folded text has all terms as whole words."""
        return self.worded and all(term.is_in_words(folded) for term in self.terms)

    def matches_parts(self, folded: str) -> bool:
        """Whether a folded text has all terms, each anywhere if it is long enough, else as a whole word."""
        return bool(self.parts) and all(term.is_in_parts(folded) for term in self.terms)


def parse_query(text: str) -> Query:
    """Never fails. A quote that is not closed is a blank."""
    terms: dict[tuple[str, bool], Term] = {}
    shown = composed(text[:MAX_CHARACTERS]).translate(_QUOTES)
    if shown.count('"') % 2:
        shown = " ".join(shown.rsplit('"', 1))
    for quoted, star, plain in _TERM.findall(shown):
        term = _term(quoted, bool(star)) if quoted or not plain else _term(plain, plain.endswith("*"))
        if term is not None:
            terms.setdefault((term.text, term.is_prefix), term)
        if len(terms) == MAX_TERMS:
            break
    return Query(tuple(terms.values()))


def _term(text: str, starred: bool) -> Term | None:
    """None where nothing of it can be looked for."""
    folded = fold_parts(text)
    bare = folded.rstrip("*") if starred else folded
    words = tuple(words_of(bare))
    is_prefix = starred and bool(words) and bare.endswith(words[-1])
    if is_prefix:
        folded = bare
    if not words and len(folded) < SHORTEST_PART:
        return None
    return Term(folded, words, is_prefix)
