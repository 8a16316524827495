"""The command line."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Any, NoReturn

from mandrake_sessions.logs import start_logging
from mandrake_sessions.protocol.words import log_in_wire_words
from mandrake_sessions.quoting import nearest_name, one_line, shorten
from mandrake_sessions.settings import BadSetting, Settings, flag_of, given_settings, setting_fields
from mandrake_sessions.transport.standard_streams import claim_standard_streams, open_standard_streams
from mandrake_sessions.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; gives its exit code."""
    open_standard_streams()
    parser, commands = _parser()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given and sys.stdin.isatty():
        given.append("--help")
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help", "--version")):
        given.insert(0, "serve")
    if not given[0].startswith("-") and given[0] not in commands:
        parser.error(f"unknown command {shorten(given[0])}{_meant(given[0], commands)}; --help lists the commands")
    try:
        # Not parse_args: its error about unknown flags has the usage of the whole program instead of the command's.
        options, unknown = parser.parse_known_args(given)
    except OSError as error:
        return _unwritten(error)
    command: argparse.ArgumentParser = options.parser
    if unknown:
        flag = next((word for word in unknown if word.startswith("-")), "").partition("=")[0]
        flags = re.findall(r"--[\w-]+", command.format_help())
        named = next((word for word in unknown if word in commands), None)
        hint = _meant(flag, flags) if named is None else f"; a command comes first: {parser.prog} {named}"
        command.error(f"unknown arguments: {' '.join(unknown)}{hint}")
    try:
        return int(options.run(options))
    except BadSetting as error:
        command.error(str(error))
    except MemoryError:
        sys.stderr.write("mandrake-sessions: there is no memory for this program; raise the limit (ulimit -v)\n")
        return os.EX_OSERR if hasattr(os, "EX_OSERR") else 1
    except KeyboardInterrupt:
        return 130


# What a shell reports of a program that SIGPIPE ended.
_NOBODY_READS = 141


def _meant(word: str, known: Collection[str]) -> str:
    """The known word that somebody may have misspelled, as a part of a message; empty if none is like it."""
    similar = nearest_name(word, known, cutoff=0.6)
    return "" if similar is None else f"; did you mean {similar}?"


def _unwritten(error: OSError) -> int:
    """The exit code where stdout did not take the text of ``--help`` or ``--version``."""
    # What the buffer still holds must not cause a second error at the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return _NOBODY_READS
    sys.stderr.write(f"mandrake-sessions: cannot write to stdout: {error.strerror}\n")
    return 1


class _Parser(argparse.ArgumentParser):
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


def _parser() -> tuple[argparse.ArgumentParser, Collection[str]]:
    parser = _Parser(
        prog="mandrake-sessions",
        usage="%(prog)s [COMMAND] [OPTIONS]",
        description="One durable, live store of agent conversations per workspace: JSON-RPC on stdin and stdout.",
        epilog="Without a command it serves, unless stdin is a terminal: "
        "printf '%s\\n' '{…}' | mandrake-sessions is a complete program.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", prog=parser.prog)
    serve = commands.add_parser(
        "serve", usage=_usage(), help="serve the client on stdin and stdout", description=_SERVE
    )
    _add_settings(serve)
    _add_transports(serve)
    serve.set_defaults(run=_serve, parser=serve)
    demo = commands.add_parser(
        "demo", usage=_usage(), help="watch the store while an agent streams into it", description=_DEMO
    )
    demo.add_argument("--workspace", metavar="PATH", default=".", help="the directory that the agent reads")
    demo.set_defaults(run=_demo, parser=demo)
    for add in (_add_export, _add_doctor, _add_backup, _add_restore, _add_migrate, _add_prune):
        add(commands)
    return parser, commands.choices


_SERVE = "Serve one client on stdin and stdout: JSON-RPC 2.0, by lines or with LSP's headers, as the client does."
_DEMO = "An agent without a language model reads a directory and streams what it finds. Another process draws it, live."


_DOCTOR = (
    "Check everything about a store, and print what is wrong. "
    "Exit code 0: no problem (warnings do not count), 1: problems are left, 2: the store cannot be checked."
)
_BACKUP = "Copy a store, as it is at one moment, to one verified file. Servers may write meanwhile."
_RESTORE = (
    "Verify a backup and make a copy of it the store, while servers run. The previous file is kept beside the store."
)
_MIGRATE = (
    "Bring a store to the schema of this program, after a backup. The next use of the store does the same. "
    "With --check, exit code 0: the schema is current, 1: migrations are pending, 2: the store cannot be checked."
)
_EXPORT = (
    "Write a session as one document, of any length: Markdown for people, JSON lines without any loss, or an ATIF "
    "trajectory. Secrets and the names of home directories are replaced, but in JSON lines only with --redact."
)
_PRUNE = "Delete sessions that nobody has changed or streamed to for a long time, and return their space to the disk."


def _usage(*needed: str) -> str:
    """One line: argparse's own lists every flag, and an error repeats it."""
    return " ".join(("%(prog)s", *needed, "[OPTIONS]"))


