"""What the lanes of a connection share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mandrake_sessions.connection.answering import answer, as_seen_by, attempt
from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.opener import Opener
from mandrake_sessions.connection.other_stores import OtherStores
from mandrake_sessions.connection.reads import Answer
from mandrake_sessions.connection.subscriptions import ConnectionSubscriptions
from mandrake_sessions.errors import SessionsError, StoreError, WriteNeeded
from mandrake_sessions.model import Appended
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.transport.spool import Encoded, discard


class LaneContext:
    """``run``: carry out what can be carried out now, in all lanes."""

    def __init__(
        self,
        stores: OpenStores,
        subscriptions: ConnectionSubscriptions,
        opener: Opener,
        others: OtherStores,
        run: Callable[[], None],
    ) -> None:
        self.stores = stores
        self.subscriptions = subscriptions
        self.opener = opener
        self.others = others
        self.run = run
        # Whether a store itself has failed: its health is looked at before the answers leave.
        self.is_suspicious = False

    def answer(self, call: Call, outcome: Any) -> None:
        """Answer a call with its encoded answer, with the receipt of an append, or with an exception."""
        self.answer_each([call], [outcome])

    def answer_each(self, calls: list[Call], outcomes: list[Any]) -> None:
        """The same for as many calls as there are outcomes."""
        for call, outcome in zip(calls, outcomes, strict=False):
            try:
                if isinstance(outcome, Appended):
                    call.acknowledge(outcome)
                elif isinstance(outcome, BaseException):
                    self.is_suspicious = self.is_suspicious or isinstance(outcome, StoreError)
                    call.fail(outcome)
                else:
                    call.succeed_encoded(outcome)
            except Exception as error:
                # The calls behind this one still have to be answered.
                call.fail(error)

    def answer_unopened(self, call: Call, place: StorePlace) -> Encoded | Exception | None:
        """Open the store of a call (None), or answer from an empty one where it is not there: reads make nothing, nor
        does a write that cannot succeed."""
        try:
            if self.stores.is_there(place):
                self.opener.open(place)
                return None
            absent = self.stores.absent(place)
            beginning = self.subscriptions.prepare(absent)
            outcome = attempt(lambda: answer(call, absent, beginning))
            if not isinstance(outcome, Exception):
                beginning.begin()
        except SessionsError as error:
            return error
        except WriteNeeded:
            self.opener.open(place, make=True)
            return None
        return outcome

    def answer_reads(self, calls: list[Call], outcomes: list[Answer | Exception]) -> list[Call]:
        """Answer as many reads as there are outcomes, and begin the subscriptions that they made. Gives those that have
        to be read again."""
        again: list[Call] = []
        for call, outcome in zip(calls, outcomes, strict=False):
            if isinstance(outcome, Exception):
                self.answer(call, as_seen_by(call, outcome))
                continue
            try:
                beginning = outcome.beginning
                if beginning is not None and beginning.made is not None and not call.answered:
                    if not beginning.is_current:
                        # The positions of the file that it was read from mean nothing in the one that is there now.
                        discard(outcome.encoded)
                        again.append(call)
                        continue
                    beginning.begin()
                call.succeed_encoded(outcome.encoded)
            except Exception as error:
                self.answer(call, error)
        return again
