"""What the agent says: its sentences, made of what its tools found."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

from mandrake_sessions.demo.tools import MAX_ENTRIES, Document, Listing, clean

QUESTION = "What is in this workspace?"
THOUGHT = (
    "Somebody wants to know what is in this directory. I have no language model, so I cannot guess: "
    "I shall list it, read the files that look as if they explain the rest, and say what I found."
)
LISTING = "I'll look at the directory first."
LONGEST_QUOTE = 70


def pieces(text: str) -> list[str]:
    """The text word by word, each with the space after it; joined they are the text."""
    return re.findall(r"\s*\S+\s*", text)


def plan(listing: Listing, chosen: list[str], language: str) -> str:
    """What the agent says between its looking and its reading."""
    files = _counted(len(listing.files), "file")
    count = f"I looked at the first {MAX_ENTRIES} entries: {files}" if listing.truncated else f"I count {files}"
    if not chosen:
        return f"{count}, and none that explains itself. Is there a README in {language}, at least?"
    names = " and ".join(filter(None, [", ".join(chosen[:-1]), chosen[-1]]))
    return f"{count}. I'll read {names}, and see whether there is a README in {language}, too."


def summary(name: str, listing: Listing, documents: list[Document], language: str, failure: str | None) -> str:
    """The answer itself. ``failure``: why the README in that language could not be read."""
    paragraphs = [_size(name, listing), "\n".join(map(_about, documents))]
    if failure is not None:
        paragraphs.append(f"Nobody has written a README in {language} yet ({failure}).")
    paragraphs.append("Every word of this was in the store before you saw it.")
    return "\n\n".join(filter(None, paragraphs))


def shown_size(size: int) -> str:
    """A number of bytes as people say it."""
    amount, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"


def _size(name: str, listing: Listing) -> str:
    files = listing.files
    total = shown_size(sum(file.bytes for file in files))
    beginning = f"{name} holds {_counted(len(files), 'file')} in {_counted(len(listing.directories) + 1, 'directory')}"
    if not files:
        return f"What I saw of {name} has no files." if listing.truncated else f"{beginning}: it is empty."
    largest = max(files, key=lambda file: file.bytes)
    kinds = Counter(PurePosixPath(clean(file.path)).suffix or "no kind" for file in files).most_common(3)
    most = ", ".join(f"{count} of {kind}" for kind, count in kinds)
    if listing.truncated:
        # How many there are was said before, and of the rest nothing is known.
        beginning = f"What I saw of {name} holds {total}"
        return f"{beginning}: {most}. The largest there is {clean(largest.path)}, {shown_size(largest.bytes)}."
    return f"{beginning}, {total} in all: {most}. The largest is {clean(largest.path)}, {shown_size(largest.bytes)}."


def _about(document: Document) -> str:
    more = "more than " if document.truncated else ""
    return f"- {document.path}, {more}{_counted(document.lines, 'line')}{_quote(document)}"


def _quote(document: Document) -> str:
    """The name and description that a file declares, or its first line that says something, if there is one."""
    declared = _declared(document)
    lines = [declared] if declared else [line.strip(" \t#/*;\"'=-<>!%") for line in document.text.splitlines()]
    # A line of markup says nothing: what is quoted has a word in it.
    text = next((line for line in lines if re.search(r"\w\w", line)), "")
    return text and f": “{text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1].rstrip() + '…'}”"


def _declared(document: Document) -> str:
    """Name and description in a package's manifest; empty where it is none."""
    try:
        if document.path == "pyproject.toml":
            manifest: Any = tomllib.loads(document.text).get("project")
        elif document.path == "package.json":
            manifest = json.loads(document.text)
        else:
            return ""
    except ValueError:
        return ""
    found = [manifest.get(key) for key in ("name", "description")] if isinstance(manifest, dict) else []
    return ": ".join(part for part in found if isinstance(part, str))


def _counted(count: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count} {noun if count == 1 else plural}"
