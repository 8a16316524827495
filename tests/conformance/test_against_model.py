"""Random sequences of operations: a manager gives what the model gives, before and after it was opened again, and those
who only listen end up with the same. Servers are compared in ``tests/model``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import backends
from conformance.backends import Backend
from mandrake_sessions.store.sql import texts
from model.checking import Comparison
from model.operations import BEGINNING, Burst, sequences
from model.profile import examples, patient
from model.targets import Follower, ManagerTarget

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


@examples(70)
@given(before=sequences(60), after=sequences(60))
def test_the_manager_does_what_the_model_does(kind: type[Backend], before: list[Burst], after: list[Burst]) -> None:
    """Answers, errors and all reads are the model's; also after the store was closed and opened again."""
    with backends.new(kind) as backend:
        with comparison(backend) as (compared, _):
            for burst in before:
                compared.run(*burst)
            compared.compare_everything()
        with backend.manager(quick=True) as manager:
            compared.target = ManagerTarget(manager)
            compared.compare_everything()
            for burst in after:
                compared.run(*burst)
            compared.compare_everything()


@examples(70)
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
                narrow = Follower()
                for params in target.replay(0, join=join, **{name: getattr(entity_id, "value", entity_id)}):
                    narrow.apply(params)
                within = {"session_id": session.rounds, "response_id": [each], "turn_id": []}[name]
                turns = [other for one in within for other in one.turns] or [turn]
                only = {getattr(t.fields["id"], "value", t.fields["id"]) for t in turns}
                compared.compare_follower(narrow, only)
