"""The examples of the README and of docs/, as they stand there."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import fields

from commands.running import Writer, fill, sql
from mandrake_sessions.protocol.names import camel
from mandrake_sessions.protocol.results import Limits
from mandrake_sessions.settings import ENVIRONMENT_PREFIX, setting_fields
from wire import clean_environment

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")))
EXAMPLES = {
    "README.md": {"shell", "watch", "write", "pipe", "python"},
    "docs/keeping.md": {"keep", "go-back", "salvage", "replaced", "move"},
    "docs/client.md": {"client", "sync"},  # run in tests/client
}
# A block of code with what stands above it: `<!-- example: NAME -->`, `<!-- not run: WHY -->`,
# `<!-- output: NAME -->`, or nothing.
_BLOCK = re.compile(r"^(?:<!-- (example|not run|output): (.+?) -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_RUNNABLE = {"sh", "bash", "python"}
_EXAMPLE = "/home/ann/project/.ws/db.sqlite"


def blocks(page: str) -> list[tuple[str, str, str, str]]:
    """Each block of code of a page: the kind of its mark, the mark's text, its language, its text."""
    return _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def example(page: str, name: str) -> str:
    (found,) = [text for kind, mark, _, text in blocks(page) if (kind, mark) == ("example", name)]
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_example_of_a_page_is_run_or_says_why_not(page: str) -> None:
    found = blocks(page)
    assert {mark for kind, mark, _, _ in found if kind == "example"} == EXAMPLES.get(page, set())
    assert [text for kind, _, language, text in found if language in _RUNNABLE and not kind] == []


