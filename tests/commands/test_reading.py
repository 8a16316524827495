"""The commands that read: where they look, which session a name means, and what they print."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from commands.running import TIMEOUT, Ended, names, run, run_program, store_of
from commands.test_terminal import on_a_terminal
from mandrake_sessions import SessionManager, files
from mandrake_sessions.model import TurnStatus
from mandrake_sessions.operations.indexing import fill_index
from mandrake_sessions.quoting import one_line
from wire import SERVER, Message, serving

ESCAPE = "\x1b]0;taken\x07\x1b[2J"
READING = [
    ["list"], ["show", "@last"], ["search", "badger"], ["usage"], ["usage", "--by", "day"], ["stores"], ["path"],
]  # fmt: skip


@pytest.fixture
def home(workspace: Path) -> Path:
    """The user's own store."""
    return workspace / "home" / ".mandrake" / "db.sqlite"


def talk(database: Path, title: str | None, answer: str = "Yes.", request: str = "Is it?", **session: Any) -> str:
    """A session with one round; gives its id."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with SessionManager(database) as manager:
        made = manager.create_session(title=title, **session)
        response = manager.create_round(made.id, content=request).response.id
        turn = manager.create_turn(response, model="m-1", input_tokens=1200, cost=0.25)
        manager.append_turn(turn.id, content=answer)
        manager.update_turn(turn.id, status=TurnStatus.COMPLETED)
    time.sleep(0.002)
    return made.id


def rows(ended: Ended) -> list[Message]:
    assert ended.out.isascii()
    return [json.loads(line) for line in ended.out.splitlines()]


def listed(workspace: Path, *flags: str) -> list[str]:
    return [row["title"] for row in rows(run(workspace, "list", "--json", *flags))]


def without_about(lines: list[str]) -> list[str]:
    """Candidates of an ambiguous name, without what tells one from another of the same title."""
    return [line.partition("  (")[0] for line in lines]


# ---- where they look


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_reading_makes_nothing(workspace: Path, command: list[str]) -> None:
    before = names(workspace)
    run(workspace, *command, code=None)
    assert names(workspace) == before


def test_the_workspace_and_what_the_user_has_of_it(workspace: Path, home: Path, tmp_path: Path) -> None:
    talk(store_of(workspace), "in the workspace")
    talk(home, "about the workspace", cwd=str(workspace / "below"))
    talk(home, "about another", cwd=str(tmp_path / "other"))
    talk(home, "about none")
    assert listed(workspace) == ["about the workspace", "in the workspace"]
    assert listed(workspace, "--scope", "workspace") == ["in the workspace"]
    assert listed(workspace, "--scope", "system") == ["about none", "about another", "about the workspace"]
    assert listed(workspace, "--all") == ["about none", "about another", "about the workspace", "in the workspace"]
    assert listed(workspace, "--cwd", str(tmp_path / "other")) == ["about another"]
    assert listed(workspace, "--cwd", "below") == ["about the workspace"]
    assert listed(workspace, "--database", str(store_of(workspace))) == ["in the workspace"]
    assert [len(rows(run(workspace, "search", "yes", "--json", *flags))) for flags in ([], ["--all"])] == [2, 4]
    assert [rows(run(workspace, "usage", "--json", *flags))[0]["turns"] for flags in ([], ["--all"])] == [2, 4]


def test_stores_of_other_workspaces_are_found_with_all(workspace: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / ".git").mkdir(parents=True)
    home = workspace / "home" / ".mandrake"
    with serving(other, environment={"MANDRAKE_HOME": str(home)}) as wire:
        session = wire.request("session/create", title="a badger of theirs")["id"]
        wire.request("store/list")
        time.sleep(0.3)
    told = run(workspace, "list")
    assert (told.out, told.err) == ("", "No conversation found here; --all finds 1.\n")
    assert listed(workspace, "--all") == ["a badger of theirs"]
    assert "another store: add --all" in run(workspace, "show", session, code=1).err
    assert "a badger of theirs" in run(workspace, "show", session, "--all").out
    (store,) = rows(run(workspace, "stores", "--json"))
    assert store["path"] == str(store_of(other))
    assert str(store_of(other)) in run(workspace, "stores").out
    told = run(workspace, "search", "badger")
    assert (told.out, told.err) == ("", "No text found here; --all finds 1.\n")


def test_a_store_that_cannot_be_opened_takes_nothing_from_the_other(workspace: Path, home: Path) -> None:
    talk(home, "kept", "a badger", cwd=str(workspace))
    store_of(workspace).parent.mkdir()
    store_of(workspace).write_bytes(b"no database at all" * 100)
    for command in (["list"], ["search", "badger"], ["usage"], ["show", "kept"]):
        ended = run(workspace, *command, code=1)
        assert f"warning: {store_of(workspace)}" in ended.err
        assert ended.out
    assert "Failed" in run(workspace, "list", "--scope", "workspace", code=1).err


def test_what_cannot_be_given_together(workspace: Path) -> None:
    for flags, complaint in (
        (["--all", "--scope", "system"], "--all: cannot be given beside --scope"),
        (["--all", "--database", "x"], "--all: cannot be given beside --database"),
        (["--since", "soon"], "--since: 'soon' is neither a duration"),
        (["--since", "2026-02-30"], "--since: '2026-02-30' is not a day"),
        (["--limit", "0"], "--limit: '0' is not a number from 1 on"),
        (["--state", "asleep"], "--state: invalid choice"),
    ):
        assert complaint in run(workspace, "list", *flags, code=2).err


# ---- names


def test_a_session_has_many_names(workspace: Path) -> None:
    database = store_of(workspace)
    first = talk(database, "A talk on badgers", external_id="x-1", agent="codex")
    second = talk(database, "A talk on otters", "Otters swim.")
    for name, wanted in (
        (second, second), (second[:13], second), (second.upper(), second), ("x-1", first), ("@last", second),
        ("@1", second), ("@2", first), ("OTTERS", second), ("badgers", first),
    ):  # fmt: skip
        (session,) = [row for row in rows(run(workspace, "show", name, "--json")) if row["type"] == "session"]
        assert session["id"] == wanted, name
    assert first in run(workspace, "show", "x-1", "--agent", "codex").out
    told = run(workspace, "show", "talk", code=1).err.splitlines()
    assert told[0].endswith("'talk' may mean one of these sessions; give the beginning of an id:")
    about = "active now, 1 round"
    badgers = f"  {first}  A talk on badgers  (codex, {about})"
    assert told[1:] == [f"  {second}  A talk on otters  ({about})", badgers]
    copy = run(workspace, "fork", "badgers", "--agent", "codex").out.strip()
    told = run(workspace, "show", "a talk on badgers", code=1).err.splitlines()
    assert sorted(told[1:]) == [badgers, f"  {copy}  A talk on badgers  (codex, {about}, fork of {first})"]
    run(workspace, "delete", copy)
    assert "no session '@3' among 2 here" in run(workspace, "show", "@3", code=1).err
    assert "no session 'whales' here; mandrake-sessions list" in run(workspace, "show", "whales", code=1).err


def test_a_whole_id_means_its_session_whatever_others_are_called(workspace: Path) -> None:
    database = store_of(workspace)
    victim = talk(database, "victim")
    other = talk(database, "other", external_id=victim, agent="codex")
    for flags in ([], ["--agent", "codex"]):
        run(workspace, "rename", victim.upper(), "renamed", *flags)
        assert listed(workspace, "--query", "renamed") == ["renamed"]
        run(workspace, "rename", other, "other")
    run(workspace, "delete", victim, "--yes")
    assert listed(workspace) == ["other"]
    with SessionManager(database) as manager:
        assert manager.find_session(victim).id == other


def test_a_name_that_fits_several_does_nothing(workspace: Path) -> None:
    database = store_of(workspace)
    victim = talk(database, "victim")
    part = victim[:20]
    called = talk(database, "called so", external_id=part, agent="codex")
    titled = talk(database, f"about {part}")
    told = run(workspace, "delete", part, "--yes", code=1).err.splitlines()
    assert without_about(told[1:]) == [f"  {called}  called so", f"  {victim}  victim"]
    run(workspace, "delete", part, "--agent", "codex", "--yes")
    told = run(workspace, "delete", part, "--yes", code=1).err.splitlines()
    assert without_about(told[1:]) == [f"  {victim}  victim", f"  {titled}  about {part}"]
    assert listed(workspace) == [f"about {part}", "victim"]


def test_an_empty_name_fits_nothing(workspace: Path) -> None:
    talk(store_of(workspace), "kept", external_id="")
    for name in ("", " ", "\n"):
        assert "SESSION: it is empty" in run(workspace, "delete", name, "--yes", code=2).err
    assert listed(workspace) == ["kept"]


def test_a_title_of_two_lines_is_named_as_it_is_shown(workspace: Path) -> None:
    session = talk(store_of(workspace), "two\nlines  of text")
    for name in ("two lines", "two\nlines", "TWO  lines of", "lines of text"):
        assert session in run(workspace, "show", name, "--json").out


def test_names_are_utf_8_whatever_the_locale_is(workspace: Path) -> None:
    session = talk(store_of(workspace), "né", external_id="é")
    bare = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for command in (["show", "né"], ["show", "é"], ["list", "--query", "né"]):
        done = run_program(workspace, *SERVER, *command, "--json", environment=bare)
        assert session in done.out, done
    run_program(workspace, *SERVER, "rename", "né", "né ü", environment=bare)
    assert listed(workspace) == ["né ü"]


# ---- what they print


def test_list(workspace: Path) -> None:
    database = store_of(workspace)
    first = talk(database, None, request="What of\notters?")
    second = talk(database, "A 中文 title", agent="codex")
    heading, *lines = run(workspace, "list").out.splitlines()
    assert heading.split() == ["ID", "ACTIVE", "STATE", "AGENT", "TITLE"]
    assert [line.split() for line in lines] == [
        ["@1", second[:13], "now", "idle", "codex", "A", "中文", "title"],
        ["@2", first[:13], "now", "idle", "What", "of", "otters?"],
    ]
    assert listed(workspace, "--agent", "codex") == listed(workspace, "--query", "中文") == ["A 中文 title"]
    assert listed(workspace, "--since", "1h", "--limit", "1") == listed(workspace, "-n", "1") == ["A 中文 title"]
    assert listed(workspace, "--state", "running") == listed(workspace, "--archived") == []


def test_show_redacts_nothing_and_says_it_in_each_format(workspace: Path) -> None:
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
    talk(store_of(workspace), "A talk", f"The key is {secret[:40]}, **bold**.")
    for form in ("text", "markdown", "html", "jsonl", "atif"):
        assert secret[:40] in run(workspace, "show", "@last", "--format", form).out
    assert run(workspace, "show", "@last").out == run(workspace, "show", "@last", "--format", "markdown").out
    run(workspace, "export", "@last", "--no-redact", "--output", "talk.html")
    page = run(workspace, "show", "@last", "--format", "html", LC_ALL="C", PYTHONIOENCODING="ascii").out
    assert page == (workspace / "talk.html").read_text(), "its policy names the style and the script by their hashes"
    text = run(workspace, "show", "@last", "--format", "text").out
    assert "bold." in text
    assert "**" not in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


IMAGE = base64.b64encode(bytes(range(256)) * 1000).decode()
SAID = [
    {"type": "text", "text": "What is on it?"},
    {"type": "image", "mimeType": "image/png", "data": IMAGE},
    {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": IMAGE}},
    {"type": "image_url", "image_url": {"url": f"data:image/webp;base64,{IMAGE}", "detail": "high"}},
    {"type": "input_image", "image_url": f"data:image/gif;base64,{IMAGE}"},
    {"type": "audio", "mimeType": "audio/wav", "data": IMAGE},
    {"type": "input_audio", "input_audio": {"data": f"data:audio/mp3;name=a;base64,{IMAGE}", "format": "mp3"}},
    {"type": "resource", "resource": {"uri": "file:///a.pdf", "mimeType": "application/pdf", "blob": IMAGE}},
    {"type": "content", "content": {"type": "image", "mimeType": "image/bmp", "data": IMAGE}},
    {"inlineData": {"mimeType": "image/heic", "data": IMAGE}},
    {"type": "image_generation_call", "status": "completed", "result": IMAGE},
    {"type": "text", "text": f"It is ![this](data:image/tiff;base64,{IMAGE}) one."},
]
SHORT = {
    "image/png", "image/jpeg", "image/webp", "image/gif", "audio/wav", "audio/mp3", "application/pdf", "image/bmp",
    "image/heic", "binary", "image/tiff",
}  # fmt: skip


@pytest.mark.parametrize("where", ["blocks", "arguments", "response", "content", "text"])
def test_a_file_in_base64_is_named_where_people_read(workspace: Path, where: str) -> None:
    with SessionManager(store_of(workspace)) as manager:
        blocks: Any = SAID if where == "blocks" else None
        made = manager.create_round(manager.create_session().id, content="?", blocks=blocks)
        fields: Any = {where: {"given": SAID} if where == "arguments" else SAID}
        if where == "text":
            fields = {"response": f"It is data:image/png;base64,{IMAGE}"}
        calls: Any = [] if where == "blocks" else [{"id": "1", **fields}]
        manager.create_turn(made.response.id, tool_calls=calls, status=TurnStatus.COMPLETED)
    for command, form in (
        (["show"], "text"), (["show"], "html"),
        (["export", "--no-redact"], "markdown"), (["export", "--redact"], "html"),
    ):  # fmt: skip
        out = html.unescape(re.sub("<[^>]*>", "", run(workspace, *command, "@last", "--format", form).out))
        assert {each for each in SHORT if f"[{each}, 256.0 kB]" in out} == (
            {"image/png"} if where == "text" else SHORT
        ), (command, form)
        assert where == "text" or ("What is on it?" in out and "file:///a.pdf" in out)
        assert max(len(word) for word in re.findall("[A-Za-z0-9+/=]+", out)) < 500
    for form in ("jsonl", "atif") if where == "blocks" else ():
        assert IMAGE in run(workspace, "show", "@last", "--format", form).out


def test_a_text_that_only_looks_like_base64_is_shown(workspace: Path) -> None:
    texts = ["word", "x" * 5000, "deadbeef" * 500, "data:text/plain;base64,aGk=", "data:image/png;base64,<b>"]
    for form in ("text", "markdown"):
        with SessionManager(store_of(workspace)) as manager:
            response = manager.create_round(manager.create_session().id, content="?").response.id
            call: Any = {"id": "1", "arguments": {"data": "word", "mimeType": "text/plain"}, "response": texts}
            manager.create_turn(response, tool_calls=[call], status=TurnStatus.COMPLETED)
        out = "".join(run(workspace, "show", "@last", "--format", form).out.split())
        assert [text for text in texts if text not in out.replace("▌", "")] == []


def test_a_request_keeps_its_lines_on_a_terminal(workspace: Path) -> None:
    request = "Fix these:\n1) a\n2) b\nerror: x\n   indented\n\n\n# <b> `c`\n```\n*d* &amp;"
    talk(store_of(workspace), "A talk", "One.\n\nTwo.\n\n- a\n- b\n\nThree.\n\n1. c\n\n   d\n2. e", request=request)
    made = run(workspace, "new").out.strip()
    with SessionManager(store_of(workspace)) as manager:
        manager.update_session(made, description=request)
    _, on_terminal = on_a_terminal(workspace, "show", "A talk", environment={"NO_COLOR": "1"})
    for shown in (on_terminal.replace("\r\n", "\n"), run(workspace, "show", "A talk", "--format", "text").out):
        quoted = "\n".join(f"▌ {line}".rstrip() for line in request.split("\n"))
        assert f"\n\n{quoted}\n\n" in shown
        assert "\n▌ One.\n▌\n▌ Two.\n▌\n▌  • a\n▌  • b\n▌\n▌ Three.\n▌\n▌  1 c\n▌\n▌    d\n▌\n▌  2 e\n" in shown
    assert f"\n\n{quoted}\n" in run(workspace, "show", made, "--format", "text").out


@pytest.mark.parametrize("columns", [2, 5, 20])
def test_a_table_loses_nothing_on_a_terminal(workspace: Path, columns: int) -> None:
    letters = [chr(ord("Α") + number) for number in range(columns)]  # noqa: RUF001
    rows = [[f"head{number}" for number in range(columns)], ["---"] * columns, [letter * 31 for letter in letters]]
    talk(store_of(workspace), "A talk", "\n".join(f"| {' | '.join(row)} |" for row in rows))
    for width in (40, 80):
        _, shown = on_a_terminal(workspace, "show", "A talk", environment={"NO_COLOR": "1"}, columns=width)
        assert max(map(len, shown.splitlines())) <= width
        # A cell is folded beside others.
        assert [shown.count(letter) for letter in letters] == [31] * columns
        assert "\N{HORIZONTAL ELLIPSIS}" not in shown


@pytest.mark.parametrize("size", [50, 400, 5000], ids=["short", "in sections", "too long to be laid out"])
def test_a_turn_of_any_length_is_shown_whole(workspace: Path, size: int) -> None:
    said = [[f"word{number}x{turn} of a **line** here" for number in range(size)] for turn in range(3)]
    with SessionManager(store_of(workspace)) as manager:
        made = manager.create_round(manager.create_session(title="A talk").id, content="Tell\nme")
        for lines in said:
            call: Any = {"id": "1", "method_name": "Read", "status": "completed", "response": lines[0]}
            text = "\n\n".join(lines)
            manager.create_turn(made.response.id, content=text, tool_calls=[call], status=TurnStatus.COMPLETED)
    _, shown = on_a_terminal(workspace, "show", "A talk", environment={"NO_COLOR": "1"}, columns=100)
    words = re.findall(r"word\d+x\d", shown)
    assert words == [word for turn in said for line in (*turn, turn[0]) for word in (line.partition(" ")[0],)]
    assert "as-typed" not in shown
    assert [shown.count(text) for text in ("Tell", "Answer", "Tool Read" if size < 5000 else "Read")] == [1, 1, 3]


def test_search_shows_where_the_words_are(workspace: Path) -> None:
    session = talk(store_of(workspace), "A talk", "One 🦡 badger\nand another badger")
    out = run(workspace, "search", "badger").out
    assert out == f"{session[:13]}  A talk  answer  now\n    One 🦡 badger\n    and another badger\n"
    code, shown = on_a_terminal(workspace, "search", "badger")
    assert code == 0
    assert shown.count("\x1b[1;33mbadger\x1b[0m") == 2
    (hit,) = rows(run(workspace, "search", "badger", "--json"))
    assert hit["session"]["id"] == session
    assert [len(rows(run(workspace, "search", "badger", "--json", "--role", role))) for role in ("user", "agent")] == [
        0, 1
    ]  # fmt: skip


def test_search_names_what_it_found_in_the_words_of_people(workspace: Path) -> None:
    session = talk(store_of(workspace), "One otter", "Two\n\n \notters", "Three otters")
    with SessionManager(store_of(workspace)) as manager:
        response = manager.history(session).rounds[0].response.id
        call: Any = {"id": "1", "arguments": {"of": "four otters"}, "response": "five otters"}
        manager.create_turn(response, tool_calls=[call], status=TurnStatus.COMPLETED)
    out = run(workspace, "search", "otter OR otters", "--json").out or run(workspace, "search", "otters", "--json").out
    assert {json.loads(line)["field"] for line in out.splitlines()} >= {"request", "content", "arguments", "response"}
    lines = run(workspace, "search", "otters").out.splitlines()
    assert {line.split("  ")[2] for line in lines if line.startswith(session[:13])} == {
        "request", "answer", "tool call", "tool result"
    }  # fmt: skip
    assert run(workspace, "search", "otter").out.startswith(f"{session[:13]}  One otter  title  now\n")
    assert "    Two\n    otters\n" in run(workspace, "search", "otters", "--role", "agent").out


def test_usage_has_a_row_for_each_currency(workspace: Path) -> None:
    database = store_of(workspace)
    talk(database, "one", agent="codex")
    with SessionManager(database) as manager:
        response = manager.create_round(manager.create_session(agent="b").id, content="?").response.id
        for currency in ("EUR", "USD"):
            manager.create_turn(response, cost=1.5, currency=currency, status=TurnStatus.COMPLETED)
    heading, *lines = run(workspace, "usage").out.splitlines()
    assert heading.split()[:3] == ["COST", "INPUT", "OUTPUT"]
    assert [line.split()[-9:][:3] for line in lines if "EUR" in line] == [["1.50", "EUR", "0"]]
    assert [line.split()[:3] for line in lines if "USD" in line] == [["1.75", "USD", "1,200"]]
    by_agent = run(workspace, "usage", "--by", "agent").out.splitlines()
    assert [line.split()[0] for line in by_agent] == ["AGENT", "b", "1.50", "codex"]
    assert run(workspace, "usage", "--since", "2020-01-01", "--until", "2020-01-02").out == ""
    assert "Mars/Olympus" in run(workspace, "usage", "--timezone", "Mars/Olympus", code=2).err


def test_path(workspace: Path, home: Path) -> None:
    assert run(workspace, "path").out == f"{store_of(workspace)}\n"
    assert run(workspace, "path", "--scope", "system").out == f"{home}\n"


# ---- terminals and pipes


def test_what_was_said_cannot_take_over_a_terminal(workspace: Path) -> None:
    talk(store_of(workspace), f"badger {ESCAPE}", f"badger {ESCAPE}", request=f"badger {ESCAPE}", agent=ESCAPE)
    for command in (["list"], ["show", "@last"], ["show", "@last", "--format", "markdown"], ["search", "badger"]):
        code, shown = on_a_terminal(workspace, *command, environment={"PAGER": "cat"})
        assert code == 0
        assert "\x1b]" not in shown
        assert "\x1b[2J" not in shown
        assert "␛" in shown or one_line("\x1b") in shown
    for command in (["list"], ["search", "badger"], ["usage", "--by", "agent"]):
        assert "\x1b" not in run(workspace, *command).out


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_list_is_as_wide_as_the_terminal(workspace: Path, width: int) -> None:
    talk(store_of(workspace), "A long title of a conversation on 中文 and badgers " * 3, agent="claude-code")
    _, shown = on_a_terminal(workspace, "list", environment={"COLUMNS": str(width), "NO_COLOR": "1"})
    assert "\x1b" not in shown
    for line in shown.splitlines():
        assert sum(2 if "一" <= character <= "鿿" else 1 for character in line) <= width
    assert "A long title" in shown


def test_colors_end_with_no_color(workspace: Path) -> None:
    talk(store_of(workspace), "A talk", "a badger")
    for command in (["list"], ["show", "@last"], ["search", "badger"]):
        shown = [
            on_a_terminal(workspace, *command, environment={"PAGER": "cat", **extra})[1]
            for extra in ({}, {"NO_COLOR": "1"})
        ]
        assert ["\x1b[" in text for text in shown] == [True, False]


def test_long_output_goes_through_the_pager(workspace: Path) -> None:
    talk(store_of(workspace), "A talk")
    _, shown = on_a_terminal(workspace, "show", "@last", environment={"PAGER": "sed s/talk/SHOWN/"})
    assert "A SHOWN" in shown
    code, _ = on_a_terminal(workspace, "show", "@last", environment={"PAGER": "true"})
    assert code == 0


@pytest.mark.parametrize(
    "command",
    [["list"], ["search", "badger"], ["show", "@last"], ["show", "@last", "--format", "text"],
     ["show", "@last", "--json"], ["usage"]],
)  # fmt: skip
def test_a_stdout_that_is_not_utf_8(workspace: Path, command: list[str]) -> None:
    talk(store_of(workspace), "中文 badger", "a badger é", agent="é")
    ended = run(workspace, *command, PYTHONIOENCODING="ascii")
    assert ended.out
    assert ended.out.isascii()


@pytest.mark.parametrize("form", ["markdown", "text"])
def test_what_turns_the_text_is_shown_as_text(workspace: Path, form: str) -> None:
    talk(store_of(workspace), "turned \u202e", "and \u2066 back \x1b[2J", "is é?")
    shown = run(workspace, "show", "@last", "--format", form).out
    for escape in ("\\u202e", "\\u2066", "␛[2J", "é"):
        assert escape in shown
    assert not set(shown) & set("\u202e\u2066\x1b")
    exported = run(workspace, "export", "@last", PYTHONIOENCODING="ascii").out
    assert "é" in exported


@pytest.mark.parametrize("form", ["jsonl", "atif"])
def test_json_is_ascii_and_means_the_same(workspace: Path, form: str) -> None:
    talk(store_of(workspace), "中文 🦡", "a badger é\u2028", agent="é")
    shown = run(workspace, "show", "@last", "--format", form).out
    exported = run(workspace, "export", "@last", "--format", form, "--no-redact").out
    assert shown.isascii()
    shown_parts, exported_parts = ([text] if form == "atif" else text.strip().split("\n") for text in (shown, exported))
    assert [*map(json.loads, shown_parts)] == [*map(json.loads, exported_parts)]


# ---- stores that cannot be read as usual


def read_only(workspace: Path, *arguments: str) -> Ended:
    """Run a command where the workspace is mounted so that it can only be read."""
    mounted = 'mount --bind . . && mount -o remount,bind,ro . && cd "$PWD" && exec "$@"'
    ended = run_program(workspace, "unshare", "-m", "sh", "-c", mounted, "sh", *SERVER, *arguments)
    if "mount" in ended.err.split(":")[0] or "unshare" in ended.err:
        pytest.skip("nothing can be mounted here")
    return ended


@pytest.mark.skipif(sys.platform != "linux", reason="mounts in a namespace of its own")
def test_a_file_system_that_can_only_be_read(workspace: Path) -> None:
    talk(store_of(workspace), "A talk", "a badger")
    told = read_only(workspace, "rename", "@1", "other")
    assert told.code == 1
    assert "its file system is mounted so that it can only be read. Mount it" in told.err
    assert "belongs to" not in told.err
    told = read_only(workspace, "search", "badger")
    assert (told.code, told.out) == (1, "")
    warning, *rest = told.err.splitlines()
    assert warning.endswith("may only be read here, so nobody puts into its search index what that lacks")
    assert rest == ["No text found in what could be read.", "1 turn could not be searched yet."]


def test_nothing_found_is_not_said_of_what_was_not_read(workspace: Path, home: Path) -> None:
    talk(home, "kept", "an otter", cwd=str(workspace))
    store_of(workspace).parent.mkdir()
    store_of(workspace).write_bytes(b"no database at all" * 100)
    for command, what in ((["list", "--query", "badger"], "conversation"), (["search", "badger"], "text")):
        said = run(workspace, *command, code=1).err.splitlines()
        assert said[1:] == [f"No {what} found in what could be read."]


def test_each_store_that_cannot_be_read_is_told_once(workspace: Path, tmp_path: Path) -> None:
    talk(store_of(workspace), "kept")
    other = tmp_path / "other"
    (other / ".git").mkdir(parents=True)
    run(other, "new", "x", MANDRAKE_HOME=str(workspace / "home" / ".mandrake"))
    store_of(other).write_bytes(b"no database at all" * 1000)
    assert len(run(workspace, "show", "kept", "--all", code=1).err.splitlines()) == 1


def test_a_directory_in_the_place_of_the_store(workspace: Path) -> None:
    store_of(workspace).mkdir(parents=True)
    for command in (["list"], ["new", "x"]):
        said = run(workspace, *command, code=1).err
        assert f"{store_of(workspace)} is a directory, where the store's file should be; move it away" in said


def test_a_store_without_content(workspace: Path) -> None:
    run(workspace, "new", "x")
    store_of(workspace).write_bytes(b"")
    assert f"warning: {store_of(workspace)} is empty, and no store" in run(workspace, "list", code=1).err
    an_hour_ago = time.time() - 3600
    os.utime(store_of(workspace), (an_hour_ago, an_hour_ago))
    for flags in ([], ["--all"]):
        assert f"warning: {store_of(workspace)} is empty, and no store" in run(workspace, "list", *flags, code=1).err
    assert run(workspace, "stores").out.splitlines()[1].split()[1:] == ["empty", str(store_of(workspace))]


def test_a_store_that_is_just_being_made(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is there before its content. Whoever looks at that moment waits for it."""
    monkeypatch.setattr(files, "BIRTH_SECONDS", TIMEOUT)
    store_of(workspace).parent.mkdir()
    store_of(workspace).touch()
    looks: list[bool] = []
    looking = threading.Thread(target=lambda: looks.append(files.stays_empty(str(store_of(workspace)))))
    looking.start()
    looking.join(0.1)
    assert looking.is_alive()
    talk(store_of(workspace), "kept")
    looking.join(TIMEOUT)
    assert looks == [False]


