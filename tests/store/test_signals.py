"""Ctrl-C in the moment in which SQLite calls a function of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import signal, sys
from mandrake_sessions.manager import SessionManager

def press(frame, event, _):
    if event == "call" and frame.f_code.co_name == "_casefold":
        sys.setprofile(None)
        signal.raise_signal(signal.SIGINT)

with SessionManager(sys.argv[1]) as manager:
    session = manager.create_session(title="long " * 20_000)
    sys.setprofile(press)
    try:
        WORK
    except KeyboardInterrupt:
        print("ended")
    assert manager.get_session(session.id).title == "long " * 20_000
    assert manager.update_session(session.id, title="after").title == "after"
"""


@pytest.mark.parametrize(
    "work", ["manager.update_session(session.id, title='none')", "manager.list_sessions(query='shorter')"]
)
def test_it_ends_the_work_as_elsewhere(tmp_path: Path, work: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM.replace("WORK", work), tmp_path / "db.sqlite"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr, ran.returncode) == ("ended\n", "", 0)
