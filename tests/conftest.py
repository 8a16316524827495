"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mandrake_sessions import SessionManager
from strict import StrictSyncClient, connected
from wire import Framing, Wire, serving

# What runs the tests in the background may ignore some signals, and the programs that are tested would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in signal.valid_signals() - {getattr(signal, name, None) for name in ("SIGINT", "SIGPIPE", "SIGXFSZ")}:
    # Python itself ignores SIGPIPE and SIGXFSZ.
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

# Where the detector of secrets keeps its compiled rules: each test has a home of its own, and compiling takes seconds.
os.environ.setdefault("KF_RULE_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"mandrake-sessions-rules-{os.getuid()}"))


@pytest.fixture(autouse=True, scope="session")
def _no_home_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A server that a test starts without an environment of its own does not note its stores in the user's register."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANDRAKE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty workspace, which is its own git work tree, so that no store above it is found."""
    directory = tmp_path / "workspace"
    (directory / ".git").mkdir(parents=True)
    return directory


@pytest.fixture(params=["lines", "headers"])
def framing(request: pytest.FixtureRequest) -> Framing:
    """Both framings."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def wire(workspace: Path) -> Iterator[Wire]:
    """A server, by lines; at the end it must end well, with no message left unread."""
    with serving(workspace) as served:
        yield served


@pytest.fixture
def client(workspace: Path) -> Iterator[StrictSyncClient]:
    """The package's client of a server of its own; at the end everything must have been read."""
    with connected(workspace) as made:
        yield made


@pytest.fixture
def long_integers() -> Iterator[None]:
    """This process reads and writes integers of any length, as they come from the server: by itself Python stops at
    4,300 digits."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(before)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "store" / "db.sqlite"


@pytest.fixture
def manager(database: Path) -> Iterator[SessionManager]:
    with SessionManager(database) as opened:
        yield opened
