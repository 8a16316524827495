"""Messages in the words of the wire and of the command line, in place of Python's."""

from __future__ import annotations

import logging
import shlex
from typing import Any

from mandrake_sessions.errors import InvalidValue, SessionsError, Words
from mandrake_sessions.protocol.names import camel

_OPERATIONS = {"get_session": "session/get", "fork_session": "session/fork"}
_FLAGS = {"db_path": "--database"}
# They name the store, since a command that names none may work on another.
_COMMANDS = {
    "migrate": "mandrake-sessions migrate --database {}",
    "repair": "mandrake-sessions doctor --fix --database {}",
    "salvage": "mandrake-sessions backup --salvage --database {} COPY",
    "restore": "mandrake-sessions restore --database {} BACKUP",
}


class WireWords(Words):
    """What clients and people read."""

    mend = "`mandrake-sessions doctor --fix`"
    store = "--workspace or --database"
    again = "send it again"

    def field(self, name: str) -> str:
        return camel(name)

    def operation(self, name: str) -> str:
        return _OPERATIONS[name]

    def setting(self, name: str) -> str:
        return _FLAGS.get(name, f"--{name.replace('_', '-')}")

    def to_bring_in(self, file: str) -> str:
        command = shlex.join(["mandrake-sessions", "import", file])
        return f"If it is the original Mandrake's, `{command}` then brings in what is in it, and leaves it as it is"

    def maintenance(self, function: str, file: str) -> str:
        return _COMMANDS[function].format(shlex.quote(file))


WIRE_WORDS = WireWords()


def in_wire_words(error: BaseException, words: Words = WIRE_WORDS) -> str:
    """The message of an error, for a client or on a terminal: fields as on the wire, settings as flags. ``words``:
    those of another reader."""
    return error.worded(words) if isinstance(error, SessionsError) else str(error)


def reason_in_wire_words(error: InvalidValue) -> str:
    """What is wrong with a value, in the same words, without its field."""
    return error.reason_in(WIRE_WORDS)


def log_in_wire_words() -> None:
    """From now on, errors in the log of this process are in the words of the wire: its readers set flags, too."""
    made = logging.getLogRecordFactory()

    def make(*given: Any, **named: Any) -> logging.LogRecord:
        record = made(*given, **named)
        if isinstance(record.args, tuple):
            record.args = tuple(in_wire_words(arg) if isinstance(arg, SessionsError) else arg for arg in record.args)
        return record

    logging.setLogRecordFactory(make)
