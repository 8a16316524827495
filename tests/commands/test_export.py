"""``export``: a session of any length as a file or on stdout, in little memory, and never half."""

from __future__ import annotations

import json
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from commands.running import TIMEOUT, end, limit_files, names, run, run_program, start, state, store_of
from commands.test_terminal import on_a_terminal
from exported import exact, read_back
from mandrake_sessions import SessionManager
from mandrake_sessions.model import TurnStatus
from mandrake_sessions.protocol.converter import unstructure
from wire import SERVER, clean_environment, serving

MIB = 1024 * 1024
TOKEN = "ghp_oHwLMeaZqo9DZDNjN1GTPdVKsb1DS2S5yXB6"
LINE = f"{'é <b>':100}\n"
SESSION = "0a000000-0000-4000-8000-000000000001"


def fill(workspace: Path, *, size: int = 10) -> dict[str, object]:
    """A session with so much text in a turn, and another one; gives the first as session/history has it."""
    store_of(workspace).parent.mkdir(mode=0o700)
    with SessionManager(store_of(workspace), durability="normal") as manager:
        manager.create_session(id="0a100000-0000-4000-8000-000000000002")
        manager.create_session(id=SESSION, title="A talk", external_id="ext-1", agent="claude-code")
        made = manager.create_round(SESSION, content=f"It is {TOKEN}.\x00")
        turn = manager.create_turn(made.response.id, tool_calls=[{"id": "1", "arguments": {"a": 10**30}}])
        for _ in range(0, size, MIB):
            manager.append_turn(turn.id, content=LINE * (min(size, MIB) // len(LINE.encode())), raw_response="x")
        manager.update_turn(turn.id, status=TurnStatus.COMPLETED)
        page = manager.history(SESSION, include_raw=True)
        return {"session": unstructure(page.session), "rounds": unstructure(page.rounds)}


def test_json_lines_on_stdout_give_back_everything(workspace: Path) -> None:
    whole = fill(workspace, size=3 * MIB)
    told = run(workspace, "export", SESSION, "--format", "jsonl", PYTHONIOENCODING="ascii:strict", LC_ALL="C")
    found = read_back(told.out.splitlines())
    assert exact({"session": found["session"], "rounds": found["rounds"]}) == exact(whole)
    assert told.err == ""


@pytest.mark.parametrize("redact", [None, True, False])
def test_the_command_for_a_session_that_is_too_large_works_anywhere(
    workspace: Path, tmp_path: Path, redact: bool | None
) -> None:
    """The server names it; here it is of the user's own store, and runs in a directory without a store."""
    directory = tmp_path / "else where"
    directory.mkdir()
    params: Any = {"format": "jsonl", "scope": "system"} | ({} if redact is None else {"redact": redact})
    with serving(workspace) as wire:
        session = wire.request("session/create", scope="system", title="Large")["id"]
        wire.request("round/create", scope="system", sessionId=session, content=TOKEN + "x " * 4 * MIB)
        error = wire.error("session/export", sessionId=session, **params)
    assert error["data"]["kind"] == "tooLarge"
    for text in (error["message"], error["data"]["reason"]):
        found = re.search("`(mandrake-sessions export [^`]+)`", text)
        assert found, text
        program, *words = shlex.split(found[1])
        told = subprocess.run([*SERVER, *words], cwd=directory, env=clean_environment(workspace), check=True)
        assert (program, told.returncode) == ("mandrake-sessions", 0)
        made = (directory / "FILE").read_text()
        assert '"Large"' in made
        assert (TOKEN in made) is not bool(redact)
        (directory / "FILE").unlink()


@pytest.mark.parametrize("name", [SESSION, SESSION.upper(), "0a00", "ext-1"])
def test_a_session_has_several_names(workspace: Path, name: str) -> None:
    fill(workspace)
    told = run(workspace, "export", name)
    assert told.out.startswith("# A talk\n")
    assert TOKEN not in told.out
    assert told.err == "secrets and home directories that were replaced: 1\n"
    assert TOKEN in run(workspace, "export", name, "--no-redact").out


def test_a_name_of_several_sessions_or_of_none(workspace: Path) -> None:
    fill(workspace)
    assert SESSION in run(workspace, "export", "0a", code=1).err
    assert "no session 'zz' here; mandrake-sessions list lists them" in run(workspace, "export", "zz", code=1).err
    assert "SESSION: name one (mandrake-sessions list" in run(workspace, "export", code=2).err
    assert "invalid choice: 'pdf'" in run(workspace, "export", "0a00", "--format", "pdf", code=2).err


def test_a_name_that_two_agents_use(workspace: Path) -> None:
    fill(workspace)
    with SessionManager(store_of(workspace)) as manager:
        other = manager.create_session(title="Another", external_id="ext-1", agent="codex").id
    refused = run(workspace, "export", "ext-1", code=1).err
    assert "'ext-1' may mean one of these sessions" in refused
    assert SESSION in refused
    assert other in refused
    assert run(workspace, "export", "ext-1", "--agent", "codex").out.startswith("# Another\n")
    assert run(workspace, "export", "ext-1", "--agent", "claude-code").out.startswith("# A talk\n")
    assert run(workspace, "export", other, "--agent", "codex").out.startswith("# Another\n")
    assert "no session 'ext-1'" in run(workspace, "export", "ext-1", "--agent", "nobody", code=1).err


def test_a_store_that_is_not_there_is_not_made(workspace: Path) -> None:
    assert "no session" in run(workspace, "export", SESSION, code=1).err
    assert not store_of(workspace).parent.exists()


def test_a_file_is_private_and_whole(workspace: Path) -> None:
    fill(workspace)
    target = workspace / "talk.json"
    target.write_text("before")
    # Who may read a file that is there stays so; a new one is private.
    target.chmod(0o644)
    told = run(workspace, "export", "ext-1", "--format", "atif", "--output", target)
    assert told.out == ""
    assert json.loads(target.read_text())["schema_version"] == "ATIF-v1.8"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    run(workspace, "export", "ext-1", "--output", "new.md")
    assert stat.S_IMODE((workspace / "new.md").stat().st_mode) == 0o600
    run(workspace, "export", "zz", "--output", target, code=1)
    assert json.loads(target.read_text())["schema_version"] == "ATIF-v1.8"
    assert [path.name for path in workspace.iterdir() if "talk" in path.name] == ["talk.json"]
    missed = run(workspace, "export", "ext-1", "--output", "nowhere/x.md", code=2).err
    assert f"--output: {workspace / 'nowhere' / 'x.md'} cannot be made: No such file or directory" in missed
    assert ".partial" not in missed
    run(workspace, "export", "ext-1", "--output", "/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    full = run(workspace, "export", "ext-1", "--output", "/dev/full", code=1).err
    assert full == "mandrake-sessions export: /dev/full: No space left on device; the disk is full, free some space\n"
    before = names(workspace)
    assert "--output: it is empty" in run(workspace, "export", "ext-1", "--output", "", code=2).err
    assert names(workspace) == before


@pytest.mark.skipif(sys.platform == "win32", reason="files have no such limit")
def test_a_file_that_may_not_be_so_long(workspace: Path) -> None:
    fill(workspace, size=MIB)
    before = names(workspace)
    done = run_program(workspace, *SERVER, "export", "ext-1", "-o", "k.md", preexec_fn=lambda: limit_files(100_000))
    assert done.code == 1
    assert done.err.startswith(
        f"mandrake-sessions export: {workspace / 'k.md'}: File too large; no file may be so long"
    )
    assert names(workspace) == before


def test_the_store_stays_as_it_was(workspace: Path) -> None:
    fill(workspace)
    before = state(store_of(workspace).parent)
    run(workspace, "export", "ext-1")
    assert state(store_of(workspace).parent) == before


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_a_reader_that_stops_reading(workspace: Path, form: str) -> None:
    fill(workspace, size=3 * MIB)
    with subprocess.Popen(
        [*SERVER, "export", "ext-1", "--no-redact", "--format", form],
        cwd=workspace, env=clean_environment(workspace), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(60) == 128 + signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing_of_a_file(workspace: Path, by: signal.Signals) -> None:
    fill(workspace, size=16 * MIB)
    before = {*names(workspace)}
    process = start(workspace, "export", SESSION, "-o", "k.md")
    while {*names(workspace)} == before:
        time.sleep(0.005)
        assert process.poll() is None
    assert end(process, by) == 128 + by
    assert {*names(workspace)} == before


@pytest.mark.parametrize(
    ("form", "redact", "size"),
    [
        # To look for secrets takes most of the time, and less memory than the other forms.
        ("jsonl", "--redact", 16),
        ("markdown", "--no-redact", 64),
        ("html", "--no-redact", 64),
        ("atif", "--no-redact", 64),
    ],
)
@pytest.mark.timeout(600)
def test_a_long_turn_takes_little_memory(workspace: Path, form: str, redact: str, size: int) -> None:
    fill(workspace, size=size * MIB)
    target = workspace / "large"
    # What a process held before it ran this program counts for its own in getrusage, so it tells of itself.
    program = "from mandrake_sessions.cli import main; main(); print(open('/proc/self/status').read())"
    command = [sys.executable, "-c", program, "export", "ext-1", "--format", form, redact, "--output", str(target)]
    done = subprocess.run(
        command, cwd=workspace, env=clean_environment(workspace), check=True, timeout=500, capture_output=True
    )
    text = target.read_text()
    assert text.count("é") == size * (MIB // len(LINE.encode()))
    if form == "jsonl":
        (turn,) = read_back(text.splitlines())["rounds"][0]["response"]["turns"]
        assert turn["content"] == LINE * text.count("é")
    peak = next(line for line in done.stdout.decode().splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 160 * 1024


@pytest.mark.parametrize("form", ["markdown", "html", "atif"])
def test_an_export_says_that_the_detector_was_missing(workspace: Path, tmp_path: Path, form: str) -> None:
    fill(workspace)
    (tmp_path / "kingfisher_sdk.py").write_text("raise ImportError('it is not installed')\n")
    told = run(workspace, "export", SESSION, "--format", form, PYTHONPATH=str(tmp_path))
    assert TOKEN not in told.out
    assert told.err.splitlines()[1:] == [
        "warning: redacted without kingfisher-secret-scanner, so fewer kinds of secrets were found"
    ]
    assert ("Redacted without kingfisher-secret-scanner" in told.out) is (form != "atif")
    for told in (
        run(workspace, "export", SESSION, "--format", form),
        run(workspace, "export", SESSION, "--format", form, "--no-redact", PYTHONPATH=str(tmp_path)),
    ):
        assert "without kingfisher" not in told.out + told.err


def test_several_sessions_are_a_file_each(workspace: Path) -> None:
    fill(workspace)
    with SessionManager(store_of(workspace)) as manager:
        manager.create_session(title="../é/ A second: talk?", created_at=1_700_000_000_000)
        manager.update_session(SESSION, archived=True)
    told = run(workspace, "export", "--all", "--output", "made", "--format", "jsonl")
    assert told.err.endswith(f"3 of 3 sessions exported to {workspace / 'made'}\n")
    made = sorted(path.name for path in (workspace / "made").iterdir())
    assert re.fullmatch(r"2023-11-1[45]-é-a-second-talk-[0-9a-f]{8}\.jsonl", made[0])
    assert [name[10:] for name in made[1:]] == ["-a-talk-00000001.jsonl", "-no-title-00000002.jsonl"]
    for name in made:
        read_back((workspace / "made" / name).read_text().splitlines())
    run(workspace, "export", "ext-1", "0a10", "--output", "made")
    assert len(list((workspace / "made").glob("*.md"))) == 2
    assert run(workspace, "export", "ext-1", "0a10").out.count("\n- Session: ") == 2
    run(workspace, "export", "ext-1", "--output", "made/one.json")
    assert json.loads((workspace / "made" / "one.json").read_text())["schema_version"] == "ATIF-v1.8"


def test_a_document_that_is_not_made_is_said(workspace: Path) -> None:
    fill(workspace)
    told = run(workspace, "export", SESSION, "-o", "talk.pdf", code=2).err
    assert ".pdf is none of .md, " in told
    run(workspace, "export", SESSION, "-o", "talk.pdf", "--format", "markdown")


BEGINS = {"markdown": "# A talk", "html": "<!doctype html>", "jsonl": '{"type":"export"', "atif": '{"schema_version"'}


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.md", "markdown"), ("a.markdown", "markdown"), ("a.html", "html"), ("a.HTM", "html"), ("a.jsonl", "jsonl"),
     ("a.json", "atif"), ("a.txt", "markdown"), ("a", "markdown"), (".md", "markdown"), ("b.html/a", "markdown"),
     ("a.log", None), ("a.docx", None), ("a.html.old", None)],
)  # fmt: skip
def test_the_ending_of_a_file_names_the_format(workspace: Path, name: str, form: str | None) -> None:
    fill(workspace)
    (workspace / "b.html").mkdir()
    if form is None:
        assert "say what it is to be with --format" in run(workspace, "export", SESSION, "-o", name, code=2).err
        assert not (workspace / name).exists()
        form = "html"
        run(workspace, "export", SESSION, "-o", name, "--format", "htm")
    else:
        run(workspace, "export", SESSION, "-o", name)
    assert (workspace / name).read_text().lower().startswith(BEGINS[form].lower())


def test_formats_have_short_names(workspace: Path) -> None:
    fill(workspace)
    for short, name in (("md", "markdown"), ("htm", "html")):
        for command in (["export"], ["show"]):
            made = [run(workspace, *command, SESSION, "--format", each).out for each in (short, name)]
            assert made[0] == made[1] != ""


def test_a_dash_is_stdout(workspace: Path) -> None:
    """Nor is a database written to a file of this name."""
    fill(workspace)
    for flags in ([], ["--format", "jsonl"]):
        assert run(workspace, "export", SESSION, "-o", "-", *flags).out == run(workspace, "export", SESSION, *flags).out
    assert "DEST: a database cannot be written to stdout" in run(workspace, "backup", "-", code=2).err
    assert not (workspace / "-").exists()
    run(workspace, "export", SESSION, "-o", "./-")
    assert (workspace / "-").read_text().startswith("# A talk")


def test_every_session_of_one_store_or_of_all(workspace: Path) -> None:
    fill(workspace)
    home = workspace / "home" / ".mandrake" / "db.sqlite"
    home.parent.mkdir(parents=True)
    with SessionManager(home) as manager:
        manager.create_session(title="of the user", agent="codex")
    assert "# of the user\n" in run(workspace, "export", "--all", "--agent", "codex").out
    assert run(workspace, "export", "--all", "--agent", "nobody").out == ""
    for flags, count in ((["--all"], 3), (["--all", "--scope", "workspace"], 2), (["--all", "--scope", "system"], 1)):
        assert run(workspace, "export", *flags).out.count("\n- Session: ") == count


def test_pages_in_a_directory_link_each_other(workspace: Path) -> None:
    fill(workspace)
    with SessionManager(store_of(workspace)) as manager:
        fork = manager.fork_session(SESSION, title="/home/alice/fork").id
    run(workspace, "export", "--all", "--format", "html", "--output", "made")
    made = {path.name: path.read_text() for path in (workspace / "made").iterdir()}
    of_fork = next(name for name in made if name.endswith(f"{fork.replace('-', '')[-8:]}.html"))
    of_talk = next(name for name in made if name.endswith("-a-talk-00000001.html"))
    assert f'<a href="{of_fork}">' in made[of_talk]
    assert f'<a href="{of_talk}">' in made[of_fork]
    assert "alice" not in of_fork + made[of_talk]
    run(workspace, "export", SESSION, "--output", "one.html")
    assert f"mandrake-sessions show {fork}" in (workspace / "one.html").read_text()


def test_several_pages_need_a_directory(workspace: Path) -> None:
    fill(workspace)
    told = run(workspace, "export", "ext-1", "0a10", "--format", "html", code=2)
    assert "--output: a page holds one session" in told.err
    assert told.out == ""


def test_a_page_that_cannot_be_written_to_its_end_is_not_there(workspace: Path) -> None:
    fill(workspace, size=3 * MIB)
    (workspace / "talk.html").write_text("before")
    refused = run_program(
        workspace, *SERVER, "export", "ext-1", "--output", "talk.html", preexec_fn=lambda: limit_files(MIB)
    )
    assert refused.code == 1
    assert "Traceback" not in refused.err
    assert (workspace / "talk.html").read_text() == "before"
    assert [path.name for path in workspace.iterdir() if "talk" in path.name] == ["talk.html"]


def test_several_files_need_a_directory(workspace: Path) -> None:
    fill(workspace)
    (workspace / "there").write_text("kept")
    for arguments in (["ext-1", "0a10"], ["--all"], ["--all", "--scope", "workspace"]):
        for name, complaint in (("two.md", "looks like a file"), ("two.txt", "looks like a file"),
                                ("two.HTML", "looks like a file"), ("there", "is a file")):  # fmt: skip
            told = run(workspace, "export", *arguments, "--output", name, code=2)
            assert f"--output: {name} {complaint}; several sessions" in told.err
            assert "name a directory" in told.err
    assert not [name for name in names(workspace) if name.startswith("two")]
    assert (workspace / "there").read_text() == "kept"
    (workspace / "so.md").mkdir()
    run(workspace, "export", "ext-1", "0a10", "--output", "so.md")
    assert len(names(workspace / "so.md")) == 2


def test_one_session_can_be_in_a_directory(workspace: Path) -> None:
    """However many there are: what all sessions are written to is the same."""
    run(workspace, "new", "the only one")
    run(workspace, "export", "--all", "--output", "all-1.0")
    run(workspace, "export", "@last", "--output", "one/")
    for made in ("all-1.0", "one"):
        (name,) = names(workspace / made)
        assert name.endswith(".md")


def test_a_long_export_shows_how_much_is_written(workspace: Path) -> None:
    fill(workspace, size=3 * MIB)
    for arguments in (["--output", "talk.jsonl"], ["--output", "talk.md"]):
        code, shown = on_a_terminal(workspace, "export", SESSION, *arguments)
        assert code == 0
        assert re.search(r"exporting.*[^0-9.][3-9]\.\d MB", shown), shown
    # What is shown there scrolls by.
    assert "exporting" not in on_a_terminal(workspace, "export", SESSION)[1]
    assert "exporting" not in run(workspace, "export", SESSION, "--output", "talk.md").err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no ulimit")
def test_what_cannot_be_written_keeps_nothing_else_from_being_written(workspace: Path) -> None:
    with SessionManager(store_of(workspace)) as manager:
        manager.create_session(title="small")
        large = manager.create_session(title="large")
        manager.create_round(large.id, content="x" * 2_000_000)
        manager.create_session(title="later")
    flags = ["export", "--all", "--output", "made", "--format", "jsonl"]
    command = ["sh", "-c", 'ulimit -f 500; exec "$@"', "sh", *SERVER, *flags]
    done = subprocess.run(command, cwd=workspace, env=clean_environment(workspace), capture_output=True,
                          text=True, timeout=TIMEOUT, check=False)  # fmt: skip
    assert done.returncode == 1, done
    assert f"session {large.id} is not exported: " in done.stderr
    assert "2 of 3 sessions exported to " in done.stderr
    assert sorted("large" in file.name for file in (workspace / "made").iterdir()) == [False, False]


def test_a_name_may_be_as_long_as_names_may_be(workspace: Path) -> None:
    fill(workspace)
    name = "a" * 252 + ".md"
    run(workspace, "export", SESSION, "--output", name)
    assert (workspace / name).stat().st_size > 0
