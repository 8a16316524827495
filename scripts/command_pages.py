"""docs/cli.md: the commands, as each declares itself."""

from __future__ import annotations

import argparse

from mandrake_sessions.cli import exit_codes_of
from mandrake_sessions.commands import COMMANDS, module_of
from mandrake_sessions.commands.arguments import Parser

CLI_FILE = "docs/cli.md"
_HEAD = """\
# The command line

<!-- Generated from server/mandrake_sessions/commands by `make docs`. -->

Reading commands look in the store of the workspace and, in your own store, at the sessions that are about this
workspace; with `--all` in every store that you have used, with `--scope` in one of the two. Where nothing is found, one
line says how many `--all` would find.

`SESSION` is an id or its beginning, another program's name for the session (`externalId`), its place in `list`
(`@last`, `@2`), or a part of its title. Where it may mean several, the command lists them. `--agent`, and `--cwd` and
`--since` where a command has them, narrow what it means: `show @last --agent codex` shows the last session of `codex`.
Only a whole id means its session whatever they say.

With `--json` a command prints JSON, in ASCII, under the names of [the protocol](protocol.md): one object, or a list as
one object a line. Where nothing is found it prints nothing, and the line that says so stands on stderr. On a terminal,
long output goes through `$PAGER`, and JSON does not; `NO_COLOR` ends colors. Control characters in what was said are
printed as text, and so is what the encoding of stdout does not have. Only `export` writes documents as they are: in
UTF-8, whatever the locale is. Arguments that are texts are UTF-8 in every locale too.

SIGTERM and SIGHUP end a command as Ctrl-C does, which leaves nothing half-done; the exit code is 143 or 129 then.
"""
# What all commands that look have, and those that work on one store.
_EVERYWHERE = {"--help", "--workspace", "--database", "--scope", "--busy-timeout"}


def command_page() -> str:
    """The page."""
    flags = "| flag of most commands | |\n|---|---|\n" + "".join(
        _row(action) for action in _parser("list")._actions if _is_everywhere(action) and "--help" not in _flags(action)
    )
    return "\n".join([_HEAD, flags, *map(_section, COMMANDS)])


def _parser(name: str) -> Parser:
    parser = Parser(prog=f"mandrake-sessions {name}")
    module_of(name).declare(parser)
    return parser


def _section(name: str) -> str:
    command = module_of(name)
    parser = _parser(name)
    rows = [
        _row(action) for action in parser._actions if action.help != argparse.SUPPRESS and not _is_everywhere(action)
    ]
    table = "\n| argument | |\n|---|---|\n" + "".join(rows) if rows and name != "serve" else ""
    more = "\n[Settings](settings.md) has its flags.\n" if name == "serve" else ""
    codes = "; ".join(f"{code}: {means}" for code, means in exit_codes_of(command).items())
    usage = parser.format_usage().removeprefix("usage: ").strip()
    return (
        f"## {name}\n\n`{usage}`\n\n{command.DESCRIPTION}\n{table}{more}\nExit codes: {codes}.\n\n"
        f"```\n{command.EXAMPLE}\n```\n"
    )


def _row(action: argparse.Action) -> str:
    named = ", ".join(f"`{flag}`" for flag in action.option_strings) or f"`{action.metavar}`"
    value = f" {action.metavar}" if action.option_strings and action.metavar else ""
    choices = (
        "" if action.choices is None or action.metavar else f"{', '.join(f'`{choice}`' for choice in action.choices)}: "
    )
    text = (action.help or "").replace("|", "\\|")
    return f"| {named}{value} | {choices}{text} |\n"


def _flags(action: argparse.Action) -> set[str]:
    return set(action.option_strings)


def _is_everywhere(action: argparse.Action) -> bool:
    return bool(_flags(action) & _EVERYWHERE)
