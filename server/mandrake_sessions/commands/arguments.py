"""Parsers of the commands' arguments, and the arguments that many commands have."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from mandrake_sessions.quoting import nearest_name, one_line, shorten
from mandrake_sessions.settings import BadSetting, flag_of, setting_fields
from mandrake_sessions.workspaces import PathUnknown, absolute, normalized


class Parser(ArgumentParser):
    """Escapes control characters in errors, which quote arguments. Does not ignore that stdout takes no text."""

    def error(self, message: str) -> NoReturn:
        super().error(one_line(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        """Raises OSError for a stdout that cannot be written; argparse's own ends as if all were well."""
        if file is not sys.stdout:
            super()._print_message(message, file)
            return
        file.write(message)
        file.flush()


def parsed(parser: ArgumentParser, arguments: Sequence[str], commands: Collection[str]) -> Namespace:
    """The arguments of a command. One that it does not know ends the program with the flag that was probably meant."""
    # Not parse_args: its error about unknown flags names none that is like them.
    options, unknown = parser.parse_known_args(arguments)
    # Where no argument is left to follow it, it is said for nothing.
    unknown = [word for word in unknown if word != "--"]
    if unknown:
        flag = next((word for word in unknown if word.startswith("-")), "").partition("=")[0]
        flags = re.findall(r"--[\w-]+", parser.format_help())
        named = next((word for word in unknown if word in commands), None)
        program = parser.prog.partition(" ")[0]
        hint = meant(flag, flags) if named is None else f"; a command comes first: {program} {named}"
        parser.error(f"unknown arguments: {' '.join(unknown)}{hint}")
    return options


def meant(word: str, known: Collection[str]) -> str:
    """The known word that somebody may have misspelled, as a part of a message; empty if none is like it."""
    similar = nearest_name(word, known, cutoff=0.6)
    return "" if similar is None else f"; did you mean {similar}?"


def wrapped(text: str, indent: int = 0) -> str:
    """A paragraph in the lines of a terminal; ``indent``: blanks before all but the first."""
    return textwrap.fill(text, shutil.get_terminal_size().columns - 2, subsequent_indent=" " * indent)


def usage(*needed: str) -> str:
    """One line: argparse's own lists every flag, and an error repeats it."""
    return " ".join(("%(prog)s", *needed, "[OPTIONS]"))


def add_store(parser: ArgumentParser, scope: str | None = "workspace") -> None:
    """The flags that say which store a command is about. ``scope``: the default."""
    parser.add_argument("--workspace", metavar="PATH", help="the workspace's directory")
    parser.add_argument("--database", metavar="PATH", help="the file of the workspace's store")
    parser.add_argument("--scope", choices=("workspace", "system"), default=scope, help="system: the user's own store")
    parser.add_argument("--busy-timeout", metavar="SECONDS", help="how long to wait for another process's lock")


def add_setting(parser: ArgumentParser, name: str) -> None:
    """The flag of a setting."""
    setting = next(setting for setting in setting_fields() if setting.name == name)
    word = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
    default = "" if setting.default is None else f" (default: {word})"
    parser.add_argument(
        flag_of(name),
        metavar=setting.metadata["metavar"],
        nargs="?" if setting.metadata["alone"] else None,
        const=setting.metadata["alone"],
        help=f"{setting.metadata['help']}{default}",
    )


def whole_number(text: str) -> int:
    """A number of things, at least one."""
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text)):
        raise ArgumentTypeError(f"{shorten(text)!r} is not a number from 1 on")
    return int(text)


def check_texts(options: Namespace) -> None:
    """What is stored as it was given has to be a text, and some of it not empty: said before anything is made, with
    the flag. Raises BadSetting."""
    for flag in ("--title", "--prompt", *_NOT_EMPTY):
        value = getattr(options, flag[2:].replace("-", "_"), None)
        if value == "" and flag in _NOT_EMPTY:
            raise BadSetting(flag, "must not be empty")
        if value is not None and not _is_text(value):
            raise BadSetting(flag, "is not UTF-8")


def _is_text(value: str) -> bool:
    """Whether an argument of the command line is text, and not just bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def typed(text: str) -> str:
    """An argument as somebody typed it, in UTF-8: where the locale has another encoding, Python has taken its bytes for
    others. Not for paths, which Python gives back to the system as it took them."""
    try:
        return text.encode(errors="surrogateescape").decode(errors="surrogateescape")
    except UnicodeEncodeError:
        # On Windows a text may have half a character, which breaks a rule later.
        return text


def directory(flag: str, path: str | None) -> str | None:
    """The absolute path of a directory that need not exist; None where none was given. Raises BadSetting."""
    if path is None:
        return None
    try:
        return str(normalized(absolute(path)))
    except PathUnknown as error:
        raise BadSetting(flag, f"{shorten(path)}: {error}; give an absolute path") from None


_DIGITS = 9
_NOT_EMPTY = ("--agent", "--external-id", "--kind", "--model")
