"""No line is wider than the terminal, in any command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from commands.running import age, fill, run, store_of
from commands.test_terminal import on_a_terminal
from importing.transcripts import claude
from mandrake_sessions import SessionManager
from mandrake_sessions.commands import COMMANDS
from mandrake_sessions.folding import fold
from mandrake_sessions.model import TurnStatus

WIDTHS = (40, 80)
_TITLE = "A long talk on files, 長い話, with a title that no narrow terminal has room for"
# What each is given; some more than once, to see its messages too.
LINES: dict[str, list[list[str]]] = {
    "list": [[], ["--all"], ["--query", "nothing of this kind"], ["--since", "yesterday"]],
    "show": [["@last"], ["no such talk, though somebody looks for it"]],
    "tail": [["no such talk, though somebody looks for it"]],
    "search": [["lighthouse"], ["nothing", "of", "this", "kind"], ["lighthouse", "--limit", "1"]],
    "usage": [[], ["--by", "model"], ["--by", "session"], ["--until", "2001-01-01"]],
    "new": [["A title"], ["--agent", ""]],
    "append": [["--session", "@last", "--prompt", "?"], ["--session", "nothing"], ["--session", "@1", "--title", "x"]],
    "import": [[], ["--dry-run"], ["nothing-of-this-name"], ["--follow", "--dry-run"]],
    "restore-transcript": [["a talk of another program", "--to", "here"], ["@last"], ["@last", "--to", "no/where"]],
    "record": [["--", "true"], ["--", "no-such-program-of-anybody"], []],
    "acp": [["--", "true"], ["--", "no-such-program-of-anybody"], []],
    "fork": [["@last"], ["@last", "--through", "99"]],
    "rename": [["@last", "Another"], ["long", "Another"]],
    "archive": [["@last"], ["@99"]],
    "unarchive": [["@last"]],
    "delete": [["@1", "--yes"], ["@99", "--yes"]],
    "stores": [[]],
    "path": [[], ["--scope", "system"]],
    "completion": [["tcsh"]],
    "call": [["session/lst"], ["session/list", "1"]],
    "serve": [["--socket", "x"], ["--durability", "none"]],
    "demo": [[], ["--workspace", "nowhere"]],
    "export": [["@last", "-o", "talk.md"], ["@last", "@2", "-o", "talk.md"], ["@last", "-o", "no/where/talk.md"]],
    "doctor": [[], ["--fix"], ["--workspace", "nowhere"]],
    "backup": [["kept.sqlite"], ["kept.sqlite"]],
    "restore": [["kept.sqlite"], ["lost.sqlite"]],
    "migrate": [["--check"], []],
    "prune": [["--older-than", "90d", "--dry-run"], ["--older-than", "1s"], ["--older-than", "90d", "--yes"]],
}
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# A command that somebody copies stays whole.
_TO_COPY = re.compile(r"(Recorded: )?(mandrake-sessions|\S+ -m mandrake_sessions) [a-z]+ |printf |sqlite3 ")


@pytest.fixture
def filled(workspace: Path) -> Path:
    """A workspace with long names, large numbers, and a store that was kept."""
    fill(store_of(workspace), f"{_TITLE}: the old one")
    age(store_of(workspace), f"{_TITLE}: the old one", 100)
    with SessionManager(store_of(workspace)) as manager:
        for number in range(2):
            session = manager.create_session(
                title=f"{_TITLE} {number}", agent="an-agent-with-a-name", cwd=f"{workspace}"
            )
            made = manager.create_round(session.id, content="What of the lighthouse? " * 9)
            turn = manager.create_turn(made.response.id, content="The lighthouse stands. " * 9, model="model-" * 5)
            manager.update_turn(turn.id, status=TurnStatus.COMPLETED, input_tokens=10**9, output_tokens=10**8,
                                cache_read_tokens=10**9, input_cost=1234.5, currency="EUR")  # fmt: skip
    return workspace


def too_wide(shown: str, width: int) -> list[str]:
    """The lines that could be folded and are not."""
    lines = _CONTROLS.sub("", shown).replace("\r", "\n").split("\n")
    return [
        line
        for line in map(str.rstrip, lines)
        if cell_len(line) > width and " " in re.sub("`[^`]*`", "", line.strip()) and not _TO_COPY.match(line)
    ]


def test_every_command_is_tried() -> None:
    assert LINES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_wider_than_the_terminal(filled: Path, command: str, width: int) -> None:
    if command == "restore":
        run(filled, "backup", "kept.sqlite")
    if command in ("import", "restore-transcript"):
        talk = claude(filled / "home", "11111111-1111-4111-8111-111111111111")
        talk.ask("A talk of another program")
        talk.write(tail=b"{broken, as a line may be\n")
    if command == "restore-transcript":
        run(filled, "import", "--workspace", ".", code=1)
    plain = {"PAGER": "cat", "NO_COLOR": "1", "MANDRAKE_SESSIONS_DEMO_SPEED": "500"}
    # What fits into the narrow one fits into the other, unless it is laid out for the width.
    more = [*LINES[command][1:], ["--no-such-flag-anywhere"]] if width == WIDTHS[0] else []
    # A program that is recorded may get it as another character, where it is typed before the terminal is passed on.
    answer = "" if command == "record" else "\x04"
    for arguments in (LINES[command][0], *more):
        _, shown = on_a_terminal(filled, command, *arguments, answer=answer, environment=plain, columns=width)
        assert "Traceback" not in shown
        assert too_wide(shown, width) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nor_is_one_of_the_program(workspace: Path, width: int) -> None:
    for arguments in (["--help"], ["lst"], ["--version"], ["--workspace=nowhere/at/all", "x"]):
        _, shown = on_a_terminal(workspace, *arguments, columns=width)
        assert shown.strip()
        assert too_wide(shown, width) == []


def test_of_a_directory_that_is_too_long_the_end_is_shown(workspace: Path) -> None:
    long = "/home/somebody/" + "projects/" * 4
    with SessionManager(store_of(workspace)) as manager:
        for name in ("badgers", "otters"):
            session = manager.create_session(cwd=long + name)
            asked = manager.create_round(session.id, content="?").response
            manager.create_turn(asked.id, content="!", status=TurnStatus.COMPLETED, output_tokens=3, cost=1234.5)
    _, shown = on_a_terminal(workspace, "usage", "--by", "cwd", environment={"NO_COLOR": "1"}, columns=40)
    assert re.findall(r"…\S*/(badgers|otters) +1,234.50 USD", shown) == ["badgers", "otters"]
    assert too_wide(shown, 40) == []


def test_columns_without_room_are_named(filled: Path) -> None:
    _, narrow = on_a_terminal(filled, "usage", environment={"NO_COLOR": "1"}, columns=60)
    told = " ".join(narrow.split())
    assert "No room for THOUGHT, " in told
    assert ": a wider terminal shows them, and so does --json." in told
    _, wide = on_a_terminal(filled, "usage", environment={"NO_COLOR": "1"}, columns=200)
    assert "No room" not in wide
    assert "No room" not in run(filled, "usage", COLUMNS="40").out


def test_a_line_off_a_terminal_is_one_line(filled: Path) -> None:
    """Scripts look for words in them."""
    ended = run(filled, "doctor", COLUMNS="40")
    assert any(
        line.startswith("ok       integrity    every page and index is in order") for line in ended.out.splitlines()
    )
    assert run(filled, "list", "--since", "x", code=2, COLUMNS="40").err.count("\n") == 2


@pytest.mark.parametrize(
    ("text", "columns", "indent", "lines"),
    [
        ("one two three", 7, 0, ["one two", "three"]),
        ("one two three", 8, 2, ["one two", "  three"]),
        ("ok       a        some words here", 22, 6, ["ok       a        some", "      words here"]),
        ("/a/path/of/one/word is here", 10, 3, ["/a/path/of/one/word", "   is here"]),
        ("run `doctor --fix` now", 12, 0, ["run", "`doctor --fix`", "now"]),
        ("漢字 漢字 漢字", 9, 0, ["漢字 漢字", "漢字"]),
        ("", 5, 2, [""]),
    ],
)
def test_lines_end_between_words(text: str, columns: int, indent: int, lines: list[str]) -> None:
    assert fold(text, columns, indent).split("\n") == lines
