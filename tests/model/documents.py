"""What the documents of a conversation must have in them, whatever form they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from exports.pages import Seen
from wire import Message

MEDIA_TYPES = {
    "markdown": "text/markdown",
    "html": "text/html",
    "jsonl": "application/jsonl",
    "atif": "application/json",
}
_ROUND = re.compile(r"^## (\d+)\. ", re.MULTILINE)


def check_document(form: str, content: str, rounds: list[Message]) -> None:
    """Each round of a history, once and in order; and in a trajectory each text."""
    numbers = [each["index"] + 1 for each in rounds]
    if form == "markdown":
        assert [*map(int, _ROUND.findall(content))] == numbers
    elif form == "html":
        sections = [attributes for tag, attributes in Seen(content).elements if tag == "section"]
        assert [each["id"] for each in sections if "id" in each] == [f"round-{number}" for number in numbers]
    elif form == "atif":
        said = {*_texts(json.loads(content)["steps"])}
        missing = {*filter(None, _texts_of(rounds))} - said
        assert not missing, f"not in the trajectory: {missing}"


def _texts_of(rounds: list[Message]) -> Iterator[str]:
    for each in rounds:
        yield each["request"]["content"]
        for turn in each["response"]["turns"]:
            yield turn["content"]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
