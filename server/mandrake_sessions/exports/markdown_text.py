"""Texts of others as parts of a Markdown document, none of which changes what stands around it.

What people and agents say is Markdown itself. It is quoted, so its headings, lists and fences stay inside the quote,
and read as they were meant. The one thing that would reach beyond is HTML: a tag becomes text, except in code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# Characters of a line that are looked at together.
_LONG_LINE = 64 * 1024
_ENDS = re.compile(r"\r\n|\r|\n")
# Of a terminal, and what no document may hold: each becomes a picture of itself.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
_PICTURES |= dict.fromkeys(range(0x80, 0xA0), "\ufffd")
# What has a meaning inside a line; some only beside certain others.
_SPECIAL = re.compile(
    r"([\\`*\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|<(?=[A-Za-z/!?])|&(?=[A-Za-z#])|(?<=\S)~|(?:^|(?<=\s))#)"
)
# What stands for a secret reads the same everywhere.
_MARK = re.compile(r"\\\[(redacted: [a-z0-9-]+)\\\]")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_RUNS = re.compile(r"`+")
_FENCE = re.compile(r"(`{3,})[^`]*$|(~{3,})")
# A fence that may stand in a list or another quote, and end with it.
_DOUBTFUL = re.compile(r"[ \t>*+\-0-9.)]*(?:```|~~~)")


def inline(text: str) -> str:
    """A text on one line, with no meaning but itself."""
    return _MARK.sub(r"[\1]", _SPECIAL.sub(r"\\\1", printable(" ".join(text.split()))))


def code(text: str) -> str:
    """A name or a path; one line."""
    shown = printable(" ".join(text.split()))
    ticks = "`" * (longest_run((shown,)) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def printable(text: str) -> str:
    """The text without control characters, but for tabs and the ends of lines."""
    return text.translate(_PICTURES | {9: "\t", 10: "\n"}) if _CONTROL.search(text) else text


def plain(text: str) -> str:
    """Without control characters, its lines ended by line feeds."""
    return printable(text.replace("\r\n", "\n").replace("\r", "\n"))


def longest_run(slices: Iterable[str]) -> int:
    """Of backticks."""
    longest = open_run = 0
    for text in slices:
        runs = [len(run) for run in _RUNS.findall(text)]
        if runs and text.startswith("`"):
            runs[0] += open_run
        longest = max(longest, *runs, 0)
        open_run = runs[-1] if runs and text.endswith("`") else 0
    return longest


def fenced(slices: Iterable[str], ticks: int, language: str = "") -> Iterator[str]:
    """A block of code, or what a terminal showed. ``ticks``: the longest run of backticks in it."""
    fence = "`" * max(ticks + 1, 3)
    yield f"{fence}{language}\n"
    is_ended = True
    for text, is_end in _lines(slices):
        yield printable(text) + ("\n" if is_end else "")
        is_ended = is_end
    yield f"{'' if is_ended else chr(10)}{fence}\n"


def quoted(slices: Iterable[str]) -> Iterator[str]:
    """A text of somebody who writes Markdown."""
    tags = _Tags()
    is_begin = True
    for text, is_end in _lines(slices):
        shown = tags.neutral(printable(text), is_whole=is_begin and is_end)
        prefix = ("> " if shown else ">") if is_begin else ""
        yield f"{prefix}{shown}{chr(10) if is_end else ''}"
        is_begin = is_end
    if not is_begin:
        yield "\n"


def _lines(slices: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Each line, a long one in pieces, and whether it ends there."""
    rest = ""
    for text in _together(slices):
        rest += text
        # The line feed that belongs to it may come with the next slice.
        kept = "\r" if rest.endswith("\r") else ""
        *whole, rest = _ENDS.split(rest.removesuffix("\r"))
        for line in whole:
            yield line, True
        if len(rest) > _LONG_LINE:
            yield rest, False
            rest = ""
        rest += kept
    *whole, rest = _ENDS.split(rest)
    for line in whole:
        yield line, True
    if rest:
        yield rest, False


def _together(slices: Iterable[str]) -> Iterator[str]:
    """Few long ones for many short ones."""
    parts: list[str] = []
    size = 0
    for text in slices:
        parts.append(text)
        size += len(text)
        if size > _LONG_LINE:
            yield "".join(parts)
            parts, size = [], 0
    yield "".join(parts)


class _Tags:
    """Makes tags of HTML to text. Code stays as it is where every reader of Markdown sees code there; where that
    depends on lists and paragraphs, a tag counts as one."""

    def __init__(self) -> None:
        self._fence: str | None = None
        # A fence in a list was met: nobody can say without a parser whether what follows is code.
        self._in_doubt = False
        # The paragraph has a backtick that may begin code on a line before.
        self._is_open = False

    def neutral(self, line: str, *, is_whole: bool) -> str:
        """``is_whole``: it is no piece of a longer line."""
        if not is_whole:
            self._in_doubt = self._in_doubt or self._fence is None
        if self._fence is not None:
            if is_whole and self._ends_fence(line):
                self._fence = None
            return line
        if self._in_doubt:
            return _escaped(line)
        if match := _FENCE.match(line):
            self._fence = match[1] or match[2]
            return line
        if _DOUBTFUL.match(line):
            self._in_doubt = True
            return _escaped(line)
        if not line.strip():
            self._is_open = False
        return self._outside_code(line)

    def _ends_fence(self, line: str) -> bool:
        shown = line.strip()
        return (
            len(line) - len(line.lstrip(" ")) < 4
            and shown.startswith(self._fence or "")
            and not shown.strip(shown[0])
            and not line.startswith("\t")
        )

    def _outside_code(self, line: str) -> str:
        runs = list(_RUNS.finditer(line))
        # Cells of a table end at a bar, even in code.
        if self._is_open or "|" in line or "\\`" in line or not runs:
            self._is_open = self._is_open or bool(runs)
            return _escaped(line)
        parts: list[str] = []
        end = 0
        while runs:
            opening = runs.pop(0)
            closing = next((run for run in runs if len(run[0]) == len(opening[0])), None)
            if closing is None:
                self._is_open = True
                break
            parts += (_escaped(line[end : opening.start()]), line[opening.start() : closing.end()])
            end = closing.end()
            runs = [run for run in runs if run.start() >= end]
        return "".join((*parts, _escaped(line[end:])))


def _escaped(text: str) -> str:
    return _TAG.sub("&lt;", text)