def test_a_path_that_is_too_long(workspace: Path) -> None:
    said = run(workspace, "list", "--database", "/tmp/" + "a" * 100_000, code=2).err
    assert said.endswith("the path is too long for this system\n")
    assert len(said) < 400


def test_a_user_without_a_home(workspace: Path) -> None:
    talk(store_of(workspace), "kept")
    assert "kept" in run(workspace, "list", MANDRAKE_HOME="", HOME="").out
    said = run(workspace, "list", "--scope", "system", code=2, MANDRAKE_HOME="", HOME="").err
    assert "HOME is ''" in said


def test_two_hyphens_that_nothing_follows(workspace: Path) -> None:
    session = talk(store_of(workspace), "kept")
    assert session[:13] in run(workspace, "list", "--").out
    assert session in run(workspace, "show", "--", "@1").out
    assert "unknown arguments: x" in run(workspace, "list", "--", "x", code=2).err


def test_what_is_found_fits_the_terminal(workspace: Path) -> None:
    talk(store_of(workspace), "A badger " * 20, "a badger", agent="codex")
    plain = {"NO_COLOR": "1", "COLUMNS": "60"}
    for command, question in ((["search", "badger"], ""), (["delete", "@1"], "[y/N]")):
        code, shown = on_a_terminal(
            workspace, *command, environment=plain, question=question, answer="n\n" * bool(question)
        )
        assert code == 0
        heading = next(line for line in shown.splitlines() if "A badger" in line)
        assert "…" in heading
        assert len(heading) <= 60