def _add_command(
    commands: Any, name: str, help_text: str, description: str, *, needed: str = ""
) -> argparse.ArgumentParser:
    """Add a command about one store. The module of its name in ``commands/`` carries it out. ``needed``: the arguments
    that must be there."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, usage=_usage(*needed.split()), help=help_text, description=description
    )
    parser.add_argument("--workspace", metavar="PATH", help="the workspace's directory")
    parser.add_argument("--database", metavar="PATH", help="the file of the workspace's store")
    parser.add_argument(
        "--scope", choices=("workspace", "system"), default="workspace", help="system: the user's own store"
    )
    parser.add_argument("--busy-timeout", metavar="SECONDS", help="how long to wait for another process's lock")
    parser.set_defaults(run=_command, command=name, parser=parser)
    return parser


def _add_export(commands: Any) -> None:
    export = _add_command(commands, "export", "write a session as a document", _EXPORT, needed="SESSION")
    export.add_argument(
        "session", metavar="SESSION", help="its id, the beginning of its id, or another program's name for it"
    )
    export.add_argument("--agent", metavar="AGENT", help="the program whose name for the session SESSION is")
    export.add_argument(
        "--format", choices=("markdown", "jsonl", "atif"), default="markdown", help="(default: markdown)"
    )
    export.add_argument("--output", metavar="FILE", help="write to a file, in place of what it holds (default: stdout)")
    export.add_argument(
        "--redact", action=argparse.BooleanOptionalAction, help="replace secrets, or leave everything as it is"
    )


def _add_doctor(commands: Any) -> None:
    doctor = _add_command(commands, "doctor", "check a store, and mend it", _DOCTOR)
    doctor.add_argument("--fix", action="store_true", help="mend what is safe to mend, after a backup")
    doctor.add_argument("--json", action="store_true", help="report for a program")


def _add_backup(commands: Any) -> None:
    backup = _add_command(commands, "backup", "copy a store while it is in use", _BACKUP, needed="DEST")
    backup.add_argument("destination", metavar="DEST", help="a file, or a directory for a file named after the time")
    backup.add_argument("--force", action="store_true", help="replace DEST if it exists")
    faulty = backup.add_mutually_exclusive_group()
    faulty.add_argument("--as-is", action="store_true", help="copy a store with faults too; list them, and exit with 1")
    faulty.add_argument("--salvage", action="store_true", help="copy the rows that can be read of a damaged store")


def _add_restore(commands: Any) -> None:
    restore = _add_command(commands, "restore", "make a backup the store again", _RESTORE, needed="SRC")
    restore.add_argument("source", metavar="SRC", help="a backup")


def _add_migrate(commands: Any) -> None:
    migrate = _add_command(commands, "migrate", "bring a store to the schema of this program", _MIGRATE)
    migrate.add_argument("--check", action="store_true", help="only list pending migrations; write nothing")


def _add_prune(commands: Any) -> None:
    prune = _add_command(commands, "prune", "delete old sessions", _PRUNE, needed="--older-than DURATION")
    prune.add_argument("--older-than", metavar="DURATION", required=True, help="such as 30m, 12h, 90d or 6w")
    prune.add_argument("--archived", action="store_true", help="only sessions that are archived")
    prune.add_argument("--dry-run", action="store_true", help="list the sessions with their sizes; delete nothing")
    prune.add_argument("--yes", action="store_true", help="do not ask, not even on a terminal")
    prune.add_argument("--json", action="store_true", help="report for a program")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    for setting in setting_fields():
        word = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
        default = "" if setting.default is None else f" (default: {word})"
        parser.add_argument(
            flag_of(setting.name),
            metavar=setting.metadata["metavar"],
            nargs="?" if setting.metadata["alone"] else None,
            const=setting.metadata["alone"],
            help=f"{setting.metadata['help']}{default}",
        )


def _add_transports(serve: argparse.ArgumentParser) -> None:
    """Flags that LSP names. The libraries of some editors add them."""
    serve.add_argument("--stdio", action="store_true", help="the only transport; some editors pass this flag")
    serve.add_argument(
        "--clientProcessId",
        metavar="N",
        type=_process_id,
        help="end when this process is gone; some editors pass this flag",
    )
    for flag in _TRANSPORTS:
        serve.add_argument(flag, nargs="?", action=_OtherTransport, help=argparse.SUPPRESS)


_PROCESS_ID_DIGITS = 10
_TRANSPORTS = ("--pipe", "--socket", "--port", "--node-ipc")


class _OtherTransport(argparse.Action):
    """An error that names the only transport of this server."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        parser.error(f"{self.option_strings[0]}: this server speaks on stdin and stdout only; start it with --stdio")


def _process_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _PROCESS_ID_DIGITS and 0 < int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"{shorten(text)!r} is not the id of a process")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    given = given_settings({setting.name: getattr(options, setting.name) for setting in setting_fields()})
    settings = Settings(**given)
    try:
        start_logging(settings.log_level, settings.log_file, settings.log_max_bytes)
        log_in_wire_words()
    except OSError as error:
        raise BadSetting("--log-file", f"{settings.log_file}: {error.strerror}") from None
    # Converting is quadratic, so the environment must not lift Python's limit. Longer integers are never converted.
    sys.set_int_max_str_digits(sys.int_info.default_max_str_digits)
    stdin, stdout = claim_standard_streams()
    from mandrake_sessions.connection.server import serve

    try:
        return serve(settings, frozenset(given), stdin, stdout, options.clientProcessId)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        # What is half made says more about it as it is collected.
        sys.unraisablehook = lambda _: None
        sys.stderr.write(f"mandrake-sessions serve: {error.strerror}; raise the limit of open files (ulimit -n)\n")
        return os.EX_OSERR if hasattr(os, "EX_OSERR") else 1


def _demo(options: argparse.Namespace) -> int:
    from mandrake_sessions.demo import run_demo

    return run_demo(options.workspace)


def _command(options: argparse.Namespace) -> int:
    return int(import_module(f"mandrake_sessions.commands.{options.command}").run(options))


if __name__ == "__main__":
    sys.exit(main())
