"""The command line."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any, Final

from mandrake_sessions.commands import COMMANDS, module_of
from mandrake_sessions.commands.arguments import Parser, meant, parsed, wrapped
from mandrake_sessions.commands.ending import ENDED_BY_SIGNAL, ending_signals
from mandrake_sessions.folding import hint
from mandrake_sessions.quoting import shorten
from mandrake_sessions.settings import BadSetting
from mandrake_sessions.transport.standard_streams import (
    NOBODY_READS,
    discard_stdout,
    open_standard_streams,
    settle_stderr,
)
from mandrake_sessions.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; gives its exit code."""
    open_standard_streams()
    try:
        return _run(arguments)
    finally:
        settle_stderr()


def _run(arguments: Sequence[str] | None) -> int:
    if "_ARGCOMPLETE" in os.environ:
        from mandrake_sessions.commands.completion import complete

        complete(parser_of)
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given and sys.stdin.isatty():
        given.append("--help")
    is_unnamed = not given or (given[0].startswith("-") and given[0] not in _OF_THE_PROGRAM)
    if is_unnamed:
        given.insert(0, "serve")
    if given[0] == "help":
        given = [*given[1:2], "--help"]
    name = given[0]
    try:
        if name in _OF_THE_PROGRAM:
            _parser().parse_args([name])
        if name not in COMMANDS:
            _parser().error(f"unknown command {shorten(name)}{meant(name, COMMANDS)}; --help lists the commands")
        command = module_of(name)
        parser = parser_of(name, command)
        options = parsed(parser, given[1:], COMMANDS, _parser() if is_unnamed else None)
    except OSError as error:
        return _unwritten(error)
    try:
        return _carried_out(command, options)
    except BadSetting as error:
        parser.error(str(error))
    except MemoryError:
        hint(f"{_PROGRAM}: there is no memory for this program; raise the limit (ulimit -v)")
        return os.EX_OSERR if hasattr(os, "EX_OSERR") else 1


def _carried_out(command: Any, options: Namespace) -> int:
    """The exit code of a command, or that of the signal that ended it."""
    if options.command == "serve":
        # It has an end of its own, in which it finishes what it has received.
        return _interruptible(command, options)
    with ending_signals() as came:
        code = _interruptible(command, options)
    return ENDED_BY_SIGNAL + came[0] if came else code


def _interruptible(command: Any, options: Namespace) -> int:
    try:
        return int(command.run(options))
    except KeyboardInterrupt:
        return 130


def parser_of(name: str, command: Any) -> Parser:
    """The parser of a command's arguments. ``command``: its module."""
    parser = Parser(
        prog=f"{_PROGRAM} {name}",
        description=wrapped(command.DESCRIPTION),
        epilog=f"{_exit_codes(command)}\n\nexample:\n  {command.EXAMPLE}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    # Which sessions @last is one of; a command may say otherwise.
    parser.set_defaults(command=name, archived=False)
    command.declare(parser)
    return parser


def exit_codes_of(command: Any) -> dict[str, str]:
    """What each exit code of a command means: those of its own, from the docstring of its ``run``, and those of all."""
    said = " ".join((command.run.__doc__ or "").replace("``", "").split())
    own = dict(re.findall(r"(\d+(?: \+ N)?): ([^.]*)\.", said))
    codes = {"2": "an argument is wrong", "71": "there is too little memory", "130": "Ctrl-C ended it"}
    if not command.__name__.endswith(".serve"):
        # A server ends in order then, and with 0.
        codes |= {"129": "SIGHUP ended it", "141": "nobody reads its output any more", "143": "SIGTERM ended it"}
    codes |= own
    return dict(sorted(codes.items(), key=lambda item: int(item[0].partition(" ")[0])))


def _exit_codes(command: Any) -> str:
    codes = exit_codes_of(command).items()
    width = max(4, *(len(code) for code, _ in codes))
    return "exit codes:\n" + "\n".join(wrapped(f"  {code:<{width}} {means}", width + 3) for code, means in codes)


def _parser() -> Parser:
    """What the program takes in place of a command."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(wrapped(f"  {name:<{width}}  {does}", indent=width + 4) for name, does in COMMANDS.items())
    parser = Parser(
        prog=_PROGRAM,
        usage="%(prog)s [COMMAND] [OPTIONS]",
        description=f"{wrapped(_DESCRIPTION)}\n\ncommands:\n{commands}",
        epilog=f"{wrapped(_WITHOUT_COMMAND)}\n{wrapped(_PIPED, indent=2)}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {__version__}")
    return parser


_PROGRAM: Final = "mandrake-sessions"
_OF_THE_PROGRAM: Final = ("-h", "--help", "-V", "--version")
_DESCRIPTION: Final = "One durable, live store of agent conversations per workspace: JSON-RPC on stdin and stdout."
_WITHOUT_COMMAND: Final = "Without a command it serves, unless stdin is a terminal:"
_PIPED: Final = "printf '%s\\n' '{…}' | mandrake-sessions is a complete program."


def _unwritten(error: OSError) -> int:
    """The exit code where stdout did not take the text of ``--help`` or ``--version``."""
    discard_stdout()
    if isinstance(error, BrokenPipeError):
        return NOBODY_READS
    hint(f"{_PROGRAM}: cannot write to stdout: {error.strerror}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
