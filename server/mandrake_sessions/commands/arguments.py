"""Parsers of the commands' arguments, and the arguments that many commands have."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from mandrake_sessions.folding import fold, folded
from mandrake_sessions.quoting import nearest_name, one_line, shorten
from mandrake_sessions.settings import BadSetting, Settings, flag_of, given_settings, setting_fields
from mandrake_sessions.workspaces import PathUnknown, absolute, normalized


class Parser(ArgumentParser):
    """Takes arguments for texts, in UTF-8, unless their type is ``path``. Escapes control characters in errors, which
    quote arguments. Does not ignore that stdout takes no text."""

    # The arguments that are read.
    given: Sequence[str] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", None, _text)

    def error(self, message: str) -> NoReturn:
        if message.endswith("required: QUERY") and (words := [word for word in self.given if self._is_unknown(word)]):
            message += _after_dashes(self, words)
        super().error(one_line(message))

    def _is_unknown(self, word: str) -> bool:
        return word.startswith("-") and word.partition("=")[0] not in self._option_string_actions

    def _print_message(self, message: str, file: Any = None) -> None:
        """Raises OSError for a stdout that cannot be written; argparse's own ends as if all were well."""
        if file is not sys.stdout:
            super()._print_message(folded(message, file) if file.isatty() else message, file)
            return
        file.write(_help_folded(message))
        file.flush()


def parsed(
    parser: Parser, arguments: Sequence[str], commands: Collection[str], program: Parser | None = None
) -> Namespace:
    """The arguments of a command. One that it does not know ends the program with the flag that was probably meant.
    ``program``: where nobody named the command, the parser of the program, which tells of flags that are like none of
    the command."""
    # Not parse_args: its error about unknown flags names none that is like them.
    parser.given = arguments
    options, unknown = parser.parse_known_args(arguments)
    # Where no argument is left to follow it, it is said for nothing.
    unknown = [word for word in unknown if word != "--"]
    if unknown:
        _refuse(unknown, parser, commands, program)
    return options


def _refuse(unknown: list[str], parser: Parser, commands: Collection[str], program: Parser | None) -> NoReturn:
    told = f"unknown arguments: {' '.join(unknown)}"
    named = next((word for word in unknown if word in commands), None)
    if named is not None:
        parser.error(f"{told}; a command comes first: {parser.prog.partition(' ')[0]} {named}")
    flag = next((word for word in unknown if word.startswith("-")), "").partition("=")[0]
    for each in filter(None, (parser, program)):
        if hint := _flag_meant(flag, each):
            each.error(told + hint)
    if flag and any(action.metavar == "QUERY" for action in parser._get_positional_actions()):
        parser.error(told + _after_dashes(parser, unknown))
    (program or parser).error(f"{told}; --help lists the {'flags' if flag else 'arguments'}")


def _after_dashes(parser: Parser, words: Sequence[str]) -> str:
    return f"; words that begin with a dash stand after --: {parser.prog} -- {shlex.join(words)}"


def _flag_meant(flag: str, parser: Parser) -> str:
    """The flag of the parser that somebody may have misspelled, as ``meant`` says it."""
    names = [name.removeprefix("--") for name in re.findall(r"--[\w-]+", parser.format_help())]
    similar = nearest_name(flag.lstrip("-"), names, cutoff=_NEAR)
    return "" if similar is None else f"; did you mean --{similar}?"


def meant(word: str, known: Collection[str]) -> str:
    """The known word that somebody may have misspelled, as a part of a message; empty if none is like it."""
    similar = nearest_name(word, known, cutoff=0.6)
    return "" if similar is None else f"; did you mean {similar}?"


def wrapped(text: str, indent: int = 0) -> str:
    """Paragraphs in the lines of a terminal; ``indent``: blanks before all lines of one but the first."""
    room = shutil.get_terminal_size().columns - 2
    return "\n\n".join(fold(paragraph, room, indent) for paragraph in text.split("\n\n"))


def _help_folded(text: str) -> str:
    """The text of ``--help``: argparse leaves some lines of it as they are. An example is to be copied."""
    columns = shutil.get_terminal_size().columns
    folding, example, rest = text.partition("\nexample:\n")
    lines = (fold(line, columns, len(line) - len(line.lstrip()) + 2) for line in folding.split("\n"))
    return "\n".join(lines) + example + rest


