"""``prune``: what is old goes, whoever watches hears of it, and nothing that somebody uses is touched."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from commands.running import age, content, fill, is_first_numbers, is_whole, run, state, store_of, titles, writing
from mandrake_sessions import SessionManager
from mandrake_sessions.maintenance import prune
from strict import Talk, connected, read_all

DAY = 86_400_000


@pytest.mark.parametrize(
    ("duration", "left"), [("90d", ["new"]), ("12w", ["new"]), ("2400h", ["new"]), ("101d", ["new", "old"])]
)
def test_older_sessions_are_deleted(workspace: Path, duration: str, left: list[str]) -> None:
    database = store_of(workspace)
    fill(database, "old", "new")
    age(database, "old", 100.5)
    run(workspace, "prune", "--older-than", duration)
    assert titles(database) == left


@pytest.mark.parametrize("duration", ["90", "00d", "-1d", "1y", "d", "1.5d", "", "90 d", "٣d"])
def test_an_invalid_duration_deletes_nothing(workspace: Path, duration: str) -> None:
    database = store_of(workspace)
    fill(database, "old")
    age(database, "old", 10_000)
    told = run(workspace, "prune", f"--older-than={duration}", code=2).err
    assert f"--older-than: {duration!r} is not a duration" in told
    assert told.startswith("usage: mandrake-sessions prune ")
    assert titles(database) == ["old"]


def test_no_time_at_all_deletes_nothing(workspace: Path) -> None:
    database = store_of(workspace)
    fill(database, "new")
    told = run(workspace, "prune", "--older-than", "0d", code=2).err
    assert "--older-than: '0d' would mean every session; the shortest duration is 1m (one minute)" in told
    assert titles(database) == ["new"]


def test_a_dry_run_lists_sizes_and_changes_nothing(workspace: Path) -> None:
    database = store_of(workspace)
    fill(database, "old\x1b[31m", "new", text=50_000)
    age(database, "old\x1b[31m", 100)
    before = state(database.parent)
    told = run(workspace, "prune", "--older-than", "90d", "--dry-run").out
    assert "\x1b" not in told
    assert "texts 50.0 kB" in told
    assert "1 session would be deleted" in told
    (listed,) = json.loads(run(workspace, "prune", "--older-than", "90d", "--dry-run", "--json").out)["sessions"]
    assert (listed["title"], listed["textsBytes"], listed["rawResponsesBytes"]) == ("old\x1b[31m", 50_001, 2)
    assert listed["totalBytes"] >= 100_000  # its pieces stand in the feed, too
    assert state(database.parent) == before


def test_archived_ones_alone(workspace: Path) -> None:
    database = store_of(workspace)
    ids = fill(database, "old", "archived")
    with SessionManager(database) as manager:
        manager.update_session(ids[1], archived=True)
    for title in ("old", "archived"):
        age(database, title, 100)
    run(workspace, "prune", "--older-than", "90d", "--archived")
    assert titles(database) == ["old"]


def test_streaming_and_recently_streamed_sessions_stay(workspace: Path) -> None:
    database = store_of(workspace)
    fill(database, "pieces")
    with connected(workspace) as client:
        streaming = Talk(client, title="streams")
        turn = streaming.turn(detached=True)
        client.turn_append(turn_id=turn, content="so far")
        client.session_create(title="new")
        age(database, "streams", 100)
        age(database, "pieces", 100, pieces=False)
        assert "No session is that old." in run(workspace, "prune", "--older-than", "90d").out
        assert client.turn_get(turn_id=turn).content == "so far"
    assert titles(database) == ["new", "pieces", "streams"]


def test_subscribers_hear_of_each_and_space_is_given_back(workspace: Path) -> None:
    database = store_of(workspace)
    old = fill(database, *(f"{n}" for n in range(60)), text=100_000)
    fill(database, "new")
    for n in range(60):
        age(database, f"{n}", 100)
    with connected(workspace) as client:
        changes = client.followed("session/subscribe")
        since = changes.begun["seq"]
        done = json.loads(run(workspace, "prune", "--older-than", "90d", "--json").out)
        assert [session["id"] for session in done["sessions"]] == old
        assert done["bytesBefore"] > 60 * 100_000 > 10 * done["bytesAfter"]
        told = read_all(changes, since + 60)
        assert [(one.kind, one.session_id) for one in told] == [("deleted", session) for session in old]
        assert [session.title for session in client.session_list().sessions] == ["new"]
    assert database.stat().st_size < 500_000
    assert is_whole(database)


def test_a_writer_goes_on(workspace: Path) -> None:
    database = store_of(workspace)
    fill(database, *(f"{n}" for n in range(30)), text=300_000)
    for n in range(30):
        age(database, f"{n}", 100)
    with writing(database) as writer:
        run(workspace, "prune", "--older-than", "90d")
        stored = writer.stored()
    assert titles(database) == ["written to"]
    written = content(database, writer.turn)
    assert is_first_numbers(written)
    assert written.count(" ") >= stored


def test_sessions_changed_since_the_listing_stay(workspace: Path) -> None:
    database = store_of(workspace)
    ids = fill(database, "old", "touched")
    for title in ("old", "touched"):
        age(database, title, 100)
    before = int(time.time() * 1000) - DAY
    with SessionManager(database) as manager:
        found = manager.untouched_sessions(before)
        assert [session.id for session in found] == ids
        manager.update_session(ids[1], description="still in use")
        done = prune(manager, str(database), found, before)
    assert [session.id for session in done.sessions] == ids[:1]
    assert titles(database) == ["touched"]


def test_no_store_is_made(workspace: Path) -> None:
    assert "there is no store" in run(workspace, "prune", "--older-than", "90d", code=1).err
    assert not store_of(workspace).exists()