def environment(workspace: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return clean_environment(workspace) | {"PATH": path}


def run(command: list[str], workspace: Path) -> str:
    done = subprocess.run(command, cwd=workspace, env=environment(workspace),
                          capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def shell(page: str, name: str, workspace: Path) -> str:
    return run(["sh", "-ec", example(page, name)], workspace)


def answers(lines: str) -> list[Any]:
    """What a server has written, which may answer in any order."""
    return sorted((json.loads(line) for line in lines.splitlines()), key=lambda message: message["id"])


def test_two_terminals(workspace: Path) -> None:
    watch = subprocess.Popen(["sh", "-ec", example("README.md", "watch")], cwd=workspace, env=environment(workspace),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert watch.stdin is not None
    assert watch.stdout is not None
    with watch:
        try:
            assert json.loads(watch.stdout.readline())["result"]["turns"] == []
            first = answers(shell("README.md", "write", workspace))
            text, status = "", None
            while status != "completed":
                change = json.loads(watch.stdout.readline())["params"]
                text += change.get("content", "")
                status = change["status"]
            watch.stdin.close()
            assert (text, watch.wait(60), watch.stdout.read()) == ("A few files.", 0, "")
        finally:
            watch.kill()
    assert all("result" in answer for answer in first)
    again = answers(shell("README.md", "write", workspace))
    assert [answer["result"]["chunk"] for answer in again[3:5]] == [0, 1]
    assert again[5]["result"]["content"] == "A few files."
    assert again[0]["result"]["roundCount"] == 1


def test_from_a_shell(workspace: Path) -> None:
    done = subprocess.run(["sh", "-ec", example("README.md", "shell")], cwd=workspace, env=environment(workspace),
                          capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
    for part in ("@1  ", "> A few files.", "answer  now", "ROUNDS"):
        assert part in done.stdout
    assert "A few files." in (workspace / "talk.md").read_text()
    assert run(["mandrake-sessions", "list", "--json"], workspace).count("\n") == 2


def test_over_a_pipe(workspace: Path) -> None:
    made, found, listed = answers(shell("README.md", "pipe", workspace))
    assert found["result"] == made["result"]
    assert listed["result"]["sessions"] == [made["result"]]
    refused, found, listed = answers(shell("README.md", "pipe", workspace))
    assert refused["error"]["data"]["kind"] == "conflict"
    assert listed["result"]["sessions"] == [made["result"]] == [found["result"]]


def test_from_python(workspace: Path) -> None:
    text, kinds = run([sys.executable, "-c", example("README.md", "python")], workspace).splitlines()
    assert text == "A few files."
    # What is committed when the manager is closed has been heard by its listeners.
    assert ast.literal_eval(kinds) == [
        "sessionCreated", "roundCreated", "created", "appended", "appended", "updated", "sessionUpdated",
        "responseUpdated",
    ]  # fmt: skip


def test_python_finds_the_store_that_the_program_finds(workspace: Path) -> None:
    (made, _, _) = answers(shell("README.md", "pipe", workspace))
    (named,) = re.findall(r"`(workspace_database\(.*\))`", (ROOT / "docs/client.md").read_text(encoding="utf-8"))
    (workspace / "below").mkdir()
    program = (
        "from pathlib import Path; from mandrake_sessions import SessionManager;"
        " from mandrake_sessions.workspaces import find_workspace, workspace_database;"
        f" manager = SessionManager({named}); manager.init();"
        " print([one.id for one in manager.list_sessions().sessions]); manager.close()"
    )
    # Not with the home directory below the workspace, where nothing is searched.
    command = ["env", "HOME=/nowhere", sys.executable, "-c", program]
    assert ast.literal_eval(run(command, workspace / "below")) == [made["result"]["id"]]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_help_has_a_line_for_each_target() -> None:
    (named,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    listed = dict(
        line.split(maxsplit=1)
        for line in run(["make", "-s", "--no-print-directory", "-C", str(ROOT), "help"], ROOT).splitlines()
    )
    assert sorted(listed) == sorted(named.split())


def test_keeping_a_store(workspace: Path) -> None:
    (workspace / "home").mkdir()
    shell("README.md", "pipe", workspace)
    told = shell("docs/keeping.md", "keep", workspace) + shell("docs/keeping.md", "go-back", workspace)
    for part in (
        ": 1 session, ",
        "verified\n",
        "ok       integrity ",
        "is current",
        "No session is that old.",
        "storeId",
    ):
        assert part in told
    (kept,) = shell("docs/keeping.md", "replaced", workspace).splitlines()
    assert kept in told
    assert not (workspace / kept).exists()


def test_salvaging_a_store(workspace: Path) -> None:
    (made, _, _) = answers(shell("README.md", "pipe", workspace))
    told = shell("docs/keeping.md", "salvage", workspace)
    assert "All is well." in told or "0 problems" in told
    (_, found, _) = answers(shell("README.md", "pipe", workspace))
    assert found["result"]["id"] == made["result"]["id"]


def test_the_samples_of_doctor_are_what_it_prints(workspace: Path) -> None:
    database = workspace / ".ws" / "db.sqlite"
    fill(database, "one", "two")
    Writer(database).kill()
    sql(database, "UPDATE session SET round_count = 5 WHERE title = 'one'")
    for name, flags in (("doctor", []), ("fix", ["--fix"])):
        done = subprocess.run(["mandrake-sessions", "doctor", *flags], cwd=workspace, env=environment(workspace),
                              capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
        told = re.sub(r"before-fix-\d+", "before-fix-…", done.stdout).replace(str(database), _EXAMPLE).splitlines()
        (sample,) = [text for kind, mark, _, text in blocks("docs/keeping.md") if (kind, mark) == ("output", name)]
        assert [line for line in sample.splitlines() if line != "…" and line not in told] == []


def test_moving_a_store(workspace: Path) -> None:
    for name in ("old", "new"):
        (workspace / name / ".git").mkdir(parents=True)
    (made, _, _) = answers(shell("README.md", "pipe", workspace / "old"))
    shell("docs/keeping.md", "move", workspace)
    (_, found, _) = answers(shell("README.md", "pipe", workspace / "new"))
    assert found["result"]["id"] == made["result"]["id"]


def test_the_page_of_limits_names_those_that_the_server_reports() -> None:
    page = (ROOT / "docs/limits.md").read_text(encoding="utf-8")
    named = re.findall(r"\| `(max\w+)` \|$", page, re.MULTILINE)
    assert sorted(named) == sorted(camel(field.name) for field in fields(Limits))


def test_the_page_of_settings_has_a_row_for_each() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    for setting in setting_fields():
        flag, variable = "--" + setting.name.replace("_", "-"), ENVIRONMENT_PREFIX + setting.name.upper()
        value = "" if setting.metadata["alone"] else " " + setting.metadata["metavar"]
        row = f"| `{flag}{value}` | `{variable}` | `{camel(setting.name)}` | "
        (rest,) = [line.removeprefix(row) for line in page.splitlines() if line.startswith(row)]
        if setting.default is not None:
            default = f"{setting.default:g}" if isinstance(setting.default, float) else str(setting.default).lower()
            assert rest.replace("`", "").startswith(default), setting.name
