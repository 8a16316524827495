"""The command ``mandrake-sessions call METHOD [JSON]``."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from mandrake_sessions.commands.arguments import add_store, usage
from mandrake_sessions.commands.shared import DONE, FAILED, UNUSABLE, check_stdin, say_line, told
from mandrake_sessions.folding import hint
from mandrake_sessions.settings import BadSetting

DESCRIPTION = (
    "Call one method of the protocol, and print its result as JSON; an error is printed on stderr. docs/protocol.md "
    "has the methods, and server/info names them."
)
EXAMPLE = """mandrake-sessions call session/list '{"limit": 1}'"""

_WANTED = """the params of a method are an object, such as '{"limit": 1}'"""


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("METHOD", "[JSON]")
    parser.add_argument("method", metavar="METHOD", help="such as session/list")
    parser.add_argument("params", metavar="JSON", nargs="?", default="{}", help="its params, an object; -: from stdin")
    add_store(parser)


def run(options: Namespace) -> int:
    """0: it gave a result. 1: it gave an error. 2: there is no such method, or JSON is no params of it."""
    return told(options, lambda: _call(options))


def _call(options: Namespace) -> int:
    from mandrake_sessions.client import ClientError, RequestFailed, SyncClient

    params = _params(_from_stdin() if options.params == "-" else options.params)
    if options.scope == "system":
        params = {"scope": "system", **params}
    flags = [f"--database={options.database}"] if options.database else []
    flags += [f"--busy-timeout={options.busy_timeout}"] if options.busy_timeout else []
    command = (sys.executable, "-m", "mandrake_sessions", "serve")
    try:
        with SyncClient(options.workspace, command=command, flags=flags) as client:
            result = client.request(options.method, params)
    except RequestFailed as error:
        hint(f"mandrake-sessions call: {error.message}")
        return UNUSABLE if error.kind in ("invalidParams", "methodNotFound") else FAILED
    except ClientError as error:
        hint(f"mandrake-sessions call: {error}")
        return FAILED
    say_line(json.dumps(result, indent=2 if sys.stdout.isatty() else None))
    return DONE


def _from_stdin() -> str:
    """Raises InvalidValue, BadSetting."""
    check_stdin("without -, the params are {}")
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise BadSetting("JSON", f"stdin is not UTF-8: {error.reason}") from None


def _params(text: str) -> dict[str, Any]:
    """Raises BadSetting."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSetting("JSON", f"not valid JSON: {error}; {_WANTED}") from None
    if not isinstance(found, dict):
        raise BadSetting("JSON", _WANTED)
    return found
