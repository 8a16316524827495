"""The command ``mandrake-sessions demo``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from mandrake_sessions.commands.arguments import path, usage

DESCRIPTION = (
    "An agent without a language model reads a directory and streams what it finds. Another process draws it, live."
)
EXAMPLE = "mandrake-sessions demo --workspace ."


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage()
    parser.add_argument(
        "--workspace", metavar="PATH", type=path, default=".", help="the directory that the agent reads"
    )


def run(options: Namespace) -> int:
    """0: all went well. 1: something failed. 2: it could not begin."""
    from mandrake_sessions.demo import run_demo

    return run_demo(options.workspace)
