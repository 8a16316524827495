"""What lies below a directory: paths of every system, as they were given."""

from __future__ import annotations

import time

import pytest

from wire import Wire

BELOW_A = ["/a/../b", "/a/b/", "/a/b/./c", "/a/b/c"]
ADA = "C:\\Users\\ada\\x"
# A directory, and the sessions that are found by it, by their ``cwd``.
FOUND = {
    "/": BELOW_A, "/a": BELOW_A, "/b": [], "/a/b": BELOW_A[1:], "/a/b//": BELOW_A[1:],
    "C:\\": [ADA, "C:\\Usersx"], "C:\\Users": [ADA], "C:\\Users\\": [ADA], "c:\\Users": [], ADA: [ADA],
    "C:/": ["C:/Users/bob"], "C:/Users": ["C:/Users/bob"], "C:/Users/": ["C:/Users/bob"],
    "\\\\host": ["\\\\host\\share"], "\\\\host\\share\\": ["\\\\host\\share"], "\\\\h": [],
}  # fmt: skip


@pytest.fixture
def filled(wire: Wire) -> Wire:
    """A server, with a session for each directory, in each of which there is something to be found and counted."""
    for cwd in sorted({cwd for found in FOUND.values() for cwd in found}):
        session = wire.request("session/create", cwd=cwd)["id"]
        response = wire.request("round/create", sessionId=session, content="lemon")["response"]["id"]
        wire.request("turn/create", responseId=response, content="-", outputTokens=1, status="completed")
    while wire.request("session/search", query="lemon")["pending"]:
        time.sleep(0.02)
    return wire


def test_it_is_found_by_each_method_that_takes_a_directory(filled: Wire) -> None:
    for cwd, expected in FOUND.items():
        sessions = filled.request("session/list", cwd=cwd)["sessions"]
        assert sorted(session["cwd"] for session in sessions) == expected, cwd
        hits = filled.request("session/search", query="lemon", cwd=cwd)["hits"]
        assert sorted(hit["session"]["cwd"] for hit in hits) == expected, cwd
        groups = filled.request("session/usage", cwd=cwd, groupBy="cwd")["groups"]
        assert [group["key"] for group in groups] == expected, cwd
        assert filled.request("session/usage", cwd=cwd)["turns"] == len(expected), cwd
