"""Parts of a text that something else takes the place of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """``text[start:end]``, and the word for what stands there; None: the path of a home directory."""

    start: int
    end: int
    label: str | None

    @property
    def mark(self) -> str:
        """What takes its place."""
        return "~" if self.label is None else f"[redacted: {self.label}]"


def merged(spans: Iterable[Span]) -> list[Span]:
    """In order, those that overlap joined to one."""
    result: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if span.end <= span.start:
            continue
        if result and span.start < result[-1].end:
            before = result[-1]
            label = span.label if before.label is None else before.label
            result[-1] = Span(before.start, max(before.end, span.end), label)
        else:
            result.append(span)
    return result


def replaced(text: str, spans: Iterable[Span], by: Callable[[Span], str] = lambda span: span.mark) -> str:
    """The text with something else, its mark, in the place of each span, which are in order."""
    parts: list[str] = []
    end = 0
    for span in spans:
        parts += (text[end : span.start], by(span))
        end = span.end
    parts.append(text[end:])
    return "".join(parts)
