"""The rules of a detector that others keep: MongoDB's Kingfisher, in this process and without a network.

Its engine takes time in proportion to the text whatever the text is, and leaves Python to other threads meanwhile. It
is imported and its rules are compiled on first use, which takes seconds unless they are in its cache
(``KF_RULE_CACHE_DIR``, or the user's cache directory).
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from typing import Any

from mandrake_sessions.redaction.spans import Span
from mandrake_sessions.stopping import check_wanted

logger = logging.getLogger(__name__)

PACKAGE = "kingfisher-secret-scanner"
# Nothing that is shorter is a secret by its form.
MIN_LENGTH = 12
_LOOK_SECONDS = 0.05


class _Loading:
    """The scanner, which a thread of its own makes: the end of the process does not wait for that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._started = False
        self._scanner: Any = None

    def scanner(self) -> Any:
        """None where the detector is not installed. Raises Cancelled."""
        if not self._done.is_set():
            self._start()
            while not self._done.wait(_LOOK_SECONDS):
                check_wanted()
        return self._scanner

    def is_missing(self) -> bool:
        return self._done.is_set() and self._scanner is None

    def _start(self) -> None:
        with self._lock:
            if not self._started:
                self._started = True
                threading.Thread(target=self._load, name="mandrake-sessions-rules", daemon=True).start()

    def _load(self) -> None:
        try:
            from kingfisher_sdk import Scanner

            self._scanner = Scanner()
        except Exception as error:
            logger.warning(
                "%s cannot be used (%s): exports are redacted by this program's own rules alone", PACKAGE, error
            )
        finally:
            self._done.set()


_loading = _Loading()


def is_there() -> bool:
    """Whether the detector can be used. Loads it."""
    return _loading.scanner() is not None


def was_missing() -> bool:
    """Whether it was wanted and could not be used, so that texts were looked at without it."""
    return _loading.is_missing()


def find_secrets(text: str) -> Iterator[Span]:
    """What the detector's rules find in a text. Raises Cancelled."""
    if len(text) < MIN_LENGTH:
        return
    scanner = _loading.scanner()
    if scanner is None:
        return
    data = text.encode("utf-8", "replace")
    # Some are only there to complete others.
    found = [finding for finding in scanner.scan(data) if finding.visible]
    places = [(finding.location["start_offset"], finding.location["end_offset"]) for finding in found]
    at = _characters(data, {offset for place in places for offset in place}, is_ascii=len(data) == len(text))
    for finding, (start, end) in zip(found, places, strict=True):
        yield Span(at[start], at[end], re.split(r"[./]", finding.rule_id)[-1])


def _characters(data: bytes, offsets: set[int], *, is_ascii: bool) -> dict[int, int]:
    """The position among the characters for each offset among the bytes."""
    if is_ascii:
        return {offset: offset for offset in offsets}
    result: dict[int, int] = {}
    before = position = 0
    for offset in sorted(offsets):
        position += len(data[before:offset].decode("utf-8", "ignore"))
        before = offset
        result[offset] = position
    return result
