"""What goes out: a text, slices of a long one, or a JSON value, each with marks in the place of what is private."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from mandrake_sessions.redaction import detector
from mandrake_sessions.redaction.escapes import views
from mandrake_sessions.redaction.homes import Homes
from mandrake_sessions.redaction.rules import find_secrets, label_of_name
from mandrake_sessions.redaction.spans import Span, merged, replaced
from mandrake_sessions.stopping import check_wanted

# Characters that are looked at together; what begins among them may go on for so many beyond, and what is known of it
# may stand so many before.
BLOCK, BEYOND, BEFORE = 64 * 1024, 20 * 1024, 1024
# Shorter ones are no secrets by themselves and no paths.
_MIN_LENGTH = 6
_PLAIN = re.compile(r"[A-Za-z]{0,15}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Cleaner(Protocol):
    """``count``: how many parts were replaced so far."""

    count: int

    def text(self, text: str) -> str: ...

    def slices(self, slices: Iterable[str]) -> Iterator[str]:
        """Those of one text; they may be cut elsewhere."""

    def json(self, value: Any) -> Any:
        """A JSON value; the names in it are texts, too."""


class AsItIs:
    """Changes nothing."""

    count = 0

    def text(self, text: str) -> str:
        return text

    def slices(self, slices: Iterable[str]) -> Iterator[str]:
        return iter(slices)

    def json(self, value: Any) -> Any:
        return value


class Redactor:
    """Replaces secrets by ``[redacted: …]`` and the paths of home directories by ``~``. Each call may raise
    Cancelled."""

    def __init__(self) -> None:
        self.count = 0
        self._homes = Homes()

    def text(self, text: str) -> str:
        if len(text) < _MIN_LENGTH or (len(text) <= 36 and _PLAIN.fullmatch(text)):
            return text
        return "".join(self.slices((text,)))

    def slices(self, slices: Iterable[str]) -> Iterator[str]:
        before = text = ""
        for piece in slices:
            for start in range(0, len(piece), BLOCK):
                text += piece[start : start + BLOCK]
                while len(text) >= BLOCK + BEYOND:
                    done, text, before = self._step(before, text)
                    yield done
        while text:
            done, text, before = self._step(before, text)
            yield done

    def json(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list | tuple):
            return [self.json(item) for item in value]
        return value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, item in value.items():
            shown = self.text(name)
            while shown in result:
                # Two names that differed in what was replaced.
                shown += "'"
            label = label_of_name(name, item) if isinstance(item, str) else None
            if label is None:
                result[shown] = self.json(item)
            else:
                self.count += 1
                result[shown] = Span(0, 0, label).mark
        return result

    def _step(self, before: str, text: str) -> tuple[str, str, str]:
        """The first part of the text as it goes out, the rest, and what stood before the rest."""
        check_wanted()
        window = text[: BLOCK + BEYOND]
        skipped = len(before)
        spans = [
            Span(max(span.start - skipped, 0), span.end - skipped, span.label)
            for span in self._find(before + window)
            if span.end > skipped
        ]
        cut = min(len(text), BLOCK)
        for span in spans:
            if span.start < cut < span.end:
                cut = span.start or span.end
        kept = [span for span in spans if span.end <= cut]
        self.count += len(kept)
        return replaced(text[:cut], kept), text[cut:], (before + text[:cut])[-BEFORE:]

    def _find(self, text: str) -> list[Span]:
        found: list[Span] = []
        for shown, back in views(text):
            here = merged((*find_secrets(shown), *self._homes.find(shown)))
            # The detector takes long for each that it finds, so it is shown the rest, which stands where it stood.
            rest = replaced(shown, here, by=lambda span: " " * (span.end - span.start))
            here += detector.find_secrets(rest)
            for span in here:
                for view in back:
                    span = view.origin(span)
                found.append(span)
        return merged(found)
