"""The recorder: a process that reads what passes between a client and an agent, and stores it.

    python -m mandrake_sessions.acp.recorder_process OPTIONS

Stdin has the frames of ``frames.py``, stderr is the client's log. OPTIONS is a JSON object: the flags that say which
store is meant, ``proxy``, the id of the proxy's process, ``program``, what the agent is called until it says so itself,
and ``agent``, a descriptor of its process, where the system has such.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal, Protocol

from mandrake_sessions.acp.client_log import ClientLog
from mandrake_sessions.acp.frames import AGENT, CLIENT, ENDED, LOST, Frame, Frames
from mandrake_sessions.acp.lines import MAX_BYTES, Lines
from mandrake_sessions.acp.spool import MUCH_BYTES, Spool
from mandrake_sessions.errors import SessionsError
from mandrake_sessions.logs import start_logging
from mandrake_sessions.protocol.words import in_wire_words
from mandrake_sessions.settings import BadSetting, Settings, given_settings
from mandrake_sessions.transport.descriptors import let_go

logger = logging.getLogger(__name__)

_PIECE_BYTES: Final = 1024 * 1024
# The thread that reads has to come between two lines of the one that understands them, or what passes waits in the
# proxy: much sooner than Python's own 5 ms.
_SWITCH_SECONDS: Final = 0.0005
# A client may wait for the end of stderr. After the last byte it is kept so long, or until the proxy is gone.
_LOG_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.05
# Much that waits so long after the last byte is told of.
_TELL_SECONDS: Final = 2.0
# Under a flood, so many times as long as it works it waits.
_PAUSE: Final = 3.0
# An agent whose proxy was killed learns it from the end of its stdin. One that does not end by that gets a SIGTERM.
_ORPHAN_SECONDS: Final = 2.0
# After the end, a store that cannot be written is waited for so long.
_STORING_SECONDS: Final = 30.0


class Understands(Protocol):
    """What says what messages mean: ``conversation.Conversation``."""

    def take(self, direction: Literal["client", "agent"], line: bytes, at: int) -> None: ...

    def lose(self, size: int) -> None: ...

    def end(self, at: int, how: str | None, *, is_clean: bool) -> None: ...


class Recording:
    """Takes the bytes of frames, to the end."""

    def __init__(self, conversation: Understands, say: Callable[[str], None]) -> None:
        self._conversation = conversation
        self._say = say
        self._frames = Frames()
        self._lines = {CLIENT: Lines(self._tell_long), AGENT: Lines(self._tell_long)}
        self._at = time.time_ns() // 1_000_000
        self._how: str | None = "the connection to the agent was cut off"
        self._is_clean = False
        self._has_failed = False

    def take(self, piece: bytes) -> None:
        for frame in self._frames.of(piece):
            self._at = frame.at
            self._take(frame)

    def end(self) -> None:
        """Nothing more comes."""
        for kind, lines in self._lines.items():
            if line := lines.rest():
                self._take_line(kind, line)
        self._safely(lambda: self._conversation.end(self._at, self._how, is_clean=self._is_clean))

    def _take(self, frame: Frame) -> None:
        if frame.kind in self._lines:
            for line in self._lines[frame.kind].of(frame.data):
                self._take_line(frame.kind, line)
        elif frame.kind == LOST:
            # What was begun has no end.
            for lines in self._lines.values():
                lines.rest()
            self._conversation.lose(int(frame.data))
        elif frame.kind == ENDED:
            self._how, self._is_clean = _ending(int(frame.data)), int(frame.data) == 0

    def _take_line(self, kind: bytes, line: bytes) -> None:
        direction: Literal["client", "agent"] = "client" if kind == CLIENT else "agent"
        self._safely(lambda: self._conversation.take(direction, line, self._at))

    def _safely(self, work: Callable[[], None]) -> None:
        """A fault of ours costs one message, and not those that follow."""
        try:
            work()
        except Exception as error:
            if not self._has_failed:
                self._has_failed = True
                logger.exception("a message of the conversation is not stored")
                # Its text may quote the conversation.
                self._say(f"a message is not stored, by a fault of this program ({type(error).__name__}); others are")

    def _tell_long(self) -> None:
        self._say(f"a message of more than {MAX_BYTES // 1024**2} MiB is not stored")


def _ending(code: int) -> str:
    """How the agent ended, by its exit code as a shell tells it."""
    if code > 128:
        with suppress(ValueError):
            return f"the agent was ended by {signal.Signals(code - 128).name}"
    return f"the agent ended with exit code {code}"


def main() -> None:
    """Run to the end of stdin."""
    given = json.loads(sys.argv[1])
    sys.setswitchinterval(_SWITCH_SECONDS)
    spool, is_done = Spool(), threading.Event()
    log = ClientLog()
    # It reads what passes before this process knows what that means.
    about = given.pop("proxy"), given.pop("agent", None)
    reader = threading.Thread(target=_read, args=(spool, is_done, log, *about))
    reader.start()
    try:
        is_stored = _is_recorded(spool, log, given)
    except Exception as error:
        # Its text may quote the conversation.
        log.say(f"nothing more is stored, by a fault of this program ({type(error).__name__})")
        log.settle()
        os._exit(1)
    log.settle()
    is_done.set()
    reader.join()
    sys.exit(0 if is_stored else 1)


def _is_recorded(spool: Spool, log: ClientLog, where: dict[str, str | None]) -> bool:
    """Record to the end; gives whether all is stored."""
    from mandrake_sessions.acp.conversation import Conversation
    from mandrake_sessions.acp.homes import Homes

    try:
        settings = Settings(**given_settings({}))
        start_logging(settings.log_level, settings.log_file, settings.log_max_bytes)
        homes = Homes(where["workspace"], where["database"], where["scope"], tell=log.say)
    except (BadSetting, SessionsError, OSError) as error:
        log.say(f"nothing is stored: {in_wire_words(error)}; the conversation itself goes on")
        while spool.take():
            pass
        return False
    recording = Recording(Conversation(homes.put, where["program"] or "acp"), log.say)
    while piece := spool.take():
        begun = time.monotonic()
        recording.take(piece)
        if spool.is_filling:
            # A flood: the client and the agent may need the processors, and what passes is kept meanwhile.
            time.sleep(_PAUSE * (time.monotonic() - begun))
    recording.end()
    return homes.end(_STORING_SECONDS)


def _read(spool: Spool, is_done: threading.Event, log: ClientLog, proxy: int, agent: int | None) -> None:
    """Take everything from stdin at once, so that the proxy keeps nothing."""
    while piece := os.read(0, _PIECE_BYTES):
        spool.put(piece)
    spool.end()
    ended = time.monotonic()
    is_told = False
    while os.getppid() == proxy and time.monotonic() < ended + _LOG_SECONDS:
        if not is_told and time.monotonic() > ended + _TELL_SECONDS and spool.waiting > MUCH_BYTES:
            is_told = True
            log.say(
                f"{spool.waiting / 1024**2:.0f} MiB of the conversation are not stored yet; that goes on after the "
                "agent has ended"
            )
        # An agent that is alive has lost its proxy, which the system may tell us a moment later.
        if is_done.wait(_LOOK_SECONDS) and (agent is None or _has_ended(agent, 0)):
            return
        time.sleep(_LOOK_SECONDS)
    # A client that waits for the end of our stderr does not wait for us.
    let_go(2)
    if agent is not None and os.getppid() != proxy:
        _end_orphan(agent)


def _end_orphan(agent: int) -> None:
    """End an agent that outlives a proxy that was killed."""
    if sys.platform == "linux" and not _has_ended(agent, _ORPHAN_SECONDS):
        with suppress(OSError):
            signal.pidfd_send_signal(agent, signal.SIGTERM)


def _has_ended(agent: int, seconds: float) -> bool:
    return bool(select.select([agent], [], [], seconds)[0])


if __name__ == "__main__":
    main()
