"""Random sequences of operations: a manager gives what the model gives, before and after it was opened again, as does a
server; and those who only listen end up with the same. ``tests/model`` compares several servers, and restarts them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import backends
from conformance.backends import Backend
from mandrake_sessions.store.sql import texts
from model.checking import Comparison
from model.operations import BEGINNING, Burst, sequences
from model.profile import examples, patient
from model.targets import Follower, ManagerTarget, WireTarget
from wire import Framing

pytestmark = [patient, pytest.mark.usefixtures("operations")]


@pytest.fixture(autouse=True)
def _short_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process pieces of text are copied together after a few, which takes a thousand otherwise."""
    monkeypatch.setattr(texts, "FOLD_PIECES", 3)


@contextmanager
def comparison(backend: Backend) -> Iterator[tuple[Comparison, ManagerTarget]]:
    """A manager of a new store with a first turn in it, beside the model of it."""
    with backend.manager(quick=True) as manager:
        target = ManagerTarget(manager)
        compared = Comparison(target)
        for operation in BEGINNING:
            compared.run(operation)
        yield compared, target


@examples(10)
@given(before=sequences(60), after=sequences(60))
def test_the_manager_does_what_the_model_does(kind: type[Backend], before: list[Burst], after: list[Burst]) -> None:
    """Answers, errors and all reads are the model's; also after the store was closed and opened again."""
    with backends.new(kind) as backend:
        with comparison(backend) as (compared, _):
            for burst in before:
                compared.run(*burst)
            compared.end_copies()
            compared.compare_everything()
        with backend.manager(quick=True) as manager:
            compared.target = ManagerTarget(manager)
            compared.compare_everything()
            for burst in after:
                compared.run(*burst)
            compared.compare_everything()


@examples(10)
@given(before=sequences(60), after=sequences(60), join=st.booleans())
def test_changes_make_what_is_read(kind: type[Backend], before: list[Burst], after: list[Burst], join: bool) -> None:
    """All changes from the beginning on, or those after a state that was read, give exactly what turn/get gives; so do
    those of one session, of one response and of one turn."""
    with backends.new(kind) as backend, comparison(backend) as (compared, target):
        for burst in before:
            compared.run(*burst)
        late, since = compared.follower(), compared.seq()
        for burst in after:
            compared.run(*burst)
        early = Follower()
        for params in target.replay(0, join=join):
            early.apply(params)
        compared.compare_follower(early)
        for params in target.replay(since, join=join):
            late.apply(params)
        compared.compare_follower(late)
        for session, each, turn in compared.model.turns():
            ids = [part["id"] for part in (session.fields, each.response, turn.fields)]
            for name, entity_id in zip(("session_id", "response_id", "turn_id"), ids, strict=True):
                known = getattr(entity_id, "value", entity_id)
                if known is None:
                    # A part of a fork, which nobody has read: no change tells its id.
                    continue
                narrow = Follower()
                for params in target.replay(0, join=join, **{name: known}):
                    narrow.apply(params)
                within = {"session_id": session.rounds, "response_id": [each], "turn_id": []}[name]
                turns = [other for one in within for other in one.turns] or [turn]
                only = {getattr(t.fields["id"], "value", t.fields["id"]) for t in turns}
                compared.compare_follower(narrow, only)


@examples(4, shrink=False)
@given(bursts=sequences(90, 30), framing=st.sampled_from(["lines", "headers"]))
def test_a_server_does_what_the_model_does(kind: type[Backend], bursts: list[Burst], framing: Framing) -> None:
    """Over pipes, with operations that are sent without waiting for answers; and its client hears of all of them."""
    with backends.new(kind) as backend, tempfile.TemporaryDirectory() as directory:
        workspace = Path(directory)
        (workspace / ".git").mkdir()
        with backend.serving(workspace, framing, "--durability", "normal") as wire:
            started = wire.request("turn/subscribe", includeRaw=True)
            compared = Comparison(WireTarget(wire))
            for burst in [*bursts, *([operation] for operation in BEGINNING)]:
                compared.run(*burst)
            compared.compare_everything()
            follower = Follower()
            for params in wire.notifications_until(compared.seq()):
                follower.apply(params)
            compared.compare_follower(follower)
            wire.request("turn/unsubscribe", subscriptionId=started["subscriptionId"])
