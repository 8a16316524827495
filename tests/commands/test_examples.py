"""The example of each command's ``--help``, run as it stands there; and what is loaded for it."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from attrs import frozen

from commands.running import TIMEOUT, age, end, fill, run, start, store_of, titles
from importing.transcripts import claude
from mandrake_sessions.commands import COMMANDS, module_of
from wire import SERVER, clean_environment

# Commands whose example goes on until somebody ends it, or takes what others give: below they are run by themselves.
_APART = ("tail", "completion")
# What another program of a line does; and a Makefile, for the one that records it.
_AGENT = "#!/bin/sh\necho 'A few files.'\n"
_MAKEFILE = "test:\n\t@echo tested\n"


# Run by every Python at its start: what it has loaded is told at its end.
_TELLS = """
import atexit, os, sys
atexit.register(lambda: open(os.environ["LOADED"], "a").write(f"{sorted(sys.modules)}\\n"))
"""


@frozen
class Expected:
    """``said``: a part of what it prints, on stdout or stderr. ``titles``: those of the workspace's store after
    it; None: as before. ``file``: what it writes, in the workspace or at home. ``before``: commands that come first."""

    said: str = ""
    titles: tuple[str, ...] | None = None
    file: str | None = None
    before: tuple[str, ...] = ()


_TALK = "11111111-1111-4111-8111-111111111111"
_TITLES = ("A talk on files", "An old talk", "The flaky test")
EXPECTED = {
    "list": Expected("The flaky test"),
    "show": Expected("# The flaky test"),
    "search": Expected("The flaky test"),
    "usage": Expected("DAY"),
    "new": Expected("-7", (*_TITLES, "A talk on files")),
    "append": Expected("-7", (*_TITLES, "")),
    "import": Expected("1 conversation"),
    "restore-transcript": Expected(titles=(*_TITLES, ""), file=f"{_TALK}.jsonl", before=("import --workspace .",)),
    "record": Expected("tested", (*_TITLES, "make test")),
    "acp": Expected("A few files."),
    "fork": Expected("-7", (*_TITLES, "The flaky test")),
    "rename": Expected(titles=("A talk on badgers", "A talk on files", "An old talk")),
    "archive": Expected("Archived: "),
    "unarchive": Expected("Unarchived: ", before=("archive @last",)),
    "delete": Expected("Deleted: ", ("A talk on files", "An old talk")),
    "stores": Expected(".ws/db.sqlite"),
    "path": Expected(".mandrake/db.sqlite"),
    "call": Expected('"sessions": [{'),
    "serve": Expected('"id":1'),
    "demo": Expected("Stored, and read back", (*_TITLES, "What is in workspace?")),
    "export": Expected(file="talk.md"),
    "doctor": Expected("0 problems"),
    "backup": Expected("verified", file="home/saved.sqlite"),
    "restore": Expected(before=("backup home/saved.sqlite", "delete @last --yes")),
    "migrate": Expected("is current"),
    "prune": Expected("1 session would be deleted"),
}


@pytest.fixture
def filled(workspace: Path) -> Path:
    """A workspace in which every example has something to do."""
    fill(store_of(workspace), *sorted(_TITLES))
    age(store_of(workspace), "An old talk", 100)
    talk = claude(workspace / "home", _TALK)
    talk.ask("What?")
    talk.write()
    (workspace / "Makefile").write_text(_MAKEFILE)
    _program(workspace, "sitecustomize.py", _TELLS)
    _program(workspace, "some-agent", _AGENT)
    _program(workspace, "mandrake-sessions", f'#!/bin/sh\nexec {shlex.join(SERVER)} "$@"\n')
    return workspace


def _program(workspace: Path, name: str, text: str) -> None:
    (workspace / "bin").mkdir(exist_ok=True)
    (workspace / "bin" / name).write_text(text)
    (workspace / "bin" / name).chmod(0o755)


def example(command: str) -> str:
    return str(module_of(command).EXAMPLE)


def environment(workspace: Path) -> dict[str, str]:
    path = f"{workspace / 'bin'}{os.pathsep}{os.environ['PATH']}"
    more = {"PATH": path, "PYTHONPATH": str(workspace / "bin"), "LOADED": str(workspace / "loaded")}
    return clean_environment(workspace) | more


def check_loaded(workspace: Path, command: str) -> None:
    """Of all processes that a line has started, the command's is one, and none has loaded a language server."""
    processes = [ast.literal_eval(line) for line in (workspace / "loaded").read_text().splitlines()]
    assert any(module_of(command).__name__ in modules for modules in processes)
    for modules in processes:
        assert not [name for name in modules if name.partition(".")[0] in ("pygls", "lsprotocol")]


def test_every_command_has_its_example_run() -> None:
    assert {*EXPECTED, *_APART} == COMMANDS.keys()


@pytest.mark.parametrize("command", EXPECTED)
def test_the_example_does_what_it_says(filled: Path, command: str) -> None:
    expected = EXPECTED[command]
    for line in expected.before:
        run(filled, *line.split())
    # The one that serves reads what it is given.
    given = '{"jsonrpc":"2.0","id":1,"method":"server/info"}\n' if command == "serve" else ""
    done = subprocess.run(["sh", "-c", example(command)], cwd=filled, env=environment(filled), input=given,
                          capture_output=True, text=True, timeout=TIMEOUT, check=False)  # fmt: skip
    assert done.returncode == 0, done
    assert expected.said in done.stdout + done.stderr
    assert titles(store_of(filled)) == sorted(expected.titles or _TITLES)
    if expected.file is not None:
        assert (filled / expected.file).stat().st_size > 0
    check_loaded(filled, command)


def test_the_example_of_tail_shows_what_is_said(filled: Path) -> None:
    speaking = start(filled, "record", "--", "sh", "-c", "while sleep 0.1; do echo word; done")
    with subprocess.Popen(
        ["sh", "-c", f"exec {example('tail')}"], cwd=filled, env=environment(filled), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True,
    ) as tail:  # fmt: skip
        assert tail.stdout is not None
        try:
            assert any(line == "word\n" for line in tail.stdout)
        finally:
            end(speaking, signal.SIGTERM)
            tail.terminate()
            tail.stdout.read()
    assert tail.returncode == 143
    check_loaded(filled, "tail")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_example_of_completion_can_be_read_by_the_shell(filled: Path) -> None:
    line = f"{example('completion')} && complete -p mandrake-sessions"
    done = subprocess.run(["bash", "-c", line], cwd=filled, env=environment(filled),
                          capture_output=True, text=True, timeout=TIMEOUT, check=True)  # fmt: skip
    assert "_python_argcomplete mandrake-sessions" in done.stdout
    check_loaded(filled, "completion")


def test_every_command_that_the_pages_show_is_known() -> None:
    """Their examples are run elsewhere; the words within sentences are looked at here."""
    root = Path(__file__).parents[2]
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    named = {
        word
        for page in pages
        for word in re.findall(r"`mandrake-sessions ([a-z]+)\b", page.read_text(encoding="utf-8"))
    }
    assert named
    assert named <= COMMANDS.keys()
