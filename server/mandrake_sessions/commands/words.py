"""Messages in the words of the command line: the arguments and flags of its commands."""

from __future__ import annotations

from mandrake_sessions.protocol.words import WireWords, in_wire_words

_ARGUMENTS = {
    "destination": "DEST",
    "source": "SRC",
    "database": "--database",
    "agent": "--agent",
    "timezone": "--timezone",
    "sources": "SOURCE",
    "to": "--to",
    "output": "--output",
}
_OPERATIONS = {"get_session": "mandrake-sessions show", "fork_session": "mandrake-sessions fork"}
_SWITCHES = {"replace": "--force", "as_is": "--as-is"}


class CommandWords(WireWords):
    """What people read on a terminal."""

    again = "run it again"

    def field(self, name: str) -> str:
        return _ARGUMENTS.get(name) or super().field(name)

    def operation(self, name: str) -> str:
        return _OPERATIONS[name]

    def switch(self, name: str) -> str:
        return _SWITCHES[name]


COMMAND_WORDS = CommandWords()


def in_command_words(error: BaseException) -> str:
    """The message of an error for somebody who uses the command line."""
    return in_wire_words(error, COMMAND_WORDS)