def test_a_thought_is_told_from_what_is_said(workspace: Path) -> None:
    with SessionManager(store_of(workspace)) as manager:
        response = manager.create_round(manager.create_session(title="t").id, content="Who?").response.id
        manager.create_turn(response, kind="thought", content="Hm.", status=TurnStatus.COMPLETED)
    shown = run(workspace, "show", "@last", "--format", "text").out
    assert re.search(r"Thought\s+▌ Hm\.", shown), shown


def test_snippets_fit_the_terminal(workspace: Path) -> None:
    with SessionManager(store_of(workspace)) as manager:
        response = manager.create_round(manager.create_session(title="t").id, content="Who?").response.id
        manager.create_turn(response, content="a badger and so on " * 20, status=TurnStatus.COMPLETED)
        fill_index(manager.store)
    _, shown = on_a_terminal(workspace, "search", "badger", environment={"COLUMNS": "40", "NO_COLOR": "1"})
    lines = shown.splitlines()
    assert len(lines) > 4
    assert max(map(len, lines)) <= 40
    assert all(line.startswith("    ") for line in lines[1:] if line)


def test_a_whole_title_is_found_among_many_that_have_it(workspace: Path) -> None:
    with SessionManager(store_of(workspace)) as manager:
        meant = manager.create_session(title="A talk").id
        for number in range(30):
            manager.create_session(title=f"A talk on {number}")
    assert meant in run(workspace, "show", "a  talk").out
    assert "A talk on 29" in run(workspace, "show", "talk on", code=1).err


