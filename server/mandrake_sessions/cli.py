"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from mandrake_sessions.connection.streams import claim_standard_streams
from mandrake_sessions.limits import MAX_INTEGER_DIGITS
from mandrake_sessions.logs import start_logging
from mandrake_sessions.settings import BadSetting, Settings, from_environment, parse_setting, setting_fields
from mandrake_sessions.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; gives its exit code."""
    parser = _parser()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given and sys.stdin is not None and sys.stdin.isatty():
        parser.print_help()
        return 0
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help", "--version")):
        given.insert(0, "serve")
    options = parser.parse_args(given)
    try:
        return int(options.run(options))
    except BadSetting as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mandrake-sessions",
        description="One durable, live store of agent conversations per workspace: JSON-RPC on stdin and stdout.",
        epilog="Without a command, and with stdin not a terminal, it serves: "
        "printf '%s\\n' '{…}' | mandrake-sessions is a complete program.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve the client on stdin and stdout", description=_SERVE)
    _add_settings(serve)
    serve.set_defaults(run=_serve)
    demo = commands.add_parser("demo", help="watch an agent's conversation being stored", description=_DEMO)
    demo.add_argument("--workspace", metavar="PATH", default=".", help="the directory that the agent looks at")
    demo.set_defaults(run=_demo)
    return parser


_SERVE = "Serve one client on stdin and stdout: JSON-RPC 2.0, by lines or with LSP's headers, whichever it speaks."
_DEMO = "An agent without a language model looks at a directory and streams what it finds; a watcher draws it, live."


def _add_settings(parser: argparse.ArgumentParser) -> None:
    for setting in setting_fields():
        default = "" if setting.default is None else f" (default: {setting.default})"
        parser.add_argument(
            "--" + setting.name.replace("_", "-"),
            metavar=setting.metadata["metavar"],
            nargs="?" if setting.metadata["alone"] else None,
            const=setting.metadata["alone"],
            help=f"{setting.metadata['help']}{default}",
        )


def _serve(options: argparse.Namespace) -> int:
    flags = {
        setting.name: parse_setting(setting.name, value, "--" + setting.name.replace("_", "-"))
        for setting in setting_fields()
        if (value := getattr(options, setting.name)) is not None
    }
    given: dict[str, Any] = {**from_environment(), **flags}
    settings = Settings(**given)
    try:
        start_logging(settings.log_level, settings.log_file, settings.log_max_bytes)
    except OSError as error:
        raise BadSetting(f"--log-file {settings.log_file}: {error.strerror}") from None
    # Integers of any size that a message can reasonably hold are stored and given back as they are.
    sys.set_int_max_str_digits(MAX_INTEGER_DIGITS)
    stdin, stdout = claim_standard_streams()
    from mandrake_sessions.connection.server import serve

    return serve(settings, frozenset(given), stdin, stdout)


def _demo(options: argparse.Namespace) -> int:
    from mandrake_sessions.demo import run_demo

    return run_demo(options.workspace)


if __name__ == "__main__":
    sys.exit(main())