def usage(*needed: str) -> str:
    """One line: argparse's own lists every flag, and an error repeats it."""
    return " ".join(("%(prog)s", *needed, "[OPTIONS]"))


def add_store(parser: ArgumentParser, scope: str | None = "workspace", *, waits: bool = True) -> None:
    """The flags that say which store a command is about. ``scope``: the default. ``waits``: for other processes."""
    parser.add_argument("--workspace", metavar="PATH", type=path, help="the workspace's directory")
    parser.add_argument("--database", metavar="PATH", type=path, help="the file of the workspace's store")
    parser.add_argument("--scope", choices=("workspace", "system"), default=scope, help="system: the user's own store")
    if waits:
        parser.add_argument("--busy-timeout", metavar="SECONDS", help="how long to wait for another process's lock")


def settings_of(options: Namespace) -> Settings:
    """Those that the flags and the environment say. Raises BadSetting."""
    if options.scope == "system" and (options.workspace or options.database):
        flag = "--workspace" if options.workspace else "--database"
        raise BadSetting(flag, "cannot be given beside --scope system, which says already which store is meant")
    flags = {name: getattr(options, name, None) for name in ("workspace", "database", "busy_timeout", "no_originals")}
    return Settings(**given_settings(flags))


def add_switch(parser: ArgumentParser, name: str) -> None:
    """The flag of a setting that is true or false, for a command with arguments: none of them is its value."""
    setting = next(setting for setting in setting_fields() if setting.name == name)
    parser.add_argument(flag_of(name), action="store_const", const="true", help=setting.metadata["help"])


def add_setting(parser: ArgumentParser, name: str) -> None:
    """The flag of a setting."""
    setting = next(setting for setting in setting_fields() if setting.name == name)
    word = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
    default = "" if setting.default is None else f" (default: {word})"
    parser.add_argument(
        flag_of(name),
        metavar=setting.metadata["metavar"],
        type=path,
        nargs="?" if setting.metadata["alone"] else None,
        const=setting.metadata["alone"],
        help=f"{setting.metadata['help']}{default}",
    )


def add_limit(parser: ArgumentParser, says: str, default: int | None = None) -> None:
    """The flag that says how many are wanted."""
    parser.add_argument("-n", "--limit", metavar="N", type=whole_number, default=default, help=says)


def whole_number(text: str) -> int:
    """A number of things, at least one."""
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text)):
        raise ArgumentTypeError(f"{shorten(text)!r} is not a number from 1 on")
    return int(text)


def check_not_empty(options: Namespace) -> None:
    """What is stored as it was given, and must not be empty: said before anything is made, with the flag. Raises
    BadSetting."""
    for flag in ("--agent", "--external-id", "--kind", "--model"):
        if getattr(options, flag[2:].replace("-", "_"), None) == "":
            raise BadSetting(flag, "must not be empty")


def is_text(value: str) -> bool:
    """Whether what the system gave, such as a path, is text, and not just bytes: in UTF-8, or in the encoding of the
    locale."""
    return _decoded(value) is not None


def _text(argument: str) -> str:
    """An argument as somebody typed it. Raises ArgumentTypeError: it is no text."""
    text = _decoded(argument)
    if text is None:
        raise ArgumentTypeError(f"{shorten(repr(argument))} is not UTF-8")
    return text


def _decoded(value: str) -> str | None:
    """The text of what the system gave, in UTF-8: where the locale has another encoding, Python has taken its bytes for
    other characters. Else what they are in the encoding of the locale; None if it is no text there either."""
    with suppress(UnicodeError):
        return os.fsencode(value).decode()
    with suppress(UnicodeError):
        value.encode()
        return value
    return None


def path(argument: str) -> str:
    """The type of an argument that the system takes back as it gave it: a path, or a word for another program."""
    return argument


def directory(flag: str, given: str | None) -> str | None:
    """The absolute path of a directory that need not exist, as a text; None where none was given. Raises BadSetting."""
    if given is None:
        return None
    try:
        return _text(str(normalized(absolute(given))))
    except PathUnknown as error:
        raise BadSetting(flag, f"{shorten(given)}: {error}; give an absolute path") from None
    except ArgumentTypeError as error:
        raise BadSetting(flag, f"{error}, as the path of a session has to be") from None


_DIGITS = 9
# Of two flags, without their lines: one or two letters may be missing, wrong or in another place.
_NEAR = 0.7
