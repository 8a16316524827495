"""Wrong arguments: one exit code for all commands, one line of usage, and the word that was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.running import fill, run, store_of

COMMANDS = [
    ["export", "0"],
    ["doctor"],
    ["backup", "copy.sqlite"],
    ["restore", "copy.sqlite"],
    ["migrate"],
    ["migrate", "--check"],
    ["prune", "--older-than", "90d"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_wrong_argument_has_one_exit_code(workspace: Path, command: list[str]) -> None:
    fill(store_of(workspace), "one")
    run(workspace, "backup", "copy.sqlite")
    for wrong, complaint in [
        (["--workspace", "nowhere"], "does not exist"),
        (["--database", "."], f"--database: {workspace} is a directory; name a file"),
        (["--unknown"], "unknown arguments: --unknown"),
    ]:
        assert complaint in run(workspace, *command, *wrong, code=2).err


def test_what_is_wrong_with_a_store_that_is_named_is_told(workspace: Path) -> None:
    (workspace / "a file").touch()
    for wrong, complaint in [
        (["--workspace", "a file"], f"the workspace directory {workspace / 'a file'} is not a directory"),
        (["--workspace", "~nobody-of-this-name"], "there is no user nobody-of-this-name"),
        (["--database", "~nobody-of-this-name"], "there is no user nobody-of-this-name"),
        (["--busy-timeout", "soon"], "--busy-timeout: 'soon': must be a number of seconds"),
        (["--scope", "system", "--workspace", "."], "--workspace: cannot be given beside --scope system"),
    ]:
        assert complaint in run(workspace, "doctor", *wrong, code=2).err


@pytest.mark.parametrize(
    ("given", "usage", "message"),
    [
        (["docter"], " [COMMAND] [OPTIONS]", "unknown command docter; did you mean doctor?; --help lists the commands"),
        (["xyz"], " [COMMAND] [OPTIONS]", "unknown command xyz; --help lists the commands"),
        (
            ["--durabilty", "full"],
            " serve [OPTIONS]",
            "unknown arguments: --durabilty full; did you mean --durability?",
        ),
        (["serve", "--durabilty=full"], " serve [OPTIONS]", "--durabilty=full; did you mean --durability?"),
        (["doctor", "--jsno"], " doctor [OPTIONS]", "unknown arguments: --jsno; did you mean --json?"),
        (["--workspace", ".", "doctor"], " serve [OPTIONS]", "a command comes first: mandrake-sessions doctor"),
        (["doctor", "--zzz"], " doctor [OPTIONS]", "unknown arguments: --zzz; --help lists the flags"),
        (["list", "--agnet", "x"], " list [OPTIONS]", "unknown arguments: --agnet x; did you mean --agent?"),
        (["search", "-foo"], " search QUERY [OPTIONS]", "stand after --: mandrake-sessions search -- -foo"),
        (["search", "a", "-foo"], " search QUERY [OPTIONS]", "stand after --: mandrake-sessions search -- -foo"),
        (["list", "--version"], " list [OPTIONS]", "unknown arguments: --version; --help lists the flags"),
        (["list", "--quiet"], " list [OPTIONS]", "unknown arguments: --quiet; --help lists the flags"),
        (["list", "--sort", "x"], " list [OPTIONS]", "unknown arguments: --sort x; --help lists the flags"),
        (["list", "-v"], " list [OPTIONS]", "unknown arguments: -v; --help lists the flags"),
        (["-v"], " [COMMAND] [OPTIONS]", "mandrake-sessions: error: unknown arguments: -v; --help lists the flags"),
        (["--verbose"], " [COMMAND] [OPTIONS]", "unknown arguments: --verbose; --help lists the flags"),
        (["--verison"], " [COMMAND] [OPTIONS]", "unknown arguments: --verison; did you mean --version?"),
        (["backup"], " backup DEST [OPTIONS]", "the following arguments are required: DEST"),
        (["prune"], " prune --older-than DURATION [OPTIONS]", "the following arguments are required: --older-than"),
    ],
)
def test_a_misspelled_word_is_told_below_one_line_of_usage(
    workspace: Path, given: list[str], usage: str, message: str
) -> None:
    first, second = run(workspace, *given, code=2).err.splitlines()
    assert first == f"usage: mandrake-sessions{usage}"
    assert second.endswith(message)