def test_archived_sessions_are_numbered_for_unarchive_alone(workspace: Path) -> None:
    """Another command would take @1 for another session."""
    for title in ("one", "two", "three"):
        talk(store_of(workspace), title)
    run(workspace, "archive", "one", "two")
    assert "@1" in run(workspace, "list").out
    for flags in (["--archived"], ["--query", "three"], ["--since", "1d"], ["--state", "idle"], ["--cwd", "."]):
        assert "@1" not in run(workspace, "list", *flags).out
    assert run(workspace, "unarchive", "@last").err.endswith("  two\n")
    assert "  two\n" in run(workspace, "list").out
    run(workspace, "unarchive", "@1")
    told = run(workspace, "unarchive", "@1", code=1).err
    assert "among 0 here; mandrake-sessions list --archived lists them, and --all finds none either" in told


def test_nothing_is_said_of_a_store_that_could_not_be_read(workspace: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / ".git").mkdir(parents=True)
    run(theirs, "new", "a badger", MANDRAKE_HOME=str(workspace / "home" / ".mandrake"))
    store_of(theirs).write_bytes(b"no database at all" * 1000)
    for name in ("badger", "@last", "@2"):
        assert "--all finds none in what could be read" in run(workspace, "show", name, code=1).err
    assert "in what could be read;" in run(workspace, "show", "badger", "--all", code=1).err
