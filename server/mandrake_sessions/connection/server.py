"""A server: one client on two file descriptors, from the first byte to an orderly end."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any, Protocol

from mandrake_sessions.connection.call import ReplyPath
from mandrake_sessions.connection.caretaker import Caretaker
from mandrake_sessions.connection.collector import CycleCollector
from mandrake_sessions.connection.conditions import Conditions
from mandrake_sessions.connection.dispatcher import Dispatcher
from mandrake_sessions.connection.ending import OUTPUT_FAILED, Ending, EndingSignals
from mandrake_sessions.connection.health_monitor import HealthMonitor
from mandrake_sessions.connection.inspections import Inspections
from mandrake_sessions.connection.intake import Intake
from mandrake_sessions.connection.language import LSP_METHODS, LanguageClient
from mandrake_sessions.connection.metrics import Metrics
from mandrake_sessions.connection.parents import Parents
from mandrake_sessions.connection.registrar import Registrar
from mandrake_sessions.connection.routing import CANCEL, Router
from mandrake_sessions.connection.runners import Runners
from mandrake_sessions.connection.service import ServerService
from mandrake_sessions.connection.subscriptions import ConnectionSubscriptions
from mandrake_sessions.connection.trace import Trace
from mandrake_sessions.handlers.context import ServiceContext
from mandrake_sessions.logs import start_logging
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.protocol.methods import METHODS
from mandrake_sessions.settings import Settings
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.transport.channel import Channel
from mandrake_sessions.transport.framing import Frame, Framer
from mandrake_sessions.transport.memory import share_heap
from mandrake_sessions.version import __version__

logger = logging.getLogger(__name__)

# Seconds of decoding before waiting calls are carried out.
INTAKE_SECONDS = 0.01
# Seconds for which a burst is only read, before the server carries out what it has read of it.
BURST_SECONDS = 0.02


class Server:
    """One connection and its parts. ``run`` is its whole life. It listens to its channel."""

    def __init__(
        self, settings: Settings, given: frozenset[str], stdin: int, stdout: int, parent: int | None = None
    ) -> None:
        self.settings = settings
        self.stores = OpenStores(settings)
        self._given = given
        self._loop = asyncio.get_running_loop()
        channel = Channel(stdin, stdout, settings.max_message_bytes, self)
        self._outbound, self._reader = channel.outbound, channel.reader
        metrics = Metrics((*METHODS, *LSP_METHODS, CANCEL))
        self.trace = Trace(self._outbound)
        runners = Runners(self.stores, lambda: self._dispatcher.run())
        self._subscriptions = ConnectionSubscriptions(self._outbound, runners)
        conditions = Conditions(self.stores, runners)
        self._monitor = HealthMonitor(self.stores, conditions, Inspections(self.stores, runners), self._tell)
        self._registrar = Registrar(self.stores)
        self._dispatcher = Dispatcher(
            self.stores, self._subscriptions, runners, self._outbound, self._monitor, self._registrar, self._idle
        )
        self._caretaker = Caretaker(
            self.stores,
            self._subscriptions,
            runners,
            self._outbound,
            self._monitor,
            self._dispatcher,
            self._registrar,
        )
        self._language = LanguageClient(self, given, self._outbound, self._take_in)
        service = ServiceContext(ServerService(self.stores, conditions, self._monitor, metrics))
        router = Router(service, self._dispatcher, self._language)
        replies = ReplyPath(self._outbound, metrics, self.trace)
        self._intake = Intake(self._reader, replies, router.route, router.respond, self._may_go_on)
        self._intake.max_message_bytes = settings.max_message_bytes
        self._taking_in: asyncio.Handle | None = None
        self._subscriptions.on_caught_up = self._dispatcher.run
        self._parents = Parents(lambda process_id: self.end(0, why=f"the parent process {process_id} is gone"))
        if parent is not None:
            self.watch_parent(parent)
        self._collector = CycleCollector(lambda: self._intake.is_empty and self._dispatcher.has_answered)
        self._ending = Ending(channel, self._dispatcher, self._subscriptions)

    async def run(self) -> int:
        """Serve until the end; gives the exit code. All is flushed and closed when it returns."""
        logger.info("mandrake-sessions %s begins: process %d, in %s", __version__, os.getpid(), _directory())
        self._loop.set_exception_handler(_log_uncaught)
        EndingSignals(self.end).handle()
        self._collector.begin(self._loop)
        self._reader.start()
        self._caretaker.begin()
        await self._ending.wait()
        # The client has been told everything that it is told.
        _close(self._subscriptions)
        await self._caretaker.fill_search_at_end(lambda: self._ending.is_patient)
        for part in (self._monitor, self._dispatcher, self._language, self._registrar, self.stores):
            _close(part)
        exit_code = self._ending.exit_code if self._outbound.failure is None else OUTPUT_FAILED
        logger.info("ended with code %d", exit_code)
        return exit_code

    def end(self, exit_code: int = 0, *, patient: bool = False, why: str = "a signal") -> None:
        """Finish what was received, then end: see ``Ending``."""
        self._caretaker.end()
        self._ending.begin(exit_code, patient=patient, why=why)

    def apply(self, settings: Settings) -> None:
        """Take settings that the client has given; stores that are open already keep theirs. Raises OSError."""
        self.settings = settings
        self.stores.apply(settings)
        self._reader.set_max_message_bytes(settings.max_message_bytes)
        self._intake.max_message_bytes = settings.max_message_bytes
        if not {"log_level", "log_file", "log_max_bytes"} <= self._given:
            start_logging(settings.log_level, settings.log_file, settings.log_max_bytes)

    def watch_parent(self, process_id: int) -> None:
        """End when the process that started this one is gone."""
        self._parents.watch(process_id)

    def close_stores(self, places: list[StorePlace]) -> None:
        """The client has removed these folders: their subscriptions end and their stores close, after the calls that
        came before."""
        self._caretaker.close_unused(places)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message of the language server."""
        self._outbound.send(message)
        self._outbound.flush()

    def on_framing(self, framer: Framer) -> None:
        logger.info("the client speaks JSON-RPC by %s", framer.name)
        self._intake.is_by_lines = framer.name == "lines"

    def on_frames(self, frames: list[Frame]) -> None:
        self._intake.add(frames)
        if self._reader.has_more:
            # Read all of a burst before carrying it out: at its end may be a request about the server itself.
            self._intake.work_urgent()
            self._outbound.flush()
            self._loop.call_later(BURST_SECONDS, self._take_in)
        else:
            self._take_in()

    def on_input_end(self) -> None:
        if not self._ending.has_begun:
            self.end(patient=True, why="the input has ended")

    def on_drained(self) -> None:
        """The client reads again."""
        self._reader.pause(self._ending.has_begun)
        self._dispatcher.run()

    def on_output_end(self) -> None:
        self._ending.output_ended(lambda exit_code, why: self.end(exit_code, why=why))

    def _tell(self, message: dict[str, Any]) -> None:
        """Send a notification that no request asked for. Before the client's first message the framing is unknown, and
        nothing can be sent."""
        if self._outbound.framer is not None:
            self._outbound.send(message)

    def _take_in(self) -> None:
        """Decode one slice of what was read, carry out one slice of what waits."""
        self._intake.work(INTAKE_SECONDS)
        if not self._intake.is_empty and self._may_go_on() and self._taking_in is None:
            self._taking_in = self._loop.call_soon(self._take_in_more)
        self._dispatcher.run()

    def _may_go_on(self) -> bool:
        return not self._language.is_full

    def _take_in_more(self) -> None:
        self._taking_in = None
        self._take_in()

    def _idle(self) -> None:
        """All that was received is answered."""
        if self._ending.has_begun and self._intake.is_empty and not self._language.is_asked:
            self._ending.finish()


class _Part(Protocol):
    def close(self) -> None: ...


def _close(part: _Part) -> None:
    try:
        part.close()
    except Exception:
        # All is answered, and what is stored needs no orderly end.
        logger.exception("a part of the server could not be closed")


def _directory() -> str:
    try:
        return str(Path.cwd())
    except OSError as error:
        return f"no directory: {error.strerror}"


def _log_uncaught(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Unlike asyncio's handler it logs no arguments, which hold what the client sent."""
    logger.error("the event loop went on after an error that nobody caught", exc_info=context.get("exception"))


def serve(settings: Settings, given: frozenset[str], stdin: int, stdout: int, parent: int | None = None) -> int:
    """Serve the client on two file descriptors; gives the exit code. ``given``: settings that no client may change;
    ``parent``: a process whose end is ours. Raises OSError where this process may not open the few files that it needs.
    """
    share_heap()
    with asyncio.Runner() as runner:
        # An event loop needs files of its own, and may not get them.
        runner.get_loop()
        return runner.run(_serve(settings, given, stdin, stdout, parent))


async def _serve(settings: Settings, given: frozenset[str], stdin: int, stdout: int, parent: int | None) -> int:
    return await Server(settings, given, stdin, stdout, parent).run()
