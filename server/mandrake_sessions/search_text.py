"""Text as search compares it: in one case, without accents, each run of blanks one space.

The index, the query and the snippets fold text here, so that they agree on what a word is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Final

# Scripts that are written without spaces between words (and Korean, whose words have endings): each character is a word
# of its own, and several of them are a phrase.
UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff"
)
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


def fold(text: str) -> str:
    """The text in lower case and without accents. Most characters stay one character each."""
    lowered = text.lower()
    return lowered if lowered.isascii() else _BEYOND_ASCII.sub(_folded_run, lowered)


def fold_parts(text: str) -> str:
    """What parts of words are looked for in: folded, with one space for each run of blanks."""
    return " ".join(fold(text).replace("\0", " ").split())


def separated(parts: str) -> str:
    """The words of a text from ``fold_parts``, for a tokenizer that knows ASCII alone: letters beyond ASCII belong to
    words, all else beyond ASCII is a space."""
    return parts if parts.isascii() else _BEYOND_ASCII.sub(_separated_run, parts)


def words_of(folded: str) -> list[str]:
    """The words of a folded text, in order."""
    return [word for word in _words().findall(folded) if not _is_no_word(word)]


def is_unspaced(word: str) -> bool:
    """Whether the word is one character of a script without spaces."""
    return _unspaced().match(word) is not None


def composed(text: str) -> str:
    """The text with each letter and its accents as one character, where there is such a one."""
    return text if text.isascii() or unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def fold_character(character: str) -> str:
    """What ``fold`` makes of one character: none, one or several."""
    return _FOLDED[character]


class _Characters(dict[str, str]):
    """What becomes of characters, reckoned once each."""

    def __init__(self, reckon: Callable[[str], str]) -> None:
        super().__init__()
        self._reckon = reckon

    def __missing__(self, character: str) -> str:
        if len(self) > _KNOWN_CHARACTERS:
            self.clear()
        found = self[character] = self._reckon(character)
        return found


def _fold_character(character: str) -> str:
    folded = character.lower().casefold()
    if is_unspaced(character):
        return folded
    plain = (part for part in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(part))
    return "".join(plain).casefold()


def _separate_character(character: str) -> str:
    if not character.isalnum():
        return " "
    return f" {character} " if is_unspaced(character) else character


# Each takes as long to compile as many modules to import, so the start of a program does without them.
@cache
def _unspaced() -> re.Pattern[str]:
    return re.compile(f"[{UNSPACED}]")


@cache
def _words() -> re.Pattern[str]:
    """A character of an unspaced script, or a run of other letters and digits."""
    return re.compile(f"[{UNSPACED}]|[^\\W_{UNSPACED}]+")


_KNOWN_CHARACTERS = 20_000
_FOLDED = _Characters(_fold_character)
_SEPARATED = _Characters(_separate_character)


def _is_no_word(word: str) -> bool:
    """Marks of unspaced scripts, such as vowel signs, are no letters."""
    return len(word) == 1 and not word.isalnum()


def _folded_run(found: re.Match[str]) -> str:
    return "".join(map(_FOLDED.__getitem__, found[0]))


def _separated_run(found: re.Match[str]) -> str:
    return "".join(map(_SEPARATED.__getitem__, found[0]))
