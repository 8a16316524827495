"""A server: one client on two file descriptors, from the first byte to an orderly end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from mandrake_sessions.connection.call import Call, ReplyPath
from mandrake_sessions.connection.dispatcher import Dispatcher
from mandrake_sessions.connection.health import HealthMonitor
from mandrake_sessions.connection.intake import Intake
from mandrake_sessions.connection.language import LSP_METHODS, LanguageClient
from mandrake_sessions.connection.metrics import Metrics
from mandrake_sessions.connection.parents import Parents
from mandrake_sessions.connection.service import ServerService
from mandrake_sessions.connection.subscriptions import ConnectionSubscriptions
from mandrake_sessions.connection.trace import Trace
from mandrake_sessions.handlers import carry_out
from mandrake_sessions.handlers.context import ServiceContext
from mandrake_sessions.logs import start_logging
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.protocol.converter import unstructure
from mandrake_sessions.protocol.errors import InvalidParams, method_not_found, out_of_turn
from mandrake_sessions.protocol.methods import METHODS, Access
from mandrake_sessions.protocol.stores import own_params
from mandrake_sessions.settings import Settings
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.transport.framing import Frame, Framer
from mandrake_sessions.transport.outbound import Outbound
from mandrake_sessions.transport.reader import Reader
from mandrake_sessions.version import __version__

logger = logging.getLogger(__name__)

CANCEL = "$/cancelRequest"
# From the wish to end to the end, in seconds: for what waits, then for a client that reads slowly.
FINISH_SECONDS = 1.5
ABANDON_SECONDS = 0.5
FLUSH_SECONDS = 0.7
# How long a write that began before is waited for, so that it can be answered; it is interrupted before.
WRITE_SECONDS = 2.6
LAST_SECONDS = 2.8
SENT_LOOK = 0.01
# The exit code where answers could not be written (sysexits.h: an error of input or output).
OUTPUT_FAILED = 74
SHORTEST_LEASE_LOOK = 0.05
HEALTH_SECONDS = 1.0
# So long messages are decoded before those that wait are carried out.
INTAKE_SECONDS = 0.01
# So long a burst is only read, before what was read of it is carried out meanwhile.
BURST_SECONDS = 0.02
# What a terminal sends that is closed; there is none on Windows.
_HANGUP: Final = getattr(signal, "SIGHUP", None)


class Server:
    """Everything that belongs to one connection. ``run`` is its whole life."""

    def __init__(
        self, settings: Settings, given: frozenset[str], stdin: int, stdout: int, parent: int | None = None
    ) -> None:
        self.settings = settings
        self.stores = OpenStores(settings)
        self._given = given
        self._loop = asyncio.get_running_loop()
        self._outbound = Outbound(stdout, self._from_thread(self._drained), self._from_thread(self._client_gone))
        metrics = Metrics((*METHODS, *LSP_METHODS, CANCEL))
        self.trace = Trace(self._outbound)
        self._exit = ReplyPath(self._outbound, metrics, self.trace)
        self._subscriptions = ConnectionSubscriptions(self._outbound)
        self._monitor = HealthMonitor(self.stores, self._tell)
        self._dispatcher = Dispatcher(self.stores, self._subscriptions, self._outbound, self._monitor, self._idle)
        self._reader = Reader(
            stdin,
            settings.max_message_bytes,
            self._set_framer,
            self._receive,
            self._input_ended,
        )
        self._intake = Intake(self._reader, self._exit, self._route, self._respond, self._may_go_on)
        self._intake.max_message_bytes = settings.max_message_bytes
        self._taking_in: asyncio.Handle | None = None
        self._subscriptions.on_caught_up = self._dispatcher.run
        self._language = LanguageClient(self, given, self._outbound, self._take_in)
        self._parents = Parents(lambda process_id: self.end(0, why=f"the parent process {process_id} is gone"))
        if parent is not None:
            self.watch_parent(parent)
        self._service = ServiceContext(ServerService(self.stores, self._monitor, metrics))
        self._finished = self._loop.create_future()
        self._ending = False
        self._patient = False
        self._last_answer = 0.0
        self._exit_code = 0
        self._ending_signals = [signal.SIGTERM, signal.SIGINT, *([] if _HANGUP is None else [_HANGUP])]

    async def run(self) -> int:
        """Serve until the end; gives the exit code. All is flushed and closed when it returns."""
        logger.info("mandrake-sessions %s begins: process %d, in %s", __version__, os.getpid(), _directory())
        self._loop.set_exception_handler(_log_uncaught)
        self._handle_signals()
        self._reader.start()
        self._look_for_orphans()
        self._keep_house()
        self._look_after_stores()
        await self._finished
        await self._sent()
        self._subscriptions.close()
        self._monitor.close()
        self._dispatcher.close()
        self._language.close()
        self.stores.close()
        if self._outbound.failure is not None:
            self._exit_code = OUTPUT_FAILED
        logger.info("ended with code %d", self._exit_code)
        return self._exit_code

    def end(self, exit_code: int = 0, *, patient: bool = False, why: str = "a signal") -> None:
        """Finish what was received, then end. ``patient``: for as long as that, and the reading of it, takes."""
        logger.info("ending with code %d: %s", exit_code, why)
        self._exit_code = exit_code
        self._patient = patient
        self._reader.pause(True)
        self._ending = True
        if not patient:
            self._last_answer = self._loop.time() + WRITE_SECONDS
            self._loop.call_later(FINISH_SECONDS, self._out_of_time)
            _end_anyway(LAST_SECONDS, exit_code)
        self._dispatcher.run()

    async def _sent(self) -> None:
        """Wait until the client has read what it was sent, and all that is committed: a patient server for as long as
        that takes, though a signal may change its mind."""
        deadline = self._loop.time() + FLUSH_SECONDS
        self._subscriptions.pump(look=True)
        self._outbound.flush()
        while not self._outbound.is_empty or self._subscriptions.are_behind:
            if not self._patient and self._loop.time() >= deadline:
                return
            await asyncio.sleep(SENT_LOOK if self._outbound.is_full or not self._outbound.is_empty else 0)
            self._subscriptions.pump()
            self._outbound.flush()
            if self._patient:
                deadline = self._loop.time() + FLUSH_SECONDS

    def apply(self, settings: Settings) -> None:
        """Take settings that the client has given; stores that are open already keep theirs."""
        self.settings = settings
        self.stores.apply(settings)
        self._reader.set_max_message_bytes(settings.max_message_bytes)
        self._intake.max_message_bytes = settings.max_message_bytes
        if not {"log_level", "log_file", "log_max_bytes"} <= self._given:
            start_logging(settings.log_level, settings.log_file, settings.log_max_bytes)

    def watch_parent(self, process_id: int) -> None:
        """End when the process that started us is gone."""
        self._parents.watch(process_id)

    def leave_stores(self, places: list[StorePlace]) -> None:
        """Workspace folders went: their subscriptions end and their stores close, once what came before is done."""
        self._dispatcher.leave(places)

    def send(self, message: dict[str, Any]) -> None:
        """A message of the language server's own."""
        self._outbound.send(message)
        self._outbound.flush()

    def _tell(self, message: dict[str, Any]) -> None:
        """A notification that nobody asked for: not before the client has said anything, since how it wants to be
        spoken to is not known until then."""
        if self._outbound.framer is not None:
            self._outbound.send(message)

    def _from_thread(self, work: Callable[..., None]) -> Callable[..., None]:
        """The same work, on the loop's thread; nothing once the loop has ended."""

        def call(*arguments: Any) -> None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(partial(work, *arguments))

        return call

    def _set_framer(self, framer: Framer) -> None:
        self._outbound.framer = framer
        logger.info("the client speaks JSON-RPC by %s", framer.name)

    def _receive(self, frames: list[Frame]) -> None:
        self._intake.add(frames)
        if self._reader.has_more:
            # All of a burst is read before it is carried out: something about the server itself may stand at its end.
            self._intake.work_urgent()
            self._outbound.flush()
            self._loop.call_later(BURST_SECONDS, self._take_in)
        else:
            self._take_in()

    def _take_in(self) -> None:
        """Take one slice of what was read, carry out one slice of what waits."""
        self._intake.work(INTAKE_SECONDS)
        if not self._intake.is_empty and self._may_go_on() and self._taking_in is None:
            self._taking_in = self._loop.call_soon(self._take_in_more)
        self._dispatcher.run()

    def _may_go_on(self) -> bool:
        return not self._language.is_full

    def _take_in_more(self) -> None:
        self._taking_in = None
        self._take_in()

    def _respond(self, message: dict[str, Any]) -> None:
        """The client answers a request of the language server's; whatever is wrong with that has no answer."""
        try:
            self._language.response(message)
        except Exception:
            logger.exception("a response could not be handled")

    def _route(self, call: Call, params: Any) -> None:
        """To whoever carries it out. What this raises is the answer to the call."""
        name, method = call.name, call.method
        if self._language.is_shut_down and call.is_request:
            call.fail(out_of_turn("the server was shut down; only exit is left"))
        elif method is None:
            self._other(name, call, params)
        elif not isinstance(params, dict):
            call.fail(InvalidParams("", "must be an object"))
        elif method.access is Access.SERVICE:
            call.succeed(unstructure(carry_out(self._service, method, own_params(params, names_store=False))))
        else:
            self._dispatcher.submit(call)

    def _other(self, name: str, call: Call, params: Any) -> None:
        """A method that is not in our table: LSP's, or nobody's."""
        if name == CANCEL:
            self._dispatcher.cancel(params.get("id") if isinstance(params, dict) else None)
            call.succeed(None)
        elif self._language.knows(name):
            self._language.receive(name, call, params)
        elif call.is_request:
            call.fail(method_not_found(name, METHODS))
        else:
            logger.debug("ignored notification %s", name)
            call.succeed(None)

    def _drained(self) -> None:
        """The client reads again."""
        self._reader.pause(self._ending)
        self._dispatcher.run()

    def _idle(self) -> None:
        if not self._ending or self._finished.done():
            return
        behind = self._patient and self._subscriptions.are_behind
        if self._intake.is_empty and not self._language.is_asked and not behind:
            self._finished.set_result(None)

    def _input_ended(self) -> None:
        if not self._ending:
            self.end(patient=True, why="the input has ended")

    def _client_gone(self) -> None:
        """Nobody reads the answers any more; what has been received is still carried out."""
        if not self._ending:
            failed = self._outbound.failure is not None
            why = "its output cannot be written" if failed else "the client has closed its end"
            self.end(OUTPUT_FAILED if failed else self._exit_code, why=why)
        # What waited for the client to read waits no longer.
        self._dispatcher.run()

    def _out_of_time(self) -> None:
        """What still waits is told so, in slices."""
        self._loop.call_later(ABANDON_SECONDS, self._finish)
        self._dispatcher.abandon()

    def _finish(self) -> None:
        """The end of all patience, but for a write that is in flight: only its end tells whether it is stored."""
        if self._dispatcher.is_writing and self._loop.time() < self._last_answer:
            self._loop.call_later(SENT_LOOK, self._finish)
        elif not self._finished.done():
            self._finished.set_result(None)

    def _look_for_orphans(self) -> None:
        """Mark the turns of processes that are gone, twice within the time that is promised."""
        self._loop.call_later(max(self.settings.lease_seconds / 2, SHORTEST_LEASE_LOOK), self._look_for_orphans)
        self._dispatcher.interrupt_orphans()

    def _look_after_stores(self) -> None:
        """What happens to the files from outside is noticed, and told."""
        self._loop.call_later(HEALTH_SECONDS, self._look_after_stores)
        if self._ending:
            return
        self._dispatcher.look_after_files()
        self._monitor.look()
        self._monitor.look_through()
        self._outbound.flush()

    def _keep_house(self) -> None:
        """Idle work on the stores, a short step at a time."""

        def again(pause: float) -> None:
            self._loop.call_later(pause, self._keep_house)

        self._dispatcher.keep_house(again)

    def _handle_signals(self) -> None:
        if _HANGUP is not None and signal.getsignal(_HANGUP) is signal.SIG_IGN:
            # As under nohup: a terminal that is closed is to end nothing.
            self._ending_signals.remove(_HANGUP)
        for number in self._ending_signals:
            try:
                self._loop.add_signal_handler(number, self._signalled)
            except NotImplementedError:
                # Windows: the loop has no signal handlers, Python has.
                signal.signal(number, lambda *_: self._from_thread(self._signalled)())

    def _signalled(self) -> None:
        """End in order; a second signal ends at once, by the system's own hand, whatever the process is doing."""
        for number in self._ending_signals:
            with suppress(NotImplementedError):
                self._loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        self.end()


