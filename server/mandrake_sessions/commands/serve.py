"""The command ``mandrake-sessions serve``, which is also what the program does without a command."""

from __future__ import annotations

import errno
import os
import sys
from argparse import SUPPRESS, Action, ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

from mandrake_sessions.commands.arguments import add_setting, usage
from mandrake_sessions.folding import hint
from mandrake_sessions.logs import start_logging
from mandrake_sessions.protocol.words import log_in_wire_words
from mandrake_sessions.quoting import shorten
from mandrake_sessions.settings import BadSetting, Settings, given_settings, setting_fields
from mandrake_sessions.transport.standard_streams import claim_standard_streams

DESCRIPTION = "Serve one client on stdin and stdout: JSON-RPC 2.0, by lines or with LSP's headers, as the client does."
EXAMPLE = "mandrake-sessions serve --workspace ."
_ON_A_TERMINAL = (
    "mandrake-sessions serve: waiting for JSON-RPC, one message a line; Ctrl-D ends it. What people type is in "
    "mandrake-sessions --help."
)


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage()
    _add_settings(parser)
    _add_transports(parser)


def run(options: Namespace) -> int:
    """0: its input ended, or a signal ended it. 1: exit came without shutdown, as LSP asks. 71: there is too little
    memory, or it may open too few files. 74: its answers cannot be written. 130: Ctrl-C came before it served."""
    given = given_settings({setting.name: getattr(options, setting.name) for setting in setting_fields()})
    settings = Settings(**given)
    try:
        start_logging(settings.log_level, settings.log_file, settings.log_max_bytes)
        log_in_wire_words()
    except OSError as error:
        raise BadSetting("--log-file", f"{settings.log_file}: {error.strerror}") from None
    # Converting is quadratic, so the environment must not lift Python's limit. Longer integers are never converted.
    sys.set_int_max_str_digits(sys.int_info.default_max_str_digits)
    if os.isatty(0):
        hint(_ON_A_TERMINAL)
    stdin, stdout = claim_standard_streams()
    from mandrake_sessions.connection.server import serve

    try:
        return serve(settings, frozenset(given), stdin, stdout, options.clientProcessId)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        # What is half made says more about it as it is collected.
        sys.unraisablehook = lambda _: None
        hint(f"mandrake-sessions serve: {error.strerror}; raise the limit of open files (ulimit -n)")
        return os.EX_OSERR if hasattr(os, "EX_OSERR") else 1


def _add_settings(parser: ArgumentParser) -> None:
    for setting in setting_fields():
        add_setting(parser, setting.name)


def _add_transports(parser: ArgumentParser) -> None:
    """Flags that LSP names. The libraries of some editors add them."""
    parser.add_argument("--stdio", action="store_true", help="the only transport; some editors pass this flag")
    parser.add_argument(
        "--clientProcessId",
        metavar="N",
        type=_process_id,
        help="end when this process is gone; some editors pass this flag",
    )
    for flag in _TRANSPORTS:
        parser.add_argument(flag, nargs="?", action=_OtherTransport, help=SUPPRESS)


_PROCESS_ID_DIGITS = 10
_TRANSPORTS = ("--pipe", "--socket", "--port", "--node-ipc")


class _OtherTransport(Action):
    """An error that names the only transport of this server."""

    def __call__(self, parser: ArgumentParser, *_: Any) -> None:
        parser.error(f"{self.option_strings[0]}: this server speaks on stdin and stdout only; start it with --stdio")


def _process_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _PROCESS_ID_DIGITS and 0 < int(text) < 2**31):
        raise ArgumentTypeError(f"{shorten(text)!r} is not the id of a process")
    return int(text)
