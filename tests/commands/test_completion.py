"""What bash, zsh and fish complete, each asked as itself."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from commands.running import TIMEOUT, run
from wire import SERVER, clean_environment, store_of

SHELLS = ("bash", "zsh", "fish")
# What a shell makes of the beginning of a line.
Ask = Callable[[str], list[str]]

_BASH = """
eval "$(mandrake-sessions completion bash)"
COMP_LINE="$1"; COMP_POINT=${#1}; COMP_TYPE=9
read -ra COMP_WORDS <<< "$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_python_argcomplete mandrake-sessions "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
_FISH = """
mandrake-sessions completion fish | source
complete -C "$argv[1]"
"""
# As ~/.zshrc has it. A word of zsh's own tells all that it would offer, once it has asked.
_ZSH = """
eval "$(mandrake-sessions completion zsh)"
compadd() {
  local -a offered
  builtin compadd -O offered "$@"
  print -rl -- $offered >> "$OFFERED"
  builtin compadd "$@"
}
told() { print -r -- end >> "$OFFERED" }
zle -N told
bindkey '^X' told
PROMPT='ready '
"""


@pytest.fixture(params=SHELLS)
def asked(request: pytest.FixtureRequest, workspace: Path, tmp_path: Path) -> Ask:
    """What a shell offers for the beginning of a line."""
    shell: str = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    program = tmp_path / "bin" / "mandrake-sessions"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mandrake_sessions "$@"\n')
    program.chmod(0o755)
    environment = clean_environment(workspace)
    environment["PATH"] = f"{program.parent}:{environment['PATH']}"
    if shell == "zsh":
        return lambda line: _zsh(line, workspace, environment | {"TERM": "xterm", "ZDOTDIR": str(tmp_path)})
    command = ["bash", "-c", _BASH, "bash"] if shell == "bash" else ["fish", "--no-config", "-c", _FISH]

    def ask(line: str) -> list[str]:
        done = subprocess.run([*command, line], cwd=workspace, env=environment,
                              capture_output=True, text=True, timeout=TIMEOUT, check=False)  # fmt: skip
        assert done.stderr == ""
        # fish tells beside a word what it means.
        return [word.partition("\t")[0].strip() for word in done.stdout.splitlines() if word.strip()]

    return ask


def _zsh(line: str, workspace: Path, environment: dict[str, str]) -> list[str]:
    """Type a line and Tab at a prompt of it: it completes nowhere else."""
    home = Path(environment["ZDOTDIR"])
    (home / ".zshrc").write_text(_ZSH)
    offered = home / "offered"
    offered.unlink(missing_ok=True)
    own, its = pty.openpty()
    process = subprocess.Popen(["zsh", "-i"], cwd=workspace, env=environment | {"OFFERED": str(offered)},
                               stdin=its, stdout=its, stderr=its, start_new_session=True)  # fmt: skip
    os.close(its)
    shown, typed = b"", b""
    deadline = time.monotonic() + TIMEOUT
    try:
        while not (offered.exists() and offered.read_text().endswith("end\n")):
            assert time.monotonic() < deadline, shown
            if select.select([own], [], [], 0.05)[0]:
                shown += os.read(own, 65536)
            if not typed and b"ready " in shown:
                typed = line.encode() + b"\t\x18"
                os.write(own, typed)
    finally:
        process.kill()
        process.wait()
        os.close(own)
    assert b"command not found" not in shown
    # It may ask for the same words more than once.
    return list(dict.fromkeys(word.strip() for word in offered.read_text().splitlines()[:-1] if word.strip()))


def test_each_completes_commands_flags_and_sessions(workspace: Path, asked: Ask) -> None:
    made = run(workspace, "new", "A talk: on files").out.strip()
    assert asked("mandrake-sessions sh") == ["show"]
    assert asked("mandrake-sessions show --fo") == ["--format"]
    assert set(asked("mandrake-sessions show --format ")) == {"text", "markdown", "html", "jsonl", "atif"}
    assert made[:13] in asked("mandrake-sessions show ")
    assert asked(f"mandrake-sessions delete {made[:5]}") == [made[:13]]


def test_each_completes_titles_and_the_names_of_programs(workspace: Path, asked: Ask) -> None:
    for title, agent in (("Walk one", "codex"), ("Walk-two", "claude-code"), ("Twice", "codex"), ("Twice", "goose")):
        run(workspace, "new", title, "--agent", agent)
    # A shell may write the blank of a title in its own way.
    offered = [word.replace("\\ ", " ") for word in asked("mandrake-sessions show Wa")]
    assert sorted(word.strip("'\"") for word in offered) == ["Walk one", "Walk-two"]
    assert asked("mandrake-sessions rename Walk-") == ["Walk-two"]
    # It would not say which one.
    assert "Twice" not in asked("mandrake-sessions show Tw")
    assert set(asked("mandrake-sessions list --agent ")) == {"codex", "claude-code", "goose"}
    assert asked("mandrake-sessions show --agent cl") == ["claude-code"]


def test_each_completes_files(workspace: Path, asked: Ask) -> None:
    (workspace / "kept.sqlite").write_text("")
    assert asked("mandrake-sessions restore kep") == ["kept.sqlite"]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_can_read_what_is_for_it(workspace: Path, shell: str) -> None:
    script = run(workspace, "completion", shell).out
    assert "mandrake-sessions" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n", "-c", script] if shell != "fish" else ["fish", "-n", "-c", script],
                       cwd=workspace, timeout=TIMEOUT, check=True)  # fmt: skip


def test_completion_of_nothing_says_nothing(workspace: Path) -> None:
    """In a directory without a store: a shell would show what is said on the line that somebody types."""
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": "mandrake-sessions show ", "COMP_POINT": "23", "_ARGCOMPLETE_IFS": "\n"}
    # What is offered goes to descriptor 8.
    done = subprocess.run(["sh", "-c", 'exec "$@" 8>offered', "sh", *SERVER], cwd=workspace, text=True,
                          env=clean_environment(workspace) | asked, capture_output=True, timeout=TIMEOUT,
                          check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (workspace / "offered").read_text() == ""
    assert not store_of(workspace).exists()
