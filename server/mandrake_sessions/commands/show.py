"""The command ``mandrake-sessions show SESSION``."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from typing import Any

from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.formats import add_format
from mandrake_sessions.commands.looking import Looking, add_looking
from mandrake_sessions.commands.naming import add_session, named
from mandrake_sessions.commands.pager import say_lines
from mandrake_sessions.commands.shared import say_parts, say_shown, told
from mandrake_sessions.quoting import printable
from mandrake_sessions.settings import BadSetting

DESCRIPTION = (
    "Show a conversation as it is: nothing is redacted (export does that). On a terminal it is laid out; elsewhere it "
    "is Markdown, or what --format says."
)
EXAMPLE = "mandrake-sessions show @last"
# Characters of a section after which another one begins.
_LONG = 32 * 1024
# How a turn or a call of a tool begins. A part of a text begins with an empty line only where it has nothing else.
_BEGINNING = re.compile(r"\n(?:\*|`+ ?[^`\n])")
_FOLD = re.compile(r"\n<details>\n<summary>([^<]*)</summary>\n\n")


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SESSION")
    add_session(parser)
    add_format(parser, "text", default="text on a terminal, markdown elsewhere")
    parser.add_argument("--json", action="store_true", help="the same as --format jsonl")
    add_looking(parser)


def run(options: Namespace) -> int:
    """0: it showed the conversation. 1: there is none of this name, or it cannot be read."""
    return told(options, lambda: _show(options))


def _show(options: Namespace) -> int:
    from mandrake_sessions.exports import document, for_terminal

    if options.json and options.format not in (None, "jsonl"):
        raise BadSetting(
            "--json", f"cannot be given beside --format {options.format}, which says already what is wanted"
        )
    usual = "jsonl" if options.json else "text" if sys.stdout.isatty() else "markdown"
    chosen: Any = options.format or usual
    with Looking(options) as looking:
        meant = named(looking, options)
        with meant.manager.snapshot():
            if chosen == "text":
                from mandrake_sessions.commands.laid_out import laid_out

                say_lines(laid_out(_sections(for_terminal(meant.manager, meant.session.id))))
                return looking.code
            made = document(meant.manager, meant.session.id, chosen, redact=False)
            if sys.stdout.isatty():
                say_lines(map(printable, _lines(made.parts)))
            elif chosen == "html":
                # It says itself that it is UTF-8, and is for a browser.
                say_parts(made.parts)
            else:
                say_shown(made.parts, is_json=chosen != "markdown")
        return looking.code


def _sections(parts: Iterable[str]) -> Iterator[str]:
    """Parts that begin with a heading of a round; of a long round, with one of its turns or calls. So the first lines
    are there soon."""
    kept: list[str] = []
    size = 0
    for part in map(_unfolded, parts):
        if kept and (part.startswith("\n## ") or (size > _LONG and _BEGINNING.match(part))):
            yield "".join(kept)
            kept.clear()
            size = 0
        kept.append(part)
        size += len(part)
    yield "".join(kept)


def _unfolded(part: str) -> str:
    """A terminal folds nothing: the label of what is folded elsewhere stands above it. No text looks so, since each of
    its lines is a part of its own, or quoted."""
    if part == "\n</details>\n":
        return "\n"
    found = _FOLD.fullmatch(part)
    return part if found is None else f"\n*{found[1]}*\n\n"


def _lines(parts: Iterable[str]) -> Iterator[str]:
    rest = ""
    for part in parts:
        *lines, rest = (rest + part).split("\n")
        yield from lines
    if rest:
        yield rest
