"""Every test here runs on every kind of store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.backends import BACKENDS, Backend
from mandrake_sessions import SessionManager
from model.operations import pool
from strict import StrictSyncClient
from wire import Wire


@pytest.fixture(params=BACKENDS, scope="session")
def kind(request: pytest.FixtureRequest) -> type[Backend]:
    """Each kind of store."""
    return BACKENDS[request.param]


@pytest.fixture
def backend(kind: type[Backend], tmp_path: Path) -> Iterator[Backend]:
    """A store of each kind."""
    made = kind(tmp_path)
    yield made
    made.remove()


@pytest.fixture
def manager(backend: Backend) -> Iterator[SessionManager]:
    with backend.manager() as opened:
        yield opened


@pytest.fixture
def response(manager: SessionManager) -> str:
    """A response, ready for turns."""
    return manager.create_round(manager.create_session(title="A talk").id, content="What is in here?").response.id


@pytest.fixture
def wire(backend: Backend, workspace: Path) -> Iterator[Wire]:
    """A server, by lines; at the end it must end well, with no message left unread."""
    with backend.serving(workspace) as served:
        yield served


@pytest.fixture
def client(backend: Backend, workspace: Path) -> Iterator[StrictSyncClient]:
    """The package's client of a server of its own; at the end everything must have been read."""
    with backend.connected(workspace) as made:
        yield made


@pytest.fixture(scope="session")
def operations() -> None:
    """Hypothesis draws the operations, which it does not do inside a test that draws."""
    pool()
