"""The command ``mandrake-sessions completion SHELL``, and what a shell asks while somebody types."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mandrake_sessions.commands import COMMANDS, module_of
from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.shared import DONE, say_text, told
from mandrake_sessions.quoting import one_line

DESCRIPTION = (
    "Print what a shell needs to complete commands, flags and sessions. bash and zsh take it with eval, in ~/.bashrc, "
    "or in ~/.zshrc after compinit, if that is there; fish from a file in ~/.config/fish/completions."
)
EXAMPLE = 'eval "$(mandrake-sessions completion bash)"'
_PROGRAM = "mandrake-sessions"
# A ~/.zshrc need not have begun zsh's completion, and compdef is a part of that.
_BEGIN_ZSH = "(( ${+functions[compdef]} )) || { autoload -Uz compinit && compinit -i }\n"
# So many sessions are offered.
_SESSIONS = 30
# The arguments that name a session.
_OF_SESSIONS = ("session", "sessions")


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SHELL")
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")


def run(options: Namespace) -> int:
    """0: it printed it."""
    return told(options, lambda: _print(options.shell))


def _print(shell: str) -> int:
    from argcomplete.shell_integration import shellcode

    script = shellcode([_PROGRAM], shell=shell)
    if shell == "zsh":
        # The first line says what it is for, where it is a file of $fpath.
        head, _, rest = script.partition("\n")
        script = f"{head}\n{_BEGIN_ZSH}{rest}"
    say_text(script)
    return DONE


def complete(make: Callable[[str, Any], ArgumentParser]) -> None:
    """Answer the shell, which asks with variables of its environment, and end the process. ``make``: the parser of a
    command, from its name and module."""
    import argcomplete

    words = os.environ.get("COMP_LINE", "").split()
    parser = ArgumentParser(prog=_PROGRAM)
    parsers = parser.add_subparsers()
    for name, does in COMMANDS.items():
        inner = parsers.add_parser(name, help=does, add_help=name not in words)
        if name in words:
            _declare(inner, make(name, module_of(name)))
    argcomplete.autocomplete(parser, always_complete_options=False)


def _declare(inner: ArgumentParser, command: ArgumentParser) -> None:
    """Give a parser the arguments of a command, with what completes them."""
    inner.set_defaults(**command._defaults)
    for action in command._actions:
        if action.dest in _OF_SESSIONS:
            action.completer = _sessions  # type: ignore[attr-defined]
        inner._add_action(action)


def _sessions(parsed_args: Namespace, **_: Any) -> dict[str, str]:
    """The beginnings of the ids of the sessions of the list, each with its title."""
    from mandrake_sessions.commands.looking import Looking, listed
    from mandrake_sessions.commands.titles import short_id, title_of

    usual = {"workspace": None, "database": None, "scope": None, "all": False, "busy_timeout": None, "command": ""}
    found: dict[str, str] = {}
    with suppress(Exception), Looking(Namespace(**(usual | vars(parsed_args)))) as looking:
        for session in listed(looking, _SESSIONS, archived=parsed_args.archived):
            found[short_id(session)] = one_line(title_of(session))
    return found
