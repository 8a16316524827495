"""The command ``mandrake-sessions completion SHELL``, and what a shell asks while somebody types."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mandrake_sessions.commands import COMMANDS, module_of
from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.shared import DONE, say_text, told
from mandrake_sessions.commands.titles import short_id, title_of
from mandrake_sessions.quoting import one_line

if TYPE_CHECKING:
    from mandrake_sessions.commands.looking import Looking
    from mandrake_sessions.model import SessionOfStore

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
# Of a title, which may be as long as a request.
_TITLE_CHARACTERS: Final = 80


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
        if action.dest in _COMPLETED:
            action.completer = _COMPLETED[action.dest]  # type: ignore[attr-defined]
        inner._add_action(action)


def _sessions(prefix: str, parsed_args: Namespace, **_: Any) -> dict[str, str]:
    """The beginnings of the ids of the sessions of the list, each with its title; for a word that is begun, also the
    titles that begin so, each with the id."""
    from mandrake_sessions.commands.looking import listed

    found: dict[str, str] = {}
    with suppress(Exception), _looking(parsed_args) as looking:
        for session in listed(looking, _SESSIONS, archived=parsed_args.archived):
            found[short_id(session)] = one_line(title_of(session))
        if prefix.strip():
            word = max(prefix.split(), key=len)
            begun = listed(looking, _SESSIONS, archived=parsed_args.archived, query=word)
            found |= _titles([session for session in begun if title_of(session).startswith(prefix)])
    return found


def _titles(sessions: list[SessionOfStore]) -> dict[str, str]:
    """Those that name one session, as far as they fit on a line."""
    titles = [one_line(title_of(session))[:_TITLE_CHARACTERS].rstrip() for session in sessions]
    return {
        title: short_id(session)
        for title, session in zip(titles, sessions, strict=True)
        if titles.count(title) == 1 and not title.startswith(("-", "@"))
    }


def _agents(parsed_args: Namespace, **_: Any) -> list[str]:
    """The programs whose sessions there are."""
    from mandrake_sessions.commands.looking import agents_of

    found: list[str] = []
    with suppress(Exception), _looking(parsed_args) as looking:
        found += sorted(one_line(agent) for agent in agents_of(looking))
    return found


def _looking(parsed_args: Namespace) -> Looking:
    """Where the words that were typed so far look."""
    from mandrake_sessions.commands.looking import Looking

    usual = {"workspace": None, "database": None, "scope": None, "all": False, "busy_timeout": None, "command": ""}
    return Looking(Namespace(**(usual | vars(parsed_args))))


# What completes the values of arguments, by their names.
_COMPLETED: Final = {"session": _sessions, "sessions": _sessions, "agent": _agents}