def _end_anyway(seconds: float, exit_code: int) -> None:
    """End the process after so long, even where a disk or a file system does not let go of one of its threads. What was
    acknowledged is stored by then, and SQLite recovers from any end."""
    timer = threading.Timer(seconds, os._exit, (exit_code,))
    timer.daemon = True
    timer.start()


def _directory() -> str:
    try:
        return str(Path.cwd())
    except OSError as error:
        return f"no directory: {error.strerror}"


def _log_uncaught(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's own habit is to log the arguments too, which are what the client said."""
    logger.error("the event loop went on after an error that nobody caught", exc_info=context.get("exception"))


def serve(settings: Settings, given: frozenset[str], stdin: int, stdout: int, parent: int | None = None) -> int:
    """Serve the client on two file descriptors; gives the exit code. ``given``: settings that no client may change;
    ``parent``: a process whose end is ours. Raises OSError where this process may not open the few files that it needs.
    """
    with asyncio.Runner() as runner:
        # An event loop needs files of its own, and may not get them.
        runner.get_loop()
        return runner.run(_serve(settings, given, stdin, stdout, parent))


async def _serve(settings: Settings, given: frozenset[str], stdin: int, stdout: int, parent: int | None) -> int:
    return await Server(settings, given, stdin, stdout, parent).run()
